"""What a runner remembers between batches: accounts, and recent movements for the risk rules.

Bounded where the rest can be read back from the views. ``is_complete`` memory instead began at
position 1 and holds everything, so that a rebuild or a verification trusts the log alone; it costs
about 0.8 kB an account and 0.1 kB a recent movement.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice
from typing import TypeVar

import msgspec

from ledger_core.accounts import Account
from ledger_core.kept import Place, State
from ledger_core.risk_rules import WINDOW_MOVEMENTS
from ledger_core.snapshots import packed, unpacked

# What is held in memory at the most, some 500 MB in all.
ACCOUNTS_MAX = 120_000
"""About 70 MB."""
PACKED_MAX = 400_000
"""Accounts that were not used lately, as bytes; about 120 MB."""
STATES_MAX = 50_000
"""About 35 MB."""
ACTIVITIES_MAX = 900_000
"""About 230 MB. What is forgotten is read back line by line: better an account than this."""
MOVEMENTS_MAX = 250_000
"""About 30 MB."""
PART_EVENTS_FIRST = 1_000
"""How many events are read at once before it is known how large they are."""
RAISED_MAX = 200_000
"""Ids of flags that need not be raised again; about 25 MB."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Movement(msgspec.Struct, frozen=True, gc=False):
    """One posting as the risk rules see it: money in or out of a customer's account."""

    position: int
    value_date: date
    is_incoming: bool
    amount_minor: int
    kind: str


class Window:
    """The newest movements of an account, oldest first, and what came in by them."""

    __slots__ = ("incoming_minor", "movements")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.movements: deque[Movement] = deque(maxlen=WINDOW_MOVEMENTS)
        self.incoming_minor = 0

    def append(self, movement: Movement) -> None:
        """Take in the movement booked next; the oldest may go."""
        movements = self.movements
        if len(movements) == WINDOW_MOVEMENTS and movements[0].is_incoming:
            self.incoming_minor -= movements[0].amount_minor
        movements.append(movement)
        if movement.is_incoming:
            self.incoming_minor += movement.amount_minor


Sums = tuple[int, int, int]
"""Movements out, minor units that came in, and that went out."""

Day = tuple[date, int, Sums]
"""A value date, how many movements it has, and what they add up to."""

EARLIER_DAYS_MAX = 3
"""The standard rules look back two days; what looks back on forgotten ones is left open."""

_NOTHING: Sums = (0, 0, 0)


def new_deposits() -> deque[Movement]:
    """The newest deposits of a kind, with none so far."""
    return deque(maxlen=WINDOW_MOVEMENTS)


class Activity(msgspec.Struct, gc=False):
    """What the movements of one account add up to; ``booked`` is their number.

    ``day`` is the value date of the newest and the sums are that day's, ``earlier`` those of other
    value dates; ``known_from`` is the first of which all movements are known. ``before_minor`` is
    what had come in on the day before the newest ``WINDOW_MOVEMENTS``, or some more; -1 if it had
    fewer. While less than ``calm_count`` and ``calm_minor`` went out and came in on the day, none
    going out can break a rule on these (see ``risk_activity.calm``).
    """

    booked: int = 0
    day: date = date.min
    out_count: int = 0
    in_minor: int = 0
    out_minor: int = 0
    earlier: dict[date, Sums] | None = None
    known_from: date = date.min
    before_minor: int = -1
    block_minor: int = -1
    calm_count: int = 0
    calm_minor: int = 0

    @classmethod
    def of(cls, days: Sequence[Day]) -> "Activity":
        """What movements of these value dates add up to; the newest movement's is the last."""
        activity = cls()
        for day, booked, sums in days:
            activity._turn_to(day)
            activity.out_count, activity.in_minor, activity.out_minor = sums
            activity.booked += booked
        return activity

    def add(self, value_date: date, amount_minor: int, is_incoming: bool) -> None:  # noqa: FBT001 - as in a Movement
        """Take in the movement that was booked next."""
        if value_date != self.day:
            self._turn_to(value_date)
        if is_incoming:
            self.in_minor += amount_minor
        else:
            self.out_count += 1
            self.out_minor += amount_minor
        self.booked += 1
        if not self.booked % WINDOW_MOVEMENTS:
            self.before_minor, self.block_minor = self.block_minor, self.in_minor

    def within(self, first: date, last: date) -> Sums | None:
        """The sums of these days, both included; ``None`` where they are not all known."""
        if first < self.known_from:
            return None
        found = _NOTHING
        if first <= self.day <= last:
            found = (self.out_count, self.in_minor, self.out_minor)
        for day, sums in (self.earlier or {}).items():
            if first <= day <= last:
                found = (found[0] + sums[0], found[1] + sums[1], found[2] + sums[2])
        return found

    def _turn_to(self, day: date) -> None:
        """Put the sums of the day at hand away, and take out those of another."""
        if self.booked:
            earlier = self.earlier = self.earlier or {}
            earlier[self.day] = (self.out_count, self.in_minor, self.out_minor)
            self.out_count, self.in_minor, self.out_minor = earlier.pop(day, _NOTHING)
            if len(earlier) > EARLIER_DAYS_MAX:
                oldest = min(earlier)
                del earlier[oldest]
                self.known_from = max(self.known_from, oldest + timedelta(1))
        self.day = day
        self.before_minor = self.block_minor = -1
        self.calm_count = self.calm_minor = 0


