"""What a self-audit reads a little at a time: where things stand, and pages of the log.

Times come as the database writes them, so that no value a damaged row may hold can fail to load.
Knows no event.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import psycopg

from ledger_core.errors import LedgerNotFound
from ledger_core.log import Connection
from projections.paging import PAGE_POSITIONS, Columns, moments
from projections.registry import NAMES
from projections.sealing import LOG_COLUMNS


class Standing(msgspec.Struct, frozen=True):
    """Where the live projections stand together, and in which slots they live.

    ``unknown`` are those that are none of this program.
    """

    slots: Mapping[str, int]
    position: int
    times: frozenset[datetime | None]
    unknown: tuple[str, ...] = ()


class DamagedLinesError(Exception):
    """Statement lines hold what no line can; what was to be read back from them is not there."""


class Queries:
    """Reads statement lines back on a connection, in whichever transaction is open there."""

    def __init__(self, connection: Connection) -> None:
        """Read nothing yet."""
        self._connection = connection

    def read(self, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a query.

        Raises:
            DamagedLinesError: there is a day that is none, or a number that is none.
        """
        try:
            rows = self._connection.execute(query.encode(), parameters).fetchall()
        except psycopg.DataError as error:
            raise DamagedLinesError from error
        for row in rows:
            for value in row:
                if type(value) is Decimal and not value.is_finite():
                    raise DamagedLinesError
        return rows


def standing_of(connection: Connection, ledger_id: int) -> Standing | None:
    """Where the live projections stand; ``None`` while they do not all stand at one position."""
    rows = connection.execute(
        "SELECT name, slot, position, CASE WHEN recorded_at BETWEEN '0001-01-02'"
        " AND '9999-12-30' THEN recorded_at END"
        " FROM views.projections WHERE ledger_id = %s AND live",
        (ledger_id,),
    ).fetchall()
    found = {row[0]: row for row in rows if row[0] in NAMES}
    positions = {row[2] for row in found.values()}
    if found.keys() != NAMES or len(positions) != 1:
        return None
    return Standing(
        {name: row[1] for name, row in found.items()},
        positions.pop(),
        frozenset(row[3] for row in found.values()),
        tuple(sorted({row[0] for row in rows} - NAMES)),
    )


def lines_slot(connection: Connection, ledger_id: int, position: int) -> int | None:
    """The slot in which the statements live; ``None`` while they are not at a position."""
    row = connection.execute(
        "SELECT slot FROM views.projections"
        " WHERE ledger_id = %s AND name = 'statements' AND live AND position >= %s",
        (ledger_id, position),
    ).fetchone()
    return None if row is None else int(row[0])


def head_of(connection: Connection, ledger_id: int) -> tuple[int, datetime | None, bytes]:
    """The head's position, time (``None``: none that can be used) and frontier, as stored.

    Raises:
        LedgerNotFound: no such ledger.
    """
    row = connection.execute(
        "SELECT position, recorded_at::text, frontier FROM ledger.heads WHERE ledger_id = %s",
        (ledger_id,),
    ).fetchone()
    if row is None:
        raise LedgerNotFound
    return int(row[0]), moments([row[1]])[0], bytes(row[2])


def pages_between(
    connection: Connection, ledger_id: int, after: int, goal: int
) -> Iterator[Columns]:
    """Pages of the log after a position up to another; what is missing is passed over."""
    packed = ", ".join(f"array_agg({column})" for column in LOG_COLUMNS)
    read = (
        f"SELECT {packed} FROM (SELECT * FROM ledger.events WHERE ledger_id = %s"  # noqa: S608 - our own names
        " AND position > %s AND position <= %s ORDER BY position) e"
    ).encode()
    find = (
        b"SELECT position FROM ledger.events WHERE ledger_id = %s AND position > %s"
        b" AND position <= %s ORDER BY position LIMIT 1"
    )
    while after < goal:
        # To the end of a page as the findings count them.
        last = min(goal, after - after % PAGE_POSITIONS + PAGE_POSITIONS - 1)
        last = last if last > after else min(goal, after + PAGE_POSITIONS)
        row = _read_page(connection, read, (ledger_id, after, last))
        if row is not None:
            yield row
        if row is None or row[0][-1] < last:
            found = connection.execute(find, (ledger_id, last, goal)).fetchone()
            if found is None:
                return
            last = found[0] - 1
        after = last


def _read_page(
    connection: Connection, query: bytes, parameters: tuple[int, int, int]
) -> Columns | None:
    """A page of events by columns, times in UTC; ``None`` where there are none."""
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(query, parameters).fetchone()
    return None if row is None or row[0] is None else row


def rows_of(columns: Columns) -> list[tuple[int, datetime | None, str, int, str]]:
    """A page as rows to be decoded."""
    positions, times, kinds, versions, _, _, _, data, _ = columns
    texts = [bytes(content).decode() for content in data]
    return list(zip(positions, moments(times), kinds, versions, texts, strict=True))
