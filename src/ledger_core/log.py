"""The append-only log on PostgreSQL: gapless positions, exact bytes, a sealed tree.

An append locks the ledger's head row in a statement of its own, writes its events by one COPY,
and moves the head (position, time, Merkle frontier) in the same transaction. Whoever has seen
position n has therefore seen all before it, and every commit is sealed. Knows events only as
names, tags and bytes; also speaks the ``eventsourcing`` library's DCB interface (``LogRecorder``).
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

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


def commit(connection: Connection, ledger_id: int, head: Head) -> None:
    """Seal what was appended by moving the head, and commit, in one round trip."""
    connection.execute(
        sql.SQL(
            "UPDATE ledger.heads SET position = {}, recorded_at = {}, frontier = {}"
            " WHERE ledger_id = {}; COMMIT"
        ).format(
            sql.Literal(head.position),
            sql.Literal(head.recorded_at),
            sql.Literal(merkle.to_bytes(head.frontier)),
            sql.Literal(ledger_id),
        ),
        prepare=False,
    )


def read_rows(
    connection: Connection, ledger_id: int, after: int, limit: int = READ_ROWS_MAX
) -> list[tuple[int, datetime, str, int, bytes]]:
    """Events after a position, in order: position, time, type, version and data."""
    return connection.execute(
        "SELECT position, recorded_at, type, version, data FROM ledger.events"
        " WHERE ledger_id = %s AND position > %s ORDER BY position LIMIT %s",
        (ledger_id, after, limit),
    ).fetchall()


def read_events(
    connection: Connection, ledger_id: int, after: int, limit: int = READ_ROWS_MAX
) -> list[StoredEvent]:
    """Whole events after a position, in order."""
    return [
        StoredEvent(*row)
        for row in connection.execute(
            "SELECT position, recorded_at, type, version, tags, command_key, actor, data, leaf_hash"
            " FROM ledger.events"
            " WHERE ledger_id = %s AND position > %s ORDER BY position LIMIT %s",
            (ledger_id, after, limit),
        )
    ]


def events_at(
    connection: Connection, ledger_id: int, positions: Sequence[int]
) -> list[StoredEvent]:
    """Whole events at those positions that exist, in order."""
    rows = connection.execute(
        "SELECT position, recorded_at, type, version, tags, command_key, actor, data, leaf_hash"
        " FROM ledger.events WHERE ledger_id = %s AND position = ANY(%s) ORDER BY position",
        (ledger_id, list(positions)),
    )
    return [StoredEvent(*row) for row in rows]


def append(
    connection: Connection,
    ledger_id: int,
    head: Head,
    recorded_at: datetime,
    events: Sequence[NewEvent],
) -> Head:
    """Append events after ``head``, which this transaction must have locked; the new head.

    The transaction must end with ``commit`` of that new head. ``recorded_at`` may not be before
    the head's.
    """
    if recorded_at < head.recorded_at:
        msg = "recorded_at never runs backwards"
        raise ValueError(msg)
    recorded_at_us = micros(recorded_at)
    recorded_text = recorded_at.isoformat()
    position = head.position
    rows: list[str] = []
    hashes: list[bytes] = []
    for event in events:
        position += 1
        leaf_hash = merkle.leaf_hash(
            leaf_of(
                position,
                recorded_at_us,
                event.type,
                event.version,
                event.command_key,
                event.actor,
                event.tags,
                event.data,
            )
        )
        hashes.append(leaf_hash)
        key = "\\N" if event.command_key is None else _copy_text(event.command_key)
        rows.append(
            f"{ledger_id}\t{position}\t{recorded_text}\t{_copy_text(event.type)}\t{event.version}"
            f"\t{_copy_tags(event.tags)}\t{key}\t{_copy_text(event.actor)}"
            f"\t{_copy_text(event.data.decode())}\t\\\\x{leaf_hash.hex()}\n"
        )
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY ledger.events (ledger_id, position, recorded_at, type, version, tags,"
            " command_key, actor, data, leaf_hash) FROM STDIN"
        ) as copy,
    ):
        copy.write("".join(rows))
    return Head(position, recorded_at, merkle.extend(head.frontier, hashes))


def take_identities(connection: Connection, ledger_id: int, identities: Sequence[Identity]) -> None:
    """Record the names that entries of this transaction take; each can be taken once."""
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY ledger.identities (ledger_id, kind, name, position) FROM STDIN") as copy,
    ):
        copy.write(
            "".join(
                f"{ledger_id}\t{identity.kind}\t{_copy_text(identity.name)}\t{identity.position}\n"
                for identity in identities
            )
        )


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


def _copy_text(text: str) -> str:
    """A value in COPY's text format, where backslash, tab and line ends are special."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if text.isprintable():
        return text
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _copy_tags(tags: Sequence[str]) -> str:
    """Tags as an array literal in COPY's text format."""
    if not tags:
        return "{}"
    joined = '","'.join(tags)
    if "\\" in joined or joined.count('"') != 2 * (len(tags) - 1):
        joined = '","'.join(tag.replace("\\", "\\\\").replace('"', '\\"') for tag in tags)
    return _copy_text(f'{{"{joined}"}}')
