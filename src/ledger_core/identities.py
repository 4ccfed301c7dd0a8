"""Chosen ids and references: what a command wants to take, and what an event took.

An id is an identity like an idempotency key: the same id with the same content is the same thing
once more, with other content it is a conflict.
"""

from collections.abc import Sequence

from ledger_core import commands
from ledger_core.account_terms import OpenAccount
from ledger_core.books import Books, Event
from ledger_core.commands import Command
from ledger_core.customers import RegisterCustomer
from ledger_core.errors import AccountExists, CustomerExists, EntryExists, LedgerError
from ledger_core.journal import HoldPlaced, JournalEntryPosted
from ledger_core.log import Identity


def taken_at(books: Books, command: Command) -> int | None:
    """Where the id that this command chooses was taken, if it was."""
    if isinstance(command, OpenAccount):
        account = books.accounts.get(command.account_id or "")
        return None if account is None else account.terms.account_no
    if isinstance(command, RegisterCustomer):
        customer = books.customers.get(command.customer_id or "")
        return None if customer is None else customer.customer_no
    chosen = commands.CHOSEN_IDS.get(type(command))
    if chosen is not None:
        state = books.kept(chosen[0], getattr(command, chosen[1]) or "")
        return None if state is None else int(state.position)
    if not books.entries:
        return None
    entry = books.entries.get(getattr(command, "entry_id", None) or "")
    return None if entry is None else entry.position


def taken(command: Command, position: int, fields: Sequence[str]) -> LedgerError:
    """The refusal where something of other content has the id since ``position``."""
    kind: type[LedgerError] = EntryExists
    if isinstance(command, OpenAccount):
        kind = AccountExists
    elif isinstance(command, RegisterCustomer):
        kind = CustomerExists
    elif type(command) in commands.CHOSEN_IDS:
        kind = commands.CHOSEN_IDS[type(command)][2]
    return kind(position=position, fields=list(fields))


def names_of(event: Event, position: int) -> list[Identity]:
    """The names that an entry or hold takes: each can be taken once."""
    if isinstance(event, HoldPlaced):
        names = [("reference", event.reference)]
    elif isinstance(event, JournalEntryPosted):
        if event.entry_id is None and event.reference is None and event.reverses is None:
            return []  # The hot path.
        names = [
            ("entry", event.entry_id),
            ("reference", event.reference),
            ("reversal", event.reverses),
        ]
    else:
        return []
    return [Identity(kind, name, position) for kind, name in names if name is not None]
