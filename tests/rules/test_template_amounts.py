"""A template's amounts: what they come to, when two are the same, and the form they must have."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import ValidationFailed
from ledger_core.rounding import RoundingName
from ledger_core.template_amounts import (
    DEPTH_MAX,
    TERMS_MAX,
    Amount,
    DifferenceAmount,
    Figures,
    FixedAmount,
    NamedAmount,
    ParameterAmount,
    PercentAmount,
    SumAmount,
    Symbols,
    require_form,
)

A, B = ParameterAmount(name="a"), ParameterAmount(name="b")


def fixed(minor: int) -> FixedAmount:
    """So many minor units."""
    return FixedAmount(amount=str(minor))


def percent(
    text: str, of: Amount, rounding: RoundingName = "half_up", **bounds: str
) -> PercentAmount:
    """A percentage."""
    return PercentAmount(percent=text, of=of, rounding=rounding, **bounds)


def plus(*parts: Amount) -> SumAmount:
    """A sum."""
    return SumAmount(of=parts)


def minus(of: Amount, less: Amount) -> DifferenceAmount:
    """A difference."""
    return DifferenceAmount(of=of, less=less)


NAMED: dict[str, Amount] = {
    "fee": percent("2.5%", A, "half_even", min="10", max="500"),
    "net": minus(A, NamedAmount(name="fee")),
}
FEE, NET = NamedAmount(name="fee"), NamedAmount(name="net")


@pytest.mark.parametrize(
    ("amount", "a", "minor"),
    [
        (A, 7, 7),
        (fixed(5), 7, 5),
        (plus(A, A, fixed(1)), 7, 15),
        (minus(A, fixed(7)), 7, 0),
        (percent("10%", A), 5, 1),
        (percent("10%", A, "half_even"), 5, 0),
        (percent("10%", A, "up"), 1, 1),
        (percent("10%", A, "down"), 19, 1),
        (percent("150%", plus(A, B), "down"), 1, 4),
        (FEE, 100, 10),
        (FEE, 1000, 25),
        (FEE, 1_000_000, 500),
        (NET, 1000, 975),
        (plus(FEE, NET), 1000, 1000),
        (percent("33.333333333333333333%", A, "down"), 3 * 10**20, 10**20 - 1),
    ],
)
def test_an_amount_comes_to_what_it_says(amount: Amount, a: int, minor: int) -> None:
    """Exactly, with the named rounding, within its bounds."""
    assert Figures({"a": a, "b": 2}, NAMED).minor(amount) == minor


def test_no_amount_is_below_zero_or_too_long() -> None:
    """Wherever it stands, also inside another."""
    for amount in (minus(A, B), plus(B, minus(A, B)), percent("10%", minus(A, B))):
        assert Figures({"a": 2, "b": 2}, {}).minor(amount) >= 0
        with pytest.raises(ValidationFailed) as refusal:
            Figures({"a": 1, "b": 2}, {}).minor(amount)
        assert refusal.value.field == "amounts"
    with pytest.raises(ValidationFailed):
        Figures({"a": 10**36 - 1}, {}).minor(plus(A, fixed(1)))


def test_terms_say_how_often_each_is_in_an_amount() -> None:
    """A parameter, a percentage and a fixed minor unit are in themselves once."""
    half = percent("50%", A)
    for amount, counts in (
        (A, [1]),
        (half, [1]),
        (fixed(7), [7]),
        (plus(A, A, half, fixed(7)), [1, 2, 7]),
        (minus(A, plus(B, B)), [-2, 1]),
        (minus(A, A), []),
    ):
        assert sorted(Symbols({}).terms(amount).values()) == counts


def same(one: Amount, other: Amount) -> bool:
    """Whether two amounts are the same for every figure, as far as the ledger can tell."""
    symbols = Symbols(NAMED)
    return symbols.terms(one) == symbols.terms(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (plus(A, B), plus(B, A)),
        (plus(A, plus(B, fixed(3))), plus(fixed(1), A, fixed(2), B)),
        (minus(plus(A, B), B), A),
        (minus(A, A), minus(B, B)),
        (plus(NET, FEE), A),
        (FEE, percent("2.50%", A, "half_even", min="10", max="500")),
        (percent("5%", plus(A, B)), percent("5%", plus(B, A))),
        (percent("5%", FEE), percent("5%", NAMED["fee"])),
    ],
)
def test_sums_of_the_same_terms_are_the_same(one: Amount, other: Amount) -> None:
    """Whatever their order, and however they are written."""
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A, B),
        (plus(A, A), A),
        (plus(A, fixed(1)), plus(A, fixed(2))),
        (percent("5%", A), percent("5%", B)),
        (percent("5%", A), percent("5%", A, "down")),
        (percent("5%", A), percent("5%", A, max="3")),
        (percent("5%", A, min="3"), percent("5%", A, max="3")),
        (percent("5%", A), percent("6%", A)),
        # Equal but for rounding: 50 % of 3 twice is not 3.
        (plus(percent("50%", A), percent("50%", A)), A),
        (percent("100%", A), A),
    ],
)
def test_other_terms_are_not_the_same(one: Amount, other: Amount) -> None:
    """Two percentages are one term only where they cannot but come to the same."""
    assert not same(one, other)


def nested(depth: int) -> Amount:
    """Sums inside each other."""
    amount: Amount = A
    for _ in range(depth - 1):
        amount = plus(amount)
    return amount


@pytest.mark.parametrize(
    ("amount", "field"),
    [
        (FixedAmount(amount="0"), "f.amount"),
        (FixedAmount(amount="1.5"), "f.amount"),
        (percent("0%", A), "f.percent"),
        (percent("5", A), "f.percent"),
        (percent("5%", A, min="0"), "f.min"),
        (percent("5%", A, max="x"), "f.max"),
        (percent("5%", A, min="10", max="9"), "f.max"),
        (plus(), "f.of"),
        (plus(A, minus(B, percent("5", A))), "f.of[1].less.percent"),
        (
            percent(
                "5%",
                plus(A, FixedAmount(amount="")),
            ),
            "f.of.of[1].amount",
        ),
        (nested(DEPTH_MAX + 1), "f" + ".of[0]" * DEPTH_MAX),
        (plus(*[A] * TERMS_MAX), "f"),
    ],
)
def test_a_malformed_amount_is_named_by_its_path(amount: Amount, field: str) -> None:
    """At any depth."""
    with pytest.raises(ValidationFailed) as refusal:
        require_form(amount, field="f")
    assert refusal.value.field == field


def test_the_bounds_themselves_are_allowed() -> None:
    """As deep and as long as may be; a least that is the most."""
    assert require_form(nested(DEPTH_MAX), field="f") == DEPTH_MAX
    assert require_form(plus(*[A] * (TERMS_MAX - 1)), field="f") == TERMS_MAX
    assert require_form(percent("5%", A, min="9", max="9"), field="f") == 2


def test_amounts_that_are_made_of_each_other_cost_no_more_for_it() -> None:
    """Each is twice the one before: a million million times the first, worked out in no time."""
    named: dict[str, Amount] = {"n0": percent("50%", A)}
    for index in range(40):
        before = NamedAmount(name=f"n{index}")
        named[f"n{index + 1}"] = plus(percent("100%", before), before)
    last = NamedAmount(name="n40")
    assert Figures({"a": 2}, named).minor(last) == 2**40
    assert Symbols(named).terms(last) == Symbols(named).terms(last)


leaves = st.one_of(st.sampled_from([A, B]), st.integers(1, 99).map(fixed))


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Amounts made of others."""
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: plus(*parts)),
        st.builds(minus, inner, inner),
        st.builds(
            percent,
            st.sampled_from(["1%", "50%", "33.3%"]),
            inner,
            st.sampled_from(["down", "half_up"]),
        ),
    )


