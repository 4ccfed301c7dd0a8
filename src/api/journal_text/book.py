"""What each account of a journal holds so far, for the balances that postings assert or assign.

Ledger's releases differ in which postings count: those above in the text or those up to the date,
virtual ones or not. A balance is used only where both give the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction

from api.journal_text.amounts import Amount, Commodities
from api.journal_text.balancing import Leg, totals
from api.journal_text.lines import Kind, PostingLine
from api.journal_text.model import UnreadableError


@dataclass(slots=True)
class _Held:
    """What one account holds; ``latest`` is the last day on which a commodity moved.

    ``assigned`` is the last day for which the balance of a commodity (bare: of all) was assigned.
    """

    real: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    virtual: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    latest: dict[str, date] = field(default_factory=dict)
    assigned: dict[str, date] = field(default_factory=dict)
    has_real: bool = False


@dataclass(slots=True)
class Book:
    """The accounts of a journal.

    ``uncertain`` are the accounts to which automated virtual postings may have gone, and
    ``all_uncertain`` says that their names are computed, so that it may be any account.
    """

    commodities: Commodities
    held: dict[str, _Held] = field(default_factory=lambda: defaultdict(_Held))
    uncertain: set[str] = field(default_factory=set)
    all_uncertain: bool = False

    def record(self, legs: Sequence[Leg], day: date) -> None:
        """Count the postings of an entry.

        Raises:
            UnreadableError: a balance assigned above, for a later day, might count one of them.
        """
        for leg in legs:
            if not leg.amount:
                continue
            held = self.held[leg.account]
            sums = held.real if leg.kind is Kind.REAL else held.virtual
            commodity = leg.amount.commodity
            for assigned in {commodity, ""} & held.assigned.keys():
                if leg.amount.number and day < held.assigned[assigned]:
                    raise UnreadableError(
                        f"{leg.account} is posted to for a day before a balance assigned above"
                    )
            sums[commodity] += leg.amount.number
            held.latest[commodity] = max(day, held.latest.get(commodity, day))
            held.has_real |= leg.kind is Kind.REAL

    def settle(self, line: PostingLine, before: Sequence[Leg], day: date) -> Leg:
        """Return the posting as a leg; a balance it asserts is checked, or its amount computed.

        ``before`` are the legs above it in its entry.

        Raises:
            UnreadableError: the balance is another one, or not certain.
        """
        leg = Leg(line.account, line.kind, line.amount, line.cost)
        asserted = line.asserted
        if asserted is None:
            return leg
        if asserted.lot:
            raise UnreadableError("a balance of a single lot is asserted")
        off = self._off(line, leg, before, day)
        if leg.amount is None:
            assigned = self.held[line.account].assigned
            assigned[asserted.commodity] = max(day, assigned.get(asserted.commodity, day))
            return Leg(line.account, line.kind, self._assigned(off, asserted))
        own = leg.amount.commodity
        off[own] = off.get(own, Fraction(0)) - leg.amount.number
        for commodity, number in off.items():
            if not self.commodities.shows_zero(number, commodity):
                raise UnreadableError(f"the balance of {line.account} is not the one asserted")
        return leg

    def _off(
        self, line: PostingLine, leg: Leg, before: Sequence[Leg], day: date
    ) -> dict[str, Fraction]:
        """Return what is missing from the balance asserted, in its commodity or, bare, in all."""
        asserted = line.asserted or Amount(Fraction(0), "")
        in_all = line.asserted_alone or not asserted.commodity
        accounts = {leg.account}
        if line.asserted_below:
            below = f"{leg.account}:"
            known = {*self.held, *(other.account for other in before)}
            accounts |= {account for account in known if account.startswith(below)}
        counted = [
            amount
            for account in sorted(accounts)
            for amount in self._counted(replace(leg, account=account), asserted, day, in_all)
        ]
        for other in before:
            if other.account not in accounts:
                continue
            if not other.amount:
                raise UnreadableError(f"a balance of {leg.account} depends on an amount left out")
            if leg.kind is not Kind.REAL or other.kind is Kind.REAL:
                counted.append(other.amount)
            elif not self.held[leg.account].has_real:
                raise _mixed(leg)
        missing = [Amount(-amount.number, amount.commodity) for amount in counted]
        off = totals([asserted, *missing])
        if not in_all:
            return {asserted.commodity: off[asserted.commodity]}
        return {commodity: number for commodity, number in off.items() if number}

    def _counted(self, leg: Leg, asserted: Amount, day: date, in_all: bool) -> list[Amount]:  # noqa: FBT001 - passed on.
        """Return what the account holds before the entry, as amounts."""
        held = self.held[leg.account]
        late = [c for c, latest in held.latest.items() if latest > day]
        if asserted.commodity in late or (late and in_all):
            raise UnreadableError(f"a balance of {leg.account} is asserted out of date order")
        counted = [Amount(number, commodity) for commodity, number in held.real.items()]
        if leg.kind is Kind.REAL and held.has_real:
            return counted
        if self.all_uncertain or leg.account in self.uncertain:
            raise UnreadableError(f"the balance of {leg.account} depends on automated postings")
        if leg.kind is Kind.REAL and any(held.virtual.values()):
            raise _mixed(leg)
        return counted + [Amount(number, commodity) for commodity, number in held.virtual.items()]

    def _assigned(self, off: dict[str, Fraction], asserted: Amount) -> Amount:
        """Return the amount that makes the balance what it is to be."""
        if len(off) > 1:
            raise UnreadableError("a bare balance is assigned to an account of several commodities")
        for commodity, number in off.items():
            if number and self.commodities.shows_zero(number, commodity):
                raise UnreadableError("a balance is assigned that differs by less than is shown")
            return Amount(number, commodity)
        return Amount(Fraction(0), asserted.commodity)


def _mixed(leg: Leg) -> UnreadableError:
    """Return the refusal of a balance for which it matters whether virtual postings count."""
    return UnreadableError(f"the balance of {leg.account} mixes virtual and real postings")
