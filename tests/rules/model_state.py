"""What the model of a ledger is made of: accounts, entries, holds and groups as plain facts."""

import copy
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from tests.strategies import START

ISO = ("EUR", "JPY")

Leg = tuple[str, str, int, str]
"""Account, side, amount in minor units, currency."""

Change = tuple[str, str, int]
"""Account, side, and by how much more (or less) is held on it."""


class Refused(Exception):  # noqa: N818 - an answer
    """The model says no; the argument is the code."""


@dataclass
class Account:
    """An account as a dictionary of its facts."""

    account_type: str
    currency: str
    limit: int | None
    ceiling: int | None = None
    posted: dict[str, int] = field(default_factory=lambda: {"debit": 0, "credit": 0})
    held: dict[str, int] = field(default_factory=lambda: {"debit": 0, "credit": 0})
    version: int = 1
    closed: bool = False
    blocks: set[tuple[str, str]] = field(default_factory=set)
    holders: set[tuple[str, str]] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    @property
    def grows_on(self) -> str:
        """The side on which the account grows."""
        return "debit" if self.account_type in ("asset", "expense") else "credit"

    @property
    def shrinks_on(self) -> str:
        """The other side."""
        return "credit" if self.grows_on == "debit" else "debit"

    def balance(self) -> int:
        """The balance on the side on which the account grows."""
        return self.posted[self.grows_on] - self.posted[self.shrinks_on]

    def lowest(self) -> int:
        """The balance if all that will leave has left, and nothing has come."""
        return self.balance() - self.held[self.shrinks_on]

    def highest(self) -> int:
        """The balance if all that will come has come, and nothing has left."""
        return self.balance() + self.held[self.grows_on]


@dataclass
class Entry:
    """An entry that was booked."""

    legs: list[Leg]
    is_reversal: bool
    is_reversed: bool = False


@dataclass
class Hold:
    """A hold, and what became of it."""

    debit: str
    credit: str
    amount: int
    currency: str
    code: str | None
    multi_capture: bool
    expires_at: datetime | None
    status: str = "open"
    captured: int = 0
    freed: int = 0

    @property
    def rest(self) -> int:
        """What is still held."""
        return self.amount - self.captured - self.freed


@dataclass
class Group:
    """A group of accounts that are limited together."""

    currency: str
    side: str
    limit: int | None
    ceiling: int | None


@dataclass
class State:
    """A ledger: what exists, and what time it is."""

    now: datetime = START
    last: datetime = START
    position: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    erased: dict[str, bool] = field(default_factory=dict)
    units: set[str] = field(default_factory=set)
    entries: dict[str, Entry] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    # The one template: what it says of itself, or that it is retired.
    templates: dict[str, str] = field(default_factory=dict)
    references: set[str] = field(default_factory=set)
    closed_through: date | None = None
    late_posting: str = "refuse"
    # What limits an account gets on a day to come: limit, ceiling, whether that stays as it is.
    changes: dict[tuple[str, date], tuple[int | None, int | None, bool]] = field(
        default_factory=dict
    )
    # What the captures of all came to, by their position.
    came_to: dict[int, str] = field(default_factory=dict)
    # What each key and chosen id was used for: the command, and where its event stands.
    used: dict[tuple[str, str], tuple[Any, int]] = field(default_factory=dict)

    @property
    def moment(self) -> datetime:
        """When the next event is recorded: never before the last."""
        return max(self.now, self.last)

    @property
    def today(self) -> date:
        """The booking date."""
        return self.moment.date()

    def exist(self, names: list[str]) -> None:
        """Every account exists."""
        if any(name not in self.accounts for name in names):
            raise Refused("account_not_found")

    def fit(self, legs: list[Leg]) -> None:
        """Every account is kept in its leg's currency."""
        for name, _, _, currency in legs:
            if self.accounts[name].currency != currency:
                known = currency in (*ISO, *self.units)
                raise Refused("currency_mismatch" if known else "unknown_currency")

    def take(self, legs: list[Leg]) -> None:
        """Every account is open and not blocked for its leg."""
        for name, side, _, _ in legs:
            account = self.accounts[name]
            if account.closed:
                raise Refused("account_closed")
            if any(effect in (side, "full") for _, effect in account.blocks):
                raise Refused("account_blocked")

    def be_free(self, name: str | None, reference: str | None) -> None:
        """Nothing has this id or this reference."""
        if name is not None and (name in self.entries or name in self.holds):
            raise Refused("entry_exists")
        if reference in self.references:
            raise Refused("reference_conflict")

    def be_dated_in_the_open(self, value_date: date | None) -> None:
        """The value date lies in no closed period, unless it may be moved out of it."""
        if self.closed_through is None or self.late_posting != "refuse":
            return
        if (value_date or self.today) <= self.closed_through:
            raise Refused("period_closed")

    def after(self, legs: list[Leg], changes: list[Change]) -> dict[str, Account]:
        """The accounts that a movement touches, as it would leave them."""
        names = dict.fromkeys([leg[0] for leg in legs] + [change[0] for change in changes])
        after = {name: copy.deepcopy(self.accounts[name]) for name in names}
        for name, side, amount, _ in legs:
            after[name].posted[side] += amount
        for name, side, more in changes:
            after[name].held[side] += more
        for account in after.values():
            account.version += 1
        return after
