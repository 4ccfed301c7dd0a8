"""What standing orders and their changes order to be moved: what limits and approvals judge."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rules.harness import given as given_commands
from tests.rules.harness import opened, record, transfer
from tests.rules.test_standing_order import RENT, every, runs
from tests.rules.test_standing_orders import BANK, TODAY, kept_order, order

from ledger_core.errors import OrderNotFound
from ledger_core.movements import MovementCommand, on_occasion
from ledger_core.standing_order import StandingOrderChanged, StandingOrderCreated
from ledger_core.standing_orders import ChangeOrder, kept_movements, ordered_movements
from ledger_core.transfers import Transfer


def moved(movements: tuple[MovementCommand, ...]) -> list[tuple[str, str]]:
    """The amounts of movements and whom they pay, each once."""
    found = []
    for movement in movements:
        assert isinstance(movement, Transfer)
        assert (movement.value_date, movement.metadata) == (TODAY, {})
        found.append((movement.amount, movement.credit_account_id))
    return list(dict.fromkeys(found))


def later(days: int, **fields: Any) -> ChangeOrder:  # noqa: ANN401 - the command's own
    """A change from so many days after today on."""
    return ChangeOrder(order_id="rent", from_date=TODAY + timedelta(days), **fields)


def paying(amount: str, payee: str) -> dict[str, Any]:
    """A movement as it is kept."""
    return RENT | {"amount": amount, "credit_account_id": payee}


TO_COME = (later(28, command=transfer("A", "C", 300)), later(14, amount="200"))
DAYS = every("day", TODAY)


def test_what_an_order_needs_is_what_its_movements_need() -> None:
    """The one that is next, and whole ones that are to come."""
    bank = given_commands(*BANK, opened("C"), order(), *TO_COME)
    assert moved(kept_movements(bank.books, "rent")) == [("100", "B"), ("300", "C")]
    assert kept_movements(bank.books, "other") == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # An amount, until the next one or another movement.
        ({"amount": "7"}, [("7", "B")]),
        ({"days": 14, "amount": "7"}, [("7", "B")]),
        ({"days": 20, "amount": "7"}, [("7", "B")]),
        ({"days": 28, "amount": "7"}, [("7", "C")]),
        # Another movement, in which the amount that is to come is paid as well.
        ({"command": paying("50", "D")}, [("50", "D"), ("200", "D")]),
        ({"days": 20, "command": paying("50", "D")}, [("50", "D")]),
        ({"days": 40, "command": paying("50", "D")}, [("50", "D")]),
        # On other days it is all ordered anew.
        ({"schedule": DAYS}, [("100", "B"), ("200", "B"), ("300", "C")]),
        ({"days": 20, "schedule": DAYS}, [("200", "B"), ("300", "C")]),
        ({"schedule": DAYS, "amount": "7"}, [("7", "B"), ("200", "B"), ("300", "C")]),
        (
            {"schedule": DAYS, "command": paying("50", "D")},
            [("50", "D"), ("200", "D"), ("300", "C")],
        ),
    ],
)
def test_a_change_orders_what_was_not_ordered_before(
    fields: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """Beside changes to come: whoever may move so much must be asked for these and no others."""
    bank = given_commands(*BANK, opened("C"), opened("D"), order(), *TO_COME)
    if "days" in fields:
        fields = fields | {"from_date": TODAY + timedelta(fields["days"])}
        del fields["days"]
    event = StandingOrderChanged("rent", **fields)
    assert moved(ordered_movements(bank.books, event)) == expected


def test_an_order_orders_its_movement() -> None:
    """A new one has no changes yet."""
    event = StandingOrderCreated(paying("50", "D"), DAYS, "rent")
    assert moved(ordered_movements(given_commands(*BANK).books, event)) == [("50", "D")]
    with pytest.raises(OrderNotFound):
        ordered_movements(given_commands().books, StandingOrderChanged("rent", amount="5"))


_changes = st.builds(
    StandingOrderChanged,
    st.just("rent"),
    st.integers(-5, 40).map(lambda days: TODAY + timedelta(days)),
    st.none() | st.sampled_from(("1", "2", "3")),
    st.none() | st.builds(paying, st.sampled_from(("4", "5")), st.sampled_from("BCD")),
    st.none() | st.sampled_from((every("day", TODAY, interval=3), every("week", TODAY))),
).filter(lambda event: event.amount is None or event.command is None)


@given(st.lists(_changes, max_size=5), _changes)
def test_nothing_is_moved_that_nobody_ordered(
    to_come: list[StandingOrderChanged], event: StandingOrderChanged
) -> None:
    """What is carried out on a day, and would not be without the change, is ordered by it."""
    books = given_commands(*BANK, order()).books
    for change in to_come:
        record(books, change)
    ordered = ordered_movements(books, event)
    until = TODAY + timedelta(60)
    before = dict(runs(kept_order(books), until))
    record(books, event)
    for due, values in runs(kept_order(books), until):
        movement = on_occasion(values, TODAY, {})
        assert before.get(due) == values or movement in ordered
