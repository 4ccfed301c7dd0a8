"""Splitting an amount over sources and destinations, to the last minor unit: arithmetic alone.

What a level of legs is given or asked for is taken by its legs exactly, or the split is refused.
Shares are of the total of their level. Knows account ids and how much each can give, and nothing
else of accounts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Literal

from ledger_core.allocation_legs import Fixed, Leg, Level, Rest, Share, UpTo
from ledger_core.errors import InsufficientFunds, LedgerError, ValidationFailed

Rounding = Literal["largest_remainder", "first"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one leg gives or takes; ``account_id`` ``None``: it stays where it was."""

    account_id: str | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Movement:
    """``amount_minor`` > 0 minor units go from one account to another."""

    from_id: str
    to_id: str
    amount_minor: int


TooMuch = Callable[[str, int, int], LedgerError]
"""The refusal where the legs at a path need more than there is: path, available, needed."""


def taken(total_minor: int, level: Level, rounding: Rounding, too_much: TooMuch) -> list[Part]:
    """What each destination takes of the total, in order: all of it, to the last minor unit.

    Raises:
        LedgerError: as ``too_much`` has it, where fixed amounts and shares exceed the total.
        ValidationFailed: something is left that no leg takes.
    """
    firm = _firm(total_minor, level, rounding)
    left_minor = total_minor - sum(firm.values())
    if left_minor < 0:
        raise too_much(level.path, total_minor, total_minor - left_minor)
    amounts = dict(firm)
    for index, leg in _in_turn(level, firm):
        amounts[index] = _least(left_minor, _most(leg))
        left_minor -= amounts[index]
    if left_minor:
        raise ValidationFailed(
            level.path, f"legs that take everything: {left_minor} minor units are left"
        )
    parts: list[Part] = []
    for index, leg in enumerate(level.legs):
        if leg.inner is not None:
            parts += taken(amounts[index], leg.inner, rounding, too_much)
        else:
            parts.append(Part(leg.account_id, amounts[index]))
    return parts


def given(
    total_minor: int | None, level: Level, rounding: Rounding, can_give: Mapping[str, int | None]
) -> list[Part]:
    """What each source gives towards the total, in order; ``None`` asks for all they have.

    ``can_give`` says for every account how many minor units it has to give; ``None``: whatever it
    is asked for. An account that stands in several legs gives no more in all.

    Raises:
        ValidationFailed: fixed amounts exceed what a level is asked for.
        InsufficientFunds: an account, or a level as a whole, cannot give what it must.
    """
    drawing = _Drawing(rounding, dict(can_give))
    if total_minor is None:
        return drawing.up_to(level, None)
    return drawing.exactly(level, total_minor)


def matched(given_parts: Sequence[Part], taken_parts: Sequence[Part]) -> list[Movement]:
    """The movements that lead from sources to destinations, both in order, of equal sums.

    Neighbours between the same two accounts are one movement; what is kept is none.
    """
    movements: list[Movement] = []
    left = [part.amount_minor for part in given_parts]
    at = 0
    for part in taken_parts:
        needed_minor = part.amount_minor
        while needed_minor:
            from_id = given_parts[at].account_id
            moved_minor = min(needed_minor, left[at])
            if moved_minor and from_id is not None and part.account_id is not None:
                _move(movements, from_id, part.account_id, moved_minor)
            needed_minor -= moved_minor
            left[at] -= moved_minor
            if not left[at]:
                at += 1
    return movements


