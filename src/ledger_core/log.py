"""The append-only log on PostgreSQL: gapless positions, exact bytes, a sealed tree.

An append locks the ledger's head row in a statement of its own, writes its events, and moves the
head (position, time, Merkle frontier) in the same transaction (``appending``). Whoever has seen
position n has therefore seen all before it, and every commit is sealed. Knows events only as
names, tags and bytes; also speaks the ``eventsourcing`` library's DCB interface (``LogRecorder``).
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import sql

from ledger_core import merkle
from ledger_core.errors import LedgerNotFound, ValidationFailed
from ledger_core.fields import can_exist

# One read brings at most this many rows into memory.
READ_ROWS_MAX = 5_000

# A name goes into commands, URLs and file names: nothing that has to be quoted there.
_LEDGER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

_EVENT = "position, recorded_at, type, version, tags, command_key, actor, data, leaf_hash"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_header: Callable[[object], bytes] = msgspec.json.Encoder().encode

Connection = psycopg.Connection[tuple[Any, ...]]


class Head(msgspec.Struct, frozen=True):
    """Where a ledger's log ends: its last position and time, and the frontier of its tree."""

    position: int
    recorded_at: datetime
    frontier: merkle.Frontier


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event to append: ``data`` is its exact JSON bytes."""

    type: str
    version: int
    tags: Sequence[str]
    command_key: str | None
    actor: str
    data: bytes


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as it stands in the log, every column of it."""

    position: int
    recorded_at: datetime
    type: str
    version: int
    tags: Sequence[str]
    command_key: str | None
    actor: str
    data: bytes
    leaf_hash: bytes


class Identity(msgspec.Struct, frozen=True):
    """A name that a journal entry takes in its ledger: its chosen id, reference, or reversal."""

    kind: str
    name: str
    position: int


def micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC: how a time enters a leaf, free of any text form."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def leaf_of(  # noqa: PLR0913, PLR0917 - the columns of an event
    position: int,
    recorded_at_us: int,
    kind: str,
    version: int,
    command_key: str | None,
    actor: str,
    tags: Sequence[str],
    data: bytes,
) -> bytes:
    """The bytes of an event's leaf: a JSON header line of every column, then the data as stored."""
    head = _header([position, recorded_at_us, kind, version, command_key, actor, tags])
    return head + b"\n" + data


def leaf_hash_of(event: StoredEvent) -> bytes:
    """The leaf hash that the event's columns amount to (RFC 9162, section 2.1.1)."""
    return merkle.leaf_hash(
        leaf_of(
            event.position,
            micros(event.recorded_at),
            event.type,
            event.version,
            event.command_key,
            event.actor,
            event.tags,
            event.data,
        )
    )


def create_ledger(connection: Connection, name: str, at: datetime) -> int:
    """The id of the ledger of that name, creating it with an empty log if there is none.

    Raises:
        ValidationFailed: there is none, and the name is not one that a new ledger may have.
    """
    while True:
        found = find_ledger(connection, name)
        if found is not None:
            return found
        if _LEDGER_NAME.fullmatch(name) is None:
            raise ValidationFailed(
                "ledger",
                "1 to 63 lower-case letters, digits, '.', '_' and '-', a letter or digit first",
            )
        try:
            with connection.transaction():
                row = connection.execute(
                    "INSERT INTO ledger.ledgers (ledger_id, name, created_at)"
                    " SELECT coalesce(max(ledger_id), 0) + 1, %s, %s FROM ledger.ledgers"
                    " RETURNING ledger_id",
                    (name, at),
                ).fetchone()
                assert row is not None  # noqa: S101 - RETURNING of one inserted row
                connection.execute(
                    "INSERT INTO ledger.heads (ledger_id, position, recorded_at, frontier)"
                    " VALUES (%s, 0, %s, %s)",
                    (row[0], _EPOCH, merkle.to_bytes(merkle.EMPTY)),
                )
        except psycopg.errors.UniqueViolation:
            continue


def find_ledger(connection: Connection, name: str) -> int | None:
    """The id of the ledger of that name, or ``None``."""
    if not can_exist(name):
        return None
    row = connection.execute(
        "SELECT ledger_id FROM ledger.ledgers WHERE name = %s", (name,)
    ).fetchone()
    return None if row is None else int(row[0])


def ledgers(connection: Connection) -> list[tuple[int, str]]:
    """Every ledger's id and name."""
    rows = connection.execute("SELECT ledger_id, name FROM ledger.ledgers ORDER BY ledger_id")
    return [(int(row[0]), str(row[1])) for row in rows]


