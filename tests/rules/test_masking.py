"""Masks: what they show of each personal field, and that they show no more than that."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api import masking
from api.authority import Showing
from api.masking import ALL_MASKED, CLEAR, SHOWN_MAX, masked, shown_profile, without_card_numbers
from ledger_core.customers import PERSONAL_FIELDS

CARD = "4111111111111111"
FIELDS = sorted(PERSONAL_FIELDS)


@pytest.mark.parametrize(
    ("field", "text", "shown"),
    [
        ("name", "Anna-Maria Weber", "A*** W***"),
        ("name", "Æ  Ø", "*** ***"),
        ("name", "李 小龍", "*** 小***"),
        ("email", "anna@example.org", "a***@e***.org"),
        ("email", "anna@mail.weber.family", "a***@m***.***"),
        ("email", "a@b.de", "***@***.de"),
        ("email", "anna at example.org", "***"),
        ("email", "anna@localhost", "***"),
        ("phone", "+49 (0)30 5550", "***50"),
        ("phone", "110", "***"),
        ("birth_date", "1990-01-31", "1990-**-**"),
        ("birth_date", "31 January 1990", "***"),
        ("address", "Prinsengracht 4711, Amsterdam", "***"),
        ("identity_number", "C01X00T478-D", "***478D"),
        ("identity_number", "L01X00", "***00"),
        ("tax_number", "12 34", "***"),
    ],
)
def test_a_field_is_shown_as_far_as_it_is_needed(field: str, text: str, shown: str) -> None:
    """Initials, a year, the end of a number; what is short or strange is covered whole."""
    assert masked(field, text) == shown


@given(field=st.sampled_from(FIELDS), text=st.text(min_size=1, max_size=60))
@example(field="name", text="a" * 60)
@example(field="email", text="x@y@z.example")
@example(field="birth_date", text="1990-01-311")
@example(field="phone", text="٣" * 12)
def test_no_mask_shows_more_than_a_few_characters_in_a_row(field: str, text: str) -> None:
    """Whatever the value: no part of it that is longer than the bound is in its mask."""
    shown = masked(field, text)
    plain = "".join(letter for letter in text if letter.isalnum())
    for source in (text, plain):
        for start in range(len(source) - SHOWN_MAX):
            part = source[start : start + SHOWN_MAX + 1]
            assert "*" in part or part not in shown


@given(field=st.sampled_from(FIELDS), length=st.integers(20, 400))
def test_a_mask_does_not_tell_how_long_the_value_is(field: str, length: int) -> None:
    """One cover, whatever it covers."""
    assert masked(field, "7" * length) == masked(field, "7" * 20)


PROFILE = {
    "name": "Anna Weber",
    "birth_date": "1990-01-31",
    "email": "anna@example.org",
    "phone": "+49 30 5550",
    "address": "Hauptstr. 5",
    "identity_number": "C01X00T478",
    "tax_number": "99 888 77 666",
}


SHOWINGS = st.sampled_from(["clear", "masked", "hidden"])


@given(personal=st.dictionaries(st.sampled_from(FIELDS), SHOWINGS))
def test_each_field_is_shown_as_the_role_says(personal: dict[str, Showing]) -> None:
    """Whole, in part and then named as masked, or left out and named as hidden; else left out."""
    read = {name: PROFILE[name] for name in masking.readable(dict.fromkeys(PROFILE, "s"), personal)}
    found = shown_profile({"language": "de"}, dict.fromkeys(PROFILE, "s"), read, personal)
    assert found.profile.pop("language") == "de"
    for name, text in PROFILE.items():
        match personal.get(name, "hidden"):
            case "clear":
                assert found.profile[name] == text
                assert name not in (*found.masked, *found.hidden)
            case "masked":
                assert found.profile[name] == masked(name, text) != text
                assert name in found.masked
            case "hidden":
                assert name not in found.profile
                assert name not in read
                assert name in found.hidden


def test_every_personal_field_has_its_mask() -> None:
    """A new field cannot be forgotten: without a mask nothing of it could be shown."""
    assert set(ALL_MASKED) == set(CLEAR) == PERSONAL_FIELDS
    for field in PERSONAL_FIELDS:
        assert masked(field, "Some value of 1234567890") != "Some value of 1234567890"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Card {CARD}.", "Card ***1111."),
        ("4111 1111 1111 1111", "***1111"),
        ("5500-0000-0000-0004 and 340000000000009", "***0004 and ***0009"),
        ("4111111111111112", "4111111111111112"),
        ("DE89370400440532013000", "DE89370400440532013000"),
        (f"x{CARD}", f"x{CARD}"),
        (f"{CARD}9999", f"{CARD}9999"),
        ("Invoice 2026-114", "Invoice 2026-114"),
    ],
)
def test_numbers_of_cards_are_covered_in_texts(text: str, shown: str) -> None:
    """All but the last four digits, in groups or not; other numbers stay."""
    assert without_card_numbers(text) == shown


@given(st.text(max_size=200))
@example("4111 1111 1111 1111" * 3)
@example("4" * 5_000)
def test_a_text_is_covered_once_and_for_all(text: str) -> None:
    """What was covered has nothing left to cover."""
    once = without_card_numbers(text)
    assert without_card_numbers(once) == once
