"""What may be a posting template: its form, and the proof that it balances for every figure."""

from typing import Any

import pytest
from tests.rules.test_templates import ALL, FEE, PAYER, PLAIN, TAX, bank, define, line, post

from ledger_core.errors import (
    ValidationFailed,
)
from ledger_core.journal import JournalEntryPosted
from ledger_core.template import (
    LINES_MAX,
    NAMED_MAX,
    PARAMETERS_MAX,
    Parameter,
)
from ledger_core.template_amounts import (
    Amount,
    DifferenceAmount,
    FixedAmount,
    NamedAmount,
    ParameterAmount,
    PercentAmount,
    SumAmount,
)

CIRCLE = {
    "tax": SumAmount(of=(FEE, NamedAmount(name="other"))),
    "other": SumAmount(of=(FEE, TAX)),
}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a@1"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"description": " "}, "description"),
        ({"parameters": (PAYER,)}, "amounts.tax"),
        ({"parameters": (PAYER, *define().parameters)}, "parameters[1].name"),
        ({"parameters": (PAYER, Parameter(name="Fee", kind="amount"))}, "parameters[1].name"),
        (
            {"parameters": (PAYER, Parameter(name="fee", kind="amount", description=""))},
            "parameters[1].description",
        ),
        (
            {"parameters": (PAYER, Parameter(name="fee", kind="account"))},
            "amounts.tax",
        ),
        (
            {"parameters": (*define().parameters, Parameter(name="more", kind="amount"))},
            "parameters[2]",
        ),
        (
            {"parameters": (*define().parameters, Parameter(name="more", kind="account"))},
            "parameters[2]",
        ),
        ({"parameters": (PAYER,) * (PARAMETERS_MAX + 1)}, "parameters"),
        ({"amounts": {}}, "postings[0].amount"),
        ({"amounts": {"Tax": FEE}}, "amounts"),
        ({"amounts": {f"n{index}": FEE for index in range(NAMED_MAX + 1)}}, "amounts"),
        ({"amounts": {**define().amounts, "more": FEE}}, "amounts.more"),
        ({"amounts": {"tax": TAX}}, "amounts.tax"),
        ({"amounts": CIRCLE}, "amounts.other"),
        ({"amounts": {**CIRCLE, "plain": FEE, "upon": NamedAmount(name="plain")}}, "amounts.other"),
        ({"amounts": {"tax": FixedAmount(amount="0")}}, "amounts.tax.amount"),
        ({"postings": PLAIN[:1]}, "postings"),
        ({"postings": PLAIN * (LINES_MAX // 2 + 1)}, "postings"),
        ({"postings": (line("debit", FEE), PLAIN[1])}, "postings[0]"),
        ({"postings": (line("debit", FEE, "A", "payer"), PLAIN[1])}, "postings[0]"),
        ({"postings": (line("debit", FEE, ""), PLAIN[1])}, "postings[0].account_id"),
        (
            {"postings": (line("debit", FEE, parameter="fee"), PLAIN[1])},
            "postings[0].account_parameter",
        ),
        (
            {"postings": (*PLAIN, line("debit", SumAmount(of=()), "A"))},
            "postings[2].amount.of",
        ),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused_and_named(
    fields: dict[str, Any], field: str
) -> None:
    """Malformed, undeclared, unused, circular: it never becomes a version."""
    bank().when(define(**fields)).then_refuses(ValidationFailed, field=field)


def test_a_definition_of_the_most_that_is_allowed_can_be_used() -> None:
    """Fifty parameters, twenty named amounts and a hundred lines; and one to use it with."""
    names = [f"p{index}" for index in range(PARAMETERS_MAX)]
    figures = [ParameterAmount(name=name) for name in names]
    named: dict[str, Amount] = {f"n{index}": figures[index] for index in range(NAMED_MAX)}
    once = [NamedAmount(name=name) for name in named] + figures[NAMED_MAX:]
    command = define(
        parameters=tuple(Parameter(name=name, kind="amount") for name in names),
        amounts=named,
        postings=(
            *(line("debit", amount, "A") for amount in once),
            *(line("credit", amount, "fees") for amount in once),
        ),
    )
    assert (len(command.amounts), len(command.postings)) == (NAMED_MAX, LINES_MAX)
    used = post(0, accounts=None, amounts=dict.fromkeys(names, "1"))
    (entry,) = bank(command).when(used).events
    assert isinstance(entry, JournalEntryPosted)
    assert len(entry.postings) == LINES_MAX


HALF = PercentAmount(percent="50%", of=FEE, rounding="half_even")


@pytest.mark.parametrize(
    "credited",
    [
        (FEE,),
        (FEE, FEE, TAX),
        (HALF, HALF, TAX),
        (FEE, PercentAmount(percent="19%", of=FEE, rounding="down")),
        (SumAmount(of=(ALL, FixedAmount(amount="1"))),),
    ],
)
def test_a_definition_must_balance_for_every_figure(credited: tuple[Amount, ...]) -> None:
    """Two halves of an odd amount are not the amount, and two roundings not one."""
    postings = (
        line("debit", ALL, parameter="payer"),
        *(line("credit", amount, "fees") for amount in credited),
    )
    bank().when(define(postings=postings)).then_refuses(ValidationFailed, field="postings")


def test_what_balances_may_be_written_in_any_way() -> None:
    """A difference on one side against a sum on the other, and lines that cancel each other out."""
    rest = DifferenceAmount(of=FEE, less=TAX)
    postings = (
        line("debit", FEE, parameter="payer"),
        line("credit", TAX, "tax"),
        line("credit", rest, "fees"),
        line("debit", TAX, "tax"),
        line("credit", PercentAmount(percent="19.0%", of=FEE, rounding="half_up"), "fees"),
    )
    books = bank(define(postings=postings))
    answer = books.when(post(100))
    assert answer.error is None
    assert answer.books.accounts["fees"].posted_minor == 100
    over = define(
        amounts={"tax": PercentAmount(percent="101%", of=FEE, rounding="up")},
        postings=(
            line("debit", FEE, parameter="payer"),
            line("credit", TAX, "tax"),
            line("credit", rest, "fees"),
        ),
    )
    bank(over).when(post(100)).then_refuses(ValidationFailed, field="amounts")
