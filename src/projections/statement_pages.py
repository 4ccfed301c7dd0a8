"""Pages of an account's lines, in either order, from its ends or from a line on: index look-ups.

The lines that count from their booking date come in one order on both axes; the dated lines
(``value_dates``) have an index of their own, and are merged with those. Knows no balances.
"""

from datetime import date
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import ColumnElement, and_, not_, select, true, tuple_

from ledger_core.accounts import Account
from projections.reading import Reading
from projections.statements import statement_lines
from projections.value_dates import (
    DATED,
    Days,
    Place,
    booked_before,
    booked_from,
    in_period,
    row_of,
)

Axis = Literal["booking", "value_date"]
"""The order of the lines: as they were booked, or by value date and then as they were booked."""
LineKey = tuple[int, int] | tuple[date, int, int]
"""The place of a line on its axis: position and line, by value date with that in front."""


class Period(msgspec.Struct, frozen=True):
    """Which lines a statement has: those with a value date from one day to another, inclusive."""

    first: date | None
    last: date | None


EVER = Period(None, None)


class Order(msgspec.Struct, frozen=True):
    """In which order a statement's lines come."""

    axis: Axis
    newest_first: bool

    @property
    def place(self) -> Any:  # noqa: ANN401 - SQLAlchemy's type of a row of columns
        """The place of a line, as SQL compares it."""
        lines = statement_lines.c
        booked = (lines.position, lines.line)
        return tuple_(*booked) if self.axis == "booking" else tuple_(lines.value_date, *booked)

    @property
    def booked_columns(self) -> list[ColumnElement[Any]]:
        """What to order those lines by that count from their booking date."""
        return self._directed(statement_lines.c.position, statement_lines.c.line)

    @property
    def dated_columns(self) -> list[ColumnElement[Any]]:
        """What to order the other lines by, so that it is their own index that is read.

        In booking order it takes the "+ 0": the key's index has that order, with all lines in it.
        """
        lines = statement_lines.c
        if self.axis == "booking":
            return self._directed(lines.position + 0, lines.line)
        return self._directed(lines.value_date, lines.position, lines.line)

    def _directed(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """The columns, upwards or downwards."""
        return [column.desc() for column in columns] if self.newest_first else list(columns)

    def key_of(self, row: Any) -> LineKey:  # noqa: ANN401 - a row of the lines
        """The place of a line that was read."""
        if self.axis == "booking":
            return row.position, row.line
        return row.value_date, row.position, row.line


class Asked(msgspec.Struct, frozen=True):
    """Whose lines are asked for, which of them, and in which order."""

    account: Account
    days: Days
    period: Period
    order: Order

    @property
    def is_booking(self) -> bool:
        """Whether all lines are asked for in the order of booking."""
        return self.order.axis == "booking" and self.period == EVER

    def range(self, after: LineKey | None, until: LineKey | None) -> tuple[Place, Place]:
        """Where the lines begin and end that count from their booking date, and are to come.

        ``until`` is the place of a line after which none is wanted.
        """
        days, period = self.days, self.period
        begin = (0, 0) if period.first is None else days.begin(period.first)
        end = days.end if period.last is None else days.after(period.last)
        below, above = (until, after) if self.order.newest_first else (after, until)
        if below is not None:
            begin = max(begin, self._place(below, 1))
        if above is not None:
            end = min(end, self._place(above, 0))
        return begin, end

    def _place(self, key: LineKey, lines: int) -> Place:
        """Where a line stands among those that count from their booking date, or so many after."""
        *value_date, position, line = key
        place = (position, line + lines)
        return self.days.within(value_date[0], place) if value_date else place


def page_of(  # noqa: PLR0913, PLR0917 - which lines, which page
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    asked: Asked,
    after: LineKey | None,
    limit: int,
) -> list[Any]:
    """The next lines, at most ``limit``.

    Each side of a range has one bound: of two, PostgreSQL begins at the first that is written, and
    walks from there to the other.
    """
    order = asked.order
    own = (
        statement_lines.c.ledger_id == ledger_id,
        statement_lines.c.slot == reading.slots["statements"],
        statement_lines.c.account_no == asked.account.terms.account_no,
    )
    query = select(statement_lines).where(*own).limit(limit)
    if asked.is_booking:
        begin, end = asked.range(after, None)
        query = query.where(booked_from(*begin), booked_before(*end))
        return list(conn.execute(query.order_by(*order.booked_columns)))
    first, last = asked.period.first, asked.period.last
    if after is None:
        within = in_period(first, last, asked.days.end)
    else:
        if order.axis == "value_date":
            first, last = (first, None) if order.newest_first else (None, last)
        key = row_of(*after)
        within = and_(
            in_period(first, last, asked.days.end),
            order.place < key if order.newest_first else order.place > key,
        )
    # Their places are all in the index: only the lines shown are fetched, one by one (LATERAL),
    # for a table that was never analysed may seem to have so few that all could be joined.
    places = (
        select(statement_lines.c.position, statement_lines.c.line)
        .where(*own, DATED, within)
        .order_by(*order.dated_columns)
        .limit(limit)
        .subquery()
    )
    one = (
        select(statement_lines)
        .where(
            *own,
            statement_lines.c.position == places.c.position,
            statement_lines.c.line == places.c.line,
        )
        .limit(1)
        .lateral()
    )
    rows = list(conn.execute(select(one).select_from(places.join(one, true()))))
    rows.sort(key=order.key_of, reverse=order.newest_first)
    begin, end = asked.range(after, order.key_of(rows[-1]) if len(rows) == limit else None)
    if begin < end:
        query = query.where(booked_from(*begin), booked_before(*end), not_(DATED))
        rows += conn.execute(query.order_by(*order.booked_columns))
    return sorted(rows, key=order.key_of, reverse=order.newest_first)[:limit]
