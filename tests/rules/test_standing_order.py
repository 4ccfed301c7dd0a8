"""A standing order after what happened to it: which occurrence is next, and what that moves."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.test_schedules import schedules

from ledger_core.schedules import Schedule, occurrence
from ledger_core.standing_order import (
    Order,
    OrderChange,
    StandingOrderCancelled,
    StandingOrderChanged,
    StandingOrderCreated,
    StandingOrderRan,
    StandingOrderRunRefused,
    accounts_named,
    due_dates,
    evolve,
    order_ids,
    tags_of,
)

MONDAY = date(2026, 3, 2)
RENT = {
    "type": "transfer",
    "debit_account_id": "A",
    "credit_account_id": "B",
    "amount": "100",
    "currency": "EUR",
}


def on(day: date) -> datetime:
    """A moment on that day."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def created(schedule: Schedule, **fields: Any) -> Order:  # noqa: ANN401 - the event's own
    """A new order."""
    return evolve(None, StandingOrderCreated(RENT, schedule, **fields), 1, on(MONDAY))


def ran(order: Order) -> Order:
    """The order after its next occurrence was carried out."""
    assert order.next_date is not None
    event = StandingOrderRan(order.order_id, order.next_date, order.next_date, 7)
    return evolve(order, event, order.last_position + 1, on(order.next_date))


def changed(order: Order, *, today: date = MONDAY, **fields: Any) -> Order:  # noqa: ANN401
    """The order after a change."""
    event = StandingOrderChanged(order.order_id, **fields)
    return evolve(order, event, order.last_position + 1, on(today))


def every(unit: Any, first: date = MONDAY, **fields: Any) -> Schedule:  # noqa: ANN401
    """A schedule from that day on."""
    return Schedule(first_date=first, unit=unit, **fields)


def amounts(order: Order, until: date) -> list[tuple[date, str]]:
    """What is carried out on which due date, up to a day, if every occurrence is run."""
    return [(due, values["amount"]) for due, values in runs(order, until)]


def runs(order: Order, until: date) -> list[tuple[date, dict[str, Any]]]:
    """Which movement is carried out on which due date, each later than the one before."""
    found: list[tuple[date, dict[str, Any]]] = []
    while order.next_date is not None and order.next_date <= until:
        assert not found or found[-1][0] < order.next_date
        found.append((order.next_date, order.command))
        order = ran(order)
    return found


@given(schedules())
def test_an_order_runs_every_occurrence_once(schedule: Schedule) -> None:
    """Run after run meets the schedule's occurrences in order, and then the order has ended."""
    order = created(schedule)
    for number in range(40):
        assert order.next_date == occurrence(schedule, number)
        assert (order.status == "ended") == (order.next_date is None)
        if order.next_date is None:
            break
        assert (order.runs, order.refusals) == (number, 0)
        order = ran(order)


@given(schedules(), st.integers(0, 30), st.integers(0, 4_000))
def test_what_is_due_is_what_runs_would_meet(schedule: Schedule, most: int, days: int) -> None:
    """Looking ahead gives the same days as running one after another."""
    order = created(schedule)
    until = schedule.first_date + timedelta(days)
    expected: list[date] = []
    later = order
    while later.next_date is not None and later.next_date <= until and len(expected) < most:
        expected.append(later.next_date)
        later = ran(later)
    assert due_dates(order, until, most) == tuple(expected)


_steps = st.lists(
    st.one_of(
        st.just("run"),
        st.just("refuse"),
        st.tuples(st.integers(-40, 400), st.none() | st.just("5"), st.none() | schedules()),
    ),
    max_size=25,
)


