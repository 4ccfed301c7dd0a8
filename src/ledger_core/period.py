"""The closed period: up to which day the books are closed, and what happens to late postings.

Part of the kernel: every entry's value date passes ``open_value_date``. A ledger has one period,
from the beginning through ``closed_through``; what lies after it is open. Who closes and reopens
it is in ``periods``.
"""

from datetime import date, datetime, timedelta
from typing import Literal, assert_never

import msgspec

from ledger_core.errors import PeriodIsClosed

LatePosting = Literal["refuse", "next_open"]
PeriodStatus = Literal["open", "closed"]

KIND = "period"
PERIOD_ID = "ledger"
"""A ledger has one period."""


class PeriodClosed(msgspec.Struct, frozen=True, omit_defaults=True):
    """No entry is dated ``through`` that day or earlier any more.

    ``late_posting`` says what becomes of an entry that asks for such a date: it is refused, or
    dated on the first open day. Absent, it is as it was; at first it is refused.
    """

    through: date
    late_posting: LatePosting | None = None
    reason: str | None = None


class PeriodReopened(msgspec.Struct, frozen=True, omit_defaults=True):
    """The days after ``through`` are open again; ``None``: no day is closed."""

    through: date | None
    reason: str | None = None


PeriodEvent = PeriodClosed | PeriodReopened


class Period(msgspec.Struct, frozen=True):
    """Up to which day, inclusive, the books are closed; ``None`` means that no day is."""

    closed_through: date | None
    late_posting: LatePosting
    position: int
    last_position: int

    @property
    def status(self) -> PeriodStatus:
        """Whether any day is closed."""
        return "open" if self.closed_through is None else "closed"


def ids(_event: PeriodEvent, _position: int) -> tuple[str, ...]:
    """The one period of the ledger."""
    return (PERIOD_ID,)


def evolve(
    period: Period | None, event: PeriodEvent, position: int, _recorded_at: datetime
) -> Period:
    """The period after an event; what was closed further stays closed."""
    if period is None:
        period = Period(None, "refuse", position, position)
    match event:
        case PeriodClosed(through=through):
            if period.closed_through is not None:
                through = max(through, period.closed_through)
            late_posting = event.late_posting or period.late_posting
            return Period(through, late_posting, period.position, position)
        case PeriodReopened(through=through):
            return Period(through, period.late_posting, period.position, position)
        case _:
            assert_never(event)


def is_open_today(period: Period | None, now: datetime) -> bool:
    """Whether entries that name no value date are booked as they are."""
    return period is None or period.closed_through is None or now.date() > period.closed_through


def open_value_date(
    period: Period | None, value_date: date | None, today: date
) -> tuple[date | None, date | None]:
    """The value date that an entry gets, and the one asked for where that is another.

    ``value_date`` ``None`` is the booking date, ``today``, and stays ``None`` where that is open.
    In a closed period, under ``next_open``, the entry is dated on the first open day.

    Raises:
        PeriodIsClosed: the date lies in the closed period, and late postings are refused.
    """
    if period is None or period.closed_through is None:
        return value_date, None
    asked = today if value_date is None else value_date
    if asked > period.closed_through:
        return value_date, None
    if period.late_posting == "refuse":
        raise PeriodIsClosed(
            value_date=asked.isoformat(), closed_through=period.closed_through.isoformat()
        )
    return period.closed_through + timedelta(days=1), asked
