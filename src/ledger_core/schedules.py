"""Schedules: on which days something is due, by arithmetic on dates alone.

An occurrence is counted from the first date, never from the one before, so nothing drifts: 31
January, 28 February, 31 March. Knows Saturdays and Sundays; holidays are not known here.
"""

from calendar import monthrange
from datetime import date, timedelta
from typing import Literal

import msgspec

from ledger_core.errors import ValidationFailed

Unit = Literal["once", "day", "week", "month", "year"]
Adjust = Literal["as_is", "following", "preceding"]

INTERVAL_MAX = 1_000
# Daily for more than a hundred years.
COUNT_MAX = 40_000
# Two days that are closer together than this could be moved to the same working day.
ADJUSTED_DAYS_MIN = 3

_WEEKEND_DAYS = 2
_SATURDAY = 5
_MONTHS_A_YEAR = 12
_DAYS_A_WEEK = 7


class Schedule(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Every ``interval`` units from ``first_date`` on: the days on which something is due.

    It ends after ``count`` occurrences, or with the last that falls on or before ``last_date``
    (inclusive, before weekends are looked at), or not at all. ``adjust`` moves an occurrence that
    falls on a Saturday or Sunday to the working day after (``following``) or before
    (``preceding``) it; holidays are not known.
    """

    first_date: date
    unit: Unit
    interval: int = 1
    last_date: date | None = None
    count: int | None = None
    adjust: Adjust = "as_is"


def require_schedule(schedule: Schedule, *, field: str = "schedule") -> None:
    """The schedule is well formed; its occurrences are then strictly increasing.

    Raises:
        ValidationFailed: something is out of range, or contradicts itself.
    """
    if not 1 <= schedule.interval <= INTERVAL_MAX:
        raise ValidationFailed(f"{field}.interval", f"1 to {INTERVAL_MAX}")
    if schedule.count is not None and not 1 <= schedule.count <= COUNT_MAX:
        raise ValidationFailed(f"{field}.count", f"1 to {COUNT_MAX}")
    if schedule.count is not None and schedule.last_date is not None:
        raise ValidationFailed(f"{field}.count", "a count or a last date, not both")
    if schedule.last_date is not None and schedule.last_date < schedule.first_date:
        raise ValidationFailed(f"{field}.last_date", "on or after the first date")
    if schedule.unit == "once" and (
        (schedule.interval, schedule.count, schedule.last_date) != (1, None, None)
    ):
        raise ValidationFailed(
            field, "what happens once has no other interval, no count and no last date"
        )
    if (
        schedule.unit == "day"
        and schedule.interval < ADJUSTED_DAYS_MIN
        and schedule.adjust != "as_is"
    ):
        raise ValidationFailed(
            f"{field}.adjust",
            f"as_is where the interval is less than {ADJUSTED_DAYS_MIN} days:"
            " several occurrences would fall on one working day",
        )


def occurrence(schedule: Schedule, number: int) -> date | None:
    """The day of the occurrence of that number, from 0; ``None`` beyond the last.

    A month that is too short takes its last day. There is nothing after the year 9999.
    """
    if schedule.count is not None and number >= schedule.count:
        return None
    nominal = _nominal(schedule, number)
    if nominal is None or (schedule.last_date is not None and nominal > schedule.last_date):
        return None
    return _adjusted(nominal, schedule.adjust)


def next_after(schedule: Schedule, day: date | None) -> date | None:
    """The first occurrence later than ``day`` (exclusive); ``None`` for it: the very first.

    ``None`` as the answer: there is none any more. Takes a few steps, however far the day.
    """
    number = 0 if day is None else _surely_not_after(schedule, day)
    while True:
        due = occurrence(schedule, number)
        if due is None or day is None or due > day:
            return due
        number += 1


def _nominal(schedule: Schedule, number: int) -> date | None:
    """The day of an occurrence before weekends are looked at; ``None``: there is no such day."""
    first, steps = schedule.first_date, number * schedule.interval
    match schedule.unit:
        case "once":
            return first if number == 0 else None
        case "day":
            return _days_later(first, steps)
        case "week":
            return _days_later(first, steps * _DAYS_A_WEEK)
        case "month":
            return _months_later(first, steps)
        case "year":
            return _months_later(first, steps * _MONTHS_A_YEAR)


def _days_later(first: date, days: int) -> date | None:
    """So many days later, if the calendar goes that far."""
    ordinal = first.toordinal() + days
    return date.fromordinal(ordinal) if ordinal <= date.max.toordinal() else None


def _months_later(first: date, months: int) -> date | None:
    """The same day so many months later, or the last of a shorter month."""
    year, month = divmod(first.year * _MONTHS_A_YEAR + first.month - 1 + months, _MONTHS_A_YEAR)
    if year > date.max.year:
        return None
    return date(year, month + 1, min(first.day, monthrange(year, month + 1)[1]))


def _adjusted(nominal: date, adjust: Adjust) -> date:
    """The day itself, or the working day that a day at the weekend is moved to."""
    weekday = nominal.weekday()
    if adjust == "as_is" or weekday < _SATURDAY:
        return nominal
    if adjust == "following":
        return nominal + timedelta(days=2 if weekday == _SATURDAY else 1)
    return nominal - timedelta(days=1 if weekday == _SATURDAY else 2)


def _surely_not_after(schedule: Schedule, day: date) -> int:
    """A number before which every occurrence falls on or before ``day``, and few after it do.

    One too low costs a step, one too high would skip an occurrence: so the days that a weekend can
    move it, or a whole month, are kept back.
    """
    first, interval = schedule.first_date, schedule.interval
    days = (day - first).days - _WEEKEND_DAYS
    months = (day.year - first.year) * _MONTHS_A_YEAR + day.month - first.month - 1
    match schedule.unit:
        case "once":
            return 0
        case "day":
            return max(0, days // interval)
        case "week":
            return max(0, days // (interval * _DAYS_A_WEEK))
        case "month":
            return max(0, months // interval)
        case "year":
            return max(0, months // (interval * _MONTHS_A_YEAR))
