"""Approvals on PostgreSQL: requested, voted on, carried out once, whoever restarts in between."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import opened, transfer

from ledger_core import approvals
from ledger_core.account_terms import CloseAccount
from ledger_core.approval_policies import SetApprovalPolicy
from ledger_core.approvals import (
    ApprovalCompleted,
    ApprovalFailed,
    ApprovalGiven,
    ApprovalRequest,
    ApprovalRequested,
    ApproveRequest,
    RejectRequest,
    WithdrawRequest,
)
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import (
    ChangeProfile,
    CustomerProfileChanged,
    CustomerRegistered,
    EraseCustomer,
    RegisterCustomer,
)
from ledger_core.journal import JournalEntryPosted
from ledger_core.ledger import Ledger, Mode, Outcome, Submission
from ledger_core.template import TemplateLine
from ledger_core.template_amounts import FixedAmount
from ledger_core.templates import DefineTemplate, PostTemplate
from projections.verification import verify

PAYMENT = transfer("A", "B", 300, key="payment", entry_id="rent")
ASK = RequestApproval(key="payment", command=PAYMENT, approvers=("ops",), request_id="Q1")
POLICY = SetApprovalPolicy(
    key="policy",
    policy_id="large",
    commands=("transfer",),
    approvers=("ops", "risk"),
    currency="EUR",
    above="100",
)
SECRET = "Zebediah Quux"


def by(
    world: World,
    person: str,
    *commands: Command,
    holds: Sequence[str] = (),
    mode: Mode = "each",
    dry_run: bool = False,
) -> list[Outcome]:
    """Carry out commands of a person who holds these permissions."""
    submission = Submission(
        commands, f"key:{person}", mode, person, frozenset(holds), dry_run=dry_run
    )
    return world.main.execute([submission])[0]


def restart(world: World) -> None:
    """Forget everything in memory; what is known then comes from the log and the views."""
    world.main.close()
    world.catch_up()


def approve(world: World, person: str, *holds: str, of: str, key: str | None = None) -> Outcome:
    """A person approves a request."""
    command = ApproveRequest(key=key or f"{person} approves {of}".replace(" ", "-"), request_id=of)
    return by(world, person, command, holds=holds)[0]


def types(world: World, since: int) -> list[str]:
    """The types of the events after a position, in order."""
    return [item.type for item in world.stored() if item.position > since]


def request_of(outcome: Outcome) -> str:
    """The id of the request that a command became."""
    assert isinstance(outcome.event, ApprovalRequested)
    return approvals.request_id_at(outcome.event, outcome.position)


@pytest.fixture
def policed(bank: World) -> World:
    """The bank, where transfers of more than 100 need ops and risk."""
    assert answers(by(bank, "root", POLICY)) == ["recorded"]
    return bank


def test_a_command_that_meets_a_policy_waits_and_runs_when_the_last_approval_lands(
    policed: World,
) -> None:
    """Its events are the maker's, under the command's own key; the outcome is the last vote's."""
    start = policed.stored()[-1].position
    (asked,) = by(policed, "ann", PAYMENT)
    assert asked.status == "pending_approval"
    request_id = request_of(asked)
    assert request_id == f"apr_{start + 1}"
    assert policed.posted("A", "B") == [1_000, 0]
    restart(policed)
    collected = approve(policed, "bob", "ops", "risk", of=request_id)
    assert collected.event == ApprovalGiven(request_id, "bob", ("ops", "risk"))
    restart(policed)
    done = approve(policed, "dee", "ops", of=request_id)
    assert policed.posted("A", "B") == [700, 300]
    assert done.event == ApprovalCompleted(request_id, start + 4)
    assert types(policed, start) == [
        "ApprovalRequested",
        "ApprovalGiven",
        "ApprovalGiven",
        "JournalEntryPosted",
        "ApprovalCompleted",
    ]
    stored = {item.position - start: item for item in policed.stored()}
    assert [stored[at].actor for at in range(1, 6)] == [
        "key:ann",
        "key:bob",
        "key:dee",
        "key:ann",
        "key:dee",
    ]
    assert [stored[at].command_key for at in range(1, 6)] == [
        "approval payment",
        "bob-approves-" + request_id,
        None,
        "payment",
        "dee-approves-" + request_id,
    ]
    assert all(f"approval:{request_id}" in stored[at].tags for at in (1, 2, 3, 5))


