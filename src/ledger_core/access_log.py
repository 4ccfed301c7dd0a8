"""The access log: who read what about which account or customer, when, why and with what answer.

A log of its own beside the ledger's: numbers from 1 without a gap, times that never run backwards,
every access a leaf of a tree of its own, sealed in the transaction that records it. It is only
added to. Knows accesses as names and texts; what a read is, and that none is answered before its
access is durable, is the business of ``api.recording``.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import LiteralString

import msgspec
from psycopg import sql

from ledger_core import merkle
from ledger_core.errors import LedgerNotFound, ValidationFailed
from ledger_core.fields import require_id, require_text
from ledger_core.log import Connection, micros

REASON_CHARACTERS_MAX = 200
"""A case number and a few words: a reason is kept for ever, and in clear."""
SUBJECTS_MAX = 2_500
"""A page of 1,000 accounts with their holders; what shows more than that shows the ledger."""
LEDGER = "ledger"
"""The subject of what shows the ledger as a whole."""
READ_ROWS_MAX = 5_000
HEADS_MAX = 1_000
"""Ledgers whose heads a writer remembers; each takes some 3 kB at most."""

_SUBJECT = re.compile(r"[a-z_]{1,40}:")
_COLUMNS: LiteralString = (
    "number, at, actor, operation, subjects, reason, request_id, status, position, leaf_hash"
)
_HEX = "\\x"

_PREPARED = b"""
SET plan_cache_mode = force_generic_plan;
PREPARE access_head (integer) AS
    SELECT number, at, frontier FROM audit.access_heads WHERE ledger_id = $1 FOR UPDATE;
PREPARE access_added (
    integer, bigint, timestamptz, text[], text[], text[], text[], text[], smallint[], bigint[],
    bytea[], bigint, bytea
) AS
WITH moved AS (
    UPDATE audit.access_heads SET number = $12, at = $3, frontier = $13
    WHERE ledger_id = $1 AND number = $2
    RETURNING number
), added AS (
    INSERT INTO audit.accesses (ledger_id, number, at, actor, operation, subjects, reason,
        request_id, status, position, leaf_hash)
    SELECT $1, $2 + n, $3, actor, operation, subjects::text[], reason, request_id, status, position,
        leaf_hash
    FROM unnest($4, $5, $6, $7, $8, $9, $10, $11) WITH ORDINALITY AS new
        (actor, operation, subjects, reason, request_id, status, position, leaf_hash, n)
    WHERE EXISTS (SELECT FROM moved)
    RETURNING number, subjects
), listed AS (
    INSERT INTO audit.access_subjects (ledger_id, subject, number)
    SELECT $1, subject, number FROM added, unnest(subjects) AS subject
)
SELECT number FROM moved
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode


class NewAccess(msgspec.Struct, frozen=True, gc=False):
    """A read that is about to be answered.

    ``actor`` is who read and ``operation`` what was called; ``subjects`` are the accounts and
    customers in question, as tags (``account:anna``), in order and each once; ``status`` is the
    answer's (of HTTP, also on the command line), ``position`` that of the log which it reflects.
    """

    actor: str
    operation: str
    subjects: Sequence[str]
    reason: str
    request_id: str
    status: int
    position: int | None = None


class StoredAccess(msgspec.Struct, frozen=True):
    """An access as it stands in the log, every column of it."""

    number: int
    at: datetime
    actor: str
    operation: str
    subjects: Sequence[str]
    reason: str
    request_id: str
    status: int
    position: int | None
    leaf_hash: bytes


class AccessHead(msgspec.Struct, frozen=True):
    """Where an access log ends: its last number and time, and the frontier of its tree."""

    number: int
    at: datetime
    frontier: merkle.Frontier


EMPTY = AccessHead(0, _EPOCH, merkle.EMPTY)
"""The access log of a ledger that nobody has read."""


class AccessFilters(msgspec.Struct, frozen=True):
    """Which accesses are asked for; all hold together.

    ``subjects``: those of any of them; ``since`` and ``until`` are inclusive.
    """

    subjects: Sequence[str] = ()
    actor: str | None = None
    operation: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def require_reason(reason: str) -> None:
    """A reason for reading: none, or a line of up to 200 characters that can all be seen.

    Raises:
        ValidationFailed: any other form.
    """
    if not reason:
        return
    rule = f"up to {REASON_CHARACTERS_MAX} characters on one line, no control characters"
    if len(reason) > REASON_CHARACTERS_MAX or "\n" in reason:
        raise ValidationFailed("reason", rule)
    try:
        require_text(reason, field="reason")
    except ValidationFailed:
        raise ValidationFailed("reason", rule) from None


def require_subject(subject: str) -> None:
    """The ledger as a whole, or a kind and an id, as in ``account:anna``.

    Raises:
        ValidationFailed: any other form.
    """
    if subject == LEDGER:
        return
    kind = _SUBJECT.match(subject)
    if kind is None:
        raise ValidationFailed("subject", "a kind and an id, as in account:anna, or ledger")
    require_id(subject[kind.end() :], field="subject")