@given(schedules(), _steps)
def test_due_dates_never_come_back(schedule: Schedule, steps: list[Any]) -> None:
    """Whatever is changed on the way: each due date is later than the last that ran."""
    order = created(schedule)
    today = schedule.first_date
    dates: list[date] = []
    for step in steps:
        if order.next_date is None:
            assert order.status == "ended"
            break
        if isinstance(step, str):
            due = order.next_date
            dates.append(due)
            today = max(today, due)
            event = (
                StandingOrderRan(order.order_id, due, due)
                if step == "run"
                else StandingOrderRunRefused(order.order_id, due, due, "insufficient_funds")
            )
            order = evolve(order, event, order.last_position + 1, on(today))
            assert order.last_due_date == due
        else:
            days, amount, other = step
            from_date = today + timedelta(days)
            order = changed(order, today=today, from_date=from_date, amount=amount, schedule=other)
        assert order.runs + order.refusals == len(dates)
        assert order.next_date is None or order.next_date not in dates
        assert all(change.from_date > (order.next_date or date.min) for change in order.changes)
    assert dates == sorted(set(dates))


def test_an_amount_changes_from_a_day_on() -> None:
    """What falls due before the day moves the old amount, however late it is run."""
    order = changed(created(every("week")), from_date=date(2026, 3, 16), amount="250")
    assert amounts(order, date(2026, 3, 23)) == [
        (date(2026, 3, 2), "100"),
        (date(2026, 3, 9), "100"),
        (date(2026, 3, 16), "250"),
        (date(2026, 3, 23), "250"),
    ]


def test_a_change_without_a_day_spares_what_was_missed() -> None:
    """From today on: an occurrence missed before today keeps what it was ordered to be."""
    order = changed(created(every("week")), today=date(2026, 3, 5), amount="250")
    assert amounts(order, date(2026, 3, 9)) == [
        (date(2026, 3, 2), "100"),
        (date(2026, 3, 9), "250"),
    ]


def test_a_schedule_changes_from_a_day_on() -> None:
    """The days before are the old schedule's, from then on the new one's alone."""
    monthly = every("month", date(2026, 1, 20))
    order = changed(created(every("week")), from_date=date(2026, 3, 17), schedule=monthly)
    dates = [due for due, _ in amounts(order, date(2026, 5, 1))]
    assert dates == [date(2026, 3, d) for d in (2, 9, 16, 20)] + [date(2026, 4, 20)]


TUESDAYS, WEDNESDAYS = every("week", date(2026, 3, 3)), every("week", date(2026, 3, 4))


@pytest.mark.parametrize(
    ("changes", "days"),
    [
        # From a Monday on: that day is no Monday's any more.
        ([(16, TUESDAYS)], [2, 9, 17, 24]),
        # From a Tuesday on: it is the first.
        ([(17, TUESDAYS)], [2, 9, 16, 17, 24]),
        # From a Wednesday on: the Tuesday before it was none.
        ([(18, TUESDAYS)], [2, 9, 16, 24]),
        # Two to come, each until the next.
        ([(10, TUESDAYS), (17, WEDNESDAYS)], [2, 9, 10, 18, 25]),
        ([(17, WEDNESDAYS), (10, TUESDAYS)], [2, 9, 10, 18, 25]),
        # Before the first day of all: nothing else was ever due.
        ([(1, WEDNESDAYS)], [4, 11, 18, 25]),
    ],
)
def test_one_schedule_ends_where_the_next_begins(
    changes: list[tuple[int, Schedule]], days: list[int]
) -> None:
    """No day is due by two of them, and none by neither."""
    order = created(every("week"))
    for day, schedule in changes:
        order = changed(order, from_date=date(2026, 3, day), schedule=schedule)
    until = date(2026, 3, 29)
    expected = tuple(date(2026, 3, day) for day in days)
    assert due_dates(order, until, 9) == expected
    assert tuple(due for due, _ in amounts(order, until)) == expected


def test_a_schedule_in_force_does_not_reach_back() -> None:
    """A change of the amount does not call for days before the schedule's own change."""
    order = created(every("month", date(2026, 1, 1)))
    order = ran(ran(order))
    order = changed(order, from_date=date(2026, 2, 20), schedule=every("week", date(2026, 1, 5)))
    assert order.next_date == date(2026, 2, 23)
    assert changed(order, amount="5").next_date == date(2026, 2, 23)


