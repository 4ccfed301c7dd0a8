"""Approvals without a database: who counts, in which order no is said, which commands must wait."""

from datetime import timedelta
from itertools import permutations

import msgspec
import pytest
from hypothesis import given as given_drawn
from hypothesis import strategies as st
from tests.rules.harness import Answer, Given, deposited, given, opened, transfer

from ledger_core import approval_policies, approvals, commands, four_eyes
from ledger_core.account_limits import SetLimit
from ledger_core.approval_policies import ApprovalPolicySet, Policy, SetApprovalPolicy
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
from ledger_core.books import Books, Caller, Event
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import ChangeProfile, RegisterCustomer
from ledger_core.errors import (
    AlreadyCompleted,
    AlreadyRejected,
    AlreadyVoted,
    AlreadyWithdrawn,
    ApprovalNotFound,
    LedgerError,
    MakerCannotApprove,
    NotPermitted,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.four_eyes import command_of
from ledger_core.holds import PlaceHold
from ledger_core.units import RegisterUnit

PERMISSIONS = ("a", "b", "c")
permissions = st.sampled_from(PERMISSIONS)
needed = st.lists(permissions, min_size=1, max_size=4)
votes = st.dictionaries(st.integers(0, 9).map(str), st.frozensets(permissions), max_size=5)

BANK: tuple[Command, ...] = (opened("A"), opened("B"), deposited("A", 1_000))
PAYMENT = transfer("A", "B", 10, key="ask")
ASKED = RequestApproval(key="ask", command=PAYMENT, approvers=("ops", "risk"), request_id="Q1")


def _as(bank: Given, person: str, *held: str) -> Given:
    """The same bank, with that person at the counter."""
    bank.books.caller = Caller(f"key:{person}", person, frozenset(held))
    return bank


def _request(asked: RequestApproval = ASKED) -> Given:
    """A bank in which ann has asked for an approval."""
    bank = _as(given(*BANK), "ann", "ops", "risk")
    answer = bank.when(asked)
    assert answer.error is None, answer.error
    return bank


def _approve(bank: Given, person: str, *held: str) -> Answer:
    """What the rules say when that person approves."""
    return _as(bank, person, *held).when(ApproveRequest(request_id="Q1"))


def _state(books: Books, request_id: str = "Q1") -> ApprovalRequest:
    """The request as it stands."""
    state = books.kept(approvals.KIND, request_id)
    assert isinstance(state, ApprovalRequest)
    return state


@given_drawn(needed, votes)
def test_needs_are_matched_to_distinct_persons(
    needs: list[str], given_votes: dict[str, frozenset[str]]
) -> None:
    """As trying every way of seating the voters finds it."""
    expected = any(
        all(need in given_votes[person] for need, person in zip(needs, seated, strict=True))
        for seated in permutations(given_votes, len(needs))
    )
    assert approvals.is_satisfied(needs, given_votes) == expected


@given_drawn(needed, votes)
def test_another_vote_never_undoes_an_approval(
    needs: list[str], given_votes: dict[str, frozenset[str]]
) -> None:
    """Whoever votes in addition, what was enough stays enough."""
    more = {**given_votes, "one more": frozenset({"b"})}
    if approvals.is_satisfied(needs, given_votes):
        assert approvals.is_satisfied(needs, more)


@given_drawn(st.lists(needed, min_size=1, max_size=3), votes)
def test_combined_demands_satisfy_each(
    demands: list[list[str]], given_votes: dict[str, frozenset[str]]
) -> None:
    """Several policies together ask for no less than any of them, and for no more than needed."""
    together = approval_policies.combined(demands)
    if approvals.is_satisfied(together, given_votes):
        for demand in demands:
            assert approvals.is_satisfied(demand, given_votes)
    for name in PERMISSIONS:
        assert together.count(name) == max(demand.count(name) for demand in demands)


def test_a_person_with_both_permissions_fills_one_place() -> None:
    """Bob can serve either, so dee completes the pair: a matching, not a count."""
    bob = {"bob": ("ops", "risk")}
    assert not approvals.is_satisfied(("ops", "risk"), bob)
    assert approvals.is_satisfied(("ops", "risk"), {**bob, "dee": ("ops",)})
    assert approvals.is_satisfied(("ops", "risk"), {**bob, "dee": ("risk",)})
    assert not approvals.is_satisfied(("ops", "ops"), {**bob, "dee": ("risk",)})


def test_votes_are_collected_until_a_matching_is_complete() -> None:
    """One event a vote, naming the permissions that count."""
    bank = _request()
    assert _state(bank.books).status == "pending"
    answer = _approve(bank, "bob", "risk", "ops", "teller")
    answer.then(ApprovalGiven("Q1", "bob", ("ops", "risk")))
    assert not _state(bank.books).is_approved
    _approve(bank, "dee", "ops").then(ApprovalGiven("Q1", "dee", ("ops",)))
    state = _state(bank.books)
    assert state.is_approved
    assert [vote.person for vote in state.votes] == ["bob", "dee"]
    assert state.last_position == bank.books.position == state.position + 2


def test_refusals_of_a_vote_come_in_their_order() -> None:
    """No request, it is over, the maker, twice, no permission."""
    bank = _request()
    missing = ApproveRequest(request_id="Q9")
    _as(bank, "ann").when(missing).then_refuses(ApprovalNotFound, field="request_id")
    _approve(bank, "ann", "ops").then_refuses(MakerCannotApprove, request_id="Q1")
    _approve(bank, "cy").then_refuses(NotPermitted, request_id="Q1", approvers=["ops", "risk"])
    _approve(bank, "bob", "ops")
    position = bank.books.position
    _approve(bank, "bob", "risk").then_refuses(
        AlreadyVoted, request_id="Q1", vote_position=position
    )
    _approve(bank, "bob").then_refuses(AlreadyVoted)
    _as(bank, "bob").when(RejectRequest(request_id="Q1")).then_refuses(AlreadyVoted)
    _as(bank, "bob", "risk").when(WithdrawRequest(request_id="Q1")).then_refuses(
        NotPermitted, request_id="Q1"
    )


@pytest.mark.parametrize(
    ("outcome", "refusal", "seen"),
    [
        (ApprovalCompleted("Q1", 7), AlreadyCompleted, {"status": "completed"}),
        (ApprovalFailed("Q1", "insufficient_funds"), AlreadyCompleted, {"status": "failed"}),
        (ApprovalRejected("Q1", "bob"), AlreadyRejected, {}),
        (ApprovalWithdrawn("Q1"), AlreadyWithdrawn, {}),
    ],
)
def test_what_is_over_is_over_for_everybody(
    outcome: Event, refusal: type[LedgerError], seen: dict[str, object]
) -> None:
    """That comes before who the caller is, for votes, rejections and withdrawals."""
    bank = _request()
    bank.books.record(outcome)
    for person in ("ann", "bob", "cy"):
        for command in (
            ApproveRequest(request_id="Q1"),
            RejectRequest(request_id="Q1"),
            WithdrawRequest(request_id="Q1"),
        ):
            _as(bank, person, "ops").when(command).then_refuses(refusal, request_id="Q1", **seen)


def test_the_maker_withdraws_or_rejects_without_a_permission() -> None:
    """Others need one of those that are needed for a rejection."""
    withdrawn = _as(_request(), "ann").when(WithdrawRequest(request_id="Q1", reason="typo"))
    withdrawn.then(ApprovalWithdrawn("Q1", "typo"))
    assert _state(withdrawn.books).status == "withdrawn"
    rejected = _as(_request(), "ann").when(RejectRequest(request_id="Q1"))
    rejected.then(ApprovalRejected("Q1", "ann"))
    assert _state(rejected.books).status == "rejected"
    reject = RejectRequest(request_id="Q1", reason="no")
    _as(_request(), "cy", "teller").when(reject).then_refuses(NotPermitted)
    _as(_request(), "bob", "risk").when(reject).then(ApprovalRejected("Q1", "bob", "no"))


def test_who_ends_a_registration_that_waits_names_the_subject_it_had_begun() -> None:
    """So that its key is destroyed; of a change of profile the subject lives on."""
    ben = RegisterCustomer(key="ask", customer_id="ben", profile={"name": "Ben"})
    asked = RequestApproval(key="ask", command=ben, approvers=("ops",), request_id="Q1")
    subject = _state(_request(asked).books).subject
    assert subject is not None
    _as(_request(asked), "ann").when(WithdrawRequest(request_id="Q1", reason="r")).then(
        ApprovalWithdrawn("Q1", "r", subject)
    )
    _as(_request(asked), "bob", "ops").when(RejectRequest(request_id="Q1", reason="r")).then(
        ApprovalRejected("Q1", "bob", "r", subject)
    )
    bank = _as(given(*BANK, ben), "ann")
    change = ChangeProfile(key="ask", customer_id="ben", changes={"phone": "1"}, reason="r")
    bank.when(RequestApproval(key="ask", command=change, approvers=("ops",), request_id="Q1"))
    bank.when(WithdrawRequest(request_id="Q1")).then(ApprovalWithdrawn("Q1"))


def test_a_request_says_how_far_it_is() -> None:
    """When it was made and touched last, and what came of it."""
    bank = _request()
    moment, position = bank.books.recorded_at, bank.books.position
    made = ApprovalRequest(
        request_id="Q1",
        command=_state(bank.books).command,
        approvers=("ops", "risk"),
        maker="ann",
        actor="key:ann",
        policies=(),
        subject=None,
        sealed={},
        requested_at=moment,
        position=position,
        last_position=position,
    )
    assert _state(bank.books) == made
    later = moment + timedelta(days=1)
    vote = approvals.Vote("bob", ("ops",), 9)
    for event, changes in (
        (ApprovalGiven("Q1", "bob", ("ops",)), {"votes": (vote,)}),
        (ApprovalRejected("Q1", "bob"), {"status": "rejected"}),
        (ApprovalWithdrawn("Q1"), {"status": "withdrawn"}),
        (ApprovalCompleted("Q1", 7), {"status": "completed", "command_position": 7}),
        (ApprovalFailed("Q1", "c"), {"status": "failed", "code": "c"}),
    ):
        expected = msgspec.structs.replace(made, last_position=9, **changes)
        assert approvals.evolve(made, event, 9, later) == expected


def test_a_request_keeps_the_command_as_it_was_put() -> None:
    """With the key of the request, the maker, and the approvers in the order of their names."""
    bank = _request()
    state = _state(bank.books)
    assert command_of(state, {}) == PAYMENT
    assert (state.maker, state.actor, state.approvers) == ("ann", "key:ann", ("ops", "risk"))
    assert state.tags == ("maker:ann", "command:transfer")
    assert (state.subject, state.sealed, state.policies) == (None, {}, ())


def test_a_request_without_an_id_is_named_by_its_position() -> None:
    """As everything that the ledger names itself."""
    bank = _as(given(*BANK), "ann")
    bank.when(RequestApproval(key="ask", command=PAYMENT, approvers=("ops",)))
    state = _state(bank.books, f"apr_{bank.books.position}")
    assert (state.request_id, state.maker) == (f"apr_{bank.books.position}", "ann")


def test_personal_data_waits_sealed() -> None:
    """Of a registration or a change of profile only what identifies nobody is in clear."""
    bank = _as(given(*BANK), "ann")
    ben = RegisterCustomer(key="ask", customer_id="ben", profile={"name": "Ben", "language": "en"})
    asked = RequestApproval(key="ask", command=ben, approvers=("ops",), request_id="Q1")
    (event,) = bank.when(asked).events
    assert isinstance(event, ApprovalRequested)
    assert event.command["profile"] == {"language": "en"}
    assert event.sealed == {"name": "neB"}
    assert _state(bank.books).begun_subject == event.subject is not None
    assert command_of(_state(bank.books), {"name": "Ben"}) == ben
    bank.when(ben)
    change = ChangeProfile(
        key="ask2", customer_id="ben", changes={"phone": "123", "email": None}, reason="r"
    )
    bank.when(RequestApproval(key="ask2", command=change, approvers=("ops",), request_id="Q2"))
    state = _state(bank.books, "Q2")
    assert state.command["changes"] == {"email": None}
    assert state.sealed == {"phone": "321"}
    assert state.subject == bank.books.customers["ben"].subject
    assert state.begun_subject is None
    assert command_of(state, {"phone": "123"}) == change


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"request_id": "apr_7"}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"approvers": ()}, "approvers"),
        ({"approvers": ("ops",) * 11}, "approvers"),
        ({"approvers": ("ops", "Ops")}, "approvers[1]"),
        ({"approvers": ("x" * 41,)}, "approvers[0]"),
        ({"command": transfer("A", "B", 1, key="other")}, "command.key"),
    ],
)
def test_a_malformed_request_is_refused(changed: dict[str, object], field: str) -> None:
    """Each field has its form; the command has no key of its own."""
    fields = {"command": PAYMENT, "approvers": ("ops",), **changed}
    command = RequestApproval(key="ask", **fields)  # type: ignore[arg-type]
    given(*BANK).when(command).then_refuses(ValidationFailed, field=field)