def test_a_retry_at_every_stage_is_answered_as_the_first_time(policed: World) -> None:
    """The request while it waits, its own event once it ran; other content names the field."""
    (asked,) = by(policed, "ann", PAYMENT)
    request_id = request_of(asked)
    other = replace(PAYMENT, amount="301")
    for stage in ("waiting", "waiting again"):
        (again,) = by(policed, "ann", PAYMENT)
        assert (again.status, again.event, again.position) == (
            "replayed",
            asked.event,
            asked.position,
        ), stage
        (conflict,) = by(policed, "ann", other)
        assert conflict.error is not None
        assert conflict.error.code == "idempotency_conflict"
        assert conflict.error.seen["fields"] == ["amount"]
        assert conflict.error.seen["position"] == asked.position
        restart(policed)
    votes = [
        approve(policed, "bob", "ops", "risk", of=request_id),
        approve(policed, "dee", "ops", of=request_id),
    ]
    restart(policed)
    for vote, person in zip(votes, ("bob", "dee"), strict=True):
        again = approve(policed, person, of=request_id)
        assert (again.status, again.event) == ("replayed", vote.event)
    (ran,) = by(policed, "ann", PAYMENT)
    assert ran.status == "replayed"
    assert isinstance(ran.event, JournalEntryPosted)
    (conflict,) = by(policed, "ann", other)
    assert conflict.error is not None
    assert conflict.error.seen["position"] == ran.position
    assert policed.posted("A", "B") == [700, 300]


def test_commands_below_the_amount_and_refused_ones_do_not_wait(policed: World) -> None:
    """A bad command is refused at once; only a good one is worth other people's time."""
    start = policed.stored()[-1].position
    assert answers(
        by(
            policed,
            "ann",
            transfer("A", "B", 100, key="small"),
            transfer("A", "B", 5_000, key="too-much"),
            transfer("A", "Z", 300, key="nobody"),
        )
    ) == ["recorded", "insufficient_funds", "account_not_found"]
    assert "ApprovalRequested" not in types(policed, start)


def test_what_is_refused_when_it_runs_fails_the_request(policed: World) -> None:
    """The votes stand, the money does not move, and the reason is an event."""
    (asked,) = by(policed, "ann", PAYMENT)
    request_id = request_of(asked)
    assert answers(by(policed, "ann", *[transfer("A", "B", 90, key=f"t{n}") for n in range(9)]))
    restart(policed)
    approve(policed, "bob", "ops", of=request_id)
    failed = approve(policed, "eve", "risk", of=request_id)
    assert failed.status == "recorded"
    assert isinstance(failed.event, ApprovalFailed)
    assert failed.event.code == "insufficient_funds"
    assert failed.event.seen["account_id"] == "A"
    assert policed.posted("A", "B") == [190, 810]
    assert approve(policed, "eve", "risk", of=request_id).event == failed.event
    assert answers([approve(policed, "flo", "risk", of=request_id)]) == ["already_completed"]
    (again,) = by(policed, "ann", PAYMENT)
    assert (again.status, again.event) == ("replayed", asked.event)


def _said(outcome: Outcome) -> tuple[str, object]:
    """What a command was answered, in a word, and where or in which fields it conflicts."""
    (word,) = answers([outcome])
    if outcome.error is None:
        return word, outcome.position
    return word, outcome.error.seen.get("fields")


def test_a_request_of_ones_own_waits_without_a_policy(bank: World) -> None:
    """Asking the same again is the same request; other content is told by its fields."""
    (asked,) = by(bank, "ann", ASK)
    assert asked.status == "pending_approval"
    assert bank.stored()[-1].command_key == "approval payment"
    restart(bank)
    wrapped = replace(PAYMENT, amount="301")
    assert [
        _said(by(bank, "ann", command)[0])
        for command in (
            ASK,
            replace(ASK, command=replace(PAYMENT, key="")),
            replace(ASK, approvers=("risk",)),
            replace(ASK, command=wrapped),
            replace(ASK, key="k3", command=replace(PAYMENT, key="k3")),
        )
    ] == [
        ("replayed", asked.position),
        ("replayed", asked.position),
        ("idempotency_conflict", ["approvers"]),
        ("idempotency_conflict", ["command"]),
        ("approval_exists", ["command"]),
    ]
    (malformed,) = by(bank, "ann", replace(ASK, command=replace(PAYMENT, key="other")))
    assert malformed.error is not None
    assert malformed.error.code == "validation_error"
    assert malformed.error.seen["field"] == "command.key"
    assert answers([approve(bank, "ann", "ops", of="Q1")]) == ["maker_cannot_approve"]


