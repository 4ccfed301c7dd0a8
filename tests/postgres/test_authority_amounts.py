"""How much a caller may move by one command, however it is put: nothing goes round the bound."""

from collections.abc import Iterator
from datetime import date
from itertools import count
from typing import Any

import msgspec
import pytest
from tests.postgres.ledger_harness import World, answers

from ledger_core import commands
from ledger_core.account_terms import OpenAccount
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.approval_policies import SetApprovalPolicy
from ledger_core.approvals import ApproveRequest
from ledger_core.authority_amounts import AmountBounds
from ledger_core.commands import Command, RequestApproval, from_builtins
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.exchanges import Exchange
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.ledger import Mode, Outcome, Submission
from ledger_core.refusals import CommandRefused
from ledger_core.reversals import ReverseEntry
from ledger_core.schedules import Schedule
from ledger_core.standing_orders import ChangeOrder, CreateOrder
from ledger_core.template import Parameter, TemplateLine
from ledger_core.template_amounts import ParameterAmount
from ledger_core.templates import DefineTemplate, PostTemplate
from ledger_core.transfers import Transfer

MOST = 100
ABOVE = "amount_above_authority"
EVERY: AmountBounds = {str(kind.__struct_config__.tag): {"EUR": MOST} for kind in commands.types()}
"""At most one euro by one command, whichever it is."""

_serial = count(1)
DAILY = Schedule(first_date=date(2026, 3, 30), unit="day")


def pay(amount: int | str, **more: Any) -> Transfer:  # noqa: ANN401 - fields of the command
    """A transfer from a to b."""
    return Transfer(
        debit_account_id="a", credit_account_id="b", amount=str(amount), currency="EUR", **more
    )


@pytest.fixture
def bank(database_url: str) -> Iterator[World]:
    """A bank with 10,000 on account a, a large hold, a large entry and a template."""
    with World(database_url) as world:
        done = world.run(
            *(OpenAccount(key=name, account_id=name, currency="EUR") for name in ("a", "b", "c")),
            Deposit(key="d", account_id="a", amount="10000", currency="EUR"),
            PlaceHold(
                key="h",
                hold_id="large",
                debit_account_id="a",
                credit_account_id="b",
                amount="300",
                currency="EUR",
            ),
            pay(300, key="e", entry_id="big"),
            DefineTemplate(
                key="t",
                name="fee",
                parameters=(Parameter(name="fee", kind="amount"),),
                postings=(
                    TemplateLine(side="debit", account_id="a", amount=ParameterAmount(name="fee")),
                    TemplateLine(side="credit", account_id="b", amount=ParameterAmount(name="fee")),
                ),
            ),
            CreateOrder(key="o", order_id="small", schedule=DAILY, command=pay(50)),
        )
        assert {item.status for item in done} == {"recorded"}
        yield world


def bounded(
    world: World,
    *sent: Command,
    mode: Mode = "each",
    actor: str = "teller",
    bounds: AmountBounds | None = EVERY,
    permissions: frozenset[str] = frozenset(),
    **more: Any,  # noqa: ANN401 - fields of the submission
) -> list[Outcome]:
    """What a caller is answered whose commands are bounded."""
    keyed = [
        item
        if item.key
        else from_builtins({**msgspec.to_builtins(item), "key": f"k{next(_serial)}"})
        for item in sent
    ]
    submission = Submission(keyed, actor, mode, amount_max=bounds, permissions=permissions, **more)
    return world.main.execute([submission])[0]


def one(world: World, command: Command, **more: Any) -> str:  # noqa: ANN401 - see ``bounded``
    """One word of the answer to one command."""
    return answers(bounded(world, command, **more))[0]


def leg(account_id: str, side: Any, amount: int) -> PostingLine:  # noqa: ANN401 - a side
    """A line of an entry."""
    return PostingLine(account_id=account_id, side=side, amount=str(amount), currency="EUR")


