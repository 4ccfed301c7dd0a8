"""What the writer says to the database, understood statement by statement.

Statements are known by their text. One that is not known is an error of the simulation
(``UnknownStatement``): whoever changes a statement of the writer says here what it does. Whether
this is what PostgreSQL does is tested by having it do the same (``test_against_postgres``).
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import sql
from tests.simulation.session import Answer, Operation, Session
from tests.simulation.store import (
    HEAD,
    HeadRow,
    Identity,
    LogRow,
    Transaction,
)

LEDGER_ID = 1

Handler = Callable[[Session, Sequence[Any]], Answer]

_TEXT = r"'([^']*(?:''[^']*)*)'"
_ROW = re.compile(
    rf"\((\d+), (\d+), '([^']*)', {_TEXT}, (\d+), {_TEXT}, (?:NULL|{_TEXT}), {_TEXT}, {_TEXT},"
    r" '\\x([0-9a-f]*)'\)"
)
_NAME = re.compile(rf"\((\d+), {_TEXT}, {_TEXT}, (\d+)\)")
_MOVE = re.compile(
    r"UPDATE ledger\.heads SET position = (\d+), recorded_at = '([^']*)',"
    r" frontier = '\\x([0-9a-f]*)' WHERE ledger_id = (\d+)"
)
_SWAP = re.compile(rf"WITH moved AS \({_MOVE.pattern} AND position = (\d+) RETURNING 1\)")
_EVENT_COLUMNS = (
    "ledger_id, position, recorded_at, type, version, tags, command_key, actor, data, leaf_hash"
)
_INSERT_EVENTS = f"INSERT INTO ledger.events ({_EVENT_COLUMNS}) VALUES "
_INSERT_NAMES = "INSERT INTO ledger.identities (ledger_id, kind, name, position) VALUES "
_SWAPPED = (
    f" INSERT INTO ledger.events ({_EVENT_COLUMNS})"
    " SELECT l, p, r::timestamptz, t, v, g::text[], k, a, d::json, h::bytea FROM moved, (VALUES "
)
_COPY_EVENTS = f"COPY ledger.events ({_EVENT_COLUMNS}) FROM STDIN"
_COPY_NAMES = "COPY ledger.identities (ledger_id, kind, name, position) FROM STDIN"
_BEGIN = (
    "BEGIN; SELECT position, recorded_at, frontier FROM ledger.heads"
    f" WHERE ledger_id = {LEDGER_ID} FOR UPDATE"
)
_BEGIN_PARTS = _BEGIN.split(str(LEDGER_ID))
_ESCAPED = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


class UnknownStatement(AssertionError):  # noqa: N818 - says what it is, as the product's do
    """The simulation does not know what this statement does."""


def understand(query: str | bytes | sql.Composed, parameters: Sequence[Any]) -> Operation:
    """What the server is to do.

    Raises:
        UnknownStatement: nobody told the simulation.
    """
    text = _text_of(query)
    handler = HANDLERS.get(text)
    if handler is not None:
        return lambda session: handler(session, parameters)
    if text.startswith("WITH moved AS ("):
        return _swap(text)
    return _several(text)


def _text_of(query: str | bytes | sql.Composed) -> str:
    """The statement's text."""
    if isinstance(query, str):
        return query
    if isinstance(query, bytes):
        return query.decode()
    return query.as_string(None)


def autocommitted(session: Session, work: Callable[[Transaction], Answer]) -> Answer:
    """Do it in the session's transaction, or in one of its own."""
    if session.open is not None:
        return work(session.open)
    transaction = session.store.begin()
    try:
        answer = work(transaction)
    except BaseException:
        session.store.rollback(transaction)
        raise
    session.store.commit(transaction)
    return answer


def _unquoted(text: str) -> str:
    """A literal's text."""
    return text.replace("''", "'") if "''" in text else text


def _row(found: re.Match[str]) -> LogRow:
    """An event's row."""
    ledger_id, position, at, kind, version, tags, key, actor, data, leaf = found.groups()
    assert ledger_id == str(LEDGER_ID), found
    return LogRow(
        int(position),
        datetime.fromisoformat(at),
        _unquoted(kind),
        int(version),
        _unquoted(tags),
        None if key is None else _unquoted(key),
        _unquoted(actor),
        _unquoted(data).encode(),
        bytes.fromhex(leaf),
    )


def _rows(text: str, start: int, pattern: re.Pattern[str]) -> tuple[list[re.Match[str]], int]:
    """Rows of VALUES from there on, and where they end."""
    found: list[re.Match[str]] = []
    while True:
        row = pattern.match(text, start)
        if row is None:
            raise UnknownStatement(text)
        found.append(row)
        start = row.end()
        if not text.startswith(", (", start):
            return found, start
        start += 2