def test_a_command_sent_itself_while_it_waits_does_not_run(bank: World) -> None:
    """Its key is that of the request: the request is the answer, other content a conflict."""
    (asked,) = by(bank, "ann", ASK)
    other = replace(PAYMENT, amount="1")
    for world in (bank, bank):
        (again, conflict, second) = by(
            world, "ann", PAYMENT, other, replace(ASK, request_id="Q2", approvers=("x",))
        )
        assert (again.status, again.event) == ("replayed", asked.event)
        assert _said(conflict) == ("idempotency_conflict", ["amount"])
        assert _said(second) == ("idempotency_conflict", ["approvers", "request_id"])
        restart(bank)
    assert bank.posted("A", "B") == [1_000, 0]
    done = approve(bank, "bob", "ops", of="Q1")
    assert isinstance(done.event, ApprovalCompleted)
    assert bank.posted("A", "B") == [700, 300]
    restart(bank)
    ran, request, conflict = by(bank, "ann", PAYMENT, ASK, other)
    assert (ran.status, ran.position) == ("replayed", done.event.command_position)
    assert (request.status, request.position) == ("replayed", asked.position)
    assert _said(conflict) == ("idempotency_conflict", ["amount"])
    assert bank.posted("A", "B") == [700, 300]


@pytest.mark.parametrize("how", ["rejected", "withdrawn", "failed"])
def test_the_key_of_a_request_that_is_over_is_used_up(bank: World, how: str) -> None:
    """What did not run is not judged anew under its key: the request stays the answer."""
    (asked,) = by(bank, "ann", ASK)
    match how:
        case "rejected":
            by(bank, "bob", RejectRequest(key="end", request_id="Q1"), holds=["ops"])
        case "withdrawn":
            by(bank, "ann", WithdrawRequest(key="end", request_id="Q1"))
        case _:
            by(bank, "ann", transfer("A", "B", 900, key="meanwhile"))
            assert isinstance(approve(bank, "bob", "ops", of="Q1").event, ApprovalFailed)
            by(bank, "ann", transfer("B", "A", 900, key="back"))
    restart(bank)
    for command in (PAYMENT, ASK):
        (again,) = by(bank, "ann", command)
        assert (again.status, again.event) == ("replayed", asked.event)
    conflict = by(bank, "ann", replace(PAYMENT, amount="1"))[0]
    assert _said(conflict) == ("idempotency_conflict", ["amount"])
    assert bank.posted("A", "B") == [1_000, 0]


def test_a_key_that_was_used_is_no_key_for_a_request(bank: World) -> None:
    """Neither that of a command that ran, nor that of one which a policy holds up."""
    (ran,) = by(bank, "ann", PAYMENT)
    (conflict,) = by(bank, "ann", ASK)
    assert _said(conflict) == ("idempotency_conflict", ["type"])
    assert conflict.error is not None
    assert conflict.error.seen["position"] == ran.position
    waits = transfer("A", "B", 200, key="waits")
    assert answers(by(bank, "ann", POLICY, waits)) == ["recorded", "pending_approval"]
    asked = RequestApproval(key="waits", command=waits, approvers=("ops",))
    assert _said(by(bank, "ann", asked)[0]) == ("idempotency_conflict", ["type"])


