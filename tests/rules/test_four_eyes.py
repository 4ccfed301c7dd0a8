"""What a command becomes that has to wait, and what it is when it runs: keys, policies, sealing."""

from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from tests.rules.harness import (
    Given,
    captured,
    deposited,
    given,
    held,
    opened,
    transfer,
    voided,
    with_field,
)
from tests.rules.harness import decide as decided_by_rules

from ledger_core import approvals, four_eyes
from ledger_core.account_limits import SetLimit
from ledger_core.accounts import LimitSet
from ledger_core.approval_policies import SetApprovalPolicy
from ledger_core.approvals import (
    ApprovalCompleted,
    ApprovalFailed,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequest,
    ApprovalRequested,
    ApprovalWithdrawn,
    ApproveRequest,
    RejectRequest,
    WithdrawRequest,
)
from ledger_core.books import Caller, Event, Wants
from ledger_core.commands import ApprovableCommand, Command, RequestApproval
from ledger_core.customers import (
    ChangeProfile,
    CustomerErased,
    CustomerRegistered,
    RegisterCustomer,
    Sealed,
)
from ledger_core.errors import (
    CustomerErasedAlready,
    InsufficientFunds,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.schedules import Schedule
from ledger_core.standing_orders import ChangeOrder, CreateOrder
from ledger_core.template import Parameter, TemplateLine
from ledger_core.template_amounts import ParameterAmount
from ledger_core.templates import DefineTemplate, PostTemplate

BANK: tuple[Command, ...] = (opened("A"), opened("B"), deposited("A", 1_000))
PAYMENT = transfer("A", "B", 10, key="ask")
ASKED = RequestApproval(key="ask", command=PAYMENT, approvers=("ops", "risk"), request_id="Q1")
DAILY = Schedule(first_date=date(2026, 3, 30), unit="day")
FEE = DefineTemplate(
    name="fee",
    parameters=(Parameter(name="fee", kind="amount"),),
    postings=(
        TemplateLine(side="debit", account_id="A", amount=ParameterAmount(name="fee")),
        TemplateLine(side="credit", account_id="B", amount=ParameterAmount(name="fee")),
    ),
)
CHARGE = PostTemplate(key="ask", template="fee", currency="EUR", amounts={"fee": "7"})
BEN = RegisterCustomer(key="ask", customer_id="ben", profile={"name": "Ben", "language": "en"})
VOTES = (
    ApproveRequest(key="v", request_id="Q1"),
    RejectRequest(key="v", request_id="Q1"),
    WithdrawRequest(key="v", request_id="Q1"),
)


def by(bank: Given, person: str, *permissions: str) -> Given:
    """The same bank, with that person at the counter."""
    bank.books.caller = Caller(f"key:{person}", person, frozenset(permissions))
    return bank


def asked(*happened: Command, request: RequestApproval = ASKED) -> Given:
    """A bank in which ann has asked for an approval."""
    bank = by(given(*BANK, *happened), "ann")
    answer = bank.when(request)
    assert answer.error is None, answer.error
    return bank


def policy(policy_id: str = "P", *types: str, **fields: Any) -> SetApprovalPolicy:  # noqa: ANN401
    """A policy on some types of command: on transfers, unless said otherwise."""
    return SetApprovalPolicy(
        policy_id=policy_id, commands=types or ("transfer",), **{"approvers": ("ops",), **fields}
    )


def request_of(command: ApprovableCommand, *happened: Command) -> ApprovalRequest:
    """The request, made by ann, that a command became."""
    request = RequestApproval(key="ask", command=command, approvers=("ops",), request_id="Q1")
    return four_eyes.request_in(asked(*happened, request=request).books, "Q1")


# Keys --------------------------------------------------------------------------------------------


def test_the_key_of_a_request_can_be_chosen_by_no_caller() -> None:
    """It has a blank; and in a log it is what it is: others find the request by it."""
    assert four_eyes.request_key("k") == "approval k"


@pytest.mark.parametrize(
    ("command", "recorded", "keys"),
    [
        (PAYMENT, "ask", ("ask", "approval ask")),
        (ASKED, "approval ask", ("approval ask", "ask")),
        (VOTES[0], "v", ("v", "approval v")),
    ],
)
def test_the_first_answer_is_looked_for_where_it_is_recorded_first(
    command: Command, recorded: str, keys: tuple[str, ...]
) -> None:
    """A command finds its own event before the request that it became; a request the other way."""
    assert four_eyes.recorded_key(command) == recorded == keys[0]
    assert four_eyes.keys_of(command) == keys
    assert four_eyes.more_keys(command) == ("approval " + command.key,)


def test_a_request_and_its_command_have_one_key() -> None:
    """Said once or twice; another is refused; what asks for nothing is left as it is."""
    bare = transfer("A", "B", 10)
    for command in (bare, PAYMENT):
        request = RequestApproval(key="ask", command=command, approvers=("ops",))
        expected = RequestApproval(key="ask", command=PAYMENT, approvers=("ops",))
        assert four_eyes.with_one_key(request) == expected
    with pytest.raises(ValidationFailed) as refusal:
        four_eyes.with_one_key(RequestApproval(key="k", command=PAYMENT, approvers=("ops",)))
    assert refusal.value.field == "command.key"
    assert four_eyes.with_one_key(bare) is bare


# Votes ------------------------------------------------------------------------------------------


def test_a_vote_is_its_voters() -> None:
    """The same command of somebody else differs in the person, whatever came of the request."""
    bank = asked()
    for person, permission in (("bob", "ops"), ("cy", "ops"), ("dee", "risk")):
        by(bank, person, permission).when(VOTES[0])
    for command, first, voter in (
        (VOTES[0], ApprovalGiven("Q1", "bob", ("ops",)), "bob"),
        (VOTES[1], ApprovalRejected("Q1", "bob"), "bob"),
        (VOTES[2], ApprovalWithdrawn("Q1"), "ann"),
        (VOTES[0], ApprovalCompleted("Q1", 7), "dee"),
        (VOTES[0], ApprovalFailed("Q1", "insufficient_funds"), "dee"),
    ):
        for person in ("ann", "bob", "cy", "dee"):
            found = four_eyes.differing_voter(by(bank, person).books, command, first)
            assert found == (() if person == voter else ("person",)), (command, person)


def test_only_votes_on_the_same_request_have_a_voter_to_compare() -> None:
    """Of all others the content says what differs."""
    books = by(asked(), "eve").books
    given_vote = ApprovalGiven("Q1", "bob", ("ops",))
    assert four_eyes.differing_voter(books, PAYMENT, given_vote) == ()
    assert four_eyes.differing_voter(books, VOTES[0], LimitSet("A", 7)) == ()
    other = ApproveRequest(key="v", request_id="Q2")
    assert four_eyes.differing_voter(books, other, given_vote) == ()


def test_the_last_approval_is_the_one_that_completes_the_matching() -> None:
    """One of two needed is not; nothing else ever is."""
    bank = asked()
    first = ApprovalGiven("Q1", "bob", ("ops",))
    assert not four_eyes.is_last(bank.books, (first,))
    bank.books.record(first)
    assert not four_eyes.is_last(bank.books, (ApprovalGiven("Q1", "dee", ("ops",)),))
    assert four_eyes.is_last(bank.books, (ApprovalGiven("Q1", "dee", ("risk",)),))
    assert not four_eyes.is_last(bank.books, (ApprovalRejected("Q1", "dee"),))
    assert not four_eyes.is_last(bank.books, ())


def test_the_requests_that_votes_may_complete_are_those_that_are_pending() -> None:
    """What is unknown or over needs nothing; what waits needs what its command needs."""
    bank = asked()
    bank.when(RequestApproval(key="k2", command=opened("Z"), approvers=("ops",), request_id="Q2"))
    bank.when(WithdrawRequest(request_id="Q2"))
    votes = [ApproveRequest(request_id=name) for name in ("Q2", "Q9", "Q1")]
    waiting = four_eyes.waiting(bank.books, votes)
    assert waiting == [four_eyes.request_in(bank.books, "Q1")]
    assert four_eyes.wants_of(waiting) == Wants(accounts={"A", "B"})


# Which commands wait, and for whom -------------------------------------------------------------


def test_approvals_are_in_use_from_the_first_policy_or_request_on() -> None:
    """Before, no key can be that of a request, and nothing needs to be looked up."""
    assert not four_eyes.is_used(given(*BANK).books)
    assert four_eyes.is_used(given(policy()).books)
    assert four_eyes.is_used(asked().books)


def test_what_changes_nothing_or_meets_no_policy_does_not_wait() -> None:
    """Only what a policy names, and only where it would lead to something."""
    books = given(*BANK).books
    event = decided_by_rules(books, PAYMENT)
    assert four_eyes.held_up(books, PAYMENT, event) is None
    books = given(*BANK, policy("P", "deposit")).books
    assert four_eyes.held_up(books, PAYMENT, event) is None
    books = given(*BANK, policy()).books
    assert four_eyes.held_up(books, PAYMENT, ()) is None
    assert four_eyes.held_up(books, PAYMENT, event) is not None


def test_a_command_that_waits_is_a_request_that_says_all_of_it() -> None:
    """Who asked, on whose behalf it runs, which policies demand whom; nobody asked by himself."""
    bank = by(given(*BANK, policy("P2", approvers=("risk",)), policy("P1")), "ann")
    decided = decided_by_rules(bank.books, PAYMENT)
    assert four_eyes.held_up(bank.books, PAYMENT, decided) == ApprovalRequested(
        command={
            "type": "transfer",
            "key": "ask",
            "debit_account_id": "A",
            "credit_account_id": "B",
            "amount": "10",
            "currency": "EUR",
            "force": False,
        },
        approvers=("ops", "risk"),
        maker="ann",
        actor="key:ann",
        policies=("P1", "P2"),
    )


def test_a_request_of_ones_own_says_what_was_asked_for() -> None:
    """Beside what policies demand of its command: they are told apart."""
    bank = by(given(*BANK, policy(approvers=("risk", "risk"))), "ann")
    (event,) = bank.when(ASKED).events
    assert isinstance(event, ApprovalRequested)
    assert (event.request_id, event.asked) == ("Q1", ("ops", "risk"))
    assert (event.policies, event.approvers) == (("P",), ("risk", "risk", "ops"))


def met(command: Command, *policies: SetApprovalPolicy, happened: tuple[Command, ...] = ()) -> str:
    """The policies that hold a command up, on a bank that would carry it out."""
    books = given(*BANK, *happened, *policies).books
    decided = decided_by_rules(books, command)
    return " ".join(item.policy_id for item in four_eyes.demanding(books, command, decided))


def test_an_order_is_held_up_by_what_holds_up_its_movement() -> None:
    """Each policy once, in the order of their ids: nobody is asked when it runs."""
    order = CreateOrder(order_id="o", schedule=DAILY, command=transfer("A", "B", 50))
    policies = (
        policy("P3", "create_order", "transfer", "change_order"),
        policy("P2", currency="EUR", above="49"),
        policy("P1", currency="EUR", above="50"),
        policy("P0", "create_order", "change_order"),
        policy("P4", "deposit"),
    )
    assert met(order, *policies) == "P0 P2 P3"
    for change, expected in (
        (ChangeOrder(order_id="o", amount="51"), "P0 P1 P2 P3"),
        (ChangeOrder(order_id="o", amount="49"), "P0 P3"),
        (ChangeOrder(order_id="o", command=deposited("A", 9)), "P0 P3 P4"),
    ):
        assert met(change, *policies, happened=(order,)) == expected


def test_what_waits_waits_for_all_that_may_come_of_it() -> None:
    """A movement or hold of its whole amount, another command as it was decided."""
    policies = (
        policy("P1", "transfer", "place_hold", "set_limit"),
        policy("P2", "transfer", "place_hold", currency="EUR", above="5000"),
        policy("P3", "capture_hold", currency="EUR", above="5"),
        policy("P4", "deposit"),
    )
    for command, expected in (
        (transfer("A", "B", 9_000, balancing="debit"), ("P1", "P2")),
        (transfer("A", "B", 9_000, balancing="debit", if_version={"A": 3}), ("P1", "P2")),
        (transfer("A", "B", 900), ("P1",)),
        (held("A", "B", 9_000, None, balancing="debit"), ("P1", "P2")),
        (held("A", "B", 900, None), ("P1",)),
        (SetLimit(account_id="A", limit="7"), ("P1",)),
        (captured("H", 6), ("P3",)),
        (captured("H", 5), None),
        (voided("H"), None),
    ):
        books = given(*BANK, held("A", "B", 100), *policies).books
        request = four_eyes.held_up(books, command, decided_by_rules(books, command))
        assert (None if request is None else request.policies) == expected, command


def test_a_command_waits_once() -> None:
    """A command that was answered by a request waits; what asked for one has what it asked for."""
    request = ApprovalRequested({}, ("ops",), "ann", "key:ann")
    assert four_eyes.waits(PAYMENT, request)
    assert not four_eyes.waits(ASKED, request)
    assert not four_eyes.waits(PAYMENT, LimitSet("A", 7))
    assert not four_eyes.waits(PAYMENT, None)


# What waits is kept without anything personal, and runs as it was put --------------------------


def test_what_was_left_out_is_not_kept() -> None:
    """Whether a field was left out or is null is the same, unless null says something."""
    limit = SetLimit(key="ask", account_id="A", limit=None)
    assert request_of(limit).command == {
        "type": "set_limit",
        "key": "ask",
        "account_id": "A",
        "limit": None,
    }


def test_a_registration_waits_under_the_subject_that_it_began() -> None:
    """And runs with what was sealed then, under the same subject."""
    request = request_of(BEN)
    assert request.subject == request.begun_subject
    assert request.subject is not None
    assert request.command["profile"] == {"language": "en"}
    assert request.sealed == {"name": "neB"}
    command = four_eyes.command_of(request, {"name": "Ben"})
    assert command == BEN
    expected = Sealed(request.subject, {"name": "neB"}, {"language": "en"})
    assert four_eyes.sealed_of(BEN, request) == expected


def test_a_change_of_profile_waits_under_the_customers_subject() -> None:
    """What it clears is no secret; what is public of it stands beside what was sealed."""
    change = ChangeProfile(
        key="ask",
        customer_id="ben",
        changes={"phone": "123", "email": None, "segment": "s", "language": None},
        reason="r",
    )
    request = request_of(change, BEN)
    assert request.command["changes"] == {"segment": "s", "email": None, "language": None}
    assert request.sealed == {"phone": "321"}
    subject = given(*BANK, BEN).books.customers["ben"].subject
    assert request.subject == subject
    assert four_eyes.sealed_of(change, request) == Sealed(subject, request.sealed, {"segment": "s"})


def test_of_a_forgotten_person_nothing_runs() -> None:
    """Who was erased meanwhile is not registered, and no profile changes."""
    with pytest.raises(CustomerErasedAlready):
        four_eyes.command_of(request_of(BEN), None)


def test_an_approved_command_runs_on_behalf_of_its_maker() -> None:
    """With no permission of a voter's: none is needed any more."""
    assert four_eyes.maker_of(request_of(PAYMENT)) == Caller("key:ann", "ann", frozenset())
    request = ApprovalRequested({"type": "transfer"}, ("ops",), maker="ann", actor="key:7")
    state = approvals.evolve(None, request, 1, given().books.recorded_at)
    assert four_eyes.maker_of(state) == Caller("key:7", "ann", frozenset())


def test_what_books_by_a_template_runs_as_it_was_approved() -> None:
    """Defined anew since, it is refused: nobody has seen its postings. A named version stays."""
    bank = asked(FEE, request=RequestApproval(key="ask", command=CHARGE, approvers=("ops",)))
    newest = four_eyes.request_in(bank.books, f"apr_{bank.books.position}")
    named = with_field(CHARGE, "version", 1)
    bank.when(RequestApproval(key="ask", command=named, approvers=("ops",)))
    first = four_eyes.request_in(bank.books, f"apr_{bank.books.position}")
    payment = decided_by_rules(bank.books, PAYMENT)
    four_eyes.require_as_approved(bank.books, newest, decided_by_rules(bank.books, CHARGE))
    bank.when(with_field(FEE, "description", "anew"))
    four_eyes.require_as_approved(bank.books, newest, payment)
    four_eyes.require_as_approved(bank.books, first, decided_by_rules(bank.books, named))
    other = LimitSet("A", 7)
    with pytest.raises(VersionConflict) as refusal:
        four_eyes.require_as_approved(
            bank.books, newest, (other, *payment, *decided_by_rules(bank.books, CHARGE))
        )
    assert refusal.value.seen == {"template": "fee@2"}


def test_a_template_of_that_position_is_the_one_that_was_seen() -> None:
    """What was defined before the request is older than it, and what is not there is not newer."""
    bank = asked(FEE, request=RequestApproval(key="ask", command=CHARGE, approvers=("ops",)))
    request = four_eyes.request_in(bank.books, f"apr_{bank.books.position}")
    entry = decided_by_rules(bank.books, CHARGE)
    four_eyes.require_as_approved(given(*BANK).books, request, entry)


# What comes of a request --------------------------------------------------------------------------


def test_a_command_that_ran_completes_its_request() -> None:
    """At the position of its event; the subject is used where the registration took it over."""
    request = request_of(BEN)
    assert request.subject is not None
    taken = CustomerRegistered(request.subject, {}, {}, "ben")
    other = CustomerRegistered("sub_other", {}, {}, "ben")
    assert four_eyes.outcome_of(request, 9, taken, None) == ApprovalCompleted("Q1", 9)
    unused = ApprovalCompleted("Q1", 9, request.subject)
    assert four_eyes.outcome_of(request, 9, other, None) == unused
    assert four_eyes.outcome_of(request, 9, None, None) == unused
    plain = request_of(PAYMENT)
    assert four_eyes.outcome_of(plain, 8, LimitSet("A", 7), None) == ApprovalCompleted("Q1", 8)


def test_a_command_that_was_refused_fails_its_request() -> None:
    """With the refusal's code and figures as plain values, and the subject that nothing uses."""
    request = request_of(BEN)
    error = InsufficientFunds(account_id="A", at=[date(2026, 3, 2), 3], share=Fraction(1, 2))
    seen = {"account_id": "A", "at": ["2026-03-02", 3], "share": "1/2"}
    assert four_eyes.outcome_of(request, 9, None, error) == ApprovalFailed(
        "Q1", "insufficient_funds", seen, request.subject
    )
    plain = request_of(PAYMENT)
    failed = ApprovalFailed("Q1", "customer_erased")
    assert four_eyes.outcome_of(plain, 9, None, CustomerErasedAlready()) == failed


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        (CustomerErased("ben", "sub_1", "r"), "sub_1"),
        (ApprovalRejected("Q1", "bob", None, "sub_2"), "sub_2"),
        (ApprovalWithdrawn("Q1", None, "sub_3"), "sub_3"),
        (ApprovalFailed("Q1", "c", {}, "sub_4"), "sub_4"),
        (ApprovalCompleted("Q1", 7, "sub_5"), "sub_5"),
        (ApprovalCompleted("Q1", 7), None),
        (CustomerRegistered("sub_6", {}), None),
        (ApprovalRequested({}, (), "m", "a", subject="sub_7"), None),
        (ApprovalGiven("Q1", "bob", ("ops",)), None),
    ],
)
def test_a_key_is_destroyed_where_nothing_is_left_to_read(
    event: Event, subject: str | None
) -> None:
    """A person forgotten, or a registration that is not to be; never that of one who waits."""
    assert four_eyes.forgotten_subject(event) == subject
