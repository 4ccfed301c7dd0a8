"""How much a caller may move by one command: what it would move, held against the caller's bounds.

Judged on the events that the command amounts to, whatever it is called: an entry by its debits, a
hold by what it reserves, a standing order by each run, a request for approval by all that the
waiting command may come to. Whoever approves needs the amount as well. Knows no roles: bounds come
with the submission.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ledger_core import approvals, commands
from ledger_core.approvals import ApprovalRequest, ApproveRequest
from ledger_core.books import Books, Event
from ledger_core.commands import ApprovableCommand, Command, RequestApproval
from ledger_core.errors import AmountAboveAuthority, LedgerError
from ledger_core.holds import CaptureHold, PlaceHold, whole_of
from ledger_core.journal import HoldPlaced, JournalEntryPosted
from ledger_core.movements import MovementCommand, would_book
from ledger_core.reversals import ReverseEntry
from ledger_core.standing_order import StandingOrderChanged, StandingOrderCreated
from ledger_core.standing_orders import ChangeOrder, CreateOrder, ordered_movements

AmountBounds = Mapping[str, Mapping[str, int]]
"""By type of command and currency, the minor units that one may move or hold; types that are not
there are not bounded, and in a currency that is not there nothing may be moved."""


def require_within(
    books: Books, command: Command, decided: Sequence[Event], bounds: AmountBounds
) -> None:
    """What the command was decided to move is within the caller's bounds.

    Raises:
        AmountAboveAuthority: it is not, or it cannot be told how much that will be.
    """
    if isinstance(command, RequestApproval):
        require_later_within(books, command.command, bounds)
        return
    amount_max = bounds.get(commands.tag_of(command))
    if amount_max is None:
        return
    if isinstance(command, ApproveRequest):
        _require(_approved(books, command), amount_max)
    else:
        _require(_moved(books, decided), amount_max)


def require_later_within(books: Books, command: ApprovableCommand, bounds: AmountBounds) -> None:
    """All that a command may come to once it was approved is within the caller's bounds.

    Raises:
        AmountAboveAuthority: it is not, or it cannot be told.
    """
    amount_max = bounds.get(commands.tag_of(command))
    if amount_max is not None:
        _require(_later(books, command), amount_max)


def _require(moved: Mapping[str, int] | None, amount_max: Mapping[str, int]) -> None:
    """No currency is moved beyond its bound.

    Raises:
        AmountAboveAuthority: one is, or it cannot be told (``None``).
    """
    if moved is None:
        raise AmountAboveAuthority
    for currency, amount_minor in sorted(moved.items()):
        most_minor = amount_max.get(currency, 0)
        if amount_minor > most_minor:
            raise AmountAboveAuthority(
                currency=currency,
                amount_minor=str(amount_minor),
                amount_max_minor=str(most_minor),
            )


def _approved(books: Books, command: ApproveRequest) -> Mapping[str, int] | None:
    """What the request may come to that an approval is for; the request is there, and pending."""
    request: ApprovalRequest = books.states[approvals.KIND, command.request_id]
    return _later(books, commands.waiting_command(request.command, {}))


def _later(books: Books, command: ApprovableCommand) -> Mapping[str, int] | None:
    """What a waiting command moves if nothing holds it back by then; ``None``: cannot be told."""
    unbound = {"force": True, "if_balance": None, "if_version": None}
    events: Sequence[object] | None
    try:
        match command:
            case PlaceHold():
                events = (whole_of(command),)
            case ReverseEntry() | CaptureHold():
                events = commands.decide(books, msgspec.structs.replace(command, **unbound))
            case CreateOrder() | ChangeOrder():
                events = commands.decide(books, command)
            case _ if isinstance(command, MovementCommand):
                events = would_book(books, command)
            case _:
                events = ()
    except LedgerError:
        return None
    return None if events is None else _moved(books, events)


def _moved(books: Books, events: Sequence[object]) -> Mapping[str, int] | None:
    """By currency, the minor units that events debit or hold, or that a run of an order will."""
    moved = _booked(events)
    for event in events:
        if isinstance(event, StandingOrderCreated | StandingOrderChanged):
            runs = _runs(books, event)
            if runs is None:
                return None
            moved |= runs
    return moved


def _booked(events: Iterable[object]) -> Counter[str]:
    """By currency, the minor units that events debit or hold."""
    booked: Counter[str] = Counter()
    for event in events:
        if isinstance(event, JournalEntryPosted):
            for posting in event.postings:
                if posting.side == "debit":
                    booked[posting.currency] += posting.amount_minor
        elif isinstance(event, HoldPlaced):
            booked[event.currency] += event.amount_minor
    return booked


def _runs(books: Books, event: StandingOrderCreated | StandingOrderChanged) -> Counter[str] | None:
    """By currency, the most that one run of an order will move; ``None``: cannot be told."""
    most: Counter[str] = Counter()
    for movement in ordered_movements(books, event):
        events = would_book(books, movement)
        if events is None:
            return None
        most |= _booked(events)
    return most
