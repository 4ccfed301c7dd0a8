"""The legs of an allocation: where money comes from and goes, as a caller writes it and checked.

Sources and destinations are trees. A *level* is the legs that stand beside each other and divide
one amount. A level that is made here has the form that the arithmetic in ``allocation`` needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_id
from ledger_core.money import minor_from_text
from ledger_core.rounding import share_from_text

# Deeper than any agreement that people can still read.
DEPTH_MAX = 8
# A split has fewer movements than legs, so its entry keeps within the postings of an entry.
LEGS_MAX = 500
REMAINING = "remaining"


class Source(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Where money comes from: an account, or further sources.

    At most one of ``share``, ``fixed`` and ``max``; with none, it gives as far as it goes, in its
    turn. ``share`` is a percentage such as ``"33.33%"``, a fraction such as
    ``"1/3"``, or ``"remaining"``.
    """

    account_id: str | None = None
    inner: "tuple[Source, ...] | None" = None
    share: str | None = None
    fixed: str | None = None
    max: str | None = None


class Destination(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Where money goes: an account, further destinations, or nowhere: it is kept by the sources.

    At most one of ``share``, ``fixed`` and ``max``; with none, it takes what remains.
    """

    account_id: str | None = None
    inner: "tuple[Destination, ...] | None" = None
    kept: bool = False
    share: str | None = None
    fixed: str | None = None
    max: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A leg takes this fraction of its level's total."""

    fraction: Fraction


@dataclass(frozen=True, slots=True)
class Fixed:
    """A leg takes exactly so many minor units."""

    amount_minor: int


@dataclass(frozen=True, slots=True)
class UpTo:
    """A leg takes, in its turn, as much as there is, and no more than ``most_minor``."""

    most_minor: int | None


@dataclass(frozen=True, slots=True)
class Rest:
    """A leg takes what all others leave."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A leg whose form was checked; one that names neither account nor level keeps its part."""

    path: str
    take: Share | Fixed | UpTo | Rest
    account_id: str | None
    inner: "Level | None"


@dataclass(frozen=True, slots=True)
class Level:
    """The legs that divide one amount; ``path`` names the field in which they stand."""

    path: str
    legs: tuple[Leg, ...]

    def accounts(self) -> Iterator[tuple[str, str]]:
        """Every account that is named and the path of its leg, at any depth, in order."""
        for leg in self.legs:
            if leg.inner is not None:
                yield from leg.inner.accounts()
            elif leg.account_id is not None:
                yield leg.account_id, leg.path


def account_ids(items: Sequence[Source | Destination]) -> set[str]:
    """The accounts that legs name, at whatever depth, before anything is known of their form."""
    found: set[str] = set()
    waiting: list[Source | Destination] = list(items)
    while waiting:
        item = waiting.pop()
        if item.account_id is not None:
            found.add(item.account_id)
        waiting.extend(item.inner or ())
    return found


def source_level(sources: tuple[Source, ...]) -> Level:
    """The sources, their form checked.

    Raises:
        ValidationFailed: a malformed leg or level, named by its path.
    """
    return _level(sources, "sources", UpTo(None), 1)


def destination_level(destinations: tuple[Destination, ...]) -> Level:
    """The destinations, their form checked.

    Raises:
        ValidationFailed: a malformed leg or level, named by its path.
    """
    return _level(destinations, "destinations", Rest(), 1)


def require_legs(sources: Level, destinations: Level) -> None:
    """The two trees together have no more legs than an entry has room for.

    Raises:
        ValidationFailed: they have.
    """
    if _count(sources) + _count(destinations) > LEGS_MAX:
        raise ValidationFailed("destinations", f"at most {LEGS_MAX} legs with the sources")


def require_no_shares(level: Level) -> None:
    """The level can give all it has: no leg's part depends on a total that nobody named.

    Raises:
        ValidationFailed: a leg has a share.
    """
    for leg in level.legs:
        if isinstance(leg.take, Share | Rest):
            raise ValidationFailed(f"{leg.path}.share", "none where the amount is all")
        if leg.inner is not None:
            require_no_shares(leg.inner)


def _level(
    items: Sequence[Source | Destination], path: str, plain: UpTo | Rest, depth: int
) -> Level:
    """A level of which every leg has the form that it must have.

    Raises:
        ValidationFailed: too deep, too many or no legs, malformed ones, or impossible shares.
    """
    if depth > DEPTH_MAX:
        raise ValidationFailed(path, f"at most {DEPTH_MAX} levels")
    if not 1 <= len(items) <= LEGS_MAX:
        raise ValidationFailed(path, f"1 to {LEGS_MAX} legs")
    legs = tuple(_leg(item, f"{path}[{index}]", plain, depth) for index, item in enumerate(items))
    shares = [leg.take.fraction for leg in legs if isinstance(leg.take, Share)]
    if sum(shares) > 1 or (len(shares) == len(legs) and sum(shares) < 1):
        raise ValidationFailed(path, "shares of 100 % in all, or fewer and a leg for what remains")
    if sum(isinstance(leg.take, Rest) for leg in legs) > 1:
        raise ValidationFailed(path, "at most one leg that takes what remains")
    return Level(path, legs)


def _leg(item: Source | Destination, path: str, plain: UpTo | Rest, depth: int) -> Leg:
    """A leg of the form that it must have.

    Raises:
        ValidationFailed: not exactly one place, several measures, or malformed ones.
    """
    kept = isinstance(item, Destination) and item.kept
    if (item.account_id is not None) + (item.inner is not None) + kept != 1:
        raise ValidationFailed(
            path,
            "one of account_id, inner and kept"
            if isinstance(item, Destination)
            else "one of account_id and inner",
        )
    if sum(measure is not None for measure in (item.share, item.fixed, item.max)) > 1:
        raise ValidationFailed(path, "at most one of share, fixed and max")
    if item.account_id is not None:
        require_id(item.account_id, field=f"{path}.account_id")
    take: Share | Fixed | UpTo | Rest = plain
    if item.share == REMAINING:
        take = Rest()
    elif item.share is not None:
        take = Share(share_from_text(item.share, field=f"{path}.share"))
    elif item.fixed is not None:
        take = Fixed(minor_from_text(item.fixed, field=f"{path}.fixed"))
    elif item.max is not None:
        take = UpTo(minor_from_text(item.max, field=f"{path}.max"))
    inner = None if item.inner is None else _level(item.inner, f"{path}.inner", plain, depth + 1)
    return Leg(path, take, item.account_id, inner)


def _count(level: Level) -> int:
    """How many legs a level has, at any depth."""
    return len(level.legs) + sum(_count(leg.inner) for leg in level.legs if leg.inner is not None)
