"""Amounts of money: whole numbers of minor units, and the units they are counted in.

An amount is an ``int`` of minor units (cents for EUR); how many decimals a unit has is its
*scale*. There is no float anywhere, and no rounding here: a text with more decimals than the
unit has is refused. Knows nothing of accounts or entries.
"""

from ledger_core import currencies
from ledger_core.errors import UnknownCurrency, ValidationFailed

# Larger than any amount in circulation in any unit with 18 decimals, small enough to print.
AMOUNT_DIGITS_MAX = 36
# ISO 4217 goes to 4; crypto-assets use 18; beyond that it is no longer a currency.
SCALE_MAX = 24
UNIT_CODE_CHARACTERS_MAX = 64

Units = dict[str, int]


def minor_from_text(text: str, *, field: str = "amount") -> int:
    """A positive amount in minor units from its decimal digits, such as ``"1250"``.

    Raises:
        ValidationFailed: not 1 to 36 ASCII digits, a leading zero, or zero.
    """
    amount_minor = whole_from_text(text, field=field)
    if amount_minor == 0:
        raise ValidationFailed(field, "greater than zero")
    return amount_minor


def whole_from_text(text: str, *, field: str = "amount") -> int:
    """An amount of which nothing may be left, in minor units: zero is allowed.

    Raises:
        ValidationFailed: not 1 to 36 ASCII digits, or a leading zero.
    """
    if not is_whole(text):
        raise ValidationFailed(
            field, f"a string of 1 to {AMOUNT_DIGITS_MAX} digits, in minor units, no leading zero"
        )
    return int(text)


def signed_from_text(text: str, *, field: str) -> int:
    """A balance in minor units from its decimal digits, below zero with a leading minus.

    Raises:
        ValidationFailed: not 1 to 36 ASCII digits without a leading zero, or minus zero.
    """
    digits = text.removeprefix("-")
    if not digits or not is_whole(digits) or (digits == "0" and digits != text):
        raise ValidationFailed(
            field,
            f"a string of 1 to {AMOUNT_DIGITS_MAX} digits, in minor units, no leading zero,"
            " below zero with a leading minus",
        )
    return int(text)


def limit_from_text(text: str | None, *, field: str = "limit") -> int | None:
    """A limit in minor units, zero and below zero allowed; ``None`` means unlimited.

    Raises:
        ValidationFailed: neither ``None`` nor 1 to 36 ASCII digits, no leading zero, perhaps
            after a minus sign (and minus zero is none).
    """
    return None if text is None else signed_from_text(text, field=field)


def limit_text(limit_minor: int | None) -> str | None:
    """A limit as it is written in a command."""
    return None if limit_minor is None else str(limit_minor)


def scale_of(currency: str, registered: Units) -> int:
    """Decimals of a currency or registered unit.

    A registered unit wins over ISO 4217 only where ISO has no entry: registration of an ISO code
    is refused, so the two cannot disagree.

    Raises:
        UnknownCurrency: neither in ISO 4217 nor registered.
    """
    scale = currencies.exponent(currency)
    if scale is None:
        scale = registered.get(currency)
    if scale is None:
        raise UnknownCurrency
    return scale


def decimal_text(amount_minor: int, scale: int) -> str:
    """The amount as people write it: ``-1250`` at scale 2 is ``"-12.50"``."""
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def is_whole(text: str) -> bool:
    """Whether the text is a whole number, 0 or more, as the ledger itself would write it.

    A leading zero is refused: the event keeps a number, so a retry of the same text would differ.
    """
    return (
        text.isascii()
        and text.isdigit()
        and len(text) <= AMOUNT_DIGITS_MAX
        and (text[0] != "0" or text == "0")
    )
