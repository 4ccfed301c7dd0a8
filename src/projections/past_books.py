"""The state that commands are decided on, as it was at a past position.

With it a command can be judged as it would have been then; nothing can be recorded on it.
"""

from collections.abc import Iterable, Sequence

import sqlalchemy
from sqlalchemy import ARRAY, Text, bindparam, func, select, text

from ledger_core import four_eyes, order_runs
from ledger_core import kept as kept_kinds
from ledger_core.approvals import ApproveRequest
from ledger_core.books import Books, EntryFacts, Wants
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import (
    Customer,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
)
from ledger_core.fields import ENTRY_PREFIX, can_exist, position_of
from ledger_core.group import Group
from ledger_core.holds import Hold
from ledger_core.journal import JournalEntryPosted
from ledger_core.standing_orders import ChangeOrder
from ledger_core.template import Template
from projections.balance_queries import accounts_of_ids
from projections.balances import units
from projections.event_tags import event_tags
from projections.kept_queries import states_at
from projections.reading import (
    EVENT_COLUMNS,
    AsOf,
    Reading,
    log_events,
    recorded_of,
    resolve,
)

PROJECTIONS_READ = ("balances", "statements", "customer_360", "kept", "event_tags")

_IDENTITIES = text(
    "SELECT kind, name, position FROM ledger.identities WHERE ledger_id = :ledger_id"
    " AND position <= :position AND (kind = 'reference' AND name = ANY(:references)"
    " OR kind IN ('entry', 'reversal') AND name = ANY(:entries))"
).bindparams(bindparam("references", type_=ARRAY(Text)), bindparam("entries", type_=ARRAY(Text)))


def books_at(
    conn: sqlalchemy.Connection, ledger_id: int, position: int, commands: Sequence[Command]
) -> Books:
    """The books after ``position`` events, with all that these commands need loaded.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, AsOf(position=position), *PROJECTIONS_READ)
    books = Books()
    books.position = position
    if reading.recorded_at is not None:
        books.recorded_at = reading.recorded_at
    rows = conn.execute(
        select(units.c.code, units.c.scale).where(
            units.c.ledger_id == ledger_id,
            units.c.slot == reading.slots["balances"],
            units.c.position <= position,
        )
    )
    books.units.update((row.code, int(row.scale)) for row in rows)
    for keeper in kept_kinds.KEEPERS.values():
        if keeper.resident:
            _load_kept(conn, ledger_id, reading, books, keeper.kind, None)
    wants = Wants()
    for command in commands:
        command.needs(wants)
    _load_entries(conn, ledger_id, reading, books, wants)
    _load_wanted(conn, ledger_id, reading, books, wants)
    asked = [item.command if isinstance(item, RequestApproval) else item for item in commands]
    changes = [command for command in asked if isinstance(command, ChangeOrder)]
    _load_wanted(conn, ledger_id, reading, books, order_runs.wants_of(books, changes))
    votes = [command for command in commands if isinstance(command, ApproveRequest)]
    waiting = four_eyes.wants_of(four_eyes.waiting(books, votes))
    _load_entries(conn, ledger_id, reading, books, waiting)
    _load_wanted(conn, ledger_id, reading, books, waiting)
    groups = {name for account in books.accounts.values() for name in account.terms.groups}
    _load_wanted(conn, ledger_id, reading, books, Wants(kept={("group", name) for name in groups}))
    _load_customers(conn, ledger_id, reading, books, wants.customers | waiting.customers)
    return books


def _load_wanted(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, books: Books, wants: Wants
) -> None:
    """Load kept states and accounts that are wanted, and the accounts that the states are about."""
    kinds = {kind for kind, _ in wants.kept}
    for kind in kinds:
        kept_ids = [name for wanted, name in wants.kept if wanted == kind and can_exist(name)]
        _load_kept(conn, ledger_id, reading, books, kind, kept_ids)
    names = set(wants.accounts)
    for place in wants.kept:
        state = books.states.get(place)
        if isinstance(state, Hold):
            names.update((state.debit_account_id, state.credit_account_id))
        elif isinstance(state, Group):
            names.update(state.members)
        elif isinstance(state, Template):
            names.update(state.account_ids)
    wanted = [name for name in names if name not in books.accounts and can_exist(name)]
    for account in accounts_of_ids(conn, ledger_id, reading, wanted):
        books.accounts[account.terms.account_id] = account


def _load_kept(  # noqa: PLR0913, PLR0917 - whose, when, where to, which
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    books: Books,
    kind: str,
    names: Iterable[str] | None,
) -> None:
    """Load states of a kind: some, or all."""
    for name, state in states_at(conn, ledger_id, reading, kind, names).items():
        books.keep((kind, name), state)


def _load_entries(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, books: Books, wants: Wants
) -> None:
    """Load the entries and references that commands name, and want the entries' accounts."""
    rows = conn.execute(
        _IDENTITIES,
        {
            "ledger_id": ledger_id,
            "position": reading.position,
            "references": [name for name in wants.references if can_exist(name)],
            "entries": [name for name in wants.entries if can_exist(name)],
        },
    ).all()
    books.references.update((row.name, row.position) for row in rows if row.kind == "reference")
    places = {row.name: row.position for row in rows if row.kind == "entry"}
    reversed_ids = {row.name for row in rows if row.kind == "reversal"}
    for name in wants.entries - places.keys():
        position = position_of(name, ENTRY_PREFIX)
        if position is not None and position <= reading.position:
            places[name] = position
    found = conn.execute(
        select(*EVENT_COLUMNS).where(
            log_events.c.ledger_id == ledger_id,
            log_events.c.position == func.any(list(places.values())),
        )
    )
    at = {item.position: item for item in map(recorded_of, found)}
    for name, position in places.items():
        item = at.get(position)
        if item is None or not isinstance(item.event, JournalEntryPosted):
            continue
        if item.event.entry_id in {None, name}:
            books.entries[name] = EntryFacts(
                name, position, item.recorded_at, item.event, is_reversed=name in reversed_ids
            )
            wants.accounts.update(posting.account_id for posting in item.event.postings)


def _load_customers(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    books: Books,
    names: Iterable[str],
) -> None:
    """Load customers, folded from their own events."""
    tags = [f"customer:{name}" for name in names if can_exist(name)]
    rows = conn.execute(
        select(*EVENT_COLUMNS)
        .join(
            event_tags,
            (event_tags.c.ledger_id == log_events.c.ledger_id)
            & (event_tags.c.position == log_events.c.position),
        )
        .where(
            event_tags.c.ledger_id == ledger_id,
            event_tags.c.slot == reading.slots["event_tags"],
            event_tags.c.tag == func.any(tags),
            event_tags.c.position <= reading.position,
            log_events.c.ledger_id == ledger_id,
            log_events.c.type.like("Customer%"),
        )
        .order_by(log_events.c.position)
    )
    for item in map(recorded_of, rows):
        event = item.event
        if isinstance(event, CustomerRegistered):
            customer = Customer.registered(event, item.position)
            books.customers[customer.customer_id] = customer
        elif isinstance(event, CustomerProfileChanged | CustomerErased):
            customer = books.customers[event.customer_id]
            books.customers[event.customer_id] = customer.evolve(event, item.position)