def _policy(**fields: object) -> SetApprovalPolicy:
    """A policy on transfers, unless said otherwise."""
    given_fields = {"policy_id": "P", "commands": ("transfer",), "approvers": ("ops",), **fields}
    return SetApprovalPolicy(**given_fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"policy_id": ""}, "policy_id"),
        ({"commands": ()}, "commands"),
        ({"commands": ("transfer", "transfer")}, "commands"),
        ({"commands": ("transfers",)}, "commands"),
        ({"commands": ("approve_request",)}, "commands"),
        ({"approvers": ()}, "approvers"),
        ({"approvers": ("OPS",)}, "approvers[0]"),
        ({"currency": "EUR"}, "above"),
        ({"above": "1"}, "above"),
        ({"above": "01", "currency": "EUR"}, "above"),
        ({"above": "-1", "currency": "EUR"}, "above"),
    ],
)
def test_a_malformed_policy_is_refused(changed: dict[str, object], field: str) -> None:
    """A command that is misspelt would never wait: it is refused, like anything malformed."""
    given().when(_policy(**changed)).then_refuses(ValidationFailed, field=field)


def test_a_policy_in_no_currency_is_refused() -> None:
    """Neither ISO 4217 nor a unit of the ledger."""
    policy = _policy(currency="PTS", above="5")
    given().when(policy).then_refuses(UnknownCurrency)
    unit = RegisterUnit(code="PTS", scale=0)
    event = ApprovalPolicySet("P", ("transfer",), ("ops",), "PTS", 5)
    given(unit).when(policy).then(event)


