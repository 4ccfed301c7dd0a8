"""Judging a command as it would have been judged at a past position."""

import itertools
from datetime import timedelta

import msgspec
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import transfer

from ledger_core.account_terms import CloseAccount, OpenAccount
from ledger_core.approvals import ApprovalCompleted, ApproveRequest
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import ChangeProfile, RegisterCustomer
from ledger_core.database import engine
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.ledger import Outcome, Submission
from ledger_core.reversals import ReverseEntry
from ledger_core.template import Parameter, TemplateLine
from ledger_core.template_amounts import ParameterAmount
from ledger_core.templates import DefineTemplate, PostTemplate
from ledger_core.transfers import Transfer
from projections.past_books import books_at

_numbers = itertools.count()

NAMES = ("bank", "ann", "ben")

_transfers = st.builds(
    Transfer,
    debit_account_id=st.sampled_from(NAMES),
    credit_account_id=st.sampled_from(NAMES),
    amount=st.integers(1, 300).map(str),
    currency=st.just("EUR"),
    entry_id=st.none() | st.sampled_from(["e1", "e2", "e3"]),
    reference=st.none() | st.sampled_from(["r1", "r2"]),
)
_holds = st.builds(
    PlaceHold,
    debit_account_id=st.sampled_from(NAMES),
    credit_account_id=st.sampled_from(NAMES),
    amount=st.integers(1, 300).map(str),
    currency=st.just("EUR"),
    hold_id=st.sampled_from(["h1", "h2", "h3"]),
    timeout_s=st.none() | st.integers(1, 20),
)
_changes: st.SearchStrategy[Command] = st.one_of(
    _transfers,
    _transfers,
    _holds,
    st.builds(CaptureHold, hold_id=st.sampled_from(["h1", "h2", "h3"])),
    st.builds(VoidHold, hold_id=st.sampled_from(["h1", "h2", "h3"])),
    st.builds(ReverseEntry, reverses=st.sampled_from(["e1", "e2", "e3"]), force=st.booleans()),
    st.builds(FreezeAccount, account_id=st.sampled_from(NAMES), cause=st.just("court")),
    st.builds(UnfreezeAccount, account_id=st.sampled_from(NAMES), cause=st.just("court")),
    st.builds(CloseAccount, account_id=st.sampled_from(NAMES)),
    st.builds(
        OpenAccount,
        currency=st.just("EUR"),
        account_id=st.sampled_from(["new", "ann"]),
        customer_id=st.just("c"),
    ),
    st.builds(
        ChangeProfile,
        customer_id=st.just("c"),
        changes=st.sampled_from([{"kyc_status": "cleared"}, {"kyc_status": "rejected"}]),
        reason=st.just("checked"),
    ),
)


def _said(outcome: Outcome) -> tuple[str, object]:
    """What an answer says: its status and event, or the refusal and what was seen."""
    if outcome.error is not None:
        return outcome.error.code, dict(outcome.error.seen)
    return outcome.status, outcome.event


def _opening() -> list[Command]:
    """A bank with two customers' accounts and some money."""
    return [
        RegisterCustomer(key="c", customer_id="c", profile={"name": "Cleo"}),
        OpenAccount(key="o0", account_id="bank", account_type="asset", currency="EUR"),
        OpenAccount(key="o1", account_id="ann", currency="EUR"),
        OpenAccount(key="o2", account_id="ben", currency="EUR", limit="100"),
    ]


def _judged(
    world: World, command: Command, person: str = "tester", *permissions: str
) -> list[Outcome]:
    """What a command would be answered where the ledger stands now."""
    world.catch_up()
    reader = engine(world.url, "ledger_reader")
    with reader.connect() as connection:
        head = world.count("SELECT max(position) FROM ledger.events")
        books = books_at(connection, world.ledger_id, head, [command])
    reader.dispose()
    submission = Submission([command], person, person=person, permissions=frozenset(permissions))
    return world.ledger().judge(submission, books)


def test_a_template_is_judged_with_the_accounts_that_it_names(bank: World) -> None:
    """They are nowhere in the command."""
    amount = ParameterAmount(name="amount")
    bank.run(
        DefineTemplate(
            key="define",
            name="fee",
            parameters=(Parameter(name="amount", kind="amount"),),
            postings=(
                TemplateLine(side="debit", amount=amount, account_id="A"),
                TemplateLine(side="credit", amount=amount, account_id="B"),
            ),
        )
    )
    fee = PostTemplate(key="fee", template="fee", currency="EUR", amounts={"amount": "5"})
    assert answers(_judged(bank, fee)) == ["recorded"]


def test_a_waiting_command_is_judged_by_its_request(bank: World) -> None:
    """Its key is that of the request, which is the answer; a vote is that of its voter."""
    payment = transfer("A", "B", 10, key="pay")
    asked = RequestApproval(
        key="pay",
        command=payment,
        approvers=("ops",),
        request_id="Q",
    )
    bank.run(asked)
    assert answers(_judged(bank, payment)) == ["replayed"]
    assert answers(_judged(bank, transfer("A", "B", 11, key="pay"))) == ["idempotency_conflict"]
    vote = ApproveRequest(key="yes", request_id="Q")
    (judged,) = _judged(bank, vote, "bob", "ops")
    assert isinstance(judged.event, ApprovalCompleted)
    bank.main.execute([Submission([vote], "bob", person="bob", permissions=frozenset({"ops"}))])
    assert answers(_judged(bank, vote, "bob")) == ["replayed"]
    assert answers(_judged(bank, vote, "dee", "ops")) == ["idempotency_conflict"]


@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
@given(st.lists(_changes, min_size=1, max_size=12))
def test_a_command_is_judged_as_it_was_then(database_url: str, drawn: list[Command]) -> None:
    """Whatever was answered to a command is answered again, judged where the ledger stood then."""
    with World(database_url, f"past-{next(_numbers)}") as world:
        world.run(*_opening())
        asked: list[tuple[Command, int, tuple[str, object]]] = []
        for index, item in enumerate(drawn):
            command = msgspec.structs.replace(item, key=f"k{index}")
            # Whatever falls due at the same moment is recorded first: the position is what is seen.
            world.main.execute([Submission([], "tester")])
            world.now -= timedelta(seconds=1)
            before = world.main._books.position  # noqa: SLF001 - where the ledger stands
            asked.append((command, before, _said(world.run(command)[0])))
        world.catch_up()
        head = world.count("SELECT count(*) FROM ledger.events")
        judging, reader = world.ledger(), engine(world.url, "ledger_reader")
        with reader.connect() as connection:
            for command, position, first in asked:
                books = books_at(connection, world.ledger_id, position, [command])
                connection.rollback()
                again = _said(judging.judge(Submission([command], "tester"), books)[0])
                # A hold that is timed expires at another time.
                timed = isinstance(command, PlaceHold) and command.timeout_s is not None
                count = 1 if timed else 2
                assert again[:count] == first[:count], (command, position)
        reader.dispose()
        assert world.count("SELECT count(*) FROM ledger.events") == head
