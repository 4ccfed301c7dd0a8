"""Sums of lines by value date, from look-ups, however many lines an account has.

Most lines count from the day on which they were booked. Those come in the same order on both axes
of time, so what came before one of them is the sum after the line before it. Only the others, the
*dated* lines, are added up one by one: they have an index of their own.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    and_,
    cast,
    func,
    literal_column,
    not_,
    select,
    true,
    tuple_,
    union_all,
)

from ledger_core.accounts import Account
from projections.reading import Reading, position_before
from projections.statements import statement_lines

Place = tuple[int, int]
"""Position and line: where a line stands in the order of booking."""

_lines = statement_lines.c
_DAY = timedelta(days=1)
_NUMBERS = sqlalchemy.ARRAY(BigInteger)

# In the very words of the index on these lines.
DATED: ColumnElement[bool] = _lines.value_date != cast(
    func.timezone(literal_column("'UTC'"), _lines.recorded_at, type_=DateTime()), Date
)
"""The lines that count from another day than that on which they were booked."""


class Sums(msgspec.Struct, frozen=True):
    """Sums of some lines of an account, in minor units."""

    debits_minor: int = 0
    credits_minor: int = 0

    def on_normal_side(self, account: Account) -> int:
        """What they come to on the side on which the account grows."""
        difference = self.credits_minor - self.debits_minor
        return difference if account.terms.normal_side == "credit" else -difference


class Part(msgspec.Struct, frozen=True):
    """Some lines of an account.

    Of those that count from their booking date the ones from ``first`` on and before ``end``; of
    the dated ones those that meet a condition.
    """

    first: Place | None
    end: Place
    dated: ColumnElement[bool]


class Days:
    """Where the days of the log begin, as far as it was known at a reading."""

    def __init__(self, conn: sqlalchemy.Connection, ledger_id: int, reading: Reading) -> None:
        """Look nothing up yet."""
        self._conn = conn
        self._ledger_id = ledger_id
        self._reading = reading
        self._begins: dict[date, Place] = {}

    @property
    def end(self) -> Place:
        """After everything that was known."""
        return self._reading.position + 1, 0

    def begin(self, day: date) -> Place:
        """Before the first event of a day, or of the next that has one."""
        recorded_at = self._reading.recorded_at
        if recorded_at is None or day > recorded_at.astimezone(UTC).date():
            return self.end
        found = self._begins.get(day)
        if found is None:
            midnight = datetime.combine(day, time(), UTC)
            before = position_before(self._conn, self._ledger_id, midnight, self._reading.position)
            found = self._begins[day] = before + 1, 0
        return found

    def after(self, day: date) -> Place:
        """After the last event of a day, or of one before it."""
        return self.end if day == date.max else self.begin(day + _DAY)

    def within(self, day: date, place: Place) -> Place:
        """The place, moved to the nearest that the day has."""
        return min(max(place, self.begin(day)), self.after(day))


def valued_until(days: Days, value_date: date) -> Part:
    """The lines that count by the end of a day."""
    return Part(None, days.after(value_date), _lines.value_date <= value_date)


def valued_before(days: Days, value_date: date) -> Part:
    """The lines that count before a day."""
    return Part(None, days.begin(value_date), _lines.value_date < value_date)


def valued_before_line(days: Days, value_date: date, place: Place) -> Part:
    """The lines that come before one by value date, and on its day by booking."""
    found = tuple_(_lines.value_date, _lines.position, _lines.line)
    return Part(None, days.within(value_date, place), found < row_of(value_date, *place))


def booked_before_line(days: Days, first: date | None, last: date | None, place: Place) -> Part:
    """The lines booked before one that count from one day to another, inclusive."""
    begin = None if first is None else days.begin(first)
    end = place if last is None else min(place, days.after(last))
    return Part(begin, end if begin is None else max(begin, end), in_period(first, last, place))


def in_period(first: date | None, last: date | None, end: Place) -> ColumnElement[bool]:
    """The lines booked before a place that count from one day to another, inclusive."""
    conditions = [booked_before(*end)]
    if first is not None:
        conditions.append(_lines.value_date >= first)
    if last is not None:
        conditions.append(_lines.value_date <= last)
    return and_(*conditions)


def booked_before(position: object, line: object) -> ColumnElement[bool]:
    """The lines booked before a place."""
    return tuple_(_lines.position, _lines.line) < row_of(position, line)


def booked_from(position: object, line: object) -> ColumnElement[bool]:
    """The lines booked at a place or after it."""
    return tuple_(_lines.position, _lines.line) >= row_of(position, line)


def row_of(*values: object) -> ColumnElement[Any]:
    """A row of values, as SQL compares places."""
    return tuple_(*values)


def sums(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account_nos: Sequence[int],
    parts: Sequence[Part],
) -> list[dict[int, Sums]]:
    """What each part comes to, by account number."""
    if not parts:
        return []
    places = list(dict.fromkeys(at for part in parts for at in (part.first, part.end) if at))
    booked = _sums_before(conn, ledger_id, reading, account_nos, places)
    dated = _sums_of_dated(conn, ledger_id, reading, account_nos, parts)
    nothing = Sums()
    found: list[dict[int, Sums]] = []
    for number, part in enumerate(parts):
        by_account: dict[int, Sums] = {}
        for account_no in account_nos:
            end = booked.get((account_no, part.end), nothing)
            first = booked.get((account_no, part.first), nothing) if part.first else nothing
            by_account[account_no] = Sums(
                end.debits_minor - first.debits_minor + dated.get((number, account_no, "D"), 0),
                end.credits_minor - first.credits_minor + dated.get((number, account_no, "C"), 0),
            )
        found.append(by_account)
    return found


def _sums_before(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account_nos: Sequence[int],
    places: Sequence[Place],
) -> dict[tuple[int, Place], Sums]:
    """The sums after the last line before each place, by account number and place."""
    wanted = (
        func.unnest(sqlalchemy.cast(list(account_nos), _NUMBERS))
        .table_valued("account_no", name="wanted")
        .render_derived()
    )
    before = (
        func.unnest(
            sqlalchemy.cast([position for position, _ in places], _NUMBERS),
            sqlalchemy.cast([line for _, line in places], _NUMBERS),
        )
        .table_valued("position", "line", name="before")
        .render_derived()
    )
    last = (
        select(_lines.debits_after_minor, _lines.credits_after_minor)
        .where(
            _lines.ledger_id == ledger_id,
            _lines.slot == reading.slots["statements"],
            _lines.account_no == wanted.c.account_no,
            booked_before(before.c.position, before.c.line),
        )
        .order_by(_lines.position.desc(), _lines.line.desc())
        .limit(1)
        .lateral("last")
    )
    rows = conn.execute(
        select(wanted.c.account_no, before.c.position, before.c.line, last).select_from(
            wanted.join(before, true()).join(last, true())
        )
    )
    return {(row[0], (row[1], row[2])): Sums(int(row[3]), int(row[4])) for row in rows}


def _sums_of_dated(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account_nos: Sequence[int],
    parts: Sequence[Part],
) -> dict[tuple[int, int, str], int]:
    """By part, account number and side: the part's dated lines, less those in its range.

    Only what is in one of both and not in the other is added up; each half reads a stretch of the
    index of its own.
    """
    halves = []
    for number, part in enumerate(parts):
        ranged = booked_before(*part.end)
        if part.first is not None:
            ranged = and_(booked_from(*part.first), ranged)
        for sign, condition in (
            (1, and_(part.dated, not_(ranged), _lines.position <= reading.position)),
            # What is in the range was known: another bound would be the one that is begun at.
            (-1, and_(not_(part.dated), ranged)),
        ):
            amount = sign * func.sum(_lines.amount_minor)
            halves.append(
                select(literal_column(str(number)), _lines.account_no, _lines.side, amount)
                .where(
                    _lines.ledger_id == ledger_id,
                    _lines.slot == reading.slots["statements"],
                    _lines.account_no == func.any(list(account_nos)),
                    DATED,
                    condition,
                )
                .group_by(_lines.account_no, _lines.side)
            )
    found: dict[tuple[int, int, str], int] = {}
    for number, account_no, side, minor in conn.execute(union_all(*halves)):
        key = (number, account_no, side)
        found[key] = found.get(key, 0) + int(minor)
    return found
