"""From events to a batch of changes: folded once, shared by all views.

The accounts are brought forward by the kernel (``ledger_core.accounts``), so a balance in a view,
in a decision and in a verification is the same. Knows no database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import msgspec

from ledger_core import accounts as account_rules
from ledger_core import events, kept
from ledger_core.accounts import Account, AccountEvent, AccountOpened, Movement
from ledger_core.events import Recorded
from ledger_core.journal import (
    HoldPlaced,
    HoldReleased,
    JournalEntryPosted,
    Posting,
    Side,
)
from ledger_core.kept import Place, State


class UnfoldableError(ValueError):
    """The event at ``position`` does not fit what came before it: the log is damaged."""

    def __init__(self, position: int, message: str) -> None:
        """Say where and why."""
        super().__init__(f"event {position}: {message}")
        self.position = position


Line = tuple[Account, Posting, int, int, datetime, date, str]
"""A posting in its place: the account after it, the posting, the position and its index there, when
it was recorded and from when it counts, and the kind of entry. A plain tuple: most of what a
projector makes are lines."""


class HeldLine(msgspec.Struct, frozen=True, gc=False):
    """A change of what is held on one side of an account, in minor units; negative: less.

    ``due_at`` is when it counts from, where that is before it was recorded.
    """

    after: Account
    side: Side
    change_minor: int
    position: int
    recorded_at: datetime
    due_at: datetime | None


@dataclass(slots=True)
class Batch:
    """What some consecutive events changed.

    ``posted`` are the accounts that took postings only, ``changed`` those whose terms or held sums
    are new; both as they stand after the batch. ``kept`` are the kept states that
    are new. ``others`` are the events that are no journal entries,
    ``changes`` says which of them concern which account.
    """

    first: int
    last: int
    recorded_at: datetime
    lines: list[Line] = field(default_factory=list)
    posted: dict[str, Account] = field(default_factory=dict)
    changed: dict[str, Account] = field(default_factory=dict)
    changes: list[tuple[int, int]] = field(default_factory=list)
    others: list[Recorded] = field(default_factory=list)
    held_lines: list[HeldLine] = field(default_factory=list)
    kept: dict[Place, State] = field(default_factory=dict)

    def absorb(self, later: "Batch") -> None:
        """Take in the batch that follows, but for its lines: what changed twice is kept once."""
        self.last, self.recorded_at = later.last, later.recorded_at
        for account_id in later.changed:
            self.posted.pop(account_id, None)
        self.changed |= later.changed
        for account_id in self.changed.keys() & later.posted.keys():
            self.changed[account_id] = later.posted.pop(account_id)
        self.posted |= later.posted
        self.changes += later.changes
        self.others += later.others
        self.kept |= later.kept


def unknown_accounts(accounts: dict[str, Account], recorded: Iterable[Recorded]) -> dict[str, int]:
    """The accounts that must be loaded before the fold, each with its first event's position."""
    named = {
        posting.account_id
        for item in recorded
        if type(item.event) is JournalEntryPosted
        for posting in item.event.postings
    }
    named.difference_update(accounts)
    others = [item for item in recorded if type(item.event) is not JournalEntryPosted]
    if not others:  # The hot path.
        return _first_positions(named, recorded) if named else {}
    opened: set[str] = set()
    unknown: dict[str, int] = {}
    for item in recorded:
        event = item.event
        if type(event) is AccountOpened:
            opened.add(account_rules.account_id_at(event, item.position))
        elif type(event) is JournalEntryPosted or events.is_account_event(event):
            for account_id in account_rules.accounts_of(event, item.position):
                if account_id not in accounts and account_id not in opened:
                    unknown.setdefault(account_id, item.position)
    return unknown


def _first_positions(account_ids: set[str], recorded: Iterable[Recorded]) -> dict[str, int]:
    """Where the first entry of each of the accounts is."""
    first: dict[str, int] = {}
    for item in recorded:
        if type(item.event) is JournalEntryPosted:
            for posting in item.event.postings:
                if posting.account_id in account_ids:
                    first.setdefault(posting.account_id, item.position)
    return first


def fold(batch: Batch, accounts: dict[str, Account], recorded: Sequence[Recorded]) -> None:
    """Bring the accounts forward by the batch's events, and note what that changed.

    Raises:
        UnfoldableError: an event concerns an account that was never opened; nothing was changed.
    """
    require_known(accounts, unknown_accounts(accounts, recorded))
    fold_known(batch, accounts, recorded)


