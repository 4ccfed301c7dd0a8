"""What the shell loads before it decides: state, entries, and what keys led to before.

The books are complete from the position at which they were first loaded: whatever was touched
since is in them, and only what the snapshots have in its present state is ever forgotten. So a
miss means that no event since concerns the account, and its one stored row is the whole truth.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from ledger_core import (
    events,
    four_eyes,
    kept,
    log,
    order_runs,
    recent_keys,
    snapshots,
    transfers,
)
from ledger_core.account_limits import LimitChange
from ledger_core.accounts import Account, accounts_of
from ledger_core.approvals import ApproveRequest
from ledger_core.books import Books, EntryFacts, Wants
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import ChangeProfile, CustomerErased, CustomerProfileChanged
from ledger_core.errors import LedgerBusy
from ledger_core.fields import ENTRY_PREFIX, can_exist, position_of
from ledger_core.group import Group
from ledger_core.holds import Hold
from ledger_core.journal import JournalEntryPosted
from ledger_core.kept import Place
from ledger_core.log import Connection, Head
from ledger_core.recent_keys import RecentKeys
from ledger_core.standing_orders import ChangeOrder, RunOrder
from ledger_core.template import Template

# What is held in memory at the most, 500 MB in all: some 750 bytes an account (with one holder),
# 300 one that is packed, 400 a customer, 700 a kept state.
ACCOUNTS_CACHED_MAX = 200_000
ACCOUNTS_PACKED_MAX = 800_000
CUSTOMERS_CACHED_MAX = 100_000
STATES_CACHED_MAX = 75_000
# What falls due within this time is held in memory, so that the clock alone tells.
DUE_HORIZON = timedelta(minutes=10)
DUE_LOADED_MAX = 20_000

_ON_ORDERS = (RunOrder, ChangeOrder)
# What these need is known only when some of it has been loaded.
_LEADING_ON = (*_ON_ORDERS, ApproveRequest, ChangeProfile, RequestApproval)
_RESIDENT = tuple(keeper.kind for keeper in kept.KEEPERS.values() if keeper.resident)

_Name = TypeVar("_Name")


def first_load(connection: Connection, ledger_id: int, books: Books) -> None:
    """Begin at the position of the snapshots."""
    books.position = snapshots.position(connection, ledger_id)
    books.units.update(snapshots.load_units(connection, ledger_id))
    for place, state in snapshots.load_resident(connection, ledger_id, _RESIDENT):
        books.keep(place, state)


def load_due(connection: Connection, ledger_id: int, books: Books) -> bool:
    """Have in memory all that is due now; whether there may be more than could be loaded.

    The stored states are looked through once, in order of their due times and a horizon at a time;
    what is placed meanwhile is in memory, and stays there while it may fall due before that.
    """
    if books.is_due_known:
        return False
    now = books.recorded_at
    until = now + DUE_HORIZON
    loaded = snapshots.load_due(connection, ledger_id, books.due_after, until, DUE_LOADED_MAX)
    for place, state in loaded:
        if place not in books.states:
            books.keep(place, state)
    if len(loaded) < DUE_LOADED_MAX:
        books.due_after = (until, "", "")
        books.due_known_until = until
        return False
    last, state = loaded[-1]
    books.due_known_until = state.due_at
    books.due_after = (state.due_at, *last)
    return books.due_known_until <= now


def is_at_hand(books: Books, commands: Sequence[Command]) -> bool:
    """Whether all that ``load`` would load is in memory, as far as can be told at once."""
    if four_eyes.is_used(books) or books.recent_keys.not_new([item.key for item in commands]):
        return False
    wants = Wants()
    for command in transfers.not_at_hand(books, commands):
        if isinstance(command, _LEADING_ON):
            return False
        command.needs(wants)
    return not (wants.entries or wants.references or wants.kept or books.has_groups) and (
        all(name in books.accounts for name in wants.accounts)
        and all(name in books.customers for name in wants.customers)
    )


def load_recent_keys(connection: Connection, ledger_id: int, books: Books) -> None:
    """Know which of the keys that are made from now on were used: hardly any, yet."""
    now = books.recorded_at
    recent = recent_keys.stretch_at(now)
    limit = recent_keys.KEYS_MAX
    used = log.keys_between(connection, ledger_id, recent.first, recent.end, limit)
    if len(used) == limit:  # Somebody's clock is far ahead: they are looked up for a while.
        recent = RecentKeys(until=now + DUE_HORIZON)
    for key in used:
        recent.add(key)
    books.recent_keys = recent


def synchronise(connection: Connection, ledger_id: int, books: Books, head: Head) -> None:
    """Bring the books up to the head by the events that others appended.

    Raises:
        LedgerBusy: the state cannot be held in memory: see ``load_state``.
    """
    while books.position < head.position:
        rows = log.read_appended(connection, ledger_id, books.position)
        recorded = [
            events.Recorded(row[0], row[1], events.decode(row[2], row[3], row[4])) for row in rows
        ]
        for row in rows:
            if row[5] is not None:
                books.recent_keys.add(row[5])
        wants = Wants()
        for item in recorded:
            _wants_of_event(item, wants)
        load_wanted(connection, ledger_id, books, wants)
        for item in recorded:
            books.catch_up(item.event, item.position, item.recorded_at)


def load(
    connection: Connection, ledger_id: int, books: Books, commands: Sequence[Command]
) -> dict[str, events.Recorded]:
    """Load everything that commands need; what those of their keys led to that were used before.

    Raises:
        LedgerBusy: the state cannot be held in memory: see ``load_state``.
    """
    wants = Wants()
    orders: list[RunOrder | ChangeOrder] = []
    votes: list[ApproveRequest] = []
    keys = books.recent_keys.not_new([command.key for command in commands])
    if four_eyes.is_used(books):
        keys += [key for command in commands for key in four_eyes.more_keys(command)]
    for command in transfers.not_at_hand(books, commands):
        command.needs(wants)
        asked = command.command if isinstance(command, RequestApproval) else command
        if isinstance(asked, _ON_ORDERS):
            orders.append(asked)
        if isinstance(command, ApproveRequest):
            votes.append(command)
    known = by_key(connection, ledger_id, keys)
    for first in known.values():
        if isinstance(first.event, CustomerProfileChanged):
            wants.customers.add(first.event.customer_id)
    load_wanted(connection, ledger_id, books, wants)
    if orders:
        load_wanted(connection, ledger_id, books, order_runs.wants_of(books, orders))
    if votes:
        waiting = four_eyes.waiting(books, votes)
        load_wanted(connection, ledger_id, books, four_eyes.wants_of(waiting))
        known |= by_key(connection, ledger_id, [str(item.command["key"]) for item in waiting])
    return known


def load_wanted(connection: Connection, ledger_id: int, books: Books, wants: Wants) -> None:
    """Load all that is wanted, and what that leads to: a hold's accounts, a group's members.

    Raises:
        LedgerBusy: the state cannot be held in memory: see ``load_state``.
    """
    if wants.entries or wants.references:
        _load_entries(connection, ledger_id, books, wants)
    if wants.kept:
        _load_kept(connection, ledger_id, books, wants)
    load_state(connection, ledger_id, books, wants)
    groups = {
        ("group", name)
        for account_id in wants.accounts
        if (account := books.accounts.get(account_id)) is not None
        for name in account.terms.groups
    }
    if groups:
        members = Wants(kept=groups)
        _load_kept(connection, ledger_id, books, members)
        load_state(connection, ledger_id, books, members)


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
        if books.packed:
            missing = [name for name in missing if not _is_unpacked(books, name)]
        named = [name for name in missing if can_exist(name)]
        for account in snapshots.load_accounts(connection, ledger_id, named):
            books.hold(account)
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
    """Forget some of what stands in the snapshots in its present state, where there is too much."""
    if (
        len(books.accounts) <= ACCOUNTS_CACHED_MAX
        and len(books.customers) <= CUSTOMERS_CACHED_MAX
        and len(books.states) <= STATES_CACHED_MAX
    ):
        return
    if _size(books) < books.evict_again_at:
        return
    stored = snapshots.position(connection, ledger_id)
    soon, due = books.due_known_until, books.due

    def may_go(place: Place) -> bool:
        """Whether the kept state is neither resident nor due soon."""
        due_at = due.get(place)
        return place[0] not in _RESIDENT and (due_at is None or due_at > soon)

    used_after = books.evicted_at
    _pack(books, _forget(books.accounts, ACCOUNTS_CACHED_MAX, stored, used_after))
    _forget(books.customers, CUSTOMERS_CACHED_MAX, stored, used_after)
    for place, _ in _forget(books.states, STATES_CACHED_MAX, stored, used_after, may_go):
        due.pop(place, None)
    books.evicted_at = books.position
    # Where little could be forgotten (the views are behind), looking again at once would not help.
    books.evict_again_at = _size(books) + min(ACCOUNTS_CACHED_MAX, STATES_CACHED_MAX) // 20


def _size(books: Books) -> int:
    """How much is in memory."""
    return len(books.accounts) + len(books.customers) + len(books.states)


def _load_kept(connection: Connection, ledger_id: int, books: Books, wants: Wants) -> None:
    """Load kept states that are not in memory, and want what they lead to."""
    missing = [place for place in wants.kept if place not in books.states]
    if missing:
        named = [place for place in missing if can_exist(place[1])]
        for place, state in snapshots.load_kept(connection, ledger_id, named):
            books.keep(place, state)
    for place in wants.kept:
        state = books.states.get(place)
        if isinstance(state, Hold):
            wants.accounts.update((state.debit_account_id, state.credit_account_id))
        elif isinstance(state, Group):
            wants.accounts.update(state.members)
        elif isinstance(state, LimitChange):
            wants.accounts.add(state.account_id)
        elif isinstance(state, Template):
            wants.accounts.update(state.account_ids)


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


def by_key(connection: Connection, ledger_id: int, keys: list[str]) -> dict[str, events.Recorded]:
    """What those of the keys led to that were used before."""
    if not keys:
        return {}
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


def _forget(
    cached: dict[_Name, Any],
    most: int,
    stored: int,
    used_after: int,
    may_go: Callable[[_Name], bool] = lambda _: True,
) -> list[tuple[_Name, Any]]:
    """Leave a little less than ``most``; names and values of what was forgotten.

    Goes round, a part at a time: what was touched ``used_after`` that position gets another round,
    as long as that leaves enough to forget. Nothing newer than ``stored`` is forgotten.
    """
    gone: list[tuple[_Name, Any]] = []
    if len(cached) <= most:
        return gone
    excess = len(cached) - most + most // 20
    for spared_after in (used_after, stored):
        for name in list(islice(cached, 4 * max(excess, 0))):
            item = cached.pop(name)
            if item.last_position > min(stored, spared_after) or not may_go(name):
                cached[name] = item  # At the end of the round.
                continue
            gone.append((name, item))
            excess -= 1
            if excess <= 0:
                return gone
    return gone


def _pack(books: Books, accounts: Iterable[tuple[str, Account]]) -> None:
    """Keep accounts that were forgotten as bytes: a twentieth of the work of loading them."""
    kept_packed = books.packed
    for name, account in accounts:
        packed = snapshots.packed(account)
        if packed is not None:  # Else it is loaded again.
            kept_packed[name] = packed
    for name in list(islice(kept_packed, max(0, len(kept_packed) - ACCOUNTS_PACKED_MAX))):
        del kept_packed[name]


def _is_unpacked(books: Books, name: str) -> bool:
    """Whether the account was packed, and is in memory again."""
    packed = books.packed.pop(name, None)
    if packed is None:
        return False
    books.hold(snapshots.unpacked(packed))
    return True


def _wants_of_event(item: events.Recorded, wants: Wants) -> None:
    """What must be loaded before an event of another writer is taken in."""
    event = item.event
    match event:
        case (
            CustomerProfileChanged(customer_id=customer_id)
            | CustomerErased(customer_id=customer_id)
        ):
            wants.customers.add(customer_id)
        case _:
            if events.is_account_event(event):
                wants.accounts.update(accounts_of(event, item.position))
    for keeper, kept_id in kept.touched(event, item.position):
        wants.kept.add((keeper.kind, kept_id))