def test_a_vote_is_that_of_its_voter(bank: World) -> None:
    """The same key by somebody else is no retry: nobody takes a vote for counted that is not."""
    by(bank, "ann", replace(ASK, approvers=("ops", "ops")))
    vote = ApproveRequest(key="vote", request_id="Q1")
    last = ApproveRequest(key="last", request_id="Q1")
    other = ("idempotency_conflict", ["person"])
    (first,) = by(bank, "bob", vote, holds=["ops"])
    assert _said(by(bank, "dee", vote, holds=["ops"])[0]) == other
    (done,) = by(bank, "dee", last, holds=["ops"])
    assert isinstance(done.event, ApprovalCompleted)
    restart(bank)
    assert _said(by(bank, "bob", vote)[0]) == ("replayed", first.position)
    assert _said(by(bank, "dee", last)[0]) == ("replayed", done.position)
    assert _said(by(bank, "bob", last, holds=["ops"])[0]) == other
    elsewhere = by(bank, "eve", replace(last, request_id="Q9"))[0]
    assert _said(elsewhere) == ("idempotency_conflict", ["request_id"])


def test_a_rejection_or_withdrawal_is_that_of_its_person(bank: World) -> None:
    """Repeated by somebody else it conflicts; by the same person it is answered again."""
    for name, vote in (("Q1", RejectRequest), ("Q2", WithdrawRequest)):
        wrapped = replace(PAYMENT, key=name, entry_id=None)
        by(
            bank,
            "ann",
            RequestApproval(key=name, command=wrapped, approvers=("ops",), request_id=name),
        )
        command = vote(key=f"end-{name}", request_id=name)
        assert answers(by(bank, "ann", command)) == ["recorded"]
        restart(bank)
        conflict = by(bank, "bob", command, holds=["ops"])[0]
        assert _said(conflict) == ("idempotency_conflict", ["person"])
        assert answers(by(bank, "ann", command)) == ["replayed"]


def test_a_template_that_is_defined_anew_meanwhile_fails_the_request(bank: World) -> None:
    """Nobody approves postings that nobody has seen; a named version is what it was."""

    def fee(amount: str) -> DefineTemplate:
        """A fee of a fixed amount."""
        fixed = FixedAmount(amount=amount)
        lines = (
            TemplateLine(side="debit", account_id="A", amount=fixed),
            TemplateLine(side="credit", account_id="B", amount=fixed),
        )
        return DefineTemplate(key=f"fee-{amount}", name="fee", parameters=(), postings=lines)

    charge = PostTemplate(key="charge", template="fee", currency="EUR")
    by(
        bank,
        "ann",
        fee("5"),
        RequestApproval(key="charge", command=charge, approvers=("ops",), request_id="newest"),
        RequestApproval(
            key="charge-1",
            command=replace(charge, key="charge-1", version=1),
            approvers=("ops",),
            request_id="first",
        ),
        fee("500"),
    )
    failed = approve(bank, "bob", "ops", of="newest").event
    assert isinstance(failed, ApprovalFailed)
    assert failed.code == "version_conflict"
    assert isinstance(approve(bank, "bob", "ops", of="first").event, ApprovalCompleted)
    assert bank.posted("A", "B") == [995, 5]


def test_a_vote_has_another_key_than_the_command_that_it_runs(bank: World) -> None:
    """Two events cannot have one key: the vote is refused, and nobody else is."""
    (waiting,) = by(bank, "ann", ASK)
    same = ApproveRequest(key=PAYMENT.key, request_id="Q1")
    (refused,) = by(bank, "bob", same, holds=["ops"])
    assert refused.error is not None
    assert refused.error.code == "idempotency_conflict"
    assert refused.error.seen["position"] == waiting.position
    assert approve(bank, "bob", "ops", of="Q1").error is None
    assert bank.posted("B") == [300]


def test_everything_in_one_submission(bank: World) -> None:
    """Policy, request, votes and the retry of the command, before anything is committed."""
    outcomes = bank.main.execute(
        [
            Submission((POLICY,), "key:root"),
            Submission((ASK, transfer("A", "B", 200, key="other")), "key:ann", person="ann"),
            Submission(
                (ApproveRequest(key="v1", request_id="Q1"),),
                "key:bob",
                person="bob",
                permissions=frozenset({"ops"}),
            ),
            Submission(
                (ApproveRequest(key="v2", request_id="Q1"),),
                "key:eve",
                person="eve",
                permissions=frozenset({"risk"}),
            ),
            Submission((PAYMENT, transfer("A", "B", 200, key="other")), "key:ann", person="ann"),
        ]
    )
    assert [answers(item) for item in outcomes] == [
        ["recorded"],
        ["pending_approval", "pending_approval"],
        ["recorded"],
        ["recorded"],
        ["replayed", "replayed"],
    ]
    assert isinstance(outcomes[3][0].event, ApprovalCompleted)
    assert bank.posted("A", "B") == [700, 300]


