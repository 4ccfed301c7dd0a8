"""Standing orders by their rules: what may be ordered and changed, and what a run carries out."""

from datetime import date, timedelta
from typing import Any

import pytest
from tests.rules.harness import deposited, opened, record, transfer, with_field
from tests.rules.harness import given as given_commands
from tests.rules.test_standing_order import RENT, every
from tests.strategies import START

from ledger_core.blocks import FreezeAccount
from ledger_core.books import Books
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import (
    AccountNotFound,
    CurrencyMismatch,
    OrderEnded,
    OrderExists,
    OrderNotFound,
    SameAccount,
    ValidationFailed,
)
from ledger_core.fields import METADATA_ENTRIES_MAX, require_key
from ledger_core.journal import Side
from ledger_core.standing_order import (
    Order,
    StandingOrderChanged,
    StandingOrderCreated,
    StandingOrderRan,
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

TODAY = START.date()
BANK = (opened("A"), opened("B"), deposited("A", 1_000))
_SIDES: tuple[tuple[str, Side], ...] = (("A", "debit"), ("B", "credit"))


NOTES = {str(number): "x" for number in range(METADATA_ENTRIES_MAX - 2)}
"""As many names as have room beside the two that a run notes."""


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
    given_commands(*BANK, asked).when(with_field(asked, "name", "More")).then_refuses(
        OrderExists, position=answer.books.position
    )
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
        ({"command": transfer("A", "B", 100, metadata=NOTES | {"more": "x"})}, "command.metadata"),
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
    much = transfer("A", "B", 99_999, metadata=NOTES)
    answer = given_commands(*BANK, blocked).when(order(command=much))
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


def test_a_change_leaves_a_day_that_is_still_to_run() -> None:
    """Days that have run are none, nor those of the new schedule before the change."""
    bank = given_commands(*BANK, order(schedule=every("week", TODAY + timedelta(10))))
    once = every("once", TODAY + timedelta(3))
    late = ChangeOrder(order_id="rent", schedule=once, from_date=TODAY + timedelta(5))
    bank.when(late).then_refuses(ValidationFailed, field="schedule")
    bank = given_commands(*BANK, order())
    record(bank.books, StandingOrderRan("rent", TODAY, TODAY))
    done = ChangeOrder(
        order_id="rent", schedule=every("once", TODAY), from_date=TODAY + timedelta(20)
    )
    bank.when(done).then_refuses(ValidationFailed, field="schedule")
    # What began long ago is no slip where nothing of it would be caught up.
    old = every("week", TODAY - timedelta(700))
    books = bank.when(ChangeOrder(order_id="rent", schedule=old)).books
    assert kept_order(books).schedule == old
    assert kept_order(books).next_date == TODAY + timedelta(7)


def test_a_change_may_be_of_days_past_but_not_long_past() -> None:
    """A year back, as an order may begin."""
    first = TODAY - timedelta(366)
    bank = given_commands(*BANK, order(schedule=every("month", first)))
    answer = bank.when(ChangeOrder(order_id="rent", amount="7", from_date=first))
    assert kept_order(answer.books).command["amount"] == "7"


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
    bank = given_commands(*BANK, order(schedule=every("once", TODAY)))
    record(bank.books, StandingOrderRan("rent", TODAY, TODAY))
    bank.when(CancelOrder(order_id="rent")).then_refuses(
        OrderEnded, order_id="rent", status="ended"
    )


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
    assert movement_of(books, run(TODAY - timedelta(1))) is not None
    for refused, field in (
        (run(TODAY), "due_date"),
        (run(TODAY - timedelta(1), TODAY + timedelta(1)), "business_date"),
        (run(TODAY, TODAY - timedelta(1)), "business_date"),
        (with_field(run(TODAY), "order_id", "a\nb"), "order_id"),
    ):
        with pytest.raises(ValidationFailed) as refusal:
            movement_of(books, refused)
        assert refusal.value.field == field


def test_an_order_that_is_over_has_no_run() -> None:
    """Cancelled meanwhile: nothing is booked, and nothing is wrong."""
    books = given_commands(*BANK, order(), CancelOrder(order_id="rent")).books
    assert movement_of(books, run(TODAY)) is None


def test_no_caller_can_choose_the_key_of_a_run() -> None:
    """It has a blank, which no caller's key may have."""
    assert run(TODAY).key == f"run rent {TODAY.isoformat()}"
    with pytest.raises(ValidationFailed):
        require_key(run(TODAY).key)
