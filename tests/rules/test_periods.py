"""Periods: when they close, what they refuse, and where late entries go."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened, transfer, with_field
from tests.strategies import START, dates, late_postings

from ledger_core import commands, period
from ledger_core.books import Books
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import InsufficientFunds, PeriodIsClosed, ValidationFailed
from ledger_core.holds import CaptureHold, PlaceHold
from ledger_core.journal import JournalEntryPosted
from ledger_core.period import (
    LatePosting,
    Period,
    PeriodClosed,
    PeriodReopened,
    open_value_date,
)
from ledger_core.periods import ClosePeriod, ReopenPeriod
from ledger_core.reversals import ReverseEntry

TODAY = START.date()
JANUARY = date(2026, 1, 31)
MID_JANUARY = date(2026, 1, 15)
FEBRUARY = date(2026, 2, 28)
CLOSED = ClosePeriod(through=JANUARY)
MOVED = ClosePeriod(through=JANUARY, late_posting="next_open")
BANK = (opened("A"), opened("B"), deposited("A", 1_000))


def _period(books: Books) -> Period | None:
    """The ledger's period."""
    found = books.kept("period", "ledger")
    assert found is None or isinstance(found, Period)
    return found


# The rule for value dates ------------------------------------------------------------------------


@draw(
    st.none() | st.builds(Period, st.none() | dates, late_postings, st.just(1), st.just(1)),
    st.none() | dates,
    dates,
)
def test_no_entry_gets_a_date_in_the_closed_period(
    state: Period | None, value_date: date | None, today: date
) -> None:
    """What is asked for outside stays; inside, it is refused or moved to the first open day."""
    closed_through = None if state is None else state.closed_through
    asked = today if value_date is None else value_date
    if closed_through is None or asked > closed_through:
        assert open_value_date(state, value_date, today) == (value_date, None)
        return
    assert state is not None
    if state.late_posting == "refuse":
        with pytest.raises(PeriodIsClosed) as refusal:
            open_value_date(state, value_date, today)
        assert refusal.value.seen == {
            "value_date": asked.isoformat(),
            "closed_through": closed_through.isoformat(),
        }
    else:
        dated, original = open_value_date(state, value_date, today)
        assert dated is not None
        assert dated - timedelta(days=1) == closed_through
        assert original == asked


@draw(st.lists(st.tuples(st.booleans(), st.none() | dates, st.none() | late_postings), max_size=8))
def test_the_period_is_what_was_closed_and_not_reopened(
    turns: list[tuple[bool, date | None, LatePosting | None]],
) -> None:
    """Closing only ever goes further; reopening says exactly what stays closed."""
    state: Period | None = None
    closed, treated = date.min, "refuse"
    for position, (closes, day, late_posting) in enumerate(turns, start=1):
        if closes and day is not None:
            state = period.evolve(state, PeriodClosed(day, late_posting), position, START)
            closed, treated = max(closed, day), late_posting or treated
        else:
            state = period.evolve(state, PeriodReopened(day), position, START)
            closed = date.min if day is None else day
        expected = None if closed == date.min else closed
        assert state == Period(expected, treated, 1, position)  # type: ignore[arg-type]
        assert state.status == ("open" if expected is None else "closed")


# Closing and reopening ---------------------------------------------------------------------------


def test_a_period_closes_when_it_is_over() -> None:
    """Yesterday may be closed, today and tomorrow may not; what is closed is closed already."""
    yesterday = TODAY - timedelta(days=1)
    for through in (TODAY, TODAY + timedelta(days=1)):
        given().when(ClosePeriod(through=through)).then_refuses(ValidationFailed, field="through")
    books = (
        given()
        .when(ClosePeriod(through=yesterday, reason="month's end"))
        .then(PeriodClosed(yesterday, reason="month's end"))
    )
    assert _period(books) == Period(yesterday, "refuse", 1, 1)
    for through in (yesterday, JANUARY):
        Given(books).when(ClosePeriod(through=through)).then_nothing()


def test_what_becomes_of_late_entries_can_be_changed_alone() -> None:
    """It stays as it is unless it is named, also over the next closing."""
    case = given(CLOSED)
    case.when(ClosePeriod(through=JANUARY, late_posting="refuse")).then_nothing()
    books = case.when(MOVED).then(PeriodClosed(JANUARY, "next_open"))
    assert _period(books) == Period(JANUARY, "next_open", 1, 2)
    books = case.when(ClosePeriod(through=FEBRUARY)).then(PeriodClosed(FEBRUARY))
    assert _period(books) == Period(FEBRUARY, "next_open", 1, 3)
    earlier = ClosePeriod(through=JANUARY, late_posting="refuse")
    case.when(earlier).then_refuses(ValidationFailed, field="through")
    case.when(with_field(earlier, "late_posting", "next_open")).then_nothing()
    books = case.when(with_field(earlier, "through", FEBRUARY)).then(
        PeriodClosed(FEBRUARY, "refuse")
    )
    assert _period(books) == Period(FEBRUARY, "refuse", 1, 4)