def read_head(connection: Connection, ledger_id: int) -> Head:
    """Where the log ends now.

    Raises:
        LedgerNotFound: no such ledger.
    """
    row = connection.execute(
        "SELECT position, recorded_at, frontier FROM ledger.heads WHERE ledger_id = %s",
        (ledger_id,),
    ).fetchone()
    if row is None:
        raise LedgerNotFound
    return Head(row[0], row[1], merkle.from_bytes(row[2]))


def begin(connection: Connection, ledger_id: int) -> Head:
    """Begin a transaction in which the log may be appended to: where it ends now.

    Every other writer is kept out until the transaction ends. The lock is a statement of its own:
    what is read after it sees everything that earlier writers committed. Both statements take one
    round trip.

    Raises:
        LedgerNotFound: no such ledger; the transaction has ended.
    """
    cursor = connection.execute(
        sql.SQL(
            "BEGIN; SELECT position, recorded_at, frontier FROM ledger.heads"
            " WHERE ledger_id = {} FOR UPDATE"
        ).format(sql.Literal(ledger_id)),
        prepare=False,
    )
    cursor.nextset()
    row = cursor.fetchone()
    if row is None:
        connection.execute("ROLLBACK")
        raise LedgerNotFound
    return Head(row[0], row[1], merkle.from_bytes(row[2]))


def read_appended(
    connection: Connection, ledger_id: int, after: int, limit: int = READ_ROWS_MAX
) -> list[tuple[int, datetime, str, int, bytes, str | None]]:
    """Events after a position, in order: position, time, type, version, data and command key."""
    columns = "position, recorded_at, type, version, data, command_key"
    return _read(connection, columns, ledger_id, after, limit)


def keys_between(
    connection: Connection, ledger_id: int, first: str, end: str, limit: int
) -> list[str]:
    """Command keys in the log that lie strictly between two, by their bytes; at most so many."""
    rows = connection.execute(
        "SELECT command_key FROM ledger.events"
        " WHERE ledger_id = %s AND command_key > %s AND command_key < %s LIMIT %s",
        (ledger_id, first, end, limit),
    )
    return [row[0] for row in rows]


def read_events(
    connection: Connection, ledger_id: int, after: int, limit: int = READ_ROWS_MAX
) -> list[StoredEvent]:
    """Whole events after a position, in order."""
    return [StoredEvent(*row) for row in _read(connection, _EVENT, ledger_id, after, limit)]


def events_at(
    connection: Connection, ledger_id: int, positions: Sequence[int]
) -> list[StoredEvent]:
    """Whole events at those positions that exist, in order."""
    rows = connection.execute(
        f"SELECT {_EVENT} FROM ledger.events"  # noqa: S608 - our own columns
        " WHERE ledger_id = %s AND position = ANY(%s) ORDER BY position",
        (ledger_id, list(positions)),
    )
    return [StoredEvent(*row) for row in rows]


def find_identities(connection: Connection, ledger_id: int, name: str) -> dict[str, int]:
    """Where entries took that name: the position of each kind of identity."""
    rows = connection.execute(
        "SELECT kind, position FROM ledger.identities"
        " WHERE ledger_id = %s AND kind IN ('entry', 'reference', 'reversal') AND name = %s",
        (ledger_id, name),
    )
    return {row[0]: row[1] for row in rows}


def matching(
    connection: Connection,
    ledger_id: int,
    condition: tuple[sql.Composable, Sequence[object]],
    bounds: tuple[int, int],
    limit: int,
) -> list[StoredEvent]:
    """Events within ``(after, up_to]`` that meet a condition on the ``events`` row, in order."""
    clause, parameters = condition
    query = sql.SQL(
        "SELECT position, recorded_at, type, version, tags, command_key, actor, data, leaf_hash"
        " FROM ledger.events WHERE ledger_id = %s AND position > %s AND position <= %s"
        " AND ({}) ORDER BY position LIMIT %s"
    ).format(clause)
    rows = connection.execute(query, (ledger_id, *bounds, *parameters, limit))
    return [StoredEvent(*row) for row in rows]


def _read(
    connection: Connection, columns: LiteralString, ledger_id: int, after: int, limit: int
) -> list[tuple[Any, ...]]:
    """Columns of the events after a position, in order, at most ``limit``.

    Positions have no gaps, so the last one is known: the planner, which expects one event in 200 to
    be this ledger's, would fetch and sort all the rest of the log for a LIMIT. Only in a damaged
    log are there none up to there and more beyond.
    """
    query = f"SELECT {columns} FROM ledger.events WHERE ledger_id = %s AND position > %s"  # noqa: S608 - our own columns
    rows = connection.execute(
        query + " AND position <= %s ORDER BY position", (ledger_id, after, after + limit)
    ).fetchall()
    if rows:
        return rows
    return connection.execute(
        query + " ORDER BY position LIMIT %s", (ledger_id, after, limit)
    ).fetchall()
