"""Backdated entries: those that count from a day before they were booked, and what they changed.

Such an entry changes balances by value date that may have been read, or reported, before it came:
all of its accounts' days from its value date up to the day before its booking date. What it
changed is told as of its own position, so the answer is the same for ever.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate, groupby
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import ColumnElement, Date, and_, cast, func, literal_column, select, true

from ledger_core import period
from ledger_core.accounts import Account
from ledger_core.errors import EntryNotFound
from ledger_core.fields import ENTRY_PREFIX, position_of
from ledger_core.journal import JournalEntryPosted, Side, entry_id_at, value_date_at
from ledger_core.period import PeriodClosed
from projections.balance_queries import accounts_of_ids
from projections.entry_queries import (
    NOTHING,
    OLDEST_FIRST,
    PROJECTIONS_READ,
    Candidates,
    ListedEntry,
    Walk,
    account_no_of,
    identity_position,
    listed,
)
from projections.reading import (
    NOW,
    AsOf,
    Page,
    Reading,
    position_at,
    position_before,
    resolve,
)
from projections.statement_queries import entries_at
from projections.statements import statement_lines
from projections.tag_queries import events_tagged

PERIOD_ENDS_MAX = 120
"""How many period ends are shown of an account, the newest: ten years of months."""
_FETCH_ROWS = 5_000
_DAY = timedelta(days=1)


class PeriodEnd(msgspec.Struct, frozen=True, kw_only=True):
    """An account's closing balance by value date at the end of a month or closed period.

    On the normal side, in minor units: without the entry, with it, and, where a closed period
    moved it, as it would be had the entry its original value date.
    """

    day: date
    before_minor: int
    after_minor: int
    as_first_dated_minor: int | None


class Lowest(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest closing balance by value date of the days that the entry changed.

    ``day`` is the first that has it: the same with the entry as without, for it shifts them all.
    """

    day: date
    before_minor: int
    after_minor: int
    is_below_limit_before: bool
    is_below_limit_after: bool


class AccountEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What the entry changed about an account: each of those days' closing balances, by the shift.

    On the account's normal side, in minor units; ``limit_minor`` is the limit when the entry was
    booked. ``period_ends_left_out`` counts those before the ones shown.
    """

    account_id: str
    currency: str
    scale: int
    normal_side: Side
    shift_minor: int
    limit_minor: int | None
    period_ends: tuple[PeriodEnd, ...]
    period_ends_left_out: int
    lowest: Lowest | None


class EntryEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry changed about the past.

    A backdated entry changed the days from ``changed_from`` to before ``changed_until``; both are
    ``None`` where it changed none. ``original_value_date`` was asked for, but lay in a closed
    period, whose days are as they were.
    """

    entry_id: str
    booking_date: date
    value_date: date
    original_value_date: date | None
    is_backdated: bool
    changed_from: date | None
    changed_until: date | None
    accounts: tuple[AccountEffect, ...]
    position: int
    recorded_at: datetime | None


class BackdatedFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which backdated entries to list: on an account, recorded from one time to another."""

    account_id: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None


EVERY = BackdatedFilters()


class _Dates(msgspec.Struct, frozen=True):
    """When an entry counts: from when, from when first asked for, and until when that is new."""

    counts_from: date
    first_dated: date
    booked: date

    @property
    def is_moved(self) -> bool:
        """Whether a closed period moved the entry."""
        return self.first_dated < self.counts_from


class _Course:
    """How an account's balance went by value date, before the entry was there."""

    def __init__(self, days: Sequence[tuple[date, int]], sign: int) -> None:
        """Add up credits less debits of days in order; ``sign`` turns them to the normal side."""
        self.days = [day for day, _ in days]
        self._sums_minor = list(accumulate(sign * net_minor for _, net_minor in days))

    def closing_minor(self, day: date) -> int:
        """The balance at the end of a day."""
        at = bisect_right(self.days, day)
        return self._sums_minor[at - 1] if at else 0


