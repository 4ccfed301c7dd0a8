"""What a runner remembers between batches: accounts, and recent movements for the risk rules.

Bounded where the rest can be read back from the views. ``is_complete`` memory instead began at
position 1 and holds everything, so that a rebuild or a verification trusts the log alone; it costs
about 0.7 kB an account and 0.1 kB a recent movement.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import msgspec

from ledger_core.accounts import Account
from ledger_core.kept import Place, State
from ledger_core.risk_rules import WINDOW_MOVEMENTS

ACCOUNTS_MAX = 200_000
"""About 140 MB."""
STATES_MAX = 100_000
"""About 70 MB."""
MOVEMENTS_MAX = 1_000_000
"""About 120 MB."""
RAISED_MAX = 500_000
"""Ids of flags that need not be raised again; about 60 MB."""


class Movement(msgspec.Struct, frozen=True, gc=False):
    """One posting as the risk rules see it: money in or out of a customer's account."""

    position: int
    value_date: date
    is_incoming: bool
    amount_minor: int
    kind: str


Window = deque[Movement]
"""The newest movements of an account, oldest first."""


def new_window() -> Window:
    """A window that nothing is in yet."""
    return deque(maxlen=WINDOW_MOVEMENTS)


class Rule(msgspec.Struct, frozen=True):
    """A risk rule as it stands: all its parameters, and since which event (0: the defaults)."""

    parameters: Mapping[str, int]
    enabled: bool = True
    position: int = 0


@dataclass(slots=True)
class Memory:
    """State after ``position`` events, valid for the projections' ``slots`` it was made from.

    ``windows`` hold an account's newest movements, ``deposits`` the newest of those that count as
    structuring, booked since that rule was last set: no number of other movements pushes them out.
    """

    is_complete: bool
    slots: Mapping[str, int] = field(default_factory=dict)
    position: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    states: dict[Place, State] = field(default_factory=dict)
    windows: dict[int, Window] = field(default_factory=dict)
    deposits: dict[int, Window] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    movements: int = 0
    raised: set[str] = field(default_factory=set)

    def trim(self) -> None:
        """Forget what can be read back, once it is more than the bounds allow."""
        if self.is_complete:
            return
        if len(self.accounts) > ACCOUNTS_MAX:
            self.accounts.clear()
        if len(self.states) > STATES_MAX:
            self.states.clear()
        if self.movements > MOVEMENTS_MAX:
            self.windows.clear()
            self.deposits.clear()
            self.movements = 0
        if len(self.raised) > RAISED_MAX:
            self.raised.clear()
