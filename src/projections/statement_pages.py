"""Pages of an account's lines, in either order, from its ends or from a line on: index look-ups.

The lines that count from their booking date come in one order on both axes; the dated lines
(``value_dates``) have an index of their own, and are merged with those. Knows no balances.
"""

from datetime import date, datetime
from typing import Literal, NamedTuple

import msgspec

from ledger_core.accounts import Account
from projections.reading import AnyConnection, Reading, driver_of
from projections.value_dates import (
    DATED,
    Condition,
    Days,
    Place,
    all_of,
    booked_before,
    booked_from,
    compared,
    in_period,
    none_of,
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


class Row(NamedTuple):
    """A line as it is stored; amounts as text."""

    position: int
    line: int
    recorded_at: datetime
    value_date: date
    side: str
    amount_minor: str
    debits_after_minor: str
    credits_after_minor: str
    kind: str

    @property
    def is_dated(self) -> bool:
        """Whether the line counts from another day than that on which it was booked."""
        return self.value_date != self.recorded_at.date()


_COLUMNS = (
    "l.position, l.line, l.recorded_at, l.value_date, l.side, l.amount_minor::text,"
    " l.debits_after_minor::text, l.credits_after_minor::text, l.kind"
)


class Order(msgspec.Struct, frozen=True):
    """In which order a statement's lines come."""

    axis: Axis
    newest_first: bool

    @property
    def booked(self) -> str:
        """What to order those lines by that count from their booking date."""
        return self._directed("l.position", "l.line")

    @property
    def dated(self) -> str:
        """What to order the other lines by, so that it is their own index that is read.

        In booking order it takes the "+ 0": the key's index has that order, with all lines in it.
        """
        if self.axis == "booking":
            return self._directed("l.position + 0", "l.line")
        return self._directed("l.value_date", "l.position", "l.line")

    def after(self, key: LineKey) -> Condition:
        """The lines that come after a place."""
        booked = "l.position, l.line"
        columns = booked if self.axis == "booking" else f"l.value_date, {booked}"
        return compared(columns, "<" if self.newest_first else ">", *key)

    def _directed(self, *columns: str) -> str:
        """The columns, upwards or downwards."""
        return ", ".join(f"{column} DESC" if self.newest_first else column for column in columns)

    def key_of(self, row: Row) -> LineKey:
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
    conn: AnyConnection,
    ledger_id: int,
    reading: Reading,
    asked: Asked,
    after: LineKey | None,
    limit: int,
) -> list[Row]:
    """The next lines, at most ``limit``.

    Each side of a range has one bound: of two, PostgreSQL begins at the first that is written, and
    walks from there to the other.
    """
    order, period = asked.order, asked.period
    slot, account_no = reading.slots["statements"], asked.account.terms.account_no
    own = _Own(conn, (ledger_id, slot, account_no), order, limit)
    if asked.is_booking:
        begin, end = asked.range(after, None)
        return own.booked(all_of(booked_from(begin), booked_before(end)))
    first, last = period.first, period.last
    if after is None:
        within = in_period(first, last, asked.days.end)
    else:
        if order.axis == "value_date":
            first, last = (first, None) if order.newest_first else (None, last)
        within = all_of(in_period(first, last, asked.days.end), order.after(after))
    rows = own.dated(within)
    begin, end = asked.range(after, order.key_of(rows[-1]) if len(rows) == limit else None)
    if begin < end:
        rows += own.booked(all_of(booked_from(begin), booked_before(end), none_of(DATED)))
    return sorted(rows, key=order.key_of, reverse=order.newest_first)[:limit]


_OWN = (
    f"SELECT {_COLUMNS} FROM views.statement_lines l"  # noqa: S608 - our own columns
    " WHERE l.ledger_id = %s AND l.slot = %s AND l.account_no = %s"
)


class _Own(msgspec.Struct, frozen=True):
    """The lines of one account, the first of them in an order."""

    conn: AnyConnection
    account: tuple[int, int, int]
    order: Order
    limit: int

    def booked(self, within: Condition) -> list[Row]:
        """The first that meet a condition, in order of booking."""
        query = f"{_OWN} AND {within.text} ORDER BY {self.order.booked} LIMIT %s"
        return self._rows(query, *self.account, *within.values, self.limit)

    def dated(self, within: Condition) -> list[Row]:
        """The first dated lines that meet a condition.

        Their places are all in the index: only the lines shown are fetched, one by one (LATERAL),
        for a table that was never analysed may seem to have so few that all could be joined.
        """
        query = (
            "SELECT one.* FROM (SELECT l.position, l.line FROM views.statement_lines l"  # noqa: S608 - our own conditions
            " WHERE l.ledger_id = %s AND l.slot = %s AND l.account_no = %s"
            f" AND {DATED.text} AND {within.text} ORDER BY {self.order.dated} LIMIT %s) places,"
            f" LATERAL ({_OWN} AND l.position = places.position AND l.line = places.line LIMIT 1)"
            " one"
        )
        rows = self._rows(query, *self.account, *within.values, self.limit, *self.account)
        return sorted(rows, key=self.order.key_of, reverse=self.order.newest_first)

    def _rows(self, query: str, *values: object) -> list[Row]:
        """What the query finds."""
        found = driver_of(self.conn).execute(query.encode(), values)
        return [Row(*row) for row in found.fetchall()]