def test_an_atomic_batch_with_a_command_that_must_wait_is_refused(policed: World) -> None:
    """All or nothing: waiting is neither. A request asked for is an item like any other."""
    before = len(policed.stored())
    small = transfer("A", "B", 1, key="small")
    assert answers(by(policed, "ann", small, PAYMENT, mode="atomic")) == [
        "batch_failed",
        "approval_needed",
    ]
    assert len(policed.stored()) == before
    assert answers(by(policed, "ann", PAYMENT, small, mode="stop_on_error")) == [
        "pending_approval",
        "recorded",
    ]
    (again, _) = by(policed, "ann", PAYMENT, transfer("A", "B", 2, key="s2"), mode="atomic")
    assert again.error is not None
    assert again.error.code == "approval_needed"
    waiting = replace(PAYMENT, key="p2", entry_id="rent-2")
    ask = RequestApproval(key="p2", command=waiting, approvers=("ops",), request_id="Q1")
    other = transfer("A", "B", 2, key="s2")
    assert answers(by(policed, "ann", ask, other, mode="atomic")) == [
        "pending_approval",
        "recorded",
    ]


def test_an_approval_in_a_failed_atomic_batch_never_was(policed: World) -> None:
    """Neither the vote nor the command that it completed."""
    request_id = request_of(by(policed, "ann", PAYMENT)[0])
    approve(policed, "bob", "ops", of=request_id)
    before = len(policed.stored())
    last = ApproveRequest(key="last", request_id=request_id)
    bad = transfer("A", "Z", 1, key="bad")
    outcomes = by(policed, "eve", last, bad, holds=["risk"], mode="atomic")
    assert answers(outcomes) == ["batch_failed", "account_not_found"]
    assert len(policed.stored()) == before
    assert isinstance(by(policed, "eve", last, holds=["risk"])[0].event, ApprovalCompleted)
    assert policed.posted("A", "B") == [700, 300]


def test_a_dry_run_says_that_a_command_would_wait_or_run(policed: World) -> None:
    """And leaves no trace, neither of the request nor of the vote."""
    (dry,) = by(policed, "ann", PAYMENT, dry_run=True)
    assert dry.status == "pending_approval"
    request_id = request_of(by(policed, "ann", PAYMENT)[0])
    approve(policed, "bob", "ops", of=request_id)
    before = len(policed.stored())
    vote = ApproveRequest(key="v", request_id=request_id)
    (dry,) = by(policed, "eve", vote, holds=["risk"], dry_run=True)
    assert isinstance(dry.event, ApprovalCompleted)
    assert len(policed.stored()) == before
    assert isinstance(by(policed, "eve", vote, holds=["risk"])[0].event, ApprovalCompleted)


def test_policies_may_be_changed_only_by_approval(bank: World) -> None:
    """A policy that names set_approval_policy guards itself."""
    guard = SetApprovalPolicy(
        key="guard", policy_id="G", commands=("set_approval_policy",), approvers=("board",)
    )
    off = SetApprovalPolicy(
        key="off",
        policy_id="G",
        commands=("set_approval_policy",),
        approvers=("board",),
        enabled=False,
    )
    assert answers(by(bank, "ann", guard, off)) == ["recorded", "pending_approval"]
    request_id = request_of(by(bank, "ann", off)[0])
    restart(bank)
    assert answers(by(bank, "ann", replace(guard, approvers=("ann",)))) == ["idempotency_conflict"]
    approve(bank, "bea", "board", of=request_id)
    restart(bank)
    assert answers(by(bank, "ann", replace(guard, key="again"))) == ["recorded"]