def effect(
    conn: sqlalchemy.Connection, ledger_id: int, entry_id: str, *, as_of: AsOf = NOW
) -> EntryEffect:
    """What the entry of that id changed, as of its own position; it must be there ``as_of``.

    Raises:
        LedgerNotFound: no such ledger.
        EntryNotFound: no such entry.
        PositionAhead: the entry is not projected yet.
    """
    position = identity_position(conn, ledger_id, "entry", entry_id)
    if position is None:
        position = position_of(entry_id, ENTRY_PREFIX)
    entry = None if position is None else entries_at(conn, ledger_id, [position]).get(position)
    if position is None or entry is None or entry_id_at(entry, position) != entry_id:
        resolve(conn, ledger_id, NOW, *PROJECTIONS_READ)
        raise EntryNotFound(field="entry_id")
    if as_of != NOW and position > resolve(conn, ledger_id, as_of, *PROJECTIONS_READ).position:
        raise EntryNotFound(field="entry_id")
    reading = resolve(conn, ledger_id, AsOf(position), *PROJECTIONS_READ)
    recorded_at = reading.recorded_at
    assert recorded_at is not None  # noqa: S101 - the entry stands at that position
    counts_from = value_date_at(entry, recorded_at)
    dates = _Dates(counts_from, entry.original_value_date or counts_from, recorded_at.date())
    accounts = accounts_of_ids(
        conn, ledger_id, reading, [posting.account_id for posting in entry.postings]
    )
    days = _days(conn, ledger_id, reading, accounts, dates)
    closed = _closed_through(conn, ledger_id, reading)
    ends = period_ends(dates.first_dated, dates.booked, closed)
    is_backdated = counts_from < dates.booked
    return EntryEffect(
        entry_id=entry_id,
        booking_date=dates.booked,
        value_date=counts_from,
        original_value_date=entry.original_value_date,
        is_backdated=is_backdated,
        changed_from=counts_from if is_backdated else None,
        changed_until=dates.booked if is_backdated else None,
        accounts=tuple(
            _account_effect(
                account,
                _shift_minor(account, entry),
                days.get(account.terms.account_no, ()),
                ends,
                dates,
            )
            for account in accounts
        ),
        position=position,
        recorded_at=recorded_at,
    )