def _swap(text: str) -> Operation:
    """Move the head and append, if the head is where it was taken to be."""
    move = _SWAP.match(text)
    if move is None or not text.startswith(_SWAPPED, move.end()):
        raise UnknownStatement(text)
    matches, end = _rows(text, move.end() + len(_SWAPPED), _ROW)
    if text[end:] != ") AS e (l, p, r, t, v, g, k, a, d, h)":
        raise UnknownStatement(text)
    head, expected = _head(move), int(move[5])
    rows = [_row(item) for item in matches]

    def operation(session: Session) -> Answer:
        """As PostgreSQL does: wait for who has the row, and look at it again afterwards."""

        def work(transaction: Transaction) -> Answer:
            store = session.store
            store.lock(HEAD, transaction)
            if store.head.position != expected:
                return Answer((), 0)
            transaction.head = head
            store.insert_events(transaction, rows)
            return Answer((), len(rows))

        assert session.open is None, "a swap is a transaction of its own"
        return autocommitted(session, work)

    return operation


def _head(move: re.Match[str]) -> HeadRow:
    """The head that a statement sets."""
    assert move[4] == str(LEDGER_ID), move
    return HeadRow(int(move[1]), datetime.fromisoformat(move[2]), bytes.fromhex(move[3]))


class _Message(msgspec.Struct):
    """Several statements in one message."""

    rows: list[LogRow]
    names: dict[Identity, int]
    head: HeadRow | None = None
    is_commit: bool = False

    def take(self, text: str, at: int) -> int:
        """Take in the statement that begins there; where it ends.

        Raises:
            UnknownStatement: see ``understand``.
        """
        if text.startswith(_INSERT_EVENTS, at):
            matches, end = _rows(text, at + len(_INSERT_EVENTS), _ROW)
            self.rows += [_row(item) for item in matches]
        elif text.startswith(_INSERT_NAMES, at):
            matches, end = _rows(text, at + len(_INSERT_NAMES), _NAME)
            self.names |= {(_unquoted(m[2]), _unquoted(m[3])): int(m[4]) for m in matches}
        elif (move := _MOVE.match(text, at)) is not None:
            self.head, end = _head(move), move.end()
        elif text.startswith("COMMIT", at):
            self.is_commit, end = True, at + len("COMMIT")
        else:
            raise UnknownStatement(text)
        return end


def _several(text: str) -> Operation:
    """Insert events and names, move the head, commit: in one message."""
    message = _Message([], {})
    at = message.take(text, 0)
    while at < len(text):
        if not text.startswith("; ", at):
            raise UnknownStatement(text)
        at = message.take(text, at + 2)
    rows, names, head = message.rows, message.names, message.head

    def operation(session: Session) -> Answer:
        transaction = session.open
        assert transaction is not None, "an append belongs into a transaction"
        if head is not None:
            session.store.lock(HEAD, transaction)
        session.store.insert_events(transaction, rows)
        session.store.insert_identities(transaction, names)
        transaction.head = head or transaction.head
        if message.is_commit:
            session.end(is_commit=True)
        return Answer()

    return operation


def _begin_locked(session: Session, _: Sequence[Any]) -> Answer:
    """Begin, and lock the head."""
    if session.open is None:
        session.begin()
    assert session.open is not None
    session.store.lock(HEAD, session.open)
    return Answer([session.store.head])


def _head_now(session: Session, _: Sequence[Any]) -> Answer:
    """Where the log ends now: nobody is kept out."""
    return Answer([session.store.head])


def _begin(session: Session, _: Sequence[Any]) -> Answer:
    session.begin()
    return Answer()


def _commit(session: Session, _: Sequence[Any]) -> Answer:
    session.end(is_commit=True)
    return Answer()


def _rollback(session: Session, _: Sequence[Any]) -> Answer:
    session.end(is_commit=False)
    return Answer()


def _nothing(_session: Session, _: Sequence[Any]) -> Answer:
    """A savepoint before a dry run, and the way back: nothing is written in between."""
    return Answer()


def _copy_events(session: Session, parameters: Sequence[Any]) -> Answer:
    """Insert streamed events."""
    rows = [_copied_event(_fields(line)) for line in str(parameters[0]).splitlines()]
    assert session.open is not None
    session.store.insert_events(session.open, rows)
    return Answer()


def _copied_event(fields: list[str | None]) -> LogRow:
    """An event's row out of the fields of COPY."""
    ledger_id, position, at, kind, version, tags, key, actor, data, leaf = fields
    assert ledger_id == str(LEDGER_ID)
    return LogRow(
        int(position or ""),
        datetime.fromisoformat(at or ""),
        kind or "",
        int(version or ""),
        tags or "",
        key,
        actor or "",
        (data or "").encode(),
        bytes.fromhex((leaf or "").removeprefix("\\x")),
    )


