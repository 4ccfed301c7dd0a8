"""Standing orders by their rules: which occurrence is next, and what it carries out."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.harness import deposited, opened, transfer
from tests.rules.harness import given as given_commands
from tests.rules.test_schedules import schedules
from tests.strategies import START

from ledger_core.blocks import FreezeAccount
from ledger_core.books import Books
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import (
    AccountNotFound,
    CurrencyMismatch,
    OrderEnded,
    OrderNotFound,
    SameAccount,
    ValidationFailed,
)
from ledger_core.fields import require_key
from ledger_core.journal import Side
from ledger_core.schedules import Schedule, occurrence
from ledger_core.standing_order import (
    Order,
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
from ledger_core.standing_orders import (
    CancelOrder,
    ChangeOrder,
    CreateOrder,
    RunOrder,
    change_of,
    creation_of,
    movement_of,
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
    found = []
    while order.next_date is not None and order.next_date <= until:
        found.append((order.next_date, order.command["amount"]))
        order = ran(order)
    return found


# What follows from what happened ----------------------------------------------------------------


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


# What may be ordered -----------------------------------------------------------------------------


TODAY = START.date()
BANK = (opened("A"), opened("B"), deposited("A", 1_000))
_SIDES: tuple[tuple[str, Side], ...] = (("A", "debit"), ("B", "credit"))


def order(**fields: Any) -> CreateOrder:  # noqa: ANN401 - the command's own
    """An order of 100 from A to B every week from today on."""
    given: dict[str, Any] = {
        "order_id": "rent",
        "schedule": every("week", TODAY),
        "command": transfer("A", "B", 100),
    }
    return CreateOrder(**(given | fields))


def kept_order(books: Books) -> Order:
    """The order that the tests make."""
    found = books.kept("order", "rent")
    assert isinstance(found, Order)
    return found


def test_an_order_is_kept_as_it_was_put() -> None:
    """The event holds the movement as data, and gives the command back."""
    asked = order(name="Rent", command=transfer("A", "B", 100, description="Flat"))
    answer = given_commands(*BANK).when(asked)
    (event,) = answer.events
    assert isinstance(event, StandingOrderCreated)
    assert event.command == RENT | {"description": "Flat"}
    assert creation_of(event) == asked
    assert kept_order(answer.books).next_date == TODAY
    first = given_commands(*BANK).when(order(order_id=None))
    assert ("order", f"ord_{first.books.position}") in first.books.states


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"order_id": "ord_7"}, "order_id"),
        ({"name": ""}, "name"),
        ({"schedule": every("week", TODAY, interval=0)}, "schedule.interval"),
        ({"schedule": every("week", TODAY - timedelta(367))}, "schedule.first_date"),
        ({"command": transfer("A", "B", 100, key="k")}, "command.key"),
        ({"command": transfer("A", "B", 100, value_date=TODAY)}, "command.value_date"),
        ({"command": transfer("A", "B", 100, entry_id="e")}, "command.entry_id"),
        ({"command": transfer("A", "B", 100, reference="r")}, "command.reference"),
        ({"command": transfer("A", "B", 100, if_version={"A": 1})}, "command.if_version"),
        ({"command": transfer("A", "B", 100, force=True)}, "command.force"),
        ({"command": transfer("A", "B", 100, metadata={"due_date": "x"})}, "command.metadata"),
        (
            {"command": transfer("A", "B", 100, metadata={str(n): "x" for n in range(19)})},
            "command.metadata",
        ),
        ({"command": transfer("A", "B", 0)}, "command.amount"),
    ],
)
def test_what_is_malformed_or_of_one_occasion_is_refused(
    fields: dict[str, Any], field: str
) -> None:
    """Named by its field, within the movement too."""
    given_commands(*BANK).when(order(**fields)).then_refuses(ValidationFailed, field=field)


def test_what_could_never_be_carried_out_is_refused() -> None:
    """An account that is not there, the same account twice, another currency."""
    bank = given_commands(*BANK)
    refused = bank.when(order(command=transfer("A", "C", 100)))
    refused.then_refuses(AccountNotFound, field="command.credit_account_id")
    bank.when(order(command=transfer("A", "A", 100))).then_refuses(SameAccount)
    bank.when(order(command=transfer("A", "B", 1, currency="USD"))).then_refuses(CurrencyMismatch)


def test_what_may_be_possible_on_its_day_is_ordered() -> None:
    """More than is there today, from an account that is blocked today."""
    blocked = FreezeAccount(account_id="A", cause="court", effect="debit")
    answer = given_commands(*BANK, blocked).when(order(command=transfer("A", "B", 99_999)))
    assert kept_order(answer.books).status == "active"


def test_an_order_may_begin_in_the_past_but_not_long_ago() -> None:
    """What was due since is caught up; more than a year back is a slip of the pen."""
    first = TODAY - timedelta(366)
    answer = given_commands(*BANK).when(order(schedule=every("month", first)))
    assert kept_order(answer.books).next_date == first


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({}, ValidationFailed),
        ({"amount": "0"}, ValidationFailed),
        ({"amount": "5", "command": transfer("A", "B", 5)}, ValidationFailed),
        ({"amount": "5", "from_date": TODAY - timedelta(367)}, ValidationFailed),
        ({"schedule": every("week", TODAY, count=0)}, ValidationFailed),
        ({"command": transfer("A", "C", 5)}, AccountNotFound),
        ({"order_id": "other", "amount": "5"}, OrderNotFound),
    ],
)
def test_a_change_that_cannot_be_is_refused(change: dict[str, Any], error: type[Any]) -> None:
    """Nothing to change, a malformed or long past date, a movement that does not fit."""
    bank = given_commands(*BANK, order())
    bank.when(ChangeOrder(**({"order_id": "rent"} | change))).then_refuses(error)


def test_an_amount_needs_a_movement_that_has_one() -> None:
    """A journal entry of several postings has no single amount to change, now or later."""
    lines = tuple(
        PostingLine(account_id=name, side=side, amount="5", currency="EUR") for name, side in _SIDES
    )
    entry = PostEntry(postings=lines)
    later = TODAY + timedelta(30)
    change = ChangeOrder(order_id="rent", amount="7", from_date=later)
    bank = given_commands(*BANK, order(command=entry))
    bank.when(change).then_refuses(ValidationFailed, field="amount")
    replaced = ChangeOrder(order_id="rent", command=transfer("A", "B", 5))
    assert given_commands(*BANK, order(command=entry), replaced).when(change).events
    back = ChangeOrder(order_id="rent", command=entry)
    bank = given_commands(*BANK, order(), change)
    bank.when(back).then_refuses(ValidationFailed, field="amount")


def test_a_change_gives_its_command_back() -> None:
    """The event tells the command, and a change to what is so already is none."""
    asked = ChangeOrder(
        order_id="rent", command=transfer("B", "A", 5), schedule=every("day", TODAY), reason="new"
    )
    answer = given_commands(*BANK, order()).when(asked)
    (event,) = answer.events
    assert isinstance(event, StandingOrderChanged)
    assert change_of(event) == asked
    assert kept_order(answer.books).command["credit_account_id"] == "A"
    again = ChangeOrder(order_id="rent", amount="100")
    given_commands(*BANK, order()).when(again).then_nothing()


def test_changes_to_come_are_bounded() -> None:
    """Twenty may wait for their day."""
    changes = [
        ChangeOrder(order_id="rent", amount=str(day), from_date=TODAY + timedelta(day))
        for day in range(8, 29)
    ]
    bank = given_commands(*BANK, order(), *changes[:20])
    bank.when(changes[20]).then_refuses(ValidationFailed, field="from_date")


def test_cancelling_ends_an_order_once() -> None:
    """Again is nothing new; after that it cannot be changed."""
    bank = given_commands(*BANK, order(), CancelOrder(order_id="rent", reason="moved"))
    bank.when(CancelOrder(order_id="rent")).then_nothing()
    change = ChangeOrder(order_id="rent", amount="5")
    bank.when(change).then_refuses(OrderEnded, order_id="rent", status="cancelled")
    given_commands().when(CancelOrder(order_id="rent")).then_refuses(OrderNotFound)


# What a run carries out --------------------------------------------------------------------------


def run(due: date, business: date | None = None) -> RunOrder:
    """The run of the occurrence that is due on a day."""
    return RunOrder(order_id="rent", due_date=due, business_date=business or due)


def test_a_run_books_on_the_business_date() -> None:
    """The movement with its value date, and the order in its metadata."""
    made = order(schedule=every("week", TODAY - timedelta(7)), command=transfer("A", "B", 100))
    books = given_commands(*BANK, made).books
    movement = movement_of(books, run(TODAY - timedelta(7), TODAY))
    due = (TODAY - timedelta(7)).isoformat()
    assert movement == transfer(
        "A", "B", 100, value_date=TODAY, metadata={"order_id": "rent", "due_date": due}
    )


def test_only_the_next_occurrence_runs() -> None:
    """One that is past is not due any more; one that comes later must wait for it."""
    books = given_commands(*BANK, order(schedule=every("day", TODAY - timedelta(1)))).books
    assert movement_of(books, run(TODAY - timedelta(2))) is None
    with pytest.raises(ValidationFailed):
        movement_of(books, run(TODAY))
    with pytest.raises(ValidationFailed):
        movement_of(books, run(TODAY - timedelta(1), TODAY + timedelta(1)))
    with pytest.raises(ValidationFailed):
        movement_of(books, run(TODAY, TODAY - timedelta(1)))


def test_an_order_that_is_over_has_no_run() -> None:
    """Cancelled meanwhile: nothing is booked, and nothing is wrong."""
    books = given_commands(*BANK, order(), CancelOrder(order_id="rent")).books
    assert movement_of(books, run(TODAY)) is None


def test_no_caller_can_choose_the_key_of_a_run() -> None:
    """It has a blank, which no caller's key may have."""
    assert run(TODAY).key == f"run rent {TODAY.isoformat()}"
    with pytest.raises(ValidationFailed):
        require_key(run(TODAY).key)