def test_a_policy_is_set_anew_as_a_whole() -> None:
    """The last setting counts; the same again changes nothing."""
    bank = given(_policy(currency="EUR", above="5"))
    bank.when(_policy(currency="EUR", above="5")).then_nothing()
    bank.when(_policy(enabled=False)).then(
        ApprovalPolicySet("P", ("transfer",), ("ops",), enabled=False)
    )
    state = bank.books.kept(approval_policies.KIND, "P")
    assert isinstance(state, Policy)
    assert (state.status, state.above_minor, state.position) == ("disabled", None, 1)


def test_policies_are_bounded() -> None:
    """All are in memory; setting one of them anew is always possible."""
    count = approval_policies.POLICIES_MAX
    bank = given(*(_policy(policy_id=f"P{number}") for number in range(count)))
    bank.when(_policy()).then_refuses(ValidationFailed, field="policy_id")
    assert bank.when(_policy(policy_id="P1", enabled=False)).error is None


def _met(command: Command, *policies: SetApprovalPolicy) -> list[str]:
    """The policies that a command meets on a bank that would carry it out."""
    bank = given(*BANK, *policies)
    decided = bank.when(command).events
    found = approval_policies.matching(
        bank.books.kept_of(approval_policies.KIND), commands.tag_of(command), decided
    )
    return [policy.policy_id for policy in found]