def test_a_period_is_reopened_after_a_day_or_wholly() -> None:
    """What is open already is no event."""
    given().when(ReopenPeriod(after=None)).then_nothing()
    case = given(ClosePeriod(through=FEBRUARY))
    for after in (FEBRUARY, TODAY):
        case.when(ReopenPeriod(after=after)).then_nothing()
    books = case.when(ReopenPeriod(after=JANUARY, reason="late invoice")).then(
        PeriodReopened(JANUARY, "late invoice")
    )
    assert _period(books) == Period(JANUARY, "refuse", 1, 2)
    books = case.when(ReopenPeriod(after=None)).then(PeriodReopened(None))
    assert _period(books) == Period(None, "refuse", 1, 3)
    case.when(ReopenPeriod(after=JANUARY)).then_nothing()


@pytest.mark.parametrize("command", [CLOSED, ReopenPeriod(after=JANUARY)], ids=["close", "reopen"])
def test_a_malformed_reason_is_refused(command: ClosePeriod | ReopenPeriod) -> None:
    """The field is named."""
    given(CLOSED).when(with_field(command, "reason", "")).then_refuses(
        ValidationFailed, field="reason"
    )


# Entries -----------------------------------------------------------------------------------------


def test_a_closed_period_refuses_entries_dated_in_it() -> None:
    """Up to and including its last day; the day after, today and the future are taken."""
    case = given(*BANK, CLOSED)
    for value_date in (date(1990, 1, 1), MID_JANUARY, JANUARY):
        for force in (False, True):
            case.when(transfer("A", "B", 1, value_date=value_date, force=force)).then_refuses(
                PeriodIsClosed, closed_through="2026-01-31"
            )
    for open_date in (None, date(2026, 2, 1), TODAY, date(2030, 1, 1)):
        answer = case.when(transfer("A", "B", 1, value_date=open_date))
        assert answer.error is None
        assert _entry(answer.events).value_date == open_date


def test_a_late_entry_is_dated_on_the_first_open_day_and_keeps_its_own() -> None:
    """Its retry is the same command; one with the date that it got is another."""
    late = transfer("A", "B", 1, value_date=MID_JANUARY)
    entry = _entry(given(*BANK, MOVED).when(late).events)
    assert (entry.value_date, entry.original_value_date) == (date(2026, 2, 1), MID_JANUARY)
    assert commands.differing_fields(late, entry, None) == ()
    other = with_field(late, "value_date", date(2026, 2, 1))
    assert commands.differing_fields(other, entry, None) == ("value_date",)


def test_every_kind_of_entry_obeys() -> None:
    """Deposits, journals, captures, and reversals on the date of the original."""
    lines = (
        PostingLine(account_id="A", side="debit", amount="1", currency="EUR"),
        PostingLine(account_id="B", side="credit", amount="1", currency="EUR"),
    )
    happened = (
        *BANK,
        transfer("A", "B", 5, value_date=MID_JANUARY, entry_id="e"),
        PlaceHold(
            debit_account_id="A", credit_account_id="B", amount="5", currency="EUR", hold_id="h"
        ),
    )
    entries: tuple[Any, ...] = (
        deposited("A", 1, value_date=MID_JANUARY),
        PostEntry(postings=lines, value_date=MID_JANUARY),
        CaptureHold(hold_id="h", value_date=MID_JANUARY),
        ReverseEntry(reverses="e", on_original_date=True),
        ReverseEntry(reverses="e", value_date=MID_JANUARY, force=True),
    )
    for command in entries:
        assert given(*happened).when(command).error is None
        given(*happened, CLOSED).when(command).then_refuses(PeriodIsClosed)
        entry = _entry(given(*happened, MOVED).when(command).events)
        assert (entry.value_date, entry.original_value_date) == (date(2026, 2, 1), MID_JANUARY)
        assert commands.differing_fields(command, entry, None) == ()
    assert given(*happened, CLOSED).when(ReverseEntry(reverses="e")).error is None


def test_a_reopened_period_takes_entries_again() -> None:
    """From the day after the one named; limits are judged on the balance as it stands."""
    late = transfer("A", "B", 1_000, value_date=FEBRUARY)
    case = given(*BANK, ClosePeriod(through=FEBRUARY), ReopenPeriod(after=JANUARY))
    assert case.when(late).error is None
    case.when(late).then_refuses(InsufficientFunds)
    case.when(with_field(late, "value_date", JANUARY)).then_refuses(PeriodIsClosed)


def _entry(events: tuple[object, ...]) -> JournalEntryPosted:
    """The entry that was booked."""
    entry = events[-1]
    assert isinstance(entry, JournalEntryPosted)
    return entry
