"""From rows of the log to a batch of changes: decoded once, folded once, shared by all views.

The accounts are brought forward by the kernel (``ledger_core.accounts``), so a balance in a view,
in a decision and in a verification is the same. Knows no database.
"""

from collections.abc import Iterable, Sequence
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
    value_date_at,
)
from ledger_core.kept import Place, State

Row = tuple[int, datetime, str, int, bytes]


class UnfoldableError(ValueError):
    """The event at ``position`` does not fit what came before it: the log is damaged."""

    def __init__(self, position: int, message: str) -> None:
        """Say where and why."""
        super().__init__(f"event {position}: {message}")
        self.position = position


class Line(msgspec.Struct, frozen=True, gc=False):
    """A posting in its place: which account it left in which state, and when it counts."""

    after: Account
    posting: Posting
    position: int
    index: int
    recorded_at: datetime
    value_date: date
    kind: str


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


def decode(rows: Iterable[Row], after: int) -> list[Recorded]:
    """The events behind rows that must follow ``after`` without a gap.

    Raises:
        UnfoldableError: a position is missing or doubled.
        UnknownEvent: an event that this program does not know.
        msgspec.DecodeError: bytes that are not such an event.
    """
    recorded: list[Recorded] = []
    decode_event = events.decode
    for position, recorded_at, name, version, data in rows:
        after += 1
        if position != after:
            raise UnfoldableError(position, f"position {after} was expected")
        recorded.append(Recorded(position, recorded_at, decode_event(name, version, data)))
    return recorded


def unknown_accounts(accounts: dict[str, Account], recorded: Iterable[Recorded]) -> dict[str, int]:
    """The accounts that must be loaded before the fold, each with its first event's position."""
    opened: set[str] = set()
    unknown: dict[str, int] = {}
    for item in recorded:
        event = item.event
        if type(event) is JournalEntryPosted:
            for posting in event.postings:
                account_id = posting.account_id
                if account_id not in accounts and account_id not in opened:
                    unknown.setdefault(account_id, item.position)
        elif isinstance(event, AccountOpened):
            opened.add(account_rules.account_id_at(event, item.position))
        elif events.is_account_event(event):
            for account_id in account_rules.accounts_of(event, item.position):
                if account_id not in accounts and account_id not in opened:
                    unknown.setdefault(account_id, item.position)
    return unknown


def batch_of(rows: Sequence[Row]) -> Batch:
    """The batch of these rows (at least one), with nothing folded into it yet."""
    return Batch(rows[0][0], rows[-1][0], rows[-1][1])


def fold(batch: Batch, accounts: dict[str, Account], recorded: Iterable[Recorded]) -> None:
    """Bring the accounts forward by the batch's events, and note what that changed.

    Raises:
        UnfoldableError: an event concerns an account that was never opened; nothing was changed.
    """
    for account_id, position in unknown_accounts(accounts, recorded).items():
        raise UnfoldableError(position, f"account {account_id} was never opened")
    touched: dict[str, None] = {}
    changed: dict[str, None] = {}
    lines, posted = batch.lines, account_rules.posted
    for item in recorded:
        event, position = item.event, item.position
        if type(event) is JournalEntryPosted:
            recorded_at, kind = item.recorded_at, event.kind
            value_date = value_date_at(event, recorded_at)
            for index, posting in enumerate(event.postings):
                account_id = posting.account_id
                after = posted(accounts[account_id], posting, position)
                accounts[account_id] = after
                touched[account_id] = None
                lines.append(Line(after, posting, position, index, recorded_at, value_date, kind))
            if event.hold_id is not None:
                _hold(batch, accounts, changed, item, event)
            continue
        batch.others.append(item)
        if isinstance(event, HoldPlaced | HoldReleased):
            _hold(batch, accounts, changed, item, event)
            continue
        account = _evolved(accounts, item)
        if account is not None:
            accounts[account.terms.account_id] = account
            changed[account.terms.account_id] = None
            batch.changes.append((account.terms.account_no, position))
    batch.changed = {account_id: accounts[account_id] for account_id in changed}
    batch.posted = {
        account_id: accounts[account_id] for account_id in touched if account_id not in changed
    }


def unknown_states(states: dict[Place, State], recorded: Iterable[Recorded]) -> set[Place]:
    """The kept states that must be loaded before the fold."""
    return {
        (keeper.kind, kept_id)
        for item in recorded
        for keeper, kept_id in kept.touched(item.event, item.position)
        if (keeper.kind, kept_id) not in states
    }


def fold_kept(batch: Batch, states: dict[Place, State], recorded: Iterable[Recorded]) -> None:
    """Bring the kept states forward by the batch's events, and note which changed.

    Raises:
        UnfoldableError: an event is about something that was never begun.
    """
    for item in recorded:
        for keeper, kept_id in kept.touched(item.event, item.position):
            place = (keeper.kind, kept_id)
            try:
                state = keeper.evolve(
                    states.get(place), item.event, item.position, item.recorded_at
                )
            except ValueError as error:
                raise UnfoldableError(item.position, str(error)) from error
            states[place] = batch.kept[place] = state


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