def test_a_policy_holds_up_its_commands_above_its_amount() -> None:
    """More than the amount, in its currency; exactly the amount passes."""
    above = _policy(currency="EUR", above="10")
    assert _met(transfer("A", "B", 11), above) == ["P"]
    assert _met(transfer("A", "B", 10), above) == []
    assert _met(transfer("A", "B", 11), _policy(currency="JPY", above="0")) == []
    assert _met(transfer("A", "B", 1), _policy()) == ["P"]
    assert _met(deposited("A", 11), above) == []
    assert _met(transfer("A", "B", 11), _policy(enabled=False)) == []


def test_what_moves_nothing_meets_no_policy_with_an_amount() -> None:
    """A limit can wait, but not above an amount; a hold is measured by what it holds."""
    limit = SetLimit(account_id="A", limit="5")
    assert _met(limit, _policy(commands=("set_limit",), currency="EUR", above="0")) == []
    assert _met(limit, _policy(commands=("set_limit",))) == ["P"]
    hold = PlaceHold(debit_account_id="A", credit_account_id="B", amount="11", currency="EUR")
    for above, expected in (("10", ["P"]), ("11", [])):
        policy = _policy(commands=("place_hold",), currency="EUR", above=above)
        assert _met(hold, policy) == expected


def test_several_policies_are_met_in_the_order_of_their_ids() -> None:
    """A request of the maker's own asks for no less than they do."""
    policies = (
        _policy(policy_id="P2", approvers=("risk", "ops")),
        _policy(policy_id="P1", approvers=("ops", "ops")),
        _policy(policy_id="P3", approvers=("board",), currency="EUR", above="500"),
    )
    assert _met(PAYMENT, *policies) == ["P1", "P2"]
    bank = _as(given(*BANK, *policies), "ann")
    bank.when(RequestApproval(key="ask", command=PAYMENT, approvers=("hr",), request_id="Q1"))
    state = _state(bank.books)
    assert sorted(state.approvers) == ["hr", "ops", "ops", "risk"]
    assert state.policies == ("P1", "P2")


