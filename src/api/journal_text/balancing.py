"""How an entry balances: what is left out is computed, what does not balance is refused.

A posting weighs what it cost, else its amount; lots of a commodity are weighed apart. This follows
ledger's ``xact_base_t::finalize``. What two of its releases compute in different ways is refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from api.journal_text.amounts import Amount, Commodities, Lot, is_zero_to
from api.journal_text.lines import Cost, Kind
from api.journal_text.model import UnreadableError


@dataclass(frozen=True, slots=True)
class Leg:
    """A posting whose balance assignment is computed; ``amount`` is None where it was left out."""

    account: str
    kind: Kind
    amount: Amount | None
    cost: Cost | None = None


class _Weighed(NamedTuple):
    """What a commodity is weighed as: its lots apart from each other."""

    commodity: str
    lot: Lot | None


_EXCHANGED = 2
"""Commodities in an exchange: what is given and what is taken."""

_Weights = dict[_Weighed, Fraction]


def balance(legs: Sequence[Leg], bucket: str | None, commodities: Commodities) -> list[Leg]:
    """Return the legs with every amount computed; one left out may become one per commodity.

    ``bucket`` is the account that takes the other side of an entry of one posting.

    Raises:
        UnreadableError: two amounts are left out, or the entry does not balance.
    """
    if bucket and len(legs) == 1 and legs[0].amount and legs[0].kind is Kind.REAL:
        legs = [*legs, Leg(bucket, Kind.REAL, None)]
    settled: list[Leg] = []
    left_out = {
        kind: _left_out([leg for leg in legs if leg.kind is kind], commodities)
        for kind in (Kind.REAL, Kind.BALANCED)
    }
    for leg in legs:
        if leg.amount:
            settled.append(leg)
        elif leg.kind is Kind.UNBALANCED:
            raise UnreadableError("an unbalanced virtual posting has no amount")
        else:
            settled.extend(replace(leg, amount=amount) for amount in left_out[leg.kind])
    return settled


def totals(amounts: Iterable[Amount]) -> dict[str, Fraction]:
    """Return the sum of each commodity, its lots put together."""
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for amount in amounts:
        sums[amount.commodity] += amount.number
    return dict(sums)


def _left_out(legs: Sequence[Leg], commodities: Commodities) -> list[Amount]:
    """Return the amounts of the posting that has none; check the balance where all have one."""
    if sum(leg.amount is None for leg in legs) > 1:
        raise UnreadableError("more than one posting of an entry has no amount")
    if all(leg.amount for leg in legs):
        _check(legs, commodities)
        return []
    given = [leg.amount for leg in legs if leg.amount]
    if not given:
        raise UnreadableError("an amount is left out where there is nothing to compute it from")
    weights = _weigh(_at_lot_price(leg, commodities) for leg in legs if leg.amount)
    sums = totals(Amount(number, weighed.commodity) for weighed, number in weights.items())
    left_out = [Amount(-number, commodity) for commodity, number in sorted(sums.items())]
    return left_out or [Amount(Fraction(0), given[0].commodity)]


def _check(legs: Sequence[Leg], commodities: Commodities) -> None:
    """Refuse legs that do not balance, at cost, at the rate they imply, or at fixated prices."""
    weights = _weigh(legs)
    if legs and legs[0].kind is Kind.REAL:
        if len(weights) == _EXCHANGED and _implies_rate(legs, weights, commodities):
            return
        if len(weights) > 1:
            legs = [_at_fixated_price(leg) for leg in legs]
    legs = [_at_basis(leg) for leg in legs]
    weights = _weigh(legs)
    remainders = {weighed: number for weighed, number in weights.items() if number}
    if not remainders:
        return
    costs = [leg.cost for leg in legs if leg.cost]
    rounded = _weigh([_at_rounded_cost(leg) for leg in legs])
    for candidate in (remainders, rounded):
        if costs and all(
            is_zero_to(number, _decimals(weighed.commodity, costs, commodities))
            for weighed, number in candidate.items()
        ):
            return
    raise UnreadableError("an entry does not balance")


def _weigh(legs: Iterable[Leg]) -> _Weights:
    """Return the sum of what the legs weigh."""
    weights: _Weights = defaultdict(Fraction)
    for leg in legs:
        weight = leg.cost.total if leg.cost else leg.amount
        if weight and weight.number:
            weights[_Weighed(weight.commodity, weight.lot)] += weight.number
    return dict(weights)


def _implies_rate(legs: Sequence[Leg], weights: _Weights, commodities: Commodities) -> bool:
    """Say whether one commodity was exchanged for another, at the rate their sums give.

    Raises:
        UnreadableError: a lot's price says otherwise.
    """
    if any(leg.cost for leg in legs) or not all(weights.values()):
        return False
    with_lot = [leg.amount for leg in legs if leg.amount and leg.amount.lot]
    if with_lot and with_lot[-1].lot and with_lot[-1].lot.fixated:
        return False
    (one, one_sum), (other, other_sum) = weights.items()
    if not (one.commodity and other.commodity) and (with_lot or _commodity_of(legs[0])):
        raise UnreadableError("an amount is exchanged for one without a commodity")
    if (one_sum < 0) == (other_sum < 0):
        raise UnreadableError("an entry does not balance")
    if one.commodity == other.commodity:
        if (_price_of(one) is None) != (_price_of(other) is None):
            raise UnreadableError("a lot is exchanged for its own commodity without one")
        return True
    for mine, mine_sum, given, given_sum in (
        (one, one_sum, other, other_sum),
        (other, other_sum, one, one_sum),
    ):
        price = _price_of(mine)
        if price is None or mine.lot is None or mine.lot.price_commodity != given.commodity:
            continue
        if not commodities.shows_zero(price * mine_sum + given_sum, given.commodity):
            raise UnreadableError("a lot is exchanged for something else than its price")
    return True


def _commodity_of(leg: Leg) -> str:
    """Return the commodity of the leg's amount, empty if it has none."""
    return leg.amount.commodity if leg.amount else ""


