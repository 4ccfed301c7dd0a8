"""Runs of standing orders on PostgreSQL: each booked once, with its own event, restart or not."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any, get_args

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, transfer, withdrawn
from tests.strategies import START

from ledger_core import events
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.approval_policies import SetApprovalPolicy
from ledger_core.approvals import ApprovalRequested, ApproveRequest
from ledger_core.blocks import FreezeAccount
from ledger_core.books import Event
from ledger_core.commands import RequestApproval
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.exchanges import Exchange
from ledger_core.journal import JournalEntryPosted
from ledger_core.ledger import Outcome, Submission
from ledger_core.movements import MovementCommand
from ledger_core.periods import ClosePeriod
from ledger_core.schedules import Schedule
from ledger_core.standing_order import (
    Order,
    StandingOrderCreated,
    StandingOrderRan,
    StandingOrderRunRefused,
)
from ledger_core.standing_orders import CancelOrder, ChangeOrder, CreateOrder, RunOrder
from ledger_core.template import Parameter, TemplateLine
from ledger_core.template_amounts import ParameterAmount
from ledger_core.templates import DefineTemplate, PostTemplate
from projections.verification import verify

TODAY = START.date()
DAILY = Schedule(first_date=TODAY - timedelta(3), unit="day", count=5)
"""Due on the three days before, today, and tomorrow."""


def order(**fields: Any) -> CreateOrder:  # noqa: ANN401 - the command's own
    """An order of 100 from A to B, three times overdue."""
    given: dict[str, Any] = {
        "key": "create",
        "order_id": "rent",
        "schedule": DAILY,
        "command": transfer("A", "B", 100),
    }
    return CreateOrder(**(given | fields))


def run(days_ago: int, **fields: Any) -> RunOrder:  # noqa: ANN401 - the command's own
    """The run of the occurrence that was due so many days ago, on today's business date."""
    given: dict[str, Any] = {"order_id": "rent", "business_date": TODAY}
    return RunOrder(due_date=TODAY - timedelta(days_ago), **(given | fields))


def last(world: World, count: int) -> list[Event]:
    """The newest events of the log, oldest first."""
    return [events.decode(item.type, item.version, item.data) for item in world.stored()[-count:]]


def kept(world: World) -> Order:
    """The order as the log amounts to it."""
    found = world.folded().kept("order", "rent")
    assert isinstance(found, Order)
    return found


def test_a_run_is_its_entry_and_its_event(bank: World) -> None:
    """Both in one transaction: the entry on the business date, and that the occurrence ran."""
    bank.run(order())
    (outcome,) = bank.run(run(3))
    entry, ran = last(bank, 2)
    position = outcome.position
    due = TODAY - timedelta(3)
    assert isinstance(entry, JournalEntryPosted)
    assert (entry.value_date, entry.kind) == (TODAY, "transfer")
    assert entry.metadata == {"order_id": "rent", "due_date": due.isoformat()}
    assert outcome.event == ran == StandingOrderRan("rent", due, TODAY, position - 1)
    stored = bank.stored()[-2:]
    assert [item.command_key for item in stored] == [None, f"run rent {due.isoformat()}"]
    assert stored[0].recorded_at == stored[1].recorded_at
    assert kept(bank).next_date == TODAY - timedelta(2)


def test_an_occurrence_runs_once(bank: World) -> None:
    """Asked again, on whatever business date, by whomever: answered alike, booked once."""
    bank.run(order())
    (first,) = bank.run(run(3))
    for ledger in (bank.main, bank.ledger()):
        (again,) = bank.run(run(3), ledger=ledger)
        assert again.status == "replayed"
        assert (again.event, again.position) == (first.event, first.position)
    other_day = run(3, business_date=TODAY - timedelta(1))
    assert answers(bank.run(other_day)) == ["replayed"]
    assert bank.posted("B") == [100]