def test_changes_follow_one_another_by_their_days() -> None:
    """A change from an earlier day leaves one from a later day in place."""
    order = changed(created(every("week")), from_date=date(2026, 3, 16), amount="3")
    order = changed(order, from_date=date(2026, 3, 9), amount="2")
    assert [amount for _, amount in amounts(order, date(2026, 3, 16))] == ["100", "2", "3"]


def test_an_order_says_what_happened_to_it() -> None:
    """Its id, name and first position stay; what last happened is counted and told."""
    weekly = every("week", count=3)
    order = created(weekly, name="Rent")
    first = Order(
        order_id="ord_1",
        command=RENT,
        schedule=weekly,
        status="active",
        next_date=MONDAY,
        position=1,
        last_position=1,
        name="Rent",
    )
    assert order == first
    order = changed(order, from_date=date(2026, 3, 12), amount="7")
    change = OrderChange(date(2026, 3, 12), "7")
    assert order == msgspec.structs.replace(first, last_position=2, changes=(change,))
    order = ran(order)
    once = {"last_position": 3, "last_due_date": MONDAY, "next_date": date(2026, 3, 9), "runs": 1}
    assert order == msgspec.structs.replace(first, **once, changes=(change,))
    due = date(2026, 3, 9)
    order = evolve(order, StandingOrderRunRefused("ord_1", due, due, "x"), 9, on(due))
    twice = {**once, "last_position": 9, "last_due_date": due, "next_date": date(2026, 3, 16)}
    in_force = {**RENT, "amount": "7"}
    assert order == msgspec.structs.replace(first, **twice, refusals=1, command=in_force)


def test_an_order_that_has_ended_waits_for_nothing() -> None:
    """A change from a day after its last occurrence is gone with it."""
    order = changed(created(every("once")), from_date=date(2026, 4, 1), amount="7")
    assert order.changes == (OrderChange(date(2026, 4, 1), "7"),)
    order = ran(order)
    assert (order.status, order.next_date, order.changes) == ("ended", None, ())


def test_a_cancelled_order_is_over() -> None:
    """Nothing is due any more."""
    order = evolve(created(every("day")), StandingOrderCancelled("ord_1"), 2, on(MONDAY))
    assert (order.status, order.next_date, order.last_position) == ("cancelled", None, 2)
    assert due_dates(order, date.max, 10) == ()


def test_an_order_is_listed_by_the_accounts_it_names() -> None:
    """Of the movement that is next, and of those to come; an event likewise."""
    entry = {
        "type": "post_entry",
        "postings": [{"account_id": "C", "side": "debit"}, {"account_id": "D", "side": "credit"}],
    }
    fee = {"type": "post_template", "template": "fee", "accounts": {"payer": "A", "payee": "E"}}
    assert accounts_named(fee) == ("A", "E")
    order = changed(created(every("week")), from_date=date(2026, 4, 1), command=entry)
    assert order.tags == ("account:A", "account:B", "account:C", "account:D")
    event = StandingOrderCreated(entry, every("once"), "mine")
    assert tags_of(event, 9) == ["account:C", "account:D"]
    assert order_ids(msgspec.structs.replace(event, order_id=None), 9) == ("ord_9",)


def test_a_condition_on_an_account_of_any_name_names_none() -> None:
    """An account may be called what a template calls its accounts."""
    bounds = {"posted": {"gte": "0"}, "pending": None}
    values = {"debit_account_id": "A", "if_balance": {"accounts": bounds}}
    assert accounts_named(values) == ("A",)
    values = {"debit_account_id": "A", "metadata": {"from": "B"}, "amounts": {"fee": "5"}}
    assert accounts_named(values) == ("A",)
