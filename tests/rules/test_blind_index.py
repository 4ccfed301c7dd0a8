"""Normal forms and tokens: which spellings are one value, and that a token tells nothing."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger_core.blind_index import FORMS, BlindIndex, matches, normal_form
from ledger_core.customers import PERSONAL_FIELDS

INDEX = BlindIndex(b"S" * 32)
FIELDS = sorted(PERSONAL_FIELDS)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("name", "Anna-Maria Weber", "WEBER, Anna Maria"),
        ("name", "Zoë O\u2019Neil", "zoe o'neil"),
        ("name", "Łukasz Groß", "lukasz GROSS"),
        ("name", "\uff21nna", "anna"),
        ("email", "Anna@Example.ORG", "anna@example.org"),
        ("phone", "+49 (0)30 55-50", "0049 30 5550"),
        ("birth_date", "1990-01-31", "31.1.1990"),
        ("birth_date", "19900131", "1990/01/31"),
        ("identity_number", "C01X-00T 478", "c01x00t478"),
        ("tax_number", "99/888/77666", "99 888 77666"),
        ("address", "Hauptstr. 5,  10115 Berlin", "hauptstr 5 10115 berlin"),
    ],
)
def test_spellings_of_one_value_are_one(field: str, one: str, other: str) -> None:
    """They have one normal form and one token; as they were given they differ."""
    assert normal_form(field, one) == normal_form(field, other)
    assert INDEX.token(1, field, "normal", one) == INDEX.token(1, field, "normal", other)
    assert INDEX.token(1, field, "exact", one) != INDEX.token(1, field, "exact", other)
    assert matches(field, "normal", one, other)
    assert not matches(field, "exact", one, other)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("name", "Anna Weber", "Anna Webers"),
        ("name", "Anna Weber", "Weber"),
        ("phone", "030 5550", "+49 30 5550"),
        ("birth_date", "1990-01-02", "1990-02-01"),
        ("address", "Street 5, flat 12", "Street 12, flat 5"),
        ("identity_number", "C01X", "C0X1"),
    ],
)
def test_other_values_are_others(field: str, one: str, other: str) -> None:
    """A part of a name, a number without its country, words in another order."""
    assert not matches(field, "normal", one, other)
    assert INDEX.token(1, field, "normal", one) != INDEX.token(1, field, "normal", other)


@given(field=st.sampled_from(FIELDS), text=st.text(max_size=80))
@example(field="name", text="İstanbul ΣΑΣ")
@example(field="phone", text="٠٠٤٩ ³")
def test_a_normal_form_is_normal(field: str, text: str) -> None:
    """It is its own normal form, and does not depend on how Unicode composes the letters."""
    form = normal_form(field, text)
    assert normal_form(field, form) == form
    assert normal_form(field, unicodedata.normalize("NFD", text)) == normal_form(
        field, unicodedata.normalize("NFC", text)
    )


def test_equal_values_have_equal_tokens_only_in_one_place() -> None:
    """Not across ledgers, fields, forms or secrets: nobody can match what is not to be matched."""
    text = "123"
    found = [
        index.token(ledger_id, field, form, text)
        for index in (INDEX, BlindIndex(b"T" * 32))
        for ledger_id in (1, 2)
        for field in FIELDS
        for form in FORMS
    ]
    assert len({*found}) == len(found) == 2 * 2 * len(FIELDS) * 2
    assert INDEX.key_id != BlindIndex(b"T" * 32).key_id
    assert INDEX.token(1, "name", "exact", text) == BlindIndex(b"S" * 32).token(
        1, "name", "exact", text
    )


def test_tokens_of_a_version_are_for_ever() -> None:
    """A token that was stored is found by every later program: how it is made does not change."""
    token = INDEX.token(1, "name", "normal", "Anna")
    assert token is not None
    assert token.hex() == "d19d6961dc5f90613cf8b290fa2b229392450a5e60ac0f3f66f3a9594bc0ee4c"


def test_what_leaves_nothing_to_be_found_by_has_no_token() -> None:
    """A name of dots alone would else be equal to every other such name."""
    assert INDEX.token(1, "name", "normal", "...") is None
    assert [token.form for token in INDEX.tokens(1, "c", {"name": "..."})] == ["exact"]


def test_every_personal_field_can_be_searched() -> None:
    """A new field cannot be forgotten."""
    for field in PERSONAL_FIELDS:
        assert normal_form(field, "A1") in {"a1", "1"}
