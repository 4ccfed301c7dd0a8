"""What the shell does to run a standing order: book its movement, and say what came of it.

The entry and the run's own event are appended together, so an occurrence is booked if and only if
it is known to have run. A movement that is refused is not tried again: the order goes on.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ledger_core import commands
from ledger_core.books import Books, Event, Wants
from ledger_core.errors import LedgerError, PeriodIsClosed
from ledger_core.journal import JournalEntryPosted
from ledger_core.standing_order import StandingOrderRan, StandingOrderRunRefused
from ledger_core.standing_orders import ChangeOrder, RunOrder, kept_movements, movement_of


def wants_of(books: Books, asked: Iterable[RunOrder | ChangeOrder]) -> Wants:
    """What the movements of these orders need, as far as the orders are known."""
    wants = Wants()
    for command in asked:
        for movement in kept_movements(books, command.order_id):
            movement.needs(wants)
    return wants


def run(
    books: Books, command: RunOrder, record: Callable[[Event], int]
) -> StandingOrderRan | StandingOrderRunRefused | None:
    """Book what is due by ``record``; the run's event, yet to be recorded; ``None``: not due.

    Raises:
        ValidationFailed, OrderNotFound: see ``standing_orders.movement_of``.
        PeriodIsClosed: the business date lies in a closed period; the occurrence stays due.
    """
    movement = movement_of(books, command)
    if movement is None:
        return None
    occasion = command.order_id, command.due_date, command.business_date
    try:
        decided = commands.decide(books, movement)
    except PeriodIsClosed:
        raise  # It is the business date that cannot be run, not this order.
    except LedgerError as error:
        seen: dict[str, Any] = msgspec.to_builtins(
            {"position": books.position, **error.seen}, enc_hook=str
        )
        return StandingOrderRunRefused(*occasion, error.code, seen)
    entry_position = None
    for event in decided:
        position = record(event)
        if isinstance(event, JournalEntryPosted):
            entry_position = position
    return StandingOrderRan(*occasion, entry_position)
