"""Sums of lines by value date, from look-ups, however many lines an account has.

Most lines count from the day on which they were booked. Those come in the same order on both axes
of time, so what came before one of them is the sum after the line before it. Only the others, the
*dated* lines, are added up one by one: they have an index of their own.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from ledger_core.accounts import Account
from projections.reading import AnyConnection, Reading, driver_of, position_before

Place = tuple[int, int]
"""Position and line: where a line stands in the order of booking."""

_DAY = timedelta(days=1)


class Condition(msgspec.Struct, frozen=True):
    """What lines, called ``l``, are to meet: its text, and the values for its places.

    ``opposite`` is the text for the other lines: no index is searched for what is ``NOT`` so.
    """

    text: str
    opposite: str
    values: tuple[object, ...] = ()


_OPPOSITES = {"<": ">=", ">": "<=", "<=": ">", ">=": "<"}


def compared(columns: str, operator: str, *values: object) -> Condition:
    """The lines whose columns compare so with the values, the first first."""
    places = ", ".join("%s" for _ in values)
    opposite = f"({columns}) {_OPPOSITES[operator]} ({places})"
    return Condition(f"({columns}) {operator} ({places})", opposite, values)


_BOOKED_ON = "(timezone('UTC', l.recorded_at))::date"
# In the very words of the index on these lines.
DATED = Condition(f"l.value_date <> {_BOOKED_ON}", f"l.value_date = {_BOOKED_ON}")
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
    dated: Condition


class Days:
    """Where the days of the log begin, as far as it was known at a reading."""

    def __init__(self, conn: AnyConnection, ledger_id: int, reading: Reading) -> None:
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
    return Part(None, days.after(value_date), compared("l.value_date", "<=", value_date))


def valued_before(days: Days, value_date: date) -> Part:
    """The lines that count before a day."""
    return Part(None, days.begin(value_date), compared("l.value_date", "<", value_date))


def valued_before_line(value_date: date, place: Place, booked: Place) -> Part:
    """The lines that come before one by value date, and on its day by booking.

    ``booked`` is where it stands among those that count from their booking date.
    """
    before = compared("l.value_date, l.position, l.line", "<", value_date, *place)
    return Part(None, booked, before)


def booked_before_line(days: Days, first: date | None, last: date | None, place: Place) -> Part:
    """The lines booked before one that count from one day to another, inclusive."""
    begin = None if first is None else days.begin(first)
    end = place if last is None else min(place, days.after(last))
    return Part(begin, end if begin is None else max(begin, end), in_period(first, last, place))


def in_period(first: date | None, last: date | None, end: Place) -> Condition:
    """The lines booked before a place that count from one day to another, inclusive."""
    conditions = [booked_before(end)]
    if first is not None:
        conditions.append(compared("l.value_date", ">=", first))
    if last is not None:
        conditions.append(compared("l.value_date", "<=", last))
    return all_of(*conditions)


def booked_before(place: Place) -> Condition:
    """The lines booked before a place."""
    return compared("l.position, l.line", "<", *place)


def booked_from(place: Place) -> Condition:
    """The lines booked at a place or after it."""
    return compared("l.position, l.line", ">=", *place)


def all_of(*conditions: Condition) -> Condition:
    """The lines that meet each of the conditions."""
    text = " AND ".join(condition.text for condition in conditions)
    values = tuple(value for condition in conditions for value in condition.values)
    return Condition(text, f"NOT ({text})", values)


def none_of(condition: Condition) -> Condition:
    """The lines that do not meet the condition."""
    return Condition(condition.opposite, condition.text, condition.values)


def sums(
    conn: AnyConnection,
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


_BEFORE = (
    b"SELECT w.account_no, b.position, b.line,"
    b" p.debits_after_minor::text, p.credits_after_minor::text"
    b" FROM unnest(%s::bigint[]) AS w(account_no)"
    b" CROSS JOIN unnest(%s::bigint[], %s::bigint[]) AS b(position, line)"
    b" CROSS JOIN LATERAL (SELECT * FROM views.statement_lines l"
    b" WHERE l.ledger_id = %s AND l.slot = %s AND l.account_no = w.account_no"
    b" AND (l.position, l.line) < (b.position, b.line)"
    b" ORDER BY l.position DESC, l.line DESC LIMIT 1) p"
)


def _sums_before(
    conn: AnyConnection,
    ledger_id: int,
    reading: Reading,
    account_nos: Sequence[int],
    places: Sequence[Place],
) -> dict[tuple[int, Place], Sums]:
    """The sums after the last line before each place, by account number and place."""
    positions, lines = [place[0] for place in places], [place[1] for place in places]
    wanted = (list(account_nos), positions, lines, ledger_id, reading.slots["statements"])
    rows = driver_of(conn).execute(_BEFORE, wanted).fetchall()
    return {(row[0], (row[1], row[2])): Sums(int(row[3]), int(row[4])) for row in rows}


def _sums_of_dated(
    conn: AnyConnection,
    ledger_id: int,
    reading: Reading,
    account_nos: Sequence[int],
    parts: Sequence[Part],
) -> dict[tuple[int, int, str], int]:
    """By part, account number and side: the part's dated lines, less those in its range.

    Only what is in one of both and not in the other is added up; each half reads a stretch of the
    index of its own.
    """
    own = "l.ledger_id = %s AND l.slot = %s AND l.account_no = ANY(%s)"
    whose = (ledger_id, reading.slots["statements"], list(account_nos))
    known = compared("l.position", "<=", reading.position)
    halves: list[str] = []
    values: list[object] = []
    for number, part in enumerate(parts):
        ranged = booked_before(part.end)
        if part.first is not None:
            ranged = all_of(booked_from(part.first), ranged)
        for sign, condition in (
            ("", all_of(part.dated, none_of(ranged), known)),
            # What is in the range was known: another bound would be the one that is begun at.
            ("-", all_of(none_of(part.dated), ranged)),
        ):
            half = all_of(DATED, condition)
            halves.append(
                f"SELECT {number}, l.account_no, l.side, ({sign}sum(l.amount_minor))::text"  # noqa: S608 - our own conditions
                f" FROM views.statement_lines l WHERE {own} AND {half.text}"
                " GROUP BY l.account_no, l.side"
            )
            values += (*whose, *half.values)
    found: dict[tuple[int, int, str], int] = {}
    rows = driver_of(conn).execute(" UNION ALL ".join(halves).encode(), values).fetchall()
    for number, account_no, side, minor in rows:
        key = (number, account_no, side)
        found[key] = found.get(key, 0) + int(minor)
    return found