class _Drawing:
    """Draws on accounts, remembering what each has left to give."""

    def __init__(self, rounding: Rounding, can_give: dict[str, int | None]) -> None:
        """Begin with what every account can give."""
        self._rounding: Rounding = rounding
        self._can_give = can_give

    def exactly(self, level: Level, amount_minor: int) -> list[Part]:
        """So much from a level.

        Raises:
            InsufficientFunds: it has less.
        """
        parts = self.up_to(level, amount_minor)
        given_minor = _sum(parts)
        if given_minor < amount_minor:
            raise InsufficientFunds(
                field=level.path, available_minor=str(given_minor), needed_minor=str(amount_minor)
            )
        return parts

    def up_to(self, level: Level, most_minor: int | None) -> list[Part]:
        """As much as a level has, and no more than ``most_minor``; with shares exactly that.

        Raises:
            ValidationFailed: its fixed amounts exceed ``most_minor``.
            InsufficientFunds: a share or a fixed amount cannot be given.
        """
        if most_minor == 0:
            return []
        firm = _firm(most_minor or 0, level, self._rounding)
        left_minor = None if most_minor is None else most_minor - sum(firm.values())
        if left_minor is not None and left_minor < 0:
            raise ValidationFailed(
                level.path, f"fixed amounts of at most the {most_minor} minor units asked for"
            )
        drawn: dict[int, list[Part]] = {}
        for index, amount_minor in firm.items():
            drawn[index] = self._leg_exactly(level.legs[index], amount_minor)
        for index, leg in _in_turn(level, firm):
            drawn[index] = self._leg_up_to(leg, _least_of(left_minor, _most(leg)))
            if left_minor is not None:
                left_minor -= _sum(drawn[index])
        parts = [part for index in sorted(drawn) for part in drawn[index]]
        if left_minor and any(isinstance(leg.take, Share) for leg in level.legs):
            raise InsufficientFunds(
                field=level.path, available_minor=str(_sum(parts)), needed_minor=str(most_minor)
            )
        return parts

    def _leg_exactly(self, leg: Leg, amount_minor: int) -> list[Part]:
        """So much from one leg.

        Raises:
            InsufficientFunds: it has less.
        """
        if leg.inner is not None:
            return self.exactly(leg.inner, amount_minor)
        account_id = leg.account_id or ""
        has_minor = self._can_give[account_id]
        if has_minor is not None and has_minor < amount_minor:
            raise InsufficientFunds(
                account_id=account_id,
                available_minor=str(has_minor),
                needed_minor=str(amount_minor),
            )
        return self._draw(account_id, amount_minor)

    def _leg_up_to(self, leg: Leg, most_minor: int | None) -> list[Part]:
        """As much as one leg has, and no more than ``most_minor``."""
        if leg.inner is not None:
            return self.up_to(leg.inner, most_minor)
        account_id = leg.account_id or ""
        return self._draw(account_id, _least_of(self._can_give[account_id], most_minor) or 0)

    def _draw(self, account_id: str, amount_minor: int) -> list[Part]:
        """Take from an account what it was found to have."""
        has_minor = self._can_give[account_id]
        if has_minor is not None:
            self._can_give[account_id] = has_minor - amount_minor
        return [Part(account_id, amount_minor)]


def _firm(total_minor: int, level: Level, rounding: Rounding) -> dict[int, int]:
    """What the legs take that depends on the total alone: fixed amounts and shares, by index.

    Shares are floored. The stray units that they make together go one each to the largest
    remainders, of equal ones to the earlier; under ``first`` one each from the first leg on. A leg
    that takes the rest takes them instead; but under ``first``, in a level that has shares only,
    it is a share like the others: what they leave of 100 %.
    """
    exact = {
        index: leg.take.fraction * total_minor
        for index, leg in enumerate(level.legs)
        if isinstance(leg.take, Share)
    }
    rest = next((i for i, leg in enumerate(level.legs) if isinstance(leg.take, Rest)), None)
    if rest is not None and rounding == "first" and len(exact) == len(level.legs) - 1 and exact:
        exact[rest] = Fraction(total_minor) - sum(exact.values())
        rest = None
    amounts = {index: floor(exact[index]) for index in sorted(exact)}
    strays = floor(sum(exact.values())) - sum(amounts.values()) if rest is None else 0
    order = list(amounts)
    if rounding == "largest_remainder":
        order.sort(key=lambda index: amounts[index] - exact[index])
    for index in order[:strays]:
        amounts[index] += 1
    for index, leg in enumerate(level.legs):
        if isinstance(leg.take, Fixed):
            amounts[index] = leg.take.amount_minor
    return amounts


def _in_turn(level: Level, firm: Mapping[int, int]) -> list[tuple[int, Leg]]:
    """The legs that take of what the firm ones leave: those up to a maximum, then the rest."""
    others = [item for item in enumerate(level.legs) if item[0] not in firm]
    return sorted(others, key=lambda item: isinstance(item[1].take, Rest))


def _most(leg: Leg) -> int | None:
    """The most that a leg takes in its turn; ``None`` is without bound."""
    return leg.take.most_minor if isinstance(leg.take, UpTo) else None


def _move(movements: list[Movement], from_id: str, to_id: str, amount_minor: int) -> None:
    """Add a movement, to the last one where that is between the same accounts."""
    if movements and (movements[-1].from_id, movements[-1].to_id) == (from_id, to_id):
        amount_minor += movements.pop().amount_minor
    movements.append(Movement(from_id, to_id, amount_minor))


def _least(one: int, other: int | None) -> int:
    """The smaller amount, where ``None`` is without bound."""
    return one if other is None else min(one, other)


def _least_of(one: int | None, other: int | None) -> int | None:
    """The smaller amount, where ``None`` is without bound."""
    return other if one is None else _least(one, other)


def _sum(parts: Sequence[Part]) -> int:
    """What parts come to."""
    return sum(part.amount_minor for part in parts)
