"""Numbers as journals write them, and exact decimals from exact fractions.

A comma or a period can be a decimal mark or a thousands mark. What ledger's releases read in
different ways is refused.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from api.journal_text.model import AMOUNT_DIGITS_MAX, UnreadableError


class WrittenNumber(NamedTuple):
    """A number, its decimals as written, and whether a comma was seen as its decimal mark."""

    number: Fraction
    decimals: int
    decimal_comma: bool


_GROUP = 3
"""Digits between two thousands marks."""

_INDIAN = "[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}"
_NEUTRAL = "[0-9]{1,3}(?:'[0-9]{3})+|[0-9]{1,3}(?: [0-9]{3})+|[0-9]*"
_PERIOD = re.compile(rf"([0-9]{{1,3}}(?:,[0-9]{{3}})+|{_INDIAN}|{_NEUTRAL})(?:\.([0-9]+))?")
_COMMA = re.compile(rf"([0-9]{{1,3}}(?:\.[0-9]{{3}})+|{_NEUTRAL})(?:,([0-9]+))?")
_MARK = re.compile("[.,]")


def read_number(text: str, *, decimal_mark: str) -> WrittenNumber:
    """Read digits with their marks, without a sign.

    ``decimal_mark`` is that of the commodity if it is known, else empty.

    Raises:
        UnreadableError: the marks make no number, or one that could be read in two ways.
    """
    comma_decimal = decimal_mark == "," or (not decimal_mark and _shows_decimal_comma(text))
    found = (_COMMA if comma_decimal else _PERIOD).fullmatch(text)
    if not found or not any(found.groups()):
        raise UnreadableError("a number's decimal and thousands marks are not certain")
    whole, decimals = re.sub("[.,' ]", "", found[1]), found[2] or ""
    if len(whole) + len(decimals) > AMOUNT_DIGITS_MAX:
        raise UnreadableError("a number has too many digits")
    number = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    return WrittenNumber(number, len(decimals), comma_decimal)


def decimal_mark_of(text: str) -> str:
    """Return the decimal mark of a number that is an example of how numbers are written.

    An example always has its decimal mark, even where no decimals follow: ``1,000.`` (hledger).
    Empty if it has no mark, or only one that repeats.
    """
    marks = _MARK.findall(text)
    return marks[-1] if marks and marks[-1] not in marks[:-1] else ""


def to_decimal(number: Fraction) -> Decimal:
    """Return the number as a decimal without trailing zeros.

    Raises:
        UnreadableError: it has no finite decimal expansion, or a very long one.
    """
    scale = _scale(number.denominator)
    digits = number.numerator * 10**scale // number.denominator
    if scale > AMOUNT_DIGITS_MAX or abs(digits) >= 10**AMOUNT_DIGITS_MAX:
        raise UnreadableError("an amount has too many digits")
    return Decimal((int(digits < 0), tuple(int(digit) for digit in str(abs(digits))), -scale))


def _scale(denominator: int) -> int:
    """Return the decimals that a fraction with this denominator needs."""
    twos, fives = 0, 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    if denominator != 1:
        raise UnreadableError("an amount is a division that no decimal number holds exactly")
    return max(twos, fives)


def _shows_decimal_comma(text: str) -> bool:
    """Say whether the marks alone show that the comma is the decimal mark."""
    before, comma, after = text.rpartition(",")
    if not comma or "." in after or "," in before:
        return False
    if "." in before:
        return True
    if len(after) % _GROUP:
        return True
    if len(after) > _GROUP or not before.strip("0"):
        raise UnreadableError("a comma could be a decimal or a thousands mark")
    return False