def test_missed_days_run_in_their_order(bank: World) -> None:
    """All in one transaction, and a later one cannot come first."""
    bank.run(order())
    assert answers(bank.run(run(2))) == ["validation_error"]
    assert answers(bank.run(run(3), run(2), run(1), run(0))) == ["recorded"] * 4
    assert bank.posted("B") == [400]
    assert answers(bank.run(run(-1))) == ["validation_error"]
    assert (kept(bank).status, kept(bank).runs) == ("active", 4)
    bank.now += timedelta(days=1)
    tomorrow = run(-1, business_date=TODAY + timedelta(1))
    assert answers(bank.run(tomorrow)) == ["recorded"]
    assert (kept(bank).status, kept(bank).next_date) == ("ended", None)
    assert answers(bank.run(run(-9))) == ["validation_error"]


@pytest.mark.parametrize("caught_up", [False, True], ids=["from-the-log", "from-the-snapshots"])
def test_a_restarted_writer_runs_what_is_due(bank: World, *, caught_up: bool) -> None:
    """The order and the accounts of its movement are loaded, wherever they stand."""
    bank.run(order(), ChangeOrder(key="c", order_id="rent", from_date=TODAY, amount="5"))
    if caught_up:
        bank.catch_up()
    assert answers(bank.run(run(3), ledger=bank.ledger())) == ["recorded"]
    outcomes = bank.run(run(2), run(1), run(0), run(3), ledger=bank.ledger())
    assert answers(outcomes) == ["recorded"] * 3 + ["replayed"]
    assert bank.posted("B") == [305]


def test_a_refused_run_says_why_and_is_over(bank: World) -> None:
    """The figures seen are recorded; the order goes on, and that day is not tried again."""
    bank.run(order(command=transfer("A", "B", 700)))
    outcomes = bank.run(run(3), run(2))
    assert answers(outcomes) == ["recorded", "recorded"]
    (refused,) = last(bank, 1)
    assert isinstance(refused, StandingOrderRunRefused)
    assert (refused.due_date, refused.code) == (TODAY - timedelta(2), "insufficient_funds")
    assert refused.seen["available_minor"] == "300"
    assert refused.seen["position"] == outcomes[1].position - 1
    bank.run(deposited("A", 10_000, key="more"))
    assert answers(bank.run(run(2))) == ["replayed"]
    assert answers(bank.run(run(1))) == ["recorded"]
    assert bank.posted("B") == [1_400]
    assert (kept(bank).runs, kept(bank).refusals) == (2, 1)


def test_runners_side_by_side_book_once(bank: World) -> None:
    """Four writers run the same occurrences at the same time."""
    bank.run(order())
    ledgers = [bank.ledger() for _ in range(4)]

    def go(number: int) -> list[Outcome]:
        """Run all that is due, one by one."""
        return [bank.run(run(days), ledger=ledgers[number])[0] for days in (3, 2, 1, 0)]

    with ThreadPoolExecutor(4) as pool:
        found = [outcome for outcomes in pool.map(go, range(4)) for outcome in outcomes]
    assert answers(found).count("recorded") == 4
    assert answers(found).count("replayed") == 12
    assert bank.posted("B") == [400]


def test_an_order_made_in_the_same_transaction_runs(bank: World) -> None:
    """What its movement needs was loaded for its creation; a channel's account is opened."""
    outcomes = bank.run(order(command=withdrawn("A", 30, channel="atm")), run(3), run(2))
    assert answers(outcomes) == ["recorded"] * 3
    assert bank.posted("A", "bank:atm:EUR") == [940, -60]


def test_a_cancelled_order_does_not_run(bank: World) -> None:
    """Nothing is booked and nothing recorded, whichever day is asked for."""
    bank.run(order(), run(3), CancelOrder(key="stop", order_id="rent"))
    before = len(bank.stored())
    assert answers(bank.run(run(2), run(3))) == ["unchanged", "replayed"]
    assert len(bank.stored()) == before


def test_a_run_is_taken_back_with_its_batch(bank: World) -> None:
    """All or none: with another command refused, neither entry nor run is there."""
    bank.run(order())
    before = len(bank.stored())
    over = transfer("A", "B", 99_999, key="over")
    assert answers(bank.run(run(3), over, mode="atomic")) == ["batch_failed", "insufficient_funds"]
    assert (len(bank.stored()), kept(bank).next_date) == (before, TODAY - timedelta(3))
    assert answers(bank.run(run(3))) == ["recorded"]


