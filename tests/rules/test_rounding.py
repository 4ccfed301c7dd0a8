"""Percentages, rates, and the named ways of rounding."""

from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import ValidationFailed
from ledger_core.rounding import RoundingName, percent_from_text, rate_from_text, rounded


@pytest.mark.parametrize(
    ("rounding", "wholes"),
    [
        ("down", [0, 0, 0, 0, 1, 1, 2]),
        ("up", [0, 1, 1, 1, 1, 2, 3]),
        ("half_up", [0, 0, 1, 1, 1, 2, 3]),
        ("half_even", [0, 0, 0, 1, 1, 2, 2]),
    ],
)
def test_each_rounding_does_what_its_name_says(rounding: RoundingName, wholes: list[int]) -> None:
    """Halves are where they differ."""
    exact = [Fraction(n, 10) for n in (0, 4, 5, 6, 10, 15, 25)]
    assert [rounded(fraction, rounding) for fraction in exact] == wholes


@given(st.fractions(min_value=0), st.sampled_from(get_args(RoundingName)))
def test_rounding_is_off_by_less_than_a_unit(exact: Fraction, rounding: RoundingName) -> None:
    """By half a unit at most, where the name begins with half; a whole number stays."""
    whole = rounded(exact, rounding)
    assert abs(whole - exact) <= Fraction(1, 2) or rounding in {"up", "down"}
    assert abs(whole - exact) < 1
    assert rounded(Fraction(whole), rounding) == whole


def test_percentages_and_rates_are_exact() -> None:
    """As many decimals as were written, none lost."""
    assert percent_from_text("33.33%", field="f") == Fraction(3333, 10000)
    assert percent_from_text("9999%", field="f") == Fraction(9999, 100)
    assert percent_from_text("0.000000000000000001%", field="f") == Fraction(1, 10**20)
    assert rate_from_text("1.0842", field="f") == Fraction(10842, 10000)
    assert rate_from_text("1.10", field="f") == Fraction(11, 10)
    assert rate_from_text("9" * 18 + "." + "9" * 18, field="f") == Fraction(10**36 - 1, 10**18)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.0", "01", "1.", ".5", "-1", "+1", "1e3", "1/3", "1 ", "1,5", "٣", "1_0", "NaN"],
)
def test_other_forms_are_refused(text: str) -> None:
    """Nothing is guessed: no exponent, no sign, no leading zero, no zero, no other digits."""
    with pytest.raises(ValidationFailed) as refusal:
        rate_from_text(text, field="f")
    assert refusal.value.field == "f"
    with pytest.raises(ValidationFailed) as refusal:
        percent_from_text(text + "%", field="g")
    assert refusal.value.field == "g"


def test_too_many_digits_are_refused() -> None:
    """Before the point and after it."""
    for text in ("1" + "0" * 18, "0." + "0" * 18 + "1"):
        with pytest.raises(ValidationFailed):
            rate_from_text(text, field="f")
    for text in ("10000%", "0." + "0" * 18 + "1%", "5", "%", "5%%"):
        with pytest.raises(ValidationFailed):
            percent_from_text(text, field="f")
