"""The model's movements of money: how each is judged, and what it leaves behind."""

from collections import Counter
from datetime import timedelta
from typing import Any

from tests.rules.model_state import ISO, Account, Change, Entry, Hold, Leg, Refused, State

from ledger_core.allocations import Allocate
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry
from ledger_core.exchanges import Exchange
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.reversals import ReverseEntry
from ledger_core.templates import PostTemplate
from ledger_core.transfers import Transfer

MOVEMENTS = (
    Allocate,
    Exchange,
    PostTemplate,
    Transfer,
    Deposit,
    Withdraw,
    PostEntry,
    ReverseEntry,
    PlaceHold,
    CaptureHold,
    VoidHold,
)


class Movements(State):
    """Everything that moves or reserves money; each says how many events it comes to."""

    def transfer(self, command: Transfer) -> int:
        """From one account to another."""
        legs = self.pair(command)
        amount = self._balanced(command)
        return self.book(command, [(name, side, amount, unit) for name, side, _, unit in legs])

    def at_channel(self, command: Deposit | Withdraw) -> int:
        """Cash in or out; the channel's account is opened by the first entry that needs it."""
        self.exist([command.account_id])
        channel = f"bank:{command.channel}:{command.currency}"
        if channel == command.account_id:
            raise Refused("same_account")
        amount, currency = int(command.amount), command.currency
        own: Leg = (command.account_id, "credit", amount, currency)
        cash: Leg = (channel, "debit", amount, currency)
        legs = [cash, own]
        if isinstance(command, Withdraw):
            legs = [(own[0], "debit", *own[2:]), (cash[0], "credit", *cash[2:])]
        self.fit([own])
        opened = {} if channel in self.accounts else {channel: Account("asset", currency, None)}
        return self.book_opening(command, legs, opened)

    def post(self, command: PostEntry) -> int:
        """Any legs that balance."""
        legs: list[Leg] = [
            (line.account_id, line.side, int(line.amount), line.currency)
            for line in command.postings
        ]
        if any(currency not in (*ISO, *self.units) for *_, currency in legs):
            raise Refused("unknown_currency")
        sums: Counter[str] = Counter()
        for _, side, amount, currency in legs:
            sums[currency] += amount if side == "debit" else -amount
        if any(sums.values()):
            raise Refused("unbalanced")
        self.exist([leg[0] for leg in legs])
        self.fit(legs)
        return self.book(command, legs)

    def reverse(self, command: ReverseEntry) -> int:
        """The mirror of an entry, once."""
        if command.reverses in self.holds:
            raise Refused("not_reversible")
        original = self.entries.get(command.reverses)
        if original is None:
            raise Refused("entry_not_found")
        if original.is_reversal:
            raise Refused("not_reversible")
        if original.is_reversed:
            raise Refused("already_reversed")
        other = {"debit": "credit", "credit": "debit"}
        legs: list[Leg] = [
            (name, other[side], amount, currency) for name, side, amount, currency in original.legs
        ]
        events = self.book(command, legs)
        original.is_reversed = True
        return events

    def place(self, command: PlaceHold) -> int:
        """A hold between two accounts."""
        expires_at = command.expires_at
        if command.timeout_s is not None:
            expires_at = self.moment + timedelta(seconds=command.timeout_s)
        elif expires_at is not None and expires_at <= self.moment:
            raise Refused("validation_error")
        legs = self.pair(command)
        amount = self._balanced(command)
        self.take(legs)
        self.be_free(command.hold_id, command.reference)
        changes: list[Change] = [(name, side, amount) for name, side, _, _ in legs]
        after = self.after([], changes)
        self.meet_conditions(command, after)
        if not command.force:
            self._stay_within(after)
        self.accounts.update(after)
        position = self.position + 1
        self.holds[command.hold_id or f"hld_{position}"] = Hold(
            command.debit_account_id,
            command.credit_account_id,
            amount,
            command.currency,
            command.code,
            command.multi_capture,
            expires_at,
        )
        self._take_names("hold_exists", command.hold_id, command)
        return 1

    def capture(self, command: CaptureHold) -> int:
        """Part of a hold, or all of it, becomes an entry."""
        hold = self._open_hold(command)
        amount = hold.rest if command.amount == "all" else int(command.amount)
        if not amount:
            return 0 if hold.multi_capture else self.free(hold, "captured")
        freed = 0 if hold.multi_capture else max(0, hold.rest - amount)
        legs: list[Leg] = [
            (hold.debit, "debit", amount, hold.currency),
            (hold.credit, "credit", amount, hold.currency),
        ]
        changes = [(hold.debit, "debit", -amount - freed), (hold.credit, "credit", -amount - freed)]
        events = self.book(command, legs, changes, most=hold.rest)
        if command.amount == "all":
            self.came_to[self.position + 1] = str(amount)
        hold.captured += amount
        hold.freed += freed
        hold.status = "open" if hold.rest else "captured"
        return events

    def void(self, command: VoidHold) -> int:
        """A hold is given up."""
        hold = self._open_hold(command)
        if command.amount != "all" and int(command.amount) != hold.rest:
            more = int(command.amount) > hold.rest
            raise Refused("exceeds_hold" if more else "hold_mismatch")
        return self.free(hold, "voided")

    def free(self, hold: Hold, status: str) -> int:
        """Nothing of the hold is held any more."""
        rest = hold.rest
        self.accounts.update(
            self.after([], [(hold.debit, "debit", -rest), (hold.credit, "credit", -rest)])
        )
        hold.freed += rest
        hold.status = status
        return 1

    def pair(self, command: Transfer | PlaceHold) -> list[Leg]:
        """The two legs of a movement between two accounts that fit."""
        debit, credit = command.debit_account_id, command.credit_account_id
        self.exist([debit, credit])
        if debit == credit:
            raise Refused("same_account")
        amount = int(command.amount)
        legs: list[Leg] = [
            (debit, "debit", amount, command.currency),
            (credit, "credit", amount, command.currency),
        ]
        self.fit(legs)
        return legs

    def _balanced(self, command: Transfer | PlaceHold) -> int:
        """The amount, or as much of it as the named sides have room for."""
        rooms = [int(command.amount)]
        for side, name in (
            ("debit", command.debit_account_id),
            ("credit", command.credit_account_id),
        ):
            if command.balancing in (side, "both"):
                rooms.append(self.room(name, side))
        return max(0, min(rooms))

    def room(self, name: str, side: str) -> int:
        """How much more fits on that side of an account; without a limit there, up to zero."""
        account = self.accounts[name]
        if side == account.grows_on:
            return (account.ceiling or 0) - account.highest()
        return account.lowest() + (account.limit or 0)

    def _open_hold(self, command: CaptureHold | VoidHold) -> Hold:
        """The hold that the command means, if it is open and as the command says."""
        hold = self.holds.get(command.hold_id)
        if hold is None:
            raise Refused("not_a_hold" if command.hold_id in self.entries else "hold_not_found")
        said = (command.debit_account_id, command.credit_account_id, command.currency, command.code)
        facts = (hold.debit, hold.credit, hold.currency, hold.code)
        if any(word not in (None, fact) for word, fact in zip(said, facts, strict=True)):
            raise Refused("hold_mismatch")
        if hold.status != "open":
            expired = hold.status == "expired"
            raise Refused("hold_expired" if expired else f"hold_already_{hold.status}")
        return hold

    def book_opening(
        self,
        command: Any,  # noqa: ANN401 - any entry command
        legs: list[Leg],
        opened: dict[str, Account],
    ) -> int:
        """Book legs on accounts of the bank's that are opened with them, if they are booked."""
        self.accounts |= opened
        self.position += len(opened)
        try:
            return self.book(command, legs)
        except Refused:
            for name in opened:
                del self.accounts[name]
            self.position -= len(opened)
            raise

    def book(
        self,
        command: Any,  # noqa: ANN401 - any entry command
        legs: list[Leg],
        changes: list[Change] | None = None,
        *,
        most: int | None = None,
    ) -> int:
        """Book legs whose accounts were found to exist and to fit."""
        self.take(legs)
        self.be_free(command.entry_id, command.reference)
        self.be_dated_in_the_open(command.value_date)
        after = self.after(legs, changes or [])
        self.meet_conditions(command, after)
        if most is not None and legs[0][2] > most:
            raise Refused("exceeds_hold")
        if not command.force:
            self._stay_within(after)
        if not legs[0][2]:
            return 0
        self.accounts.update(after)
        entry = Entry(legs, is_reversal=isinstance(command, ReverseEntry))
        self.entries[command.entry_id or f"jrn_{self.position + 1}"] = entry
        self._take_names("entry_exists", command.entry_id, command)
        return 1

    def _take_names(self, code: str, name: str | None, command: Any) -> None:  # noqa: ANN401
        """The chosen id and the reference belong to this command for ever."""
        if name is not None:
            self.used[code, name] = (command, self.position + 1)
        if command.reference is not None:
            self.references.add(command.reference)

    def meet_conditions(self, command: Any, after: dict[str, Account]) -> None:  # noqa: ANN401
        """Versions before and balances after are as the command demands."""
        for name, version in (command.if_version or {}).items():
            self.exist([name])
            if self.accounts[name].version != version:
                raise Refused("version_conflict")
        for name, condition in (command.if_balance or {}).items():
            self.exist([name])
            account = after.get(name, self.accounts[name])
            available = account.lowest() + (account.limit or 0)
            for bounds, balance in (
                (condition.posted, account.balance()),
                (condition.available, available),
            ):
                if bounds is not None and not _is_within(balance, bounds):
                    raise Refused("condition_failed")

    def _stay_within(self, after: dict[str, Account]) -> None:
        """No account and then no group goes beyond its limits, or further beyond them."""
        for name, account in after.items():
            before = self.accounts[name]
            _stay_between(account.limit, account.ceiling, _range(before), _range(account))
        named = [name for account in after.values() for name in sorted(account.groups)]
        for name in dict.fromkeys(named):
            group = self.groups[name]
            old = self._group_range(name, self.accounts)
            new = self._group_range(name, self.accounts | after)
            if old[0] - old[1] + old[2] != new[0] - new[1] + new[2]:
                _stay_between(group.limit, group.ceiling, old, new)

    def _group_range(self, name: str, accounts: dict[str, Account]) -> tuple[int, int, int]:
        """The lowest, the posted and the highest total of a group."""
        side = self.groups[name].side
        other = "debit" if side == "credit" else "credit"
        members = [account for account in accounts.values() if name in account.groups]
        posted = sum(member.posted[side] - member.posted[other] for member in members)
        lowest = posted - sum(member.held[other] for member in members)
        return lowest, posted, posted + sum(member.held[side] for member in members)


def _range(account: Account) -> tuple[int, int, int]:
    """The lowest, the posted and the highest balance of an account."""
    return account.lowest(), account.balance(), account.highest()


def _stay_between(
    limit: int | None,
    ceiling: int | None,
    before: tuple[int, int, int],
    after: tuple[int, int, int],
) -> None:
    """From one range to another without passing a limit, or passing it further."""
    if limit is not None and after[0] < -limit and after[0] < before[0]:
        raise Refused("insufficient_funds")
    if ceiling is not None and after[2] > ceiling and after[2] > before[2]:
        raise Refused("limit_exceeded")


def _is_within(balance: int, bounds: Any) -> bool:  # noqa: ANN401 - bounds of a condition
    """Whether the balance is as demanded."""
    return (
        (bounds.gte is None or balance >= int(bounds.gte))
        and (bounds.gt is None or balance > int(bounds.gt))
        and (bounds.lte is None or balance <= int(bounds.lte))
        and (bounds.lt is None or balance < int(bounds.lt))
        and (bounds.eq is None or balance == int(bounds.eq))
    )