def test_a_balancing_movement_waits_as_one_of_its_whole_amount() -> None:
    """What it moves is known only when it runs, and then nobody is asked any more."""
    policies = (
        _policy(policy_id="all", approvers=("ops",)),
        _policy(policy_id="large", approvers=("risk",), currency="EUR", above="5000"),
    )
    command = transfer("A", "B", 9_000, key="ask", balancing="debit")
    assert _met(command, *policies) == ["all"]
    bank = _as(given(*BANK, *policies), "ann")
    bank.when(RequestApproval(key="ask", command=command, approvers=("ops",), request_id="Q1"))
    state = _state(bank.books)
    assert (state.policies, sorted(state.approvers)) == (("all", "large"), ["ops", "risk"])
    bank = given(*BANK, *policies)
    held_up = four_eyes.held_up(bank.books, command, commands.decide(bank.books, command))
    assert held_up is not None
    assert held_up.policies == ("all", "large")


def test_a_balancing_hold_waits_as_one_of_its_whole_amount() -> None:
    """There may be more to reserve by the time it runs."""
    policy = _policy(commands=("place_hold",), approvers=("risk",), currency="EUR", above="5000")
    command = PlaceHold(
        key="ask",
        debit_account_id="A",
        credit_account_id="B",
        amount="9000",
        currency="EUR",
        balancing="debit",
    )
    assert _met(command, policy) == []
    bank = _as(given(*BANK, policy), "ann")
    bank.when(RequestApproval(key="ask", command=command, approvers=("ops",), request_id="Q1"))
    assert sorted(_state(bank.books).approvers) == ["ops", "risk"]


def test_votes_are_bounded() -> None:
    """However many hold a permission that is enough once."""
    bank = _request()
    for number in range(approvals.VOTES_MAX):
        assert _approve(bank, f"p{number}", "ops").error is None
    _approve(bank, "one more", "ops").then_refuses(ValidationFailed, field="request_id")
    assert not _state(bank.books).is_approved


def test_a_request_changes_nothing_else() -> None:
    """No money moves while it waits."""
    bank = _request()
    assert [bank.books.accounts[name].posted_minor for name in "AB"] == [1_000, 0]
