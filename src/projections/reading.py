"""What every query on the views begins with: which moment of the ledger it reflects.

Queries run on one connection in one REPEATABLE READ transaction; every answer says the position it
reflects and when that event was recorded. "As of" a past moment means exactly what was known then.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import msgspec
import psycopg
import sqlalchemy
from sqlalchemy import BigInteger, Column, DateTime, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSON

from ledger_core import events
from ledger_core.errors import Conflict, LedgerNotFound
from ledger_core.events import Recorded
from ledger_core.log import Connection

PAGE_ITEMS_MAX = 1_000
"""A longer page is several pages."""

log_events = sqlalchemy.table(
    "events",
    Column("ledger_id", SmallInteger),
    Column("position", BigInteger),
    Column("recorded_at", DateTime(timezone=True)),
    Column("type", Text),
    Column("version", SmallInteger),
    Column("command_key", Text),
    Column("data", JSON),
    schema="ledger",
)
EVENT_COLUMNS = (
    log_events.c.position,
    log_events.c.recorded_at,
    log_events.c.type,
    log_events.c.version,
    log_events.c.data,
)

EVENT_NAMES = "e.position, e.recorded_at, e.type, e.version, e.data"
"""The same in text, of a log called ``e``."""

AnyConnection = sqlalchemy.Connection | Connection
"""SQLAlchemy's connection, or the driver's: what is asked most is asked of the driver itself."""

Item = TypeVar("Item")
Key = TypeVar("Key")


class PositionAhead(Conflict):
    """The question is about a position that the projections have not reached yet."""

    code = "position_ahead"
    sentence = "The projections have not reached that position yet."

    def __init__(self, asked: int, reached: int) -> None:
        """Keep the position asked for and the one reached."""
        super().__init__(asked=asked, reached=reached)
        self.asked = asked
        self.reached = reached


class AsOf(msgspec.Struct, frozen=True):
    """The moment a question is about: after a position, at a recorded time (inclusive), or now.

    Both given, both hold: the earlier decides.
    """

    position: int | None = None
    recorded_at: datetime | None = None


class Reading(msgspec.Struct, frozen=True):
    """The moment an answer reflects, and the slots of the projections that it is read from.

    ``asked_at`` is the recorded time that was asked about, if one was: at or after the time of the
    last event that is reflected.
    """

    slots: dict[str, int]
    position: int
    recorded_at: datetime | None
    asked_at: datetime | None = None


class Page(msgspec.Struct, Generic[Item, Key], frozen=True):
    """Some items of a listing; the next page begins after ``next_after``, ``None`` at the end."""

    items: tuple[Item, ...]
    next_after: Key | None
    position: int
    recorded_at: datetime | None


NOW = AsOf()


def driver_of(conn: AnyConnection) -> Connection:
    """The driver's connection; what is asked there is in the transaction of SQLAlchemy's."""
    if isinstance(conn, psycopg.Connection):
        return conn
    if not conn.in_transaction():
        conn.begin()
    return cast("Connection", conn.connection.driver_connection)


def resolve(conn: AnyConnection, ledger_id: int, as_of: AsOf, *names: str) -> Reading:
    """The moment that a question about these projections is answered for.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: the question is about a position that they have not reached.
    """
    rows = driver_of(conn).execute(_LIVE, (ledger_id, list(names))).fetchall()
    if not rows:
        _require_ledger(conn, ledger_id)
    reached = min((row[2] for row in rows), default=0) if len(rows) == len(names) else 0
    if as_of.position is not None and as_of.position > reached:
        raise PositionAhead(as_of.position, reached)
    position = reached if as_of.position is None else as_of.position
    if as_of.recorded_at is not None:
        position = position_at(conn, ledger_id, as_of.recorded_at, position)
    recorded_at = next((row[3] for row in rows if row[2] == position), None)
    if recorded_at is None:
        recorded_at = _recorded_at(conn, ledger_id, position)
    slots = {row[0]: row[1] for row in rows}
    return Reading(
        {name: slots.get(name, 0) for name in names}, position, recorded_at, as_of.recorded_at
    )


def position_at(conn: AnyConnection, ledger_id: int, moment: datetime, most: int) -> int:
    """The last position up to ``most`` that was recorded at or before a moment; 0 for none."""
    return _last_position(conn, ledger_id, most, moment, "<=")


def position_before(conn: AnyConnection, ledger_id: int, moment: datetime, most: int) -> int:
    """The last position up to ``most`` that was recorded before a moment; 0 for none."""
    return _last_position(conn, ledger_id, most, moment, "<")


def recorded_of(row: Any) -> Recorded:  # noqa: ANN401 - a row of EVENT_COLUMNS, whatever else it has
    """The event behind a row that has ``EVENT_COLUMNS``."""
    return recorded(row.position, row.recorded_at, row.type, row.version, row.data)


def recorded(
    position: int, recorded_at: datetime, kind: str, version: int, data: bytes
) -> Recorded:
    """The event behind the values of ``EVENT_NAMES``."""
    return Recorded(position, recorded_at, events.decode(kind, version, data))


def page_size(limit: int) -> int:
    """How many items a page may have."""
    return max(1, min(limit, PAGE_ITEMS_MAX))


_LIVE = (
    b"SELECT name, slot, position, recorded_at FROM views.projections"
    b" WHERE ledger_id = %s AND live AND name = ANY(%s)"
)


def _require_ledger(conn: AnyConnection, ledger_id: int) -> None:
    """The ledger exists, though nothing is projected of it yet.

    Raises:
        LedgerNotFound: it does not.
    """
    found = driver_of(conn).execute(
        b"SELECT FROM ledger.ledgers WHERE ledger_id = %s", (ledger_id,)
    )
    if found.rowcount == 0:
        raise LedgerNotFound


def _last_position(
    conn: AnyConnection, ledger_id: int, most: int, moment: datetime, early: str
) -> int:
    """The last position up to ``most`` whose recorded time is ``early`` enough; 0 for none.

    Time never runs backwards in the log, so halving finds it in some 30 steps without an index.
    """
    sought = {"ledger_id": ledger_id, "most": most, "moment": moment}
    row = driver_of(conn).execute(_HALVING[early], sought).fetchone()
    return 0 if row is None else int(row[0])


# OFFSET 0: each look is used twice, and would be taken twice.
_HALVING = {
    early: (
        "WITH RECURSIVE halves(first, last) AS ("  # noqa: S608 - our own operators
        " SELECT CAST(0 AS bigint), CAST(%(most)s AS bigint) UNION ALL"
        " SELECT CASE WHEN is_early THEN middle ELSE first END,"
        " CASE WHEN is_early THEN last ELSE middle - 1 END"
        " FROM (SELECT h.first, h.last, m.middle, coalesce((SELECT e.recorded_at"
        f" {early} CAST(%(moment)s AS timestamptz) FROM ledger.events e"
        " WHERE e.ledger_id = %(ledger_id)s AND e.position = m.middle), false) AS is_early"
        " FROM halves h, LATERAL (SELECT (h.first + h.last + 1) / 2 AS middle) m"
        " WHERE h.first < h.last OFFSET 0) halved)"
        " SELECT first FROM halves WHERE first >= last"
    ).encode()
    for early in ("<", "<=")
}


def _recorded_at(conn: AnyConnection, ledger_id: int, position: int) -> datetime | None:
    """When the event at a position was recorded."""
    row = (
        driver_of(conn)
        .execute(
            b"SELECT recorded_at FROM ledger.events WHERE ledger_id = %s AND position = %s",
            (ledger_id, position),
        )
        .fetchone()
    )
    return None if row is None else row[0]