def by_each_way(amount: int) -> list[Command]:
    """Every way there is to move or hold that amount."""
    return [
        pay(amount),
        pay(amount, description="not plain"),
        pay(amount, force=True),
        pay(amount, balancing="debit"),
        Deposit(account_id="a", amount=str(amount), currency="EUR"),
        Withdraw(account_id="a", amount=str(amount), currency="EUR"),
        PostEntry(postings=(leg("a", "debit", amount), leg("b", "credit", amount))),
        PostEntry(
            postings=(
                leg("a", "debit", amount - 1),
                leg("c", "debit", 1),
                leg("b", "credit", amount),
            ),
            force=True,
        ),
        Allocate(
            amount=str(amount),
            currency="EUR",
            sources=(Source(account_id="a"),),
            destinations=(
                Destination(account_id="b", share="50%"),
                Destination(account_id="c", share="50%"),
            ),
        ),
        PostTemplate(template="fee", currency="EUR", amounts={"fee": str(amount)}),
        PlaceHold(debit_account_id="a", credit_account_id="b", amount=str(amount), currency="EUR"),
        CaptureHold(hold_id="large", amount=str(amount)),
        CreateOrder(schedule=DAILY, command=pay(amount)),
        CreateOrder(schedule=DAILY, command=pay(amount, balancing="debit")),
        ChangeOrder(order_id="small", amount=str(amount)),
        ChangeOrder(order_id="small", command=pay(amount)),
        RequestApproval(command=pay(amount), approvers=("ops",)),
        RequestApproval(
            command=CreateOrder(schedule=DAILY, command=pay(amount)), approvers=("ops",)
        ),
    ]


@pytest.mark.parametrize("way", range(len(by_each_way(1))))
def test_by_no_way_is_more_moved_than_the_bound(bank: World, way: int) -> None:
    """Up to the bound it is taken, one unit more is refused, and that is all that is recorded."""
    before = len(bank.stored())
    assert one(bank, by_each_way(MOST + 1)[way]) == ABOVE
    after = bank.events(before)
    assert [type(event) for event in after] in ([], [CommandRefused])
    assert one(bank, by_each_way(MOST)[way]) in {"recorded", "pending_approval"}


def test_the_whole_of_what_there_is_counts_as_it_turns_out(bank: World) -> None:
    """All of a large hold or a full account is more than the bound; of a small one it is not."""
    assert one(bank, CaptureHold(hold_id="large")) == ABOVE
    drain = Allocate(
        amount="all",
        currency="EUR",
        sources=(Source(account_id="a"),),
        destinations=(Destination(account_id="c"),),
    )
    assert one(bank, drain) == ABOVE
    assert one(bank, CreateOrder(schedule=DAILY, command=drain)) == ABOVE  # Who knows how much.
    bank.run(pay(9_390, key="spent"))
    assert one(bank, drain) == "recorded"


def test_a_reversal_moves_what_the_entry_moved(bank: World) -> None:
    """Also where somebody else booked it."""
    assert one(bank, ReverseEntry(reverses="big")) == ABOVE
    assert one(bank, ReverseEntry(reverses="big"), bounds=None) == "recorded"


def test_freeing_money_is_no_movement(bank: World) -> None:
    """A large hold may be voided, or captured with nothing."""
    assert one(bank, VoidHold(hold_id="large")) == "recorded"


def test_a_currency_that_is_not_named_is_bounded_to_nothing(bank: World) -> None:
    """An exchange moves both its currencies; one of them has no bound, so nothing of it moves."""
    bank.run(OpenAccount(key="u", account_id="usd", currency="USD"))
    swap = Exchange(
        debit_account_id="a",
        credit_account_id="usd",
        amount="100",
        currency="EUR",
        counter_amount="110",
        counter_currency="USD",
    )
    refused = bounded(bank, swap)[0]
    assert refused.error is not None
    assert refused.error.seen["currency"] == "USD"
    assert refused.error.seen["amount_max_minor"] == "0"
    both = {"exchange": {"EUR": 100, "USD": 110}}
    assert one(bank, swap, bounds=both) == "recorded"


def test_types_that_are_not_bounded_are_free(bank: World) -> None:
    """A bound on deposits is none on transfers."""
    only: AmountBounds = {"deposit": {"EUR": 5}}
    assert one(bank, pay(5_000), bounds=only) == "recorded"
    assert one(bank, Deposit(account_id="a", amount="6", currency="EUR"), bounds=only) == ABOVE


def test_in_a_batch_each_command_is_bounded_by_itself(bank: World) -> None:
    """Whatever its mode; plain transfers among them do not slip through together."""
    sent = [pay(100), pay(101), pay(100)]
    assert answers(bounded(bank, *sent)) == ["recorded", ABOVE, "recorded"]
    stopped = answers(bounded(bank, *sent, mode="stop_on_error"))
    assert stopped == ["recorded", ABOVE, "not_attempted"]
    before = bank.posted("b")
    failed = answers(bounded(bank, *sent, mode="atomic"))
    assert failed == ["batch_failed", ABOVE, "batch_failed"]
    assert bank.posted("b") == before