def test_another_process_completes_what_this_one_began(policed: World) -> None:
    """Two writers on one ledger see each other's policies, requests and votes."""
    other = policed.ledger()

    def there(person: str, command: Command, *held: str, ledger: Ledger = other) -> Outcome:
        """Carry out a command in the other process."""
        submission = Submission(
            (command,), f"key:{person}", person=person, permissions=frozenset(held)
        )
        return ledger.execute([submission])[0][0]

    asked = there("ann", PAYMENT)
    assert asked.status == "pending_approval"
    request_id = request_of(asked)
    approve(policed, "bob", "ops", of=request_id)
    done = there("eve", ApproveRequest(key="v", request_id=request_id), "risk")
    assert isinstance(done.event, ApprovalCompleted)
    assert policed.posted("A", "B") == [700, 300]
    assert answers([approve(policed, "eve", "risk", of=request_id)]) == ["already_completed"]


def test_a_command_that_changes_nothing_when_it_runs_completes_its_request(bank: World) -> None:
    """What it asks for was done meanwhile; its key is used up all the same."""
    close = CloseAccount(key="close", account_id="B")
    ask = RequestApproval(key="close", command=close, approvers=("ops",), request_id="Q1")
    by(bank, "ann", ask)
    assert answers(by(bank, "zoe", replace(close, key="at-once"))) == ["recorded"]
    done = approve(bank, "bob", "ops", of="Q1")
    assert isinstance(done.event, ApprovalCompleted)
    assert answers(by(bank, "ann", close)) == ["replayed"]


def test_a_waiting_opening_conflicts_with_one_that_came_before(bank: World) -> None:
    """An id is not reserved while the command waits."""
    ask = RequestApproval(key="open-c", command=opened("C"), approvers=("ops",), request_id="Q1")
    by(bank, "ann", ask, opened("C", key="mine", name="other"))
    failed = approve(bank, "bob", "ops", of="Q1")
    assert isinstance(failed.event, ApprovalFailed)
    assert failed.event.code == "account_exists"


REGISTRATION = RegisterCustomer(
    key="reg", customer_id="zed", profile={"name": SECRET, "phone": "+99 123", "language": "en"}
)
ON_CUSTOMERS = SetApprovalPolicy(
    key="on-customers",
    policy_id="kyc",
    commands=("register_customer", "change_profile"),
    approvers=("kyc",),
)


def _everything(world: World) -> str:
    """Every column of the log and of the kept states, as text."""
    world.catch_up()
    rows = [
        *world.writer.execute("SELECT e::text, e.data::text FROM ledger.events e").fetchall(),
        *world.writer.execute("SELECT k::text FROM views.kept k").fetchall(),
        *world.writer.execute("SELECT c::text FROM views.customers c").fetchall(),
    ]
    assert rows
    return str(rows)


def _keys(world: World) -> list[bool]:
    """Of each subject in the order of creation, whether its key is there."""
    rows = world.writer.execute(
        "SELECT wrapped_key IS NOT NULL FROM keystore.subject_keys ORDER BY created_at"
    )
    return [row[0] for row in rows]


def test_a_waiting_registration_is_nowhere_in_clear(bank: World) -> None:
    """Not while it waits, not when it ran; and the customer can be read under the same subject."""
    by(bank, "root", ON_CUSTOMERS)
    (asked,) = by(bank, "ann", REGISTRATION)
    assert asked.status == "pending_approval"
    assert isinstance(asked.event, ApprovalRequested)
    assert SECRET not in _everything(bank)
    restart(bank)
    assert answers(by(bank, "ann", REGISTRATION)) == ["replayed"]
    done = approve(bank, "bob", "kyc", of=request_of(asked))
    assert isinstance(done.event, ApprovalCompleted)
    (ran,) = by(bank, "ann", REGISTRATION)
    assert isinstance(ran.event, CustomerRegistered)
    assert ran.event.subject == asked.event.subject
    clear = bank.vault.unseal(bank.writer, bank.ledger_id, ran.event.subject, ran.event.sealed)
    assert clear == {"name": SECRET, "phone": "+99 123"}
    assert SECRET not in _everything(bank)
    assert _keys(bank) == [True]


