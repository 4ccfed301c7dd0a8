"""Percentages and rates as exact fractions, and the named ways to round them to minor units.

Nothing here is a float. Rounding is always named by whoever asks for it, and what is rounded is
never below zero. Knows nothing of accounts or entries.
"""

import re
from fractions import Fraction
from math import ceil, floor
from typing import Literal, assert_never

from ledger_core.errors import ValidationFailed

RoundingName = Literal["half_even", "half_up", "up", "down"]

# Rates are quoted to 4 to 8 decimals; crypto-assets go to 18.
DECIMALS_MAX = 18
# Enough for a surcharge of fifty times the price, and for any pair of currencies.
PERCENT_DIGITS_MAX = 4
RATE_DIGITS_MAX = 18

_PERCENT = re.compile(
    rf"(0|[1-9][0-9]{{0,{PERCENT_DIGITS_MAX - 1}}})(\.[0-9]{{1,{DECIMALS_MAX}}})?%"
)
_PART = re.compile(r"[1-9][0-9]{0,8}/[1-9][0-9]{0,8}")
_RATE = re.compile(rf"(0|[1-9][0-9]{{0,{RATE_DIGITS_MAX - 1}}})(\.[0-9]{{1,{DECIMALS_MAX}}})?")


def percent_from_text(text: str, *, field: str) -> Fraction:
    """The exact fraction behind a percentage above zero: ``"2.5%"`` is 1/40.

    Raises:
        ValidationFailed: another form, or zero.
    """
    fraction = Fraction(text[:-1]) / 100 if _PERCENT.fullmatch(text) else Fraction(0)
    if not fraction:
        raise ValidationFailed(
            field,
            f'a percentage above zero such as "2.5%", of at most {PERCENT_DIGITS_MAX} digits before'
            f" and {DECIMALS_MAX} after the point",
        )
    return fraction


def share_from_text(text: str, *, field: str) -> Fraction:
    """The exact fraction behind a share above zero: ``"2.5%"``, or ``"1/3"`` where that is exact.

    Raises:
        ValidationFailed: another form, or zero.
    """
    if _PART.fullmatch(text):
        return Fraction(text)
    return percent_from_text(text, field=field)


def rate_from_text(text: str, *, field: str) -> Fraction:
    """The exact fraction behind a rate above zero, such as ``"1.0842"``.

    Raises:
        ValidationFailed: another form, or zero.
    """
    fraction = Fraction(text) if _RATE.fullmatch(text) else Fraction(0)
    if not fraction:
        raise ValidationFailed(
            field,
            f'a decimal number above zero such as "1.0842", of at most {RATE_DIGITS_MAX} digits'
            f" before and {DECIMALS_MAX} after the point",
        )
    return fraction


def rounded(exact: Fraction, rounding: RoundingName) -> int:
    """The whole number that stands for a fraction that is not below zero.

    ``half_even`` and ``half_up`` take the nearest one, and of two as near the even or the larger.
    """
    match rounding:
        case "half_even":
            return round(exact)
        case "half_up":
            return floor(exact + Fraction(1, 2))
        case "up":
            return ceil(exact)
        case "down":
            return floor(exact)
        case _:
            assert_never(rounding)
