"""Templates on PostgreSQL: a writer that never saw one loads it with the accounts it names."""

from typing import Any

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened

from ledger_core.template import Parameter, TemplateLine
from ledger_core.template_amounts import ParameterAmount
from ledger_core.templates import DefineTemplate, PostTemplate, RetireTemplate
from projections.verification import verify

FEE = ParameterAmount(name="fee")


def define(**fields: Any) -> DefineTemplate:  # noqa: ANN401
    """A fee from the payer to an account that the template itself names."""
    return DefineTemplate(
        name="fee",
        parameters=(Parameter(name="payer", kind="account"), Parameter(name="fee", kind="amount")),
        postings=(
            TemplateLine(side="debit", account_parameter="payer", amount=FEE),
            TemplateLine(side="credit", account_id="X", amount=FEE),
        ),
        **fields,
    )


def post(key: str, **fields: Any) -> PostTemplate:  # noqa: ANN401
    """The fee of 5, charged to P."""
    return PostTemplate(
        key=key,
        template="fee",
        currency="EUR",
        accounts={"payer": "P"},
        amounts={"fee": "5"},
        **fields,
    )


@pytest.fixture
def branch(world: World) -> World:
    """A payer with 100, and the account that is paid."""
    world.run(opened("P", key="o1"), opened("X", key="o2"), deposited("P", 100, key="d"))
    return world


@pytest.mark.parametrize("caught_up", [False, True], ids=["from-the-log", "from-the-snapshots"])
def test_another_writer_knows_the_template_and_its_accounts(
    branch: World, *, caught_up: bool
) -> None:
    """Also a version and a retirement that came after the snapshot."""
    assert answers(branch.run(define(key="t1"))) == ["recorded"]
    if caught_up:
        branch.catch_up()
    assert answers(branch.run(post("p1"), ledger=branch.ledger())) == ["recorded"]
    assert answers(branch.run(define(key="t2", description="d"))) == ["recorded"]
    other = branch.ledger()
    outcomes = branch.run(post("p2", version=2), post("p3", version=3), ledger=other)
    assert answers(outcomes) == ["recorded", "template_not_found"]
    assert answers(branch.run(RetireTemplate(key="r", template="fee"))) == ["recorded"]
    assert answers(branch.run(post("p4"), post("p1"), ledger=other)) == [
        "template_not_found",
        "replayed",
    ]
    assert branch.posted("P", "X") == [90, 10]
    assert verify(branch.projector, branch.ledger_id).findings == ()


def test_a_template_is_used_in_the_transaction_that_defines_it(branch: World) -> None:
    """By a writer that has none of its accounts in memory; a failed batch leaves no template."""
    branch.catch_up()
    commands = (define(key="t"), post("p"))
    failing = branch.run(*commands, post("p9", version=9), mode="atomic", ledger=branch.ledger())
    assert answers(failing) == ["batch_failed", "batch_failed", "template_not_found"]
    assert answers(branch.run(post("p8"))) == ["template_not_found"]
    done = branch.run(*commands, mode="atomic", ledger=branch.ledger())
    assert answers(done) == ["recorded", "recorded"]
    assert branch.posted("P", "X") == [95, 5]