def leaf_of(access: StoredAccess) -> bytes:
    """The bytes of an access's leaf: a JSON array of every column but the hash, in order.

    The time is in microseconds since 1970 in UTC.
    """
    return _leaf(access.number, micros(access.at), access)


def leaf_hash_of(access: StoredAccess) -> bytes:
    """The leaf hash that the access's columns amount to (RFC 9162, section 2.1.1)."""
    return merkle.leaf_hash(leaf_of(access))


class AccessWriter:
    """Adds to access logs on one connection, in autocommit mode and as ``ledger_writer``.

    Where nobody else added to a ledger's log since, an append is one statement and one round trip:
    it moves the head from the very number where it was last seen, or does nothing. PostgreSQL looks
    at that number again once it has the row's lock, so of two who saw the same head one only wins.
    """

    def __init__(self, connection: Connection) -> None:
        """Prepare the statements: the same few for ever, whose plans need not be made anew."""
        # Where the driver gives up a statement of its own, it takes ours along: it is to have none.
        connection.prepare_threshold = None
        self._connection = connection
        self._heads: dict[int, AccessHead] = {}
        connection.execute(_PREPARED, prepare=False)

    def append(self, ledger_id: int, at: datetime, accesses: Sequence[NewAccess]) -> AccessHead:
        """Record accesses, in order and in a transaction of their own; the new head.

        ``at`` is moved to the time of the last access where it is earlier. A failure leaves nothing
        recorded, unless the connection was lost in the commit.
        """
        head = self._heads.pop(ledger_id, None)
        if head is not None:
            added = self._add(ledger_id, head, at, accesses)
            if added is not None:
                return self._keep(ledger_id, added)
        head = self._lock(ledger_id)
        try:
            added = self._add(ledger_id, head, at, accesses)
            self._connection.execute("COMMIT")
        except BaseException:
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")
            raise
        assert added is not None  # noqa: S101 - nobody else moves a head that is locked
        return self._keep(ledger_id, added)

    def require_writable(self) -> None:
        """Add nothing, which fails where something could not be added either.

        Raises:
            psycopg.Error: the role lacks a right, or the server takes no writes.
        """
        self._connection.execute(
            "INSERT INTO audit.accesses SELECT * FROM audit.accesses WHERE false;"
            "INSERT INTO audit.access_subjects SELECT * FROM audit.access_subjects WHERE false;"
            "UPDATE audit.access_heads SET number = number WHERE false",
            prepare=False,
        )

    def _keep(self, ledger_id: int, head: AccessHead) -> AccessHead:
        """Remember a head, among so many."""
        if len(self._heads) >= HEADS_MAX:
            self._heads.clear()
        self._heads[ledger_id] = head
        return head

    def _lock(self, ledger_id: int) -> AccessHead:
        """Begin a transaction in which nobody else adds to a log: where it ends now.

        Raises:
            LedgerNotFound: no such ledger.
        """
        statement = f"BEGIN; EXECUTE access_head ({ledger_id:d})".encode()
        for _ in range(2):
            cursor = self._connection.execute(statement, prepare=False)
            cursor.nextset()
            row = cursor.fetchone()
            if row is not None:
                return AccessHead(row[0], row[1], merkle.from_bytes(row[2]))
            self._connection.execute("ROLLBACK")
            self._connection.execute(
                "INSERT INTO audit.access_heads (ledger_id, number, at, frontier)"
                " SELECT ledger_id, 0, %s, %s FROM ledger.ledgers WHERE ledger_id = %s"
                " ON CONFLICT DO NOTHING",
                (_EPOCH, merkle.to_bytes(merkle.EMPTY), ledger_id),
                prepare=False,
            )
        raise LedgerNotFound

    def _add(
        self, ledger_id: int, head: AccessHead, at: datetime, accesses: Sequence[NewAccess]
    ) -> AccessHead | None:
        """Write the accesses after that head and move it; ``None`` if it is elsewhere by now."""
        at = max(at, head.at)
        at_us, first = micros(at), head.number + 1
        hashes = merkle.leaf_hashes(
            [_leaf(number, at_us, access) for number, access in enumerate(accesses, first)]
        )
        frontier = merkle.extend(head.frontier, hashes)
        new = AccessHead(head.number + len(accesses), at, frontier)
        positions = ["NULL" if item.position is None else str(item.position) for item in accesses]
        statement = (
            f"EXECUTE access_added ({ledger_id:d}, {head.number:d}, '{at.isoformat()}',"
            f" {_literal(_array([item.actor for item in accesses]))},"
            f" {_literal(_array([item.operation for item in accesses]))},"
            f" {_literal(_array([_array(item.subjects) for item in accesses]))},"
            f" {_literal(_array([item.reason for item in accesses]))},"
            f" {_literal(_array([item.request_id for item in accesses]))},"
            f" '{{{','.join([str(item.status) for item in accesses])}}}',"
            f" '{{{','.join(positions)}}}',"
            f" {_literal(_array([f'{_HEX}{leaf_hash.hex()}' for leaf_hash in hashes]))},"
            f" {new.number:d}, '{_HEX}{merkle.to_bytes(frontier).hex()}')"
        )
        moved = self._connection.execute(statement.encode(), prepare=False).fetchone()
        return None if moved is None else new