def backdated(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    as_of: AsOf = NOW,
    filters: BackdatedFilters = EVERY,
    walk: Walk = OLDEST_FIRST,
) -> Page[ListedEntry, int]:
    """A page of the entries recorded by then whose value date lies before their booking date.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    first, last = 1, reading.position
    if filters.recorded_from is not None:
        first = 1 + position_before(conn, ledger_id, filters.recorded_from, last)
    if filters.recorded_to is not None:
        last = position_at(conn, ledger_id, filters.recorded_to, last)
    lines = statement_lines.alias()
    query = select(lines.c.position).where(
        lines.c.ledger_id == ledger_id,
        lines.c.slot == reading.slots["statements"],
        lines.c.value_date < _booked(lines.c.recorded_at),
    )
    candidates = Candidates(first, last, query.distinct())
    if filters.account_id is not None:
        number = account_no_of(conn, ledger_id, reading, filters.account_id)
        on_account = query.where(lines.c.account_no == number).distinct()
        candidates = NOTHING if number is None else Candidates(first, last, on_account)
    return listed(conn, ledger_id, reading, candidates, true(), walk)


def period_ends(first: date, before: date, closed: Iterable[date] = ()) -> list[date]:
    """The last days of months, and of periods that were closed through other days, in order.

    From ``first``, inclusive, to before ``before``.
    """
    ends = {day for day in closed if first <= day < before}
    year, month = first.year, first.month
    while True:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)  # noqa: PLR2004 - months
        if year > date.max.year or (end := date(year, month, 1) - _DAY) >= before:
            return sorted(ends)
        ends.add(end)


def _closed_through(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading
) -> tuple[date, ...]:
    """The days through which a period was ever closed by then."""
    tag = f"{period.KIND}:{period.PERIOD_ID}"
    found = (item.event for item in events_tagged(conn, ledger_id, reading, tag))
    return tuple(event.through for event in found if isinstance(event, PeriodClosed))


def _booked(recorded_at: ColumnElement[Any]) -> ColumnElement[date]:
    """The booking date, in the very words of the index on backdated lines."""
    return cast(
        func.timezone(literal_column("'UTC'"), recorded_at, type_=sqlalchemy.DateTime()), Date
    )


def _days(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    accounts: Sequence[Account],
    dates: _Dates,
) -> dict[int, tuple[tuple[date, int], ...]]:
    """Credits less debits that counted on each day before the entry was there, by account number.

    Up to the day before its booking date; what counts before its dates is the first day's.
    """
    lines = statement_lines.c
    start = min(dates.first_dated, dates.counts_from)
    day = func.greatest(lines.value_date, start).label("day")
    signed = lines.amount_minor * sqlalchemy.case((lines.side == "C", 1), else_=-1)
    rows = conn.execute(
        select(lines.account_no, day, func.sum(signed).label("net"))
        .where(
            and_(
                lines.ledger_id == ledger_id,
                lines.slot == reading.slots["statements"],
                lines.account_no == func.any([item.terms.account_no for item in accounts]),
                lines.position < reading.position,
                lines.value_date < dates.booked,
            )
        )
        .group_by(lines.account_no, day)
        .order_by(lines.account_no, day)
        .execution_options(yield_per=_FETCH_ROWS)
    )
    return {
        number: tuple((row.day, int(row.net)) for row in of_account)
        for number, of_account in groupby(rows, key=lambda row: row.account_no)
    }


def _shift_minor(account: Account, entry: JournalEntryPosted) -> int:
    """What the entry's postings on the account come to, on its normal side."""
    normal_side = account.terms.normal_side
    return sum(
        posting.amount_minor if posting.side == normal_side else -posting.amount_minor
        for posting in entry.postings
        if posting.account_id == account.terms.account_id
    )


def _account_effect(
    account: Account,
    shift_minor: int,
    days: Sequence[tuple[date, int]],
    ends: Sequence[date],
    dates: _Dates,
) -> AccountEffect:
    """What an entry shifted on one account."""
    terms = account.terms
    course = _Course(days, 1 if terms.normal_side == "credit" else -1)
    shown = ends[-PERIOD_ENDS_MAX:]
    return AccountEffect(
        account_id=terms.account_id,
        currency=terms.currency,
        scale=terms.scale,
        normal_side=terms.normal_side,
        shift_minor=shift_minor,
        limit_minor=terms.limit_minor,
        period_ends=tuple(_period_end(day, course, shift_minor, dates) for day in shown),
        period_ends_left_out=len(ends) - len(shown),
        lowest=_lowest(course, shift_minor, terms.limit_minor, dates),
    )


def _period_end(day: date, course: _Course, shift_minor: int, dates: _Dates) -> PeriodEnd:
    """The closing balances of a day with and without the entry."""
    before_minor = course.closing_minor(day)
    return PeriodEnd(
        day=day,
        before_minor=before_minor,
        after_minor=before_minor + (shift_minor if day >= dates.counts_from else 0),
        as_first_dated_minor=before_minor + shift_minor if dates.is_moved else None,
    )


def _lowest(
    course: _Course, shift_minor: int, limit_minor: int | None, dates: _Dates
) -> Lowest | None:
    """The lowest of the days that the entry changed; ``None`` where it changed none."""
    if dates.counts_from >= dates.booked:
        return None
    lowest_minor, day = min(
        (course.closing_minor(day), day)
        for day in (dates.counts_from, *course.days)
        if day >= dates.counts_from
    )
    floor_minor = None if limit_minor is None else -limit_minor
    return Lowest(
        day=day,
        before_minor=lowest_minor,
        after_minor=lowest_minor + shift_minor,
        is_below_limit_before=floor_minor is not None and lowest_minor < floor_minor,
        is_below_limit_after=floor_minor is not None and lowest_minor + shift_minor < floor_minor,
    )