def test_a_balancing_movement_that_finds_nothing_has_run(bank: World) -> None:
    """The occurrence counts, without an entry."""
    bank.run(order(command=transfer("B", "A", 100, balancing="debit")))
    (outcome,) = bank.run(run(3))
    assert outcome.event == StandingOrderRan("rent", TODAY - timedelta(3), TODAY, None)
    assert bank.posted("B") == [0]


def test_an_order_is_created_once(bank: World) -> None:
    """The same id with the same content is the first answer, with other content a conflict."""
    assert answers(bank.run(order())) == ["recorded"]
    (again,) = bank.run(order(key="other"))
    assert again.status == "replayed"
    assert isinstance(again.event, StandingOrderCreated)
    assert answers(bank.run(order(key="third", name="else"), order(name="x"))) == [
        "order_exists",
        "idempotency_conflict",
    ]
    change = ChangeOrder(key="change", order_id="rent", amount="7")
    cancel = CancelOrder(key="cancel", order_id="rent")
    for status in ("recorded", "replayed"):
        assert answers(bank.run(change, cancel, ledger=bank.ledger())) == [status] * 2


def test_a_run_for_an_order_that_is_not_there_is_refused(bank: World) -> None:
    """And so is a business date that has not come."""
    assert answers(bank.run(run(0))) == ["order_not_found"]
    late = run(0, business_date=date(2099, 1, 1))
    bank.run(order())
    assert answers(bank.run(late)) == ["validation_error"]


LARGE = SetApprovalPolicy(
    key="policy",
    policy_id="large",
    commands=("transfer",),
    approvers=("risk",),
    currency="EUR",
    above="500",
)


def test_an_order_waits_where_its_movement_would(bank: World) -> None:
    """Nobody gets round a policy by ordering for later what they may not do alone now."""
    small, large = transfer("A", "B", 500), transfer("A", "B", 50_000, balancing="debit")
    assert answers(bank.run(LARGE, order(key="large", order_id="large", command=large))) == [
        "recorded",
        "pending_approval",
    ]
    assert answers(bank.run(order(command=small))) == ["recorded"]
    later = TODAY + timedelta(30)
    changes = (
        ChangeOrder(key="more", order_id="rent", amount="501", from_date=later),
        ChangeOrder(key="other", order_id="rent", command=large),
        ChangeOrder(key="less", order_id="rent", amount="499"),
        ChangeOrder(key="days", order_id="rent", schedule=DAILY),
    )
    bank.catch_up()
    assert answers(bank.run(*changes, ledger=bank.ledger())) == [
        "pending_approval",
        "pending_approval",
        "recorded",
        "recorded",
    ]


def test_an_amount_that_was_approved_is_not_moved_to_another_payee(bank: World) -> None:
    """A change waits for what later changes make of it, too."""
    later, sooner = TODAY + timedelta(30), TODAY + timedelta(20)
    bank.run(order(), ChangeOrder(key="more", order_id="rent", from_date=later, amount="900"))
    bank.run(LARGE, opened("C", key="open-c"))
    payee = ChangeOrder(
        key="payee", order_id="rent", from_date=sooner, command=transfer("A", "C", 100)
    )
    days = ChangeOrder(key="days", order_id="rent", schedule=DAILY)
    assert answers(bank.run(payee, days, mode="each")) == ["pending_approval"] * 2
    other = ChangeOrder(
        key="other", order_id="rent", from_date=later, command=transfer("A", "C", 100)
    )
    less = ChangeOrder(key="less", order_id="rent", from_date=sooner, amount="50")
    assert answers(bank.run(other, less)) == ["recorded"] * 2


def test_a_large_order_waits_when_its_days_change(bank: World) -> None:
    """A payment that was approved for one day is not one for every day."""
    once = Schedule(first_date=TODAY + timedelta(30), unit="once")
    bank.run(order(schedule=once, command=transfer("A", "B", 600)), LARGE)
    daily = ChangeOrder(
        key="days", order_id="rent", schedule=Schedule(first_date=TODAY, unit="day")
    )
    assert answers(bank.run(daily)) == ["pending_approval"]