@pytest.mark.parametrize("how", ["rejected", "withdrawn", "failed"])
def test_the_key_of_a_registration_that_never_runs_is_destroyed(bank: World, how: str) -> None:
    """Nobody can read it then, and a retry is taken at its word."""
    by(bank, "root", ON_CUSTOMERS)
    (asked,) = by(bank, "ann", REGISTRATION)
    request_id = request_of(asked)
    assert _keys(bank) == [True]
    restart(bank)
    match how:
        case "rejected":
            by(bank, "bob", RejectRequest(key="end", request_id=request_id), holds=["kyc"])
        case "withdrawn":
            by(bank, "ann", WithdrawRequest(key="end", request_id=request_id))
        case _:
            other = RegisterCustomer(key="o", customer_id="zed", profile={"name": "Other"})
            by(bank, "root", replace(ON_CUSTOMERS, key="off", enabled=False))
            assert answers(by(bank, "zoe", other)) == ["recorded"]
            event = approve(bank, "bob", "kyc", of=request_id).event
            assert isinstance(event, ApprovalFailed)
            assert event.code == "customer_exists"
    assert _keys(bank) == [False, True][: 2 if how == "failed" else 1]
    assert answers(by(bank, "ann", REGISTRATION)) == ["replayed"]
    other_language = {**REGISTRATION.profile, "language": "de"}
    assert answers(by(bank, "ann", replace(REGISTRATION, profile=other_language))) == [
        "idempotency_conflict"
    ]


def test_a_registration_that_was_made_meanwhile_is_kept_under_one_key(bank: World) -> None:
    """The same person with the same content: the request's own copy becomes unreadable."""
    ask = RequestApproval(key="reg", command=REGISTRATION, approvers=("kyc",), request_id="Q1")
    (asked,) = by(bank, "ann", ask)
    (made,) = by(bank, "zoe", replace(REGISTRATION, key="at-once"))
    done = approve(bank, "bob", "kyc", of="Q1")
    assert isinstance(asked.event, ApprovalRequested)
    assert done.event == ApprovalCompleted("Q1", made.position, asked.event.subject)
    assert _keys(bank) == [False, True]
    sealed = {asked.event.subject or "": asked.event.sealed}
    assert list(bank.vault.unseal_many(bank.writer, bank.ledger_id, sealed).values()) == [None]


def test_a_waiting_change_of_profile_is_sealed_under_the_customer(bank: World) -> None:
    """It runs with the same ciphertext, and is forgotten with the person."""
    assert answers(by(bank, "ann", REGISTRATION)) == ["recorded"]
    by(bank, "root", ON_CUSTOMERS)
    change = ChangeProfile(
        key="c1", customer_id="zed", changes={"email": "zq@example.org", "phone": None}, reason="r"
    )
    later = replace(change, key="c2", reason="later")
    first, second = by(bank, "ann", change, later)
    assert "zq@example.org" not in _everything(bank)
    restart(bank)
    done = approve(bank, "bob", "kyc", of=request_of(first))
    assert isinstance(done.event, ApprovalCompleted)
    (ran,) = by(bank, "ann", change)
    assert isinstance(first.event, ApprovalRequested)
    assert isinstance(ran.event, CustomerProfileChanged)
    assert (ran.event.sealed, ran.event.cleared) == (first.event.sealed, ("phone",))
    by(bank, "root", EraseCustomer(key="e", customer_id="zed", reason="asked"))
    restart(bank)
    failed = approve(bank, "bob", "kyc", of=request_of(second))
    assert isinstance(failed.event, ApprovalFailed)
    assert failed.event.code == "customer_erased"
    assert _keys(bank) == [False]


def test_the_views_keep_requests_and_policies_as_the_log_tells_them(policed: World) -> None:
    """The state that is stored is the one that decisions are taken on."""
    request_id = request_of(by(policed, "ann", PAYMENT)[0])
    approve(policed, "bob", "ops", of=request_id)
    policed.catch_up()
    folded = policed.folded().states[approvals.KIND, request_id]
    assert isinstance(folded, ApprovalRequest)
    row = policed.writer.execute(
        "SELECT status, tags, state FROM views.kept WHERE kind = 'approval'"
    ).fetchone()
    assert row is not None
    assert (row[0], set(row[1])) == ("pending", {"maker:ann", "command:transfer"})
    approve(policed, "eve", "risk", of=request_id)
    policed.catch_up()
    verdict = verify(policed.projector, policed.ledger_id)
    assert verdict.ok, verdict.findings
