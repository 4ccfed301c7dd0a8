"""Events as lines of an export: the two halves of each leaf, verbatim, straight from the database.

A line is ``{"leaf":HEADER,"data":DATA}``: HEADER is the header of the event's leaf and DATA its
stored JSON text, so that a reader has the leaf's bytes without encoding anything anew. Where the
stored text has a line feed in it, which can only stand between two tokens of JSON, the line is
``{"leaf":HEADER,"text":"DATA as a JSON string"}``. PostgreSQL makes the lines and sends them by
COPY, many at a time.
"""

from collections.abc import Iterator, Sequence

import msgspec
from psycopg import sql

from ledger_core.log import Connection

# Lines in one piece of COPY: more calls cost time, longer pieces memory (entries may have 1,000
# postings each).
PIECE_LINES = 64
PIECE_HASHES = 4_096

_BEGIN = b'{"leaf":'
_TURNS = (b',"data":', b',"text":')
# What cannot stand in JSON text unescaped: so nothing that is quoted by COPY has to be unquoted.
_QUOTE, _DELIMITER = b"\x01", b"\x02"

_LINE = sql.SQL(
    """'{"leaf":[' || position || ',' || (extract(epoch FROM recorded_at) * 1000000)::bigint
    || ',' || to_json(type)::text || ',' || version
    || ',' || coalesce(to_json(command_key)::text, 'null') || ',' || to_json(actor)::text
    || ',' || to_json(tags)::text || '],'
    || CASE WHEN strpos(data::text, E'\\n') = 0 THEN '"data":' || data::text
    ELSE '"text":' || to_json(data::text)::text END || '}'"""
)
_RANGE = sql.SQL(
    "COPY (SELECT piece.lines FROM generate_series({first}::bigint, {last}, {piece}) AS start,"
    " LATERAL (SELECT string_agg(line, E'\\n') AS lines FROM (SELECT {line} AS line"
    " FROM ledger.events WHERE ledger_id = {ledger_id}"
    " AND position BETWEEN start AND least(start + {piece} - 1, {last})"
    " ORDER BY position) AS events) AS piece WHERE piece.lines IS NOT NULL)"
    " TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')"
)
_HASHES = sql.SQL(
    "COPY (SELECT piece.hashes FROM generate_series({first}::bigint, {last}, {piece}) AS start,"
    " LATERAL (SELECT string_agg(leaf_hash, ''::bytea) AS hashes FROM (SELECT leaf_hash"
    " FROM ledger.events WHERE ledger_id = {ledger_id}"
    " AND position BETWEEN start AND least(start + {piece} - 1, {last})"
    " ORDER BY position) AS events) AS piece WHERE piece.hashes IS NOT NULL)"
    " TO STDOUT (FORMAT binary)"
)
_CHOSEN = sql.SQL(
    "COPY (SELECT {line} FROM ledger.events"
    " WHERE ledger_id = {ledger_id} AND position = ANY({positions}) ORDER BY position)"
    " TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')"
)


def lines_between(connection: Connection, ledger_id: int, first: int, last: int) -> Iterator[bytes]:
    """The lines of the events from ``first`` to ``last``, inclusive: many a piece."""
    statement = _RANGE.format(
        first=sql.Literal(first),
        last=sql.Literal(last),
        piece=sql.Literal(PIECE_LINES),
        line=_LINE,
        ledger_id=sql.Literal(ledger_id),
    )
    return _copied(connection, statement)


def hashes_between(
    connection: Connection, ledger_id: int, first: int, last: int
) -> Iterator[bytes]:
    """The stored leaf hashes of the same events, one after another: many a piece."""
    statement = _HASHES.format(
        first=sql.Literal(first),
        last=sql.Literal(last),
        piece=sql.Literal(PIECE_HASHES),
        ledger_id=sql.Literal(ledger_id),
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["bytea"])
        for (hashes,) in copy.rows():
            yield hashes


def lines_at(connection: Connection, ledger_id: int, positions: Sequence[int]) -> Iterator[bytes]:
    """The lines of the events at those positions that exist, in order: one a piece."""
    statement = _CHOSEN.format(
        line=_LINE, ledger_id=sql.Literal(ledger_id), positions=sql.Literal(list(positions))
    )
    return _copied(connection, statement)


def halves(line: bytes) -> tuple[bytes, bytes]:
    """The header and the data of a line's leaf; the line without its line feed.

    Raises:
        ValueError: it is no such line.
    """
    data_at, text_at = (line.find(turn) for turn in _TURNS)
    turn = data_at if text_at < 0 or 0 <= data_at < text_at else text_at
    if not line.startswith(_BEGIN) or turn < 0 or not line.endswith(b"}"):
        raise ValueError("not a line of an export")
    data = line[turn + len(_TURNS[0]) : -1]
    if turn == text_at:
        data = msgspec.json.decode(data, type=str).encode()
    return line[len(_BEGIN) : turn], data


def _copied(connection: Connection, statement: sql.Composed) -> Iterator[bytes]:
    """What COPY sends."""
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for piece in copy:
            lines = bytes(piece).replace(_QUOTE, b"")
            yield _as_hashed(lines) if b"\\" in lines else lines


def _as_hashed(lines: bytes) -> bytes:
    """The same lines, with what is escaped in a header written as it was when it was hashed.

    PostgreSQL and the ledger may escape the same character in different ways.
    """
    made = []
    for line in lines.split(b"\n")[:-1]:  # Not by splitlines: JSON may have other line ends.
        turn = min(at for at in (line.find(turn) for turn in _TURNS) if at >= 0)
        header = line[len(_BEGIN) : turn]
        if b"\\" in header:
            header = msgspec.json.encode(msgspec.json.decode(header))
        made.append(_BEGIN + header + line[turn:] + b"\n")
    return b"".join(made)