amounts: st.SearchStrategy[Amount] = st.recursive(leaves, grown, max_leaves=6)


def _minor(amount: Amount, a: int, b: int) -> int | None:
    """What it comes to; ``None`` where some part of it falls below zero."""
    try:
        return Figures({"a": a, "b": b}, {}).minor(amount)
    except ValidationFailed:
        return None


REWRITTEN: tuple[Callable[[Amount, Amount], Amount], ...] = (
    lambda one, _: plus(one),
    lambda one, other: minus(plus(other, one), other),
    lambda one, other: minus(plus(one, one, other), plus(other, one)),
)


@given(amounts, amounts, st.sampled_from(REWRITTEN))
def test_what_is_the_same_is_found_however_it_is_written(
    one: Amount, other: Amount, rewritten: Callable[[Amount, Amount], Amount]
) -> None:
    """Of any amounts: adding and taking away again changes no terms."""
    assert same(one, rewritten(one, other))


@given(amounts, amounts, st.integers(0, 500), st.integers(0, 500))
def test_the_same_terms_always_come_to_the_same(one: Amount, other: Amount, a: int, b: int) -> None:
    """What is taken for the same is the same for every figure, so a template stays balanced."""
    found, expected = _minor(one, a, b), _minor(other, a, b)
    if same(one, other) and None not in (found, expected):
        assert found == expected
    twice = plus(one, other)
    assert same(twice, plus(other, one))
    assert _minor(twice, a, b) == _minor(plus(other, one), a, b)