def test_a_wrapped_change_is_measured_whatever_is_in_memory(bank: World) -> None:
    """A restarted writer asks for the same approvals as one that knows the accounts."""
    bank.run(LARGE, order())
    bank.catch_up()
    change = ChangeOrder(key="change", order_id="rent", amount="200")
    asked = RequestApproval(key="change", command=change, approvers=("ops",), request_id="Q")
    (outcome,) = bank.run(asked, ledger=bank.ledger())
    assert isinstance(outcome.event, ApprovalRequested)
    assert outcome.event.approvers == ("ops",)


def test_a_movement_that_cannot_be_measured_waits(bank: World) -> None:
    """What a blocked account would move, or all that there is, may be any amount."""
    bank.run(LARGE, FreezeAccount(key="f", account_id="A", cause="court", effect="debit"))
    assert answers(bank.run(order())) == ["pending_approval"]


def test_an_approved_order_runs_without_further_approval(bank: World) -> None:
    """The approval was for the order: its runs ask nobody."""
    bank.run(LARGE)
    (waiting,) = bank.run(order(command=transfer("A", "B", 600)))
    request = f"apr_{waiting.position}"
    risk = Submission(
        (ApproveRequest(key="yes", request_id=request),),
        "other",
        person="rita",
        permissions=frozenset({"risk"}),
    )
    assert answers(bank.main.execute([risk])[0]) == ["recorded"]
    assert answers(bank.run(run(3), ledger=bank.ledger())) == ["recorded"]
    assert bank.posted("B") == [600]


@pytest.mark.parametrize("caught_up", [False, True], ids=["from-the-log", "from-the-snapshots"])
def test_every_movement_can_be_ordered(bank: World, *, caught_up: bool) -> None:
    """Whatever its accounts, templates and positions: a writer that begins anew runs it."""
    fee = ParameterAmount(name="fee")
    bank.run(
        opened("U", key="open-u", currency="USD"),
        DefineTemplate(
            key="define",
            name="fee",
            parameters=(
                Parameter(name="payer", kind="account"),
                Parameter(name="fee", kind="amount"),
            ),
            postings=(
                TemplateLine(side="debit", account_parameter="payer", amount=fee),
                TemplateLine(side="credit", account_id="B", amount=fee),
            ),
        ),
    )
    line: dict[str, Any] = {"amount": "5", "currency": "EUR"}
    movements: tuple[MovementCommand, ...] = (
        transfer("A", "B", 5),
        deposited("A", 5),
        withdrawn("A", 5),
        PostEntry(
            postings=(
                PostingLine(account_id="A", side="debit", **line),
                PostingLine(account_id="B", side="credit", **line),
            )
        ),
        Allocate(
            sources=(Source(account_id="A"),), destinations=(Destination(account_id="B"),), **line
        ),
        PostTemplate(template="fee", currency="EUR", accounts={"payer": "A"}, amounts={"fee": "5"}),
        Exchange(
            debit_account_id="A",
            credit_account_id="U",
            counter_currency="USD",
            rate="2",
            **line,
        ),
    )
    assert {type(movement) for movement in movements} == set(get_args(MovementCommand))
    for number, movement in enumerate(movements):
        name = f"o{number}"
        made = bank.run(order(key=name, order_id=name, command=movement))
        assert answers(made) == ["recorded"]
    if caught_up:
        bank.catch_up()
    runs = [run(3, order_id=f"o{number}") for number in range(len(movements))]
    outcomes = bank.run(*runs, ledger=bank.ledger())
    assert [type(item.event) for item in outcomes] == [StandingOrderRan] * len(movements)
    assert bank.posted("A", "B", "U") == [1_000 - 5 * 5, 20, 10]
    bank.catch_up()
    assert verify(bank.projector, bank.ledger_id).findings == ()


def test_a_business_date_in_a_closed_period_runs_nothing(world: World) -> None:
    """The occurrence stays due: it is the date that is wrong, not the order."""
    world.run(opened("A", key="a"), opened("B", key="b"), deposited("A", 1_000, key="d"))
    world.run(order(), ClosePeriod(key="close", through=TODAY - timedelta(1)))
    late = run(3, business_date=TODAY - timedelta(3))
    assert answers(world.run(late)) == ["period_closed"]
    assert answers(world.run(run(3))) == ["recorded"]
    assert world.posted("A", "B") == [900, 100]
