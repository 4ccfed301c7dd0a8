"""What the shell loads before it decides: state, entries, and what keys led to before.

The books are complete from the position at which they were first loaded: whatever was touched
since is in them, and only what the snapshots have in its present state is ever forgotten. So a
miss means that no event since concerns the account, and its one stored row is the whole truth.
"""

from collections.abc import Iterable
from typing import TypeVar

from ledger_core import events, log, snapshots
from ledger_core.accounts import Account, accounts_of
from ledger_core.books import Books, EntryFacts, Wants
from ledger_core.commands import Command
from ledger_core.customers import Customer, CustomerErased, CustomerProfileChanged
from ledger_core.errors import LedgerBusy
from ledger_core.fields import ENTRY_PREFIX, can_exist, position_of
from ledger_core.journal import JournalEntryPosted
from ledger_core.log import Connection, Head

# Accounts, and customers as many: about 700 bytes an account, 350 MB at the most.
ACCOUNTS_CACHED_MAX = 500_000

_Dated = TypeVar("_Dated", Account, Customer)


def first_load(connection: Connection, ledger_id: int, books: Books) -> None:
    """Begin at the position of the snapshots."""
    books.position = snapshots.position(connection, ledger_id)
    books.units.update(snapshots.load_units(connection, ledger_id))


def synchronise(connection: Connection, ledger_id: int, books: Books, head: Head) -> None:
    """Bring the books up to the head by the events that others appended.

    Raises:
        LedgerBusy: the state cannot be held in memory: see ``load_state``.
    """
    while books.position < head.position:
        rows = log.read_rows(connection, ledger_id, books.position)
        recorded = [
            events.Recorded(row[0], row[1], events.decode(row[2], row[3], row[4])) for row in rows
        ]
        wants = Wants()
        for item in recorded:
            _wants_of_event(item, wants)
        load_state(connection, ledger_id, books, wants)
        for item in recorded:
            books.catch_up(item.event, item.position, item.recorded_at)


def load(
    connection: Connection, ledger_id: int, books: Books, commands: Iterable[Command]
) -> dict[str, events.Recorded]:
    """Load everything that commands need; what those of their keys led to that were used before.

    Raises:
        LedgerBusy: the state cannot be held in memory: see ``load_state``.
    """
    wants = Wants()
    keys: list[str] = []
    for command in commands:
        command.needs(wants)
        keys.append(command.key)
    known = _by_key(connection, ledger_id, keys)
    for first in known.values():
        if isinstance(first.event, CustomerProfileChanged):
            wants.customers.add(first.event.customer_id)
    if wants.entries or wants.references:
        _load_entries(connection, ledger_id, books, wants)
    load_state(connection, ledger_id, books, wants)
    return known


def load_state(connection: Connection, ledger_id: int, books: Books, wants: Wants) -> None:
    """Load accounts and customers that are not in memory.

    Raises:
        LedgerBusy: the projectors are so far behind that too much would have to be held.
    """
    # Not by subtracting the keys: that would walk through all that is in memory.
    missing = [name for name in wants.accounts if name not in books.accounts]
    if missing:
        if len(books.accounts) > 2 * ACCOUNTS_CACHED_MAX:
            raise LedgerBusy(reason="projections_behind")
        named = [name for name in missing if can_exist(name)]
        for account in snapshots.load_accounts(connection, ledger_id, named):
            books.accounts[account.terms.account_id] = account
    missing = [name for name in wants.customers if name not in books.customers]
    if missing:
        named = [name for name in missing if can_exist(name)]
        for customer in snapshots.load_customers(connection, ledger_id, named):
            books.customers[customer.customer_id] = customer


def at_positions(
    connection: Connection, ledger_id: int, positions: Iterable[int]
) -> list[events.Recorded]:
    """The events at those positions that exist."""
    rows = connection.execute(
        "SELECT position, recorded_at, type, version, data FROM ledger.events"
        " WHERE ledger_id = %s AND position = ANY(%s)",
        (ledger_id, list(positions)),
    )
    return [events.Recorded(row[0], row[1], events.decode(row[2], row[3], row[4])) for row in rows]


def evict(connection: Connection, ledger_id: int, books: Books) -> None:
    """Forget what is longest untouched and stands in the snapshots in its present state."""
    if max(len(books.accounts), len(books.customers)) <= ACCOUNTS_CACHED_MAX:
        return
    stored = snapshots.position(connection, ledger_id)
    _forget_oldest(books.accounts, stored)
    _forget_oldest(books.customers, stored)


def _load_entries(connection: Connection, ledger_id: int, books: Books, wants: Wants) -> None:
    """Load the entries and references that commands name, and the entries' accounts."""
    rows = connection.execute(
        "SELECT kind, name, position FROM ledger.identities"
        " WHERE ledger_id = %s AND (kind = 'reference' AND name = ANY(%s)"
        " OR kind IN ('entry', 'reversal') AND name = ANY(%s))",
        (
            ledger_id,
            [name for name in wants.references if can_exist(name)],
            [name for name in wants.entries if can_exist(name)],
        ),
    ).fetchall()
    books.references.update((row[1], row[2]) for row in rows if row[0] == "reference")
    reversed_ids = {row[1] for row in rows if row[0] == "reversal"}
    places = {row[1]: row[2] for row in rows if row[0] == "entry"}
    for entry_id in wants.entries - places.keys():
        position = position_of(entry_id, ENTRY_PREFIX)
        if position is not None:
            places[entry_id] = position
    at = {item.position: item for item in at_positions(connection, ledger_id, places.values())}
    for entry_id, position in places.items():
        item = at.get(position)
        if item is None or not isinstance(item.event, JournalEntryPosted):
            continue
        if item.event.entry_id not in (None, entry_id):
            continue
        books.entries[entry_id] = EntryFacts(
            entry_id,
            position,
            item.recorded_at,
            item.event,
            is_reversed=entry_id in reversed_ids,
        )
        wants.accounts.update(accounts_of(item.event, position))


def _by_key(connection: Connection, ledger_id: int, keys: list[str]) -> dict[str, events.Recorded]:
    """What those of the keys led to that were used before."""
    # Key by key within the statement, and LIMIT: so that the planner weighs the unique index
    # against the primary key for one row, and not for all rows of the ledger.
    rows = connection.execute(
        "SELECT e.command_key, e.position, e.recorded_at, e.type, e.version, e.data"
        " FROM unnest(%s::text[]) AS k(command_key) CROSS JOIN LATERAL ("
        "SELECT command_key, position, recorded_at, type, version, data FROM ledger.events"
        " WHERE ledger_id = %s AND command_key = k.command_key LIMIT 1) AS e",
        ([key for key in keys if can_exist(key)], ledger_id),
    )
    return {
        row[0]: events.Recorded(row[1], row[2], events.decode(row[3], row[4], row[5]))
        for row in rows
    }


def _forget_oldest(cached: dict[str, _Dated], stored: int) -> None:
    """Leave three quarters of what may be cached, but forget nothing newer than ``stored``."""
    by_age = sorted(cached.items(), key=lambda item: item[1].last_position)
    for name, item in by_age[: max(0, len(by_age) - ACCOUNTS_CACHED_MAX * 3 // 4)]:
        if item.last_position > stored:
            break
        del cached[name]


def _wants_of_event(item: events.Recorded, wants: Wants) -> None:
    """What must be loaded before an event of another writer is taken in."""
    event = item.event
    match event:
        case CustomerErased(customer_id=customer_id):
            wants.customers.add(customer_id)
        case _:
            if events.is_account_event(event):
                wants.accounts.update(accounts_of(event, item.position))