def require_known(accounts: dict[str, Account], wanted: Mapping[str, int]) -> None:
    """The accounts are there; each is given with the position of an event that concerns it.

    Raises:
        UnfoldableError: one of them was never opened.
    """
    for account_id, position in wanted.items():
        if account_id not in accounts:
            raise UnfoldableError(position, f"account {account_id} was never opened")


def fold_known(batch: Batch, accounts: dict[str, Account], recorded: Sequence[Recorded]) -> None:
    """Do as ``fold``, where all accounts are known to be there."""
    changed: dict[str, None] = {}
    touched, add_line, posted = batch.posted, batch.lines.append, account_rules.posted
    before_at, booking_date = None, date.min
    for item in recorded:
        event = item.event
        if type(event) is not JournalEntryPosted:
            batch.others.append(item)
            _fold_other(batch, accounts, changed, item)
            continue
        position, recorded_at, kind = item.position, item.recorded_at, event.kind
        if recorded_at is not before_at:  # As ``journal.value_date_at``, once for many.
            before_at, booking_date = recorded_at, recorded_at.date()
        value_date = event.value_date or booking_date
        for index, posting in enumerate(event.postings):
            account_id = posting.account_id
            after = posted(accounts[account_id], posting, position)
            accounts[account_id] = touched[account_id] = after
            add_line((after, posting, position, index, recorded_at, value_date, kind))
        if event.hold_id is not None:
            _hold(batch, accounts, changed, item, event)
    for account_id in changed:
        batch.changed[account_id] = accounts[account_id]
        touched.pop(account_id, None)


def unknown_states(states: dict[Place, State], recorded: Iterable[Recorded]) -> set[Place]:
    """The kept states that must be loaded before the fold."""
    return {
        (keeper.kind, kept_id)
        for item in recorded
        if type(item.event) is not JournalEntryPosted or item.event.hold_id is not None
        for keeper, kept_id in kept.touched(item.event, item.position)
        if (keeper.kind, kept_id) not in states
    }


def fold_kept(batch: Batch, states: dict[Place, State], recorded: Iterable[Recorded]) -> None:
    """Bring the kept states forward by the batch's events, and note which changed.

    Raises:
        UnfoldableError: an event is about something that was never begun.
    """
    for item in recorded:
        if type(item.event) is JournalEntryPosted and item.event.hold_id is None:
            continue
        for keeper, kept_id in kept.touched(item.event, item.position):
            place = (keeper.kind, kept_id)
            try:
                state = keeper.evolve(
                    states.get(place), item.event, item.position, item.recorded_at
                )
            except ValueError as error:
                raise UnfoldableError(item.position, str(error)) from error
            states[place] = batch.kept[place] = state


def _fold_other(
    batch: Batch, accounts: dict[str, Account], changed: dict[str, None], item: Recorded
) -> None:
    """Take in what an event that is no entry changes of accounts."""
    if isinstance(item.event, HoldPlaced | HoldReleased):
        _hold(batch, accounts, changed, item, item.event)
        return
    account = _evolved(accounts, item)
    if account is not None:
        accounts[account.terms.account_id] = account
        changed[account.terms.account_id] = None
        batch.changes.append((account.terms.account_no, item.position))


def _hold(
    batch: Batch,
    accounts: dict[str, Account],
    changed: dict[str, None],
    item: Recorded,
    event: Movement,
) -> None:
    """Take in what a movement changes of what is held."""
    due_at = event.due_at if isinstance(event, HoldReleased) else None
    for account_id, side, change_minor in account_rules.held_changes(event):
        after = account_rules.held(accounts[account_id], side, change_minor, item.position)
        accounts[account_id] = after
        changed[account_id] = None
        batch.held_lines.append(
            HeldLine(after, side, change_minor, item.position, item.recorded_at, due_at)
        )


def _evolved(accounts: dict[str, Account], item: Recorded) -> Account | None:
    """The account after an event on its terms; ``None`` where the event is about none."""
    event = item.event
    if isinstance(event, AccountOpened):
        return account_rules.opened(event, item.position, item.recorded_at)
    if isinstance(event, AccountEvent):
        return account_rules.evolve(accounts[event.account_id], event, item.position)
    return None