def _price_of(weighed: _Weighed) -> Fraction | None:
    """Return the price of the lot, if it has one."""
    return weighed.lot.price if weighed.lot else None


def _at_fixated_price(leg: Leg) -> Leg:
    """Return the leg at the fixated price of its lot, if it has one and no cost."""
    amount = leg.amount
    if leg.cost or not amount or not amount.lot or not amount.lot.fixated:
        return leg
    total = Amount((amount.lot.price or 0) * amount.number, amount.lot.price_commodity)
    return replace(leg, cost=Cost(total, unit_decimals=None))


def _at_basis(leg: Leg) -> Leg:
    """Return the leg at what its lot cost, if that is known in the commodity of its own cost.

    The difference between both is the gain, which other postings of the entry then show.
    """
    amount, cost = leg.amount, leg.cost
    if not amount or not cost or not amount.lot or amount.lot.price is None:
        return leg
    if amount.lot.price_commodity != cost.total.commodity:
        return leg
    total = Amount(amount.lot.price * amount.number, cost.total.commodity)
    return replace(leg, cost=replace(cost, total=total))


def _at_lot_price(leg: Leg, commodities: Commodities) -> Leg:
    """Return the leg at what its lot cost, where a left-out amount is to be computed from it.

    Raises:
        UnreadableError: the gain has more decimals than ledger keeps of it.
    """
    at_basis = _at_basis(leg)
    if at_basis is leg or not leg.cost or not at_basis.cost or not leg.amount:
        return leg
    gain = at_basis.cost.total.number - leg.cost.total.number
    decimals = commodities.decimals(leg.cost.total.commodity) + leg.amount.decimals
    if gain and (gain * 10**decimals).denominator != 1:
        raise UnreadableError("a lot's gain has more decimals than its commodity")
    return at_basis


def _at_rounded_cost(leg: Leg) -> Leg:
    """Return the leg with a cost per unit rounded to the decimals its price has."""
    cost = leg.cost
    if not cost or not cost.unit_decimals:
        return leg
    unit = Fraction(1, 10**cost.unit_decimals)
    whole, half = divmod(abs(cost.total.number) / unit, 1)
    number = (whole + (half >= Fraction(1, 2))) * unit
    signed = -number if cost.total.number < 0 else number
    return replace(leg, cost=replace(cost, total=replace(cost.total, number=signed)))


def _decimals(commodity: str, costs: Iterable[Cost], commodities: Commodities) -> int:
    """Return the decimals to which a commodity has to balance where costs are rounded."""
    seen = commodities.decimals(commodity)
    of_costs = (cost.total.decimals for cost in costs if cost.total.commodity == commodity)
    return seen or max(of_costs, default=0)
