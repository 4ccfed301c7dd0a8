"""What of a personal field is shown: all of it, enough to recognise it, or nothing.

Pure: which field is shown how is for the caller's roles to say (``authority``). A mask is of one
length whatever it covers, so that it does not tell how long the value is, and it never shows more
than ``SHOWN_MAX`` characters of a value in a row. What cannot be understood is covered whole.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from api.authority import Showing
from ledger_core.customers import PERSONAL_FIELDS

COVER = "***"
SHOWN_MAX = 4
"""Characters of a value that a mask shows in a row, at most."""

# Of a number: its end, and the less of it the shorter it is.
_END_OF_LONG, _LONG = 4, 10
_END_OF_SHORT, _SHORT = 2, 6
_TLD_MAX = 4
_BIRTH_DATE = re.compile(r"(\d{4})-\d{2}-\d{2}", re.ASCII)
# Digits in groups, as people write the number of a card: ISO/IEC 7812 has up to 19 of them, and
# no card in use has fewer than 13. Not a part of something longer.
_CARD_DIGITS_MIN, _CARD_DIGITS_MAX = 13, 19
_CARD = re.compile(r"(?<![0-9A-Za-z])[2-6](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])")
_LUHN_OF_DOUBLE = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


class ShownProfile(msgspec.Struct, frozen=True):
    """A profile as a caller sees it, and the names of the fields that are masked or hidden."""

    profile: dict[str, str]
    masked: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


ALL_MASKED: Mapping[str, Showing] = MappingProxyType(
    dict.fromkeys(sorted(PERSONAL_FIELDS), "masked")
)
"""How personal fields are shown to whoever runs the command line."""
CLEAR: Mapping[str, Showing] = MappingProxyType(dict.fromkeys(sorted(PERSONAL_FIELDS), "clear"))
"""How personal fields are shown once they are unmasked."""


def readable(sealed: Mapping[str, str], personal: Mapping[str, Showing]) -> dict[str, str]:
    """Those sealed fields that may be shown at least in part: nothing else is ever decrypted."""
    return {name: text for name, text in sealed.items() if _showing(name, personal) != "hidden"}


def shown_profile(
    public: Mapping[str, str],
    sealed: Mapping[str, str],
    clear: Mapping[str, str],
    personal: Mapping[str, Showing],
) -> ShownProfile:
    """The profile as it is shown: what is not personal, and of what is personal what may be.

    ``sealed`` has every personal field there is, ``clear`` those that were read.
    """
    shown = {name: masked(name, text) for name, text in clear.items()}
    whole = {name: text for name, text in clear.items() if _showing(name, personal) == "clear"}
    hidden = [name for name in sealed if _showing(name, personal) == "hidden"]
    shown = {name: text for name, text in shown.items() if name not in hidden}
    return ShownProfile(
        {**public, **shown, **whole},
        tuple(sorted(shown.keys() - whole.keys())),
        tuple(sorted(hidden)),
    )


def masked(field: str, text: str) -> str:
    """A personal field, as much of it as is needed to recognise it."""
    return _MASKS[field](text)


def covered(text: str | None, personal: Mapping[str, Showing]) -> str | None:
    """A description as it is shown: numbers of cards only to who sees every field in clear."""
    if text is None or sees_all(personal):
        return text
    return without_card_numbers(text)


def covered_document(document: Any, personal: Mapping[str, Showing]) -> Any:  # noqa: ANN401 - any JSON
    """A document with every description in it as ``covered`` shows it."""
    return document if sees_all(personal) else _covered_within(document)


def sees_all(personal: Mapping[str, Showing]) -> bool:
    """Whether every personal field is shown in clear."""
    return all(showing == "clear" for showing in personal.values())


def without_card_numbers(text: str) -> str:
    """A free text with all but the last four digits of every card's number covered.

    A number of a card is 13 to 19 digits, in groups or not, that begins with a digit that cards
    have and ends with the right check digit (Luhn, ISO/IEC 7812-1); one such number in ten is none.
    """
    return _CARD.sub(_covered_card, text)


def _covered_within(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A value with the card numbers of every description below it covered."""
    if isinstance(value, Mapping):
        return {
            name: without_card_numbers(item)
            if name == "description" and isinstance(item, str)
            else _covered_within(item)
            for name, item in value.items()
        }
    return [_covered_within(item) for item in value] if isinstance(value, list | tuple) else value


def _showing(field: str, personal: Mapping[str, Showing]) -> Showing:
    """How a personal field is shown; one of which nothing is said, not at all."""
    return personal.get(field, "hidden")


def _name(text: str) -> str:
    """The first letter of each word: ``A*** W***``."""
    return " ".join(_first(word) for word in text.split())


def _email(text: str) -> str:
    """``a***@e***.org``: a domain of one's own is as good as a name."""
    local, at, domain = text.rpartition("@")
    host, dot, top = domain.rpartition(".")
    if not (local and at and host and dot and top.isalpha()):
        return COVER
    end = top if len(top) <= _TLD_MAX else COVER
    return f"{_first(local)}@{_first(host)}.{end}"


def _birth_date(text: str) -> str:
    """The year: ``1990-**-**``."""
    found = _BIRTH_DATE.fullmatch(text)
    return COVER if found is None else f"{found[1]}-**-**"


def _number(text: str) -> str:
    """The end of a number, letters and digits alone: ``***6789``."""
    plain = "".join(character for character in text if character.isalnum())
    if len(plain) >= _LONG:
        return COVER + plain[-_END_OF_LONG:]
    return COVER + plain[-_END_OF_SHORT:] if len(plain) >= _SHORT else COVER


def _phone(text: str) -> str:
    """The last two digits: ``***67``."""
    digits = "".join(character for character in text if character.isdigit())
    return COVER + digits[-_END_OF_SHORT:] if len(digits) >= _SHORT else COVER


def _address(_: str) -> str:
    """Nothing: any word of an address may be all that there is to know."""
    return COVER


def _first(word: str) -> str:
    """The first letter of a word that has others, too."""
    return (word[0] if len(word) > 1 and word[0].isalnum() else "") + COVER


def _covered_card(found: re.Match[str]) -> str:
    """A card's number with its end alone; what is no such number, as it is."""
    digits = found[0].replace(" ", "").replace("-", "")
    if not _CARD_DIGITS_MIN <= len(digits) <= _CARD_DIGITS_MAX or not _has_check_digit(digits):
        return found[0]
    return COVER + digits[-_END_OF_LONG:]


def _has_check_digit(digits: str) -> bool:
    """Whether the last digit is the one that Luhn's formula gives for the others."""
    values = [int(digit) for digit in reversed(digits)]
    total = sum(values[0::2]) + sum(_LUHN_OF_DOUBLE[value] for value in values[1::2])
    return total % 10 == 0


_MASKS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "name": _name,
        "birth_date": _birth_date,
        "email": _email,
        "phone": _phone,
        "address": _address,
        "identity_number": _number,
        "tax_number": _number,
    }
)
