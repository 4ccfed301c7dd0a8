"""Schedules: strictly increasing, without drift, within their bounds."""

from datetime import date, timedelta
from itertools import pairwise, product, takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import ValidationFailed
from ledger_core.schedules import (
    ADJUSTED_DAYS_MIN,
    COUNT_MAX,
    INTERVAL_MAX,
    Adjust,
    Schedule,
    Unit,
    next_after,
    occurrence,
    require_schedule,
)

UNITS: tuple[Unit, ...] = ("once", "day", "week", "month", "year")
ADJUSTS: tuple[Adjust, ...] = ("as_is", "following", "preceding")

_dates = st.dates(date(1999, 1, 1), date(2105, 12, 31))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """A well-formed schedule of any kind."""
    first = draw(_dates)
    unit: Unit = draw(st.sampled_from(UNITS))
    if unit == "once":
        return Schedule(first_date=first, unit="once", adjust=draw(_adjust(unit, 3)))
    interval = draw(st.integers(1, 40) | st.just(INTERVAL_MAX))
    end = draw(st.sampled_from(("none", "count", "last_date")))
    return Schedule(
        first_date=first,
        unit=unit,
        interval=interval,
        count=draw(st.integers(1, 60)) if end == "count" else None,
        last_date=first + timedelta(draw(st.integers(0, 4_000))) if end == "last_date" else None,
        adjust=draw(_adjust(unit, interval)),
    )


def _adjust(unit: str, interval: int) -> st.SearchStrategy[Any]:
    """The ways in which such a schedule may be moved from weekends."""
    if unit == "day" and interval < 3:
        return st.just("as_is")
    return st.sampled_from(ADJUSTS)


def _all(schedule: Schedule, most: int = 80) -> list[date]:
    """The occurrences, by their numbers."""
    found = (occurrence(schedule, number) for number in range(most))
    return [due for due in takewhile(lambda due: due is not None, found) if due is not None]


@given(schedules())
def test_occurrences_are_strictly_increasing(schedule: Schedule) -> None:
    """No day twice, none before the one before: whatever is adjusted."""
    require_schedule(schedule)
    assert all(one < other for one, other in pairwise(_all(schedule)))


@given(schedules())
def test_stepping_meets_every_occurrence(schedule: Schedule) -> None:
    """Asking for the next again and again gives the occurrences by number, and none besides."""
    stepped: list[date] = []
    due = next_after(schedule, None)
    while due is not None and len(stepped) < 80:
        stepped.append(due)
        due = next_after(schedule, due)
    assert stepped == _all(schedule)


@given(schedules(), st.integers(-1_000, 3_000))
def test_the_next_is_the_first_later_one(schedule: Schedule, days: int) -> None:
    """From any day, long before or long after: as if every occurrence had been looked at."""
    day = schedule.first_date + timedelta(days)
    number = 0
    while (due := occurrence(schedule, number)) is not None and due <= day:
        number += 1
    assert next_after(schedule, day) == due


@given(schedules())
def test_nothing_drifts(schedule: Schedule) -> None:
    """Months and years keep the day of the first, or the last of a shorter month."""
    for number, due in enumerate(_all(schedule, 30)):
        first = schedule.first_date
        if schedule.adjust != "as_is":
            assert due.weekday() < 5
            continue
        match schedule.unit:
            case "once":
                assert due == first
            case "day":
                assert (due - first).days == number * schedule.interval
            case "week":
                assert (due - first).days == number * schedule.interval * 7
            case "month" | "year":
                is_last = (due + timedelta(1)).day == 1
                assert due.day == first.day or (is_last and due.day < first.day)
                months = (due.year - first.year) * 12 + due.month - first.month
                length = schedule.interval * (12 if schedule.unit == "year" else 1)
                assert months == number * length


@given(schedules())
def test_an_adjusted_day_is_the_nearest_working_day_on_its_side(schedule: Schedule) -> None:
    """Only Saturdays and Sundays move, by two days at the most, and never past a working day."""
    plain = Schedule(first_date=schedule.first_date, unit=schedule.unit, interval=schedule.interval)
    for nominal, due in zip(_all(plain), _all(schedule), strict=False):
        if schedule.adjust == "as_is" or nominal.weekday() < 5:
            assert due == nominal
        elif schedule.adjust == "following":
            assert (due.weekday(), 1 <= (due - nominal).days <= 2) == (0, True)
        else:
            assert (due.weekday(), 1 <= (nominal - due).days <= 2) == (4, True)


@given(schedules())
def test_a_schedule_ends_where_it_says(schedule: Schedule) -> None:
    """After its count, or with the last date, before weekends are looked at."""
    found = _all(schedule)
    if schedule.unit == "once":
        assert len(found) == 1
    elif schedule.count is not None:
        is_beyond_the_calendar = schedule.unit == "year" and schedule.interval == INTERVAL_MAX
        assert len(found) == schedule.count or is_beyond_the_calendar
    elif schedule.last_date is not None:
        assert found[-1] <= schedule.last_date + timedelta(2)


class Seen(date):
    """A day that counts how many occurrences it was compared with."""

    times = 0

    def __lt__(self, due: date) -> bool:
        """Whether the occurrence is later: asked once a step."""
        self.times += 1
        return super().__lt__(due)


STEPS_MAX: dict[Unit, int] = {"once": 1, "day": 4, "week": 3, "month": 4, "year": 3}
"""Occurrences that are looked at before the next is found."""