class Rule(msgspec.Struct, frozen=True):
    """A risk rule as it stands: all its parameters, and since which event (0: the defaults)."""

    parameters: Mapping[str, int]
    enabled: bool = True
    position: int = 0


@dataclass(slots=True)
class Memory:
    """State after ``position`` events, valid for the projections' ``slots`` it was made from.

    ``activities`` say of each account that the risk rules watch what it did, in few numbers.
    ``windows`` hold its newest movements, ``deposits`` the newest of those that count as
    structuring, booked since that rule was last set: no number of other movements pushes them out.
    Both are there for all accounts if the memory is complete, else where they were needed.
    """

    is_complete: bool
    slots: Mapping[str, int] = field(default_factory=dict)
    position: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    packed: dict[str, bytes] = field(default_factory=dict)
    states: dict[Place, State] = field(default_factory=dict)
    activities: dict[int, Activity] = field(default_factory=dict)
    windows: dict[int, Window] = field(default_factory=dict)
    deposits: dict[int, deque[Movement]] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    movements: int = 0
    part_events: int = PART_EVENTS_FIRST
    raised: set[str] = field(default_factory=set)

    def trim(self) -> None:
        """Forget what can be read back, and has been known for longest, beyond the bounds."""
        if self.is_complete:
            return
        for account_id, account in _forget(self.accounts, ACCOUNTS_MAX):
            data = packed(account)
            if data is not None:  # Else it is read back.
                self.packed[account_id] = data
        _forget(self.packed, PACKED_MAX)
        _forget(self.states, STATES_MAX)
        _forget(self.activities, ACTIVITIES_MAX)
        self.trim_movements()
        if len(self.raised) > RAISED_MAX:
            self.raised.clear()

    def trim_movements(self) -> None:
        """Forget the movements, which can be read back, beyond the bound."""
        if self.movements > MOVEMENTS_MAX and not self.is_complete:
            self.windows.clear()
            self.deposits.clear()
            self.movements = 0

    def unpack(self, account_ids: Iterable[str]) -> list[str]:
        """Have those of the accounts at hand again that were packed; the others."""
        others: list[str] = []
        for account_id in account_ids:
            data = self.packed.pop(account_id, None)
            if data is None:
                others.append(account_id)
            else:
                self.accounts[account_id] = unpacked(data)
        return others


def _forget(known: dict[_Key, _Value], most: int) -> list[tuple[_Key, _Value]]:
    """Take out those known for longest, if there are more than so many, and an eighth beyond."""
    if len(known) <= most:
        return []
    gone = list(islice(known.items(), len(known) - most + most // 8))
    for key, _ in gone:
        del known[key]
    return gone