def test_another_callers_bound_does_not_hold_for_the_next(bank: World) -> None:
    """Submissions of one transaction are each judged by their own."""
    mine = Submission([pay(500, key="mine")], "me", amount_max=EVERY)
    theirs = Submission([pay(500, key="theirs")], "them")
    outcomes = bank.main.execute([mine, theirs, mine])
    assert [answers(item)[0] for item in outcomes] == [ABOVE, "recorded", ABOVE]


def test_a_dry_run_is_bounded_alike(bank: World) -> None:
    """It tells that the caller may not, and records nothing."""
    before = len(bank.stored())
    assert one(bank, pay(101), dry_run=True) == ABOVE
    assert len(bank.stored()) == before


def test_a_recorded_answer_is_given_again(bank: World) -> None:
    """What was done before is told, whoever's bound was lowered since."""
    bank.run(pay(500, key="done"))
    assert one(bank, pay(500, key="done")) == "replayed"


def test_whoever_approves_needs_the_amount_as_well(bank: World) -> None:
    """A request of another's is not approved by who could not move as much; voting is a bound."""
    bank.run(
        RequestApproval(key="r", request_id="q", command=pay(500), approvers=("ops", "ops")),
        actor="maker",
    )
    ops = frozenset({"ops"})
    vote = ApproveRequest(request_id="q")
    assert one(bank, vote, actor="small", permissions=ops) == ABOVE
    for kind in (PlaceHold, ReverseEntry):  # Of kinds that are no movements, too.
        assert kind in commands.MOVEMENTS
    large = {"approve_request": {"EUR": 500}}
    assert one(bank, vote, actor="large", permissions=ops, bounds=large) == "recorded"
    assert one(bank, vote, actor="free", permissions=ops, bounds=None) == "recorded"
    assert bank.posted("b") == [800]


@pytest.mark.parametrize(
    "waiting",
    [
        PlaceHold(debit_account_id="a", credit_account_id="b", amount="500", currency="EUR"),
        ReverseEntry(reverses="big"),
        CaptureHold(hold_id="large"),
        CreateOrder(schedule=DAILY, command=pay(500)),
        ChangeOrder(order_id="small", amount="500"),
        pay(99_999, balancing="debit"),
    ],
    ids=lambda command: str(command.__struct_config__.tag),
)
def test_an_approval_is_bounded_by_all_that_may_come_of_it(bank: World, waiting: Any) -> None:  # noqa: ANN401
    """Holds, reversals, captures and orders, and a balancing movement by its whole amount."""
    request = RequestApproval(key="r", request_id="q", command=waiting, approvers=("ops",))
    assert answers(bank.run(request, actor="maker")) == ["pending_approval"]
    vote, ops = ApproveRequest(request_id="q"), frozenset({"ops"})
    assert one(bank, vote, actor="small", permissions=ops) == ABOVE
    assert one(bank, vote, actor="free", permissions=ops, bounds=None) == "recorded"


def test_what_a_policy_lets_wait_is_bounded_by_its_whole_amount(bank: World) -> None:
    """A balancing transfer that finds little today may move all of it once it is approved."""
    bank.run(SetApprovalPolicy(key="p", policy_id="p", commands=("transfer",), approvers=("ops",)))
    little = Transfer(
        debit_account_id="c",
        credit_account_id="b",
        amount="5000",
        currency="EUR",
        balancing="debit",
    )
    bank.run(Deposit(key="ten", account_id="c", amount="10", currency="EUR"))
    assert one(bank, little) == ABOVE
    assert one(bank, pay(100)) == "pending_approval"


def test_a_refusal_says_how_much_and_is_in_the_log(bank: World) -> None:
    """The figures for the caller, and the refusal as an event on its accounts."""
    before = len(bank.stored())
    refused = bounded(bank, pay(101))[0]
    assert refused.error is not None
    seen = dict(refused.error.seen)
    seen.pop("position")
    assert seen == {"currency": "EUR", "amount_minor": "101", "amount_max_minor": "100"}
    (event,) = bank.events(before)
    assert isinstance(event, CommandRefused)
    assert event.code == ABOVE