def _near_the_weekend() -> list[Schedule]:
    """Every unit, several intervals, all ways to adjust, beginning on each day of a week."""
    firsts = [date(2026, 1, 26) + timedelta(days) for days in range(7)]
    found = [
        Schedule(first_date=first, unit=unit, interval=interval, adjust=adjust)
        for first, unit, interval, adjust in product(firsts, UNITS, (1, 3, 5), ADJUSTS)
        if interval >= ADJUSTED_DAYS_MIN or adjust == "as_is" or unit != "day"
    ]
    return [schedule for schedule in found if schedule.unit != "once" or schedule.interval == 1]


def test_the_next_is_found_from_every_day_in_a_few_steps() -> None:
    """From each day around the first ones and years later: none is passed over, few looked at."""
    spans = (*range(-10, 75), *range(3_640, 3_730))
    for schedule in _near_the_weekend():
        occurrences = iter(_all(schedule, 3_750))
        due = next(occurrences, None)
        for days in spans:
            day = schedule.first_date + timedelta(days)
            while due is not None and due <= day:
                due = next(occurrences, None)
            seen = Seen(day.year, day.month, day.day)
            assert next_after(schedule, seen) == due
            assert seen.times <= STEPS_MAX[schedule.unit]


@pytest.mark.parametrize(
    ("day", "following", "preceding"),
    [(5, 5, 5), (6, 6, 6), (7, 9, 6), (8, 9, 6), (9, 9, 9)],
)
def test_a_day_at_the_weekend_is_moved_to_a_working_day(
    day: int, following: int, preceding: int
) -> None:
    """Saturday 7 and Sunday 8 March 2026 are Monday the 9th, or Friday the 6th."""
    expected = {"as_is": day, "following": following, "preceding": preceding}
    for adjust in ADJUSTS:
        schedule = Schedule(first_date=date(2026, 3, day), unit="once", adjust=adjust)
        assert occurrence(schedule, 0) == date(2026, 3, expected[adjust])


def test_the_last_date_is_one_of_the_schedule() -> None:
    """It is inclusive, also where it is the first date; the day before it is not enough."""
    for days, number in ((0, 1), (13, 2), (14, 3), (15, 3)):
        last = date(2026, 3, 2) + timedelta(days)
        schedule = Schedule(first_date=date(2026, 3, 2), unit="week", last_date=last)
        require_schedule(schedule)
        assert len(_all(schedule)) == number


@pytest.mark.parametrize(
    "fields",
    [
        {"interval": 1},
        {"interval": INTERVAL_MAX},
        {"count": 1},
        {"count": COUNT_MAX},
        {"unit": "day", "interval": ADJUSTED_DAYS_MIN, "adjust": "following"},
        {"unit": "day", "interval": ADJUSTED_DAYS_MIN, "adjust": "preceding"},
        {"unit": "week", "adjust": "following"},
    ],
)
def test_the_bounds_themselves_are_allowed(fields: dict[str, Any]) -> None:
    """The least and the most; every third day is far enough apart to be moved from weekends."""
    given: dict[str, Any] = {"first_date": date(2026, 3, 1), "unit": "month"} | fields
    schedule = Schedule(**given)
    require_schedule(schedule)
    first, second = occurrence(schedule, 0), next_after(schedule, occurrence(schedule, 0))
    assert first is not None
    assert (second is None) == (schedule.count == 1)
    assert second is None or first < second


def test_the_end_of_a_month_comes_back() -> None:
    """31 January, 28 February, 31 March; and 29 February in a leap year."""
    schedule = Schedule(first_date=date(2026, 1, 31), unit="month")
    assert _all(schedule, 4) == [
        date(2026, 1, 31),
        date(2026, 2, 28),
        date(2026, 3, 31),
        date(2026, 4, 30),
    ]
    leap = Schedule(first_date=date(2024, 2, 29), unit="year")
    assert _all(leap, 5)[1::3] == [date(2025, 2, 28), date(2028, 2, 29)]


def test_a_weekend_is_moved_over_the_end_of_a_month() -> None:
    """Saturday 28 February 2026 is 2 March or 27 February, and March comes as it should."""
    for adjust, february in (("following", date(2026, 3, 2)), ("preceding", date(2026, 2, 27))):
        schedule = Schedule(first_date=date(2026, 1, 28), unit="month", adjust=adjust)  # type: ignore[arg-type]
        assert next_after(schedule, date(2026, 1, 28)) == february
        third = date(2026, 3, 30) if adjust == "following" else date(2026, 3, 27)
        assert next_after(schedule, february) == third


def test_the_calendar_ends() -> None:
    """After the year 9999 there is nothing, and no failure."""
    for unit in UNITS:
        schedule = Schedule(first_date=date(9999, 12, 31), unit=unit)
        assert _all(schedule) == [date(9999, 12, 31)]
        assert next_after(schedule, date.max) is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"interval": 0}, "schedule.interval"),
        ({"interval": INTERVAL_MAX + 1}, "schedule.interval"),
        ({"count": 0}, "schedule.count"),
        ({"count": COUNT_MAX + 1}, "schedule.count"),
        ({"count": 1, "last_date": date(2026, 5, 1)}, "schedule.count"),
        ({"last_date": date(2026, 2, 28)}, "schedule.last_date"),
        ({"unit": "once", "interval": 2}, "schedule"),
        ({"unit": "once", "count": 1}, "schedule"),
        ({"unit": "once", "last_date": date(2026, 5, 1)}, "schedule"),
        ({"unit": "day", "interval": 2, "adjust": "following"}, "schedule.adjust"),
        ({"unit": "day", "adjust": "preceding"}, "schedule.adjust"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(fields: dict[str, Any], field: str) -> None:
    """Out of range, two ends, or several occurrences on one day: named with its field."""
    given: dict[str, Any] = {"first_date": date(2026, 3, 1), "unit": "month"} | fields
    with pytest.raises(ValidationFailed) as refusal:
        require_schedule(Schedule(**given))
    assert refusal.value.field == field