def read_head(connection: Connection, ledger_id: int) -> AccessHead:
    """Where the access log ends now."""
    row = connection.execute(
        "SELECT number, at, frontier FROM audit.access_heads WHERE ledger_id = %s", (ledger_id,)
    ).fetchone()
    return EMPTY if row is None else AccessHead(row[0], row[1], merkle.from_bytes(row[2]))


def leaf_hashes(connection: Connection, ledger_id: int, first: int, last: int) -> list[bytes]:
    """The leaf hashes of accesses from one number to another, both inclusive."""
    rows = connection.execute(
        "SELECT leaf_hash FROM audit.accesses"
        " WHERE ledger_id = %s AND number BETWEEN %s AND %s ORDER BY number",
        (ledger_id, first, last),
    )
    return [row[0] for row in rows]


def read_after(
    connection: Connection, ledger_id: int, after: int, limit: int = READ_ROWS_MAX
) -> list[StoredAccess]:
    """Whole accesses after a number, in order."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM audit.accesses"  # noqa: S608 - our own columns
        " WHERE ledger_id = %s AND number > %s ORDER BY number LIMIT %s",
        (ledger_id, after, limit),
    )
    return [StoredAccess(*row) for row in rows]


def find(
    connection: Connection,
    ledger_id: int,
    filters: AccessFilters,
    *,
    up_to: int,
    limit: int,
) -> list[StoredAccess]:
    """The newest accesses up to a number that meet the filters, newest first."""
    first, last = 1, up_to
    if filters.since is not None:
        first = _first_at(connection, ledger_id, filters.since, up_to, "at < %s")
    if filters.until is not None:
        last = _first_at(connection, ledger_id, filters.until, up_to, "at <= %s") - 1
    clauses: list[sql.Composable] = [sql.SQL("a.ledger_id = %s AND a.number BETWEEN %s AND %s")]
    values: list[object] = [ledger_id, first, last]
    if filters.subjects:
        # Of a subject that was read a million times no more are looked at than are asked for,
        # unless something else narrows them down.
        is_narrowed = filters.actor is not None or filters.operation is not None
        clauses.append(
            sql.SQL(
                "a.number IN (SELECT found.number FROM unnest(%s::text[]) AS asked (subject),"
                " LATERAL (SELECT s.number FROM audit.access_subjects s WHERE s.ledger_id = %s"
                " AND s.subject = asked.subject AND s.number BETWEEN %s AND %s"
                " ORDER BY s.number DESC LIMIT %s) AS found)"
            )
        )
        most = None if is_narrowed else limit
        values += [list(filters.subjects), ledger_id, first, last, most]
    for column, value in (("actor", filters.actor), ("operation", filters.operation)):
        if value is not None:
            clauses.append(sql.SQL("a.{} = %s").format(sql.Identifier(column)))
            values.append(value)
    query = sql.SQL("SELECT {} FROM audit.accesses a WHERE {} ORDER BY a.number DESC LIMIT %s")
    rows = connection.execute(
        query.format(sql.SQL(_COLUMNS), sql.SQL(" AND ").join(clauses)), (*values, limit)
    )
    return [StoredAccess(*row) for row in rows]


def first_since(connection: Connection, ledger_id: int, moment: datetime, last: int) -> int:
    """The first number up to ``last`` whose time is not before the moment, or the one after."""
    return _first_at(connection, ledger_id, moment, last, "at < %s")


def _leaf(number: int, at_us: int, access: NewAccess | StoredAccess) -> bytes:
    """The bytes of a leaf."""
    return _encode(
        (
            number,
            at_us,
            access.actor,
            access.operation,
            access.subjects,
            access.reason,
            access.request_id,
            access.status,
            access.position,
        )
    )


def _literal(text: str) -> str:
    """A text as a literal of SQL with standard strings, in which only the quote is special.

    Raises:
        ValueError: it has a NUL, which PostgreSQL cannot store.
    """
    if "\0" in text:
        msg = "no text may have a NUL"
        raise ValueError(msg)
    return "'" + text.replace("'", "''") + "'" if "'" in text else f"'{text}'"


def _array(texts: Sequence[str]) -> str:
    """Texts as the text of an array, in which quotes and backslashes are special."""
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts])
    return f'{{"{joined}"}}' if texts else "{}"


def _first_at(
    connection: Connection,
    ledger_id: int,
    moment: datetime,
    last: int,
    is_before: LiteralString,
) -> int:
    """The first number whose time is not before the moment; ``last`` + 1 where there is none.

    Times never run backwards, so it is found by halving, without an index of times.
    """
    low, high = 1, last + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            f"SELECT {is_before} FROM audit.accesses"  # noqa: S608 - our own condition
            " WHERE ledger_id = %s AND number = %s",
            (moment, ledger_id, middle),
        ).fetchone()
        if row is not None and row[0]:
            low = middle + 1
        else:
            high = middle
    return low
