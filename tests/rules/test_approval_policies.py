"""Policies of approval by themselves: what is kept of them, their bounds, and what they measure."""

from typing import Any

import pytest
from tests.rules.harness import decide, given, held, opened, transfer

from ledger_core import approval_policies, commands
from ledger_core.approval_policies import (
    APPROVERS_MAX,
    ApprovalPolicySet,
    ApprovalsUsed,
    Policy,
    SetApprovalPolicy,
)
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.errors import ValidationFailed

BANK: tuple[Command, ...] = (opened("A", limit="900"), opened("B"))


def policy(**fields: Any) -> SetApprovalPolicy:  # noqa: ANN401 - the command's own
    """A policy on transfers, unless said otherwise."""
    said = {"policy_id": "P", "commands": ("transfer",), "approvers": ("ops",), **fields}
    return SetApprovalPolicy(**said)


def state_of(books: Books) -> Policy:
    """The policy as it stands."""
    state = books.kept(approval_policies.KIND, "P")
    assert isinstance(state, Policy)
    return state


def at(position: int, last_position: int) -> dict[str, int]:
    """Where a state was set first and last."""
    return {"position": position, "last_position": last_position}


def test_a_policy_says_what_was_set_last_and_when_it_was_first() -> None:
    """Listed by the commands that it is about, whether it counts or not."""
    several = policy(commands=("transfer", "deposit"), currency="EUR", above="5")
    books = given(*BANK, several).books
    state = Policy("P", ("transfer", "deposit"), ("ops",), "EUR", 5, enabled=True, **at(3, 3))
    assert state_of(books) == state
    assert state.status == "enabled"
    assert state.tags == ("command:transfer", "command:deposit")
    books = given(*BANK, several, policy(enabled=False)).books
    off = Policy("P", ("transfer",), ("ops",), None, None, enabled=False, **at(3, 4))
    assert state_of(books) == off
    assert off.status == "disabled"
    assert off.tags == ("command:transfer",)


def test_the_first_policy_says_for_good_that_approvals_are_used() -> None:
    """At its position, however many follow."""
    books = given(*BANK, policy(), policy(policy_id="P2"), policy(enabled=False)).books
    used = books.kept(approval_policies.USED_KIND, "ledger")
    assert used == ApprovalsUsed(position=3, last_position=3)
    assert used.status == "used"


def test_the_same_again_changes_nothing_however_often_it_was_set() -> None:
    """A policy is compared with how it stands, not with how it began."""
    happened = (policy(), policy(enabled=False), policy(approvers=("risk",)))
    bank = given(*BANK, *happened)
    bank.when(policy(approvers=("risk",))).then_nothing()
    bank.when(policy()).then(ApprovalPolicySet("P", ("transfer",), ("ops",)))


def test_a_policy_may_name_every_command_that_can_wait() -> None:
    """And a refusal says which these are, so that a misspelt one is found."""
    every = tuple(sorted(commands.approvable()))
    event = ApprovalPolicySet("P", every, ("ops",))
    given().when(policy(commands=every)).then(event)
    answer = given().when(policy(commands=("transfers",)))
    assert isinstance(answer.error, ValidationFailed)
    assert answer.error.rule == f"types of command: {', '.join(every)}"


def test_a_policy_asks_for_ten_approvers_at_most() -> None:
    """Ten are taken, eleven are not."""
    most = ("ops",) * APPROVERS_MAX
    given().when(policy(approvers=most)).then(ApprovalPolicySet("P", ("transfer",), most))
    more = policy(approvers=(*most, "ops"))
    given().when(more).then_refuses(ValidationFailed, field="approvers")


@pytest.mark.parametrize(("above", "matches"), [(34, True), (35, False)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_policy_measures_all_that_is_moved_and_held_together(
    *, above: int, matches: bool, turned: bool
) -> None:
    """Entry after entry and hold after hold, in its currency, in whatever order they come."""
    books = given(*BANK, opened("D", currency="JPY", limit="9"), opened("E", currency="JPY")).books
    decided = [
        event
        for command in (
            transfer("A", "B", 10),
            held("A", "B", 7, None),
            transfer("D", "E", 5, currency="JPY"),
            transfer("A", "B", 12),
            held("A", "B", 6, None),
        )
        for event in decide(books, command)
    ]
    terms = Policy("P", ("transfer",), ("ops",), "EUR", above, enabled=True, **at(1, 1))
    found = approval_policies.matching([terms], "transfer", decided[::-1] if turned else decided)
    assert found == ((terms,) if matches else ())