def _copy_names(session: Session, parameters: Sequence[Any]) -> Answer:
    """Take many names."""
    taken: dict[Identity, int] = {}
    for line in str(parameters[0]).splitlines():
        _, kind, name, position = _fields(line)
        taken[kind or "", name or ""] = int(position or "")
    assert session.open is not None
    session.store.insert_identities(session.open, taken)
    return Answer()


def _fields(line: str) -> list[str | None]:
    """The fields of a line of COPY's text format."""
    return [
        None if field == "\\N" else re.sub(r"\\[\\tnr]", lambda m: _ESCAPED[m[0]], field)
        for field in line.split("\t")
    ]


def tags_of(row: LogRow) -> list[str]:
    """An event's tags: within their array's literal they are quoted as JSON quotes."""
    tags: list[str] = json.loads(f"[{row.tags[1:-1]}]")
    return tags


def _read(columns: str) -> dict[str, Handler]:
    """Both statements that read these columns of the events after a position."""
    names = [name.strip() for name in columns.split(",")]
    query = f"SELECT {columns} FROM ledger.events WHERE ledger_id = %s AND position > %s"

    def values(row: LogRow) -> tuple[Any, ...]:
        return tuple(tags_of(row) if name == "tags" else getattr(row, name) for name in names)

    def bounded(session: Session, parameters: Sequence[Any]) -> Answer:
        _, after, last = parameters
        return Answer([values(row) for row in session.store.rows_after(session.open, after, last)])

    def limited(session: Session, parameters: Sequence[Any]) -> Answer:
        _, after, limit = parameters
        rows = [values(row) for row in session.store.rows_after(session.open, after)]
        return Answer(rows[:limit])

    return {
        query + " AND position <= %s ORDER BY position": bounded,
        query + " ORDER BY position LIMIT %s": limited,
    }


def _by_key(session: Session, parameters: Sequence[Any]) -> Answer:
    """The events under these keys."""
    store, rows = session.store, []
    for key in parameters[0]:
        position = store.keys.get(key)
        if position is None and session.open is not None:
            position = session.open.keys.get(key)
        row = None if position is None else store.row_at(session.open, position)
        if row is not None:
            rows.append((key, row.position, row.recorded_at, row.type, row.version, row.data))
    return Answer(rows)


def _keys_between(session: Session, parameters: Sequence[Any]) -> Answer:
    """Keys strictly between two."""
    _, first, end, limit = parameters
    keys = [key for key in session.store.keys if first < key < end]
    return Answer([(key,) for key in keys[:limit]])


def _at_positions(session: Session, parameters: Sequence[Any]) -> Answer:
    """The events at these positions."""
    found = (session.store.row_at(session.open, at) for at in sorted(set(parameters[1])))
    return Answer(
        [(row.position, row.recorded_at, row.type, row.version, row.data) for row in found if row]
    )


def _identities(session: Session, parameters: Sequence[Any]) -> Answer:
    """Where names were taken: references, and ids of entries and what they reverse."""
    _, references, entries = parameters
    wanted = [("reference", name) for name in dict.fromkeys(references)]
    wanted += [(kind, name) for name in dict.fromkeys(entries) for kind in ("entry", "reversal")]
    own = {} if session.open is None else session.open.identities
    taken = session.store.identities | own
    return Answer([(*place, taken[place]) for place in sorted(wanted) if place in taken])


HANDLERS: dict[str, Handler] = {
    _BEGIN: _begin_locked,
    "SELECT position, recorded_at, frontier FROM ledger.heads WHERE ledger_id = %s": _head_now,
    "BEGIN": _begin,
    "COMMIT": _commit,
    "ROLLBACK": _rollback,
    "SAVEPOINT dry_run": _nothing,
    "ROLLBACK TO SAVEPOINT dry_run": _nothing,
    _COPY_EVENTS: _copy_events,
    _COPY_NAMES: _copy_names,
    **_read("position, recorded_at, type, version, data, command_key"),
    **_read("position, recorded_at, type, version, tags, command_key, actor, data, leaf_hash"),
    "SELECT e.command_key, e.position, e.recorded_at, e.type, e.version, e.data"
    " FROM unnest(%s::text[]) AS k(command_key) CROSS JOIN LATERAL ("
    "SELECT command_key, position, recorded_at, type, version, data FROM ledger.events"
    " WHERE ledger_id = %s AND command_key = k.command_key LIMIT 1) AS e": _by_key,
    "SELECT command_key FROM ledger.events"
    " WHERE ledger_id = %s AND command_key > %s AND command_key < %s LIMIT %s": _keys_between,
    "SELECT position, recorded_at, type, version, data FROM ledger.events"
    " WHERE ledger_id = %s AND position = ANY(%s)": _at_positions,
    "SELECT kind, name, position FROM ledger.identities"
    " WHERE ledger_id = %s AND (kind = 'reference' AND name = ANY(%s)"
    " OR kind IN ('entry', 'reversal') AND name = ANY(%s))": _identities,
}
