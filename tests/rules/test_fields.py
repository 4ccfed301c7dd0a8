"""The form of single fields: amounts, ids, keys, texts, and ids made from positions."""

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import (
    BIDIRECTIONAL,
    INVISIBLE,
    amounts_minor,
    ids,
    limits_minor,
    one_line_text,
)

from ledger_core import fields, money
from ledger_core.errors import LedgerError, UnknownCurrency, ValidationFailed, leaves

if TYPE_CHECKING:
    from collections.abc import Callable


@given(amounts_minor)
def test_an_amount_is_read_as_it_was_written(amount_minor: int) -> None:
    """Digits in, the same digits out."""
    assert money.minor_from_text(str(amount_minor)) == amount_minor


@given(limits_minor)
def test_a_limit_may_be_nothing_or_none(limit_minor: int | None) -> None:
    """Zero is a limit; null is the absence of one."""
    text = None if limit_minor is None else str(limit_minor)
    assert money.limit_from_text(text) == limit_minor


@given(st.text(max_size=40))
def test_what_is_read_as_an_amount_is_written_the_same(text: str) -> None:
    """No second spelling of a number: a retry compares equal to what was recorded."""
    with suppress(ValidationFailed):
        assert str(money.minor_from_text(text)) == text
    with suppress(ValidationFailed):
        assert str(money.limit_from_text(text)) == text


@pytest.mark.parametrize(
    ("amount_minor", "scale", "text"),
    [
        (-1250, 2, "-12.50"),
        (5, 2, "0.05"),
        (-5, 3, "-0.005"),
        (0, 2, "0.00"),
        (1250, 0, "1250"),
        (-1, 0, "-1"),
        (10**36, 4, "1" + "0" * 32 + ".0000"),
    ],
)
def test_amounts_are_shown_with_their_decimals(amount_minor: int, scale: int, text: str) -> None:
    """As many as the unit has, with a leading nought."""
    assert money.decimal_text(amount_minor, scale) == text


@given(st.integers(-(10**40), 10**40), st.integers(0, 24))
def test_the_decimal_text_is_exact(amount_minor: int, scale: int) -> None:
    """Without its point it is the minor units again."""
    text = money.decimal_text(amount_minor, scale)
    assert int(text.replace(".", "")) == amount_minor
    assert len(text.partition(".")[2]) == scale


def test_a_scale_is_isos_or_registered() -> None:
    """What is in ISO 4217 cannot be overruled."""
    assert money.scale_of("JPY", {"JPY": 5}) == 0
    assert money.scale_of("PTS", {"PTS": 5}) == 5
    with pytest.raises(UnknownCurrency):
        money.scale_of("PTS", {})


@given(ids)
def test_ids_of_any_script_are_taken(value: str) -> None:
    """Whatever can be typed on one line, up to 200 characters."""
    fields.require_id(value, field="id")
    assert fields.can_exist(value)


@given(one_line_text)
def test_texts_of_any_script_are_taken(value: str) -> None:
    """Blanks at the ends included: a description is not an id."""
    fields.require_text(value, field="text")


@given(
    st.text(max_size=5),
    st.characters(categories=["Cc", "Cs", "Zl", "Zp"]) | st.sampled_from(BIDIRECTIONAL + INVISIBLE),
    st.text(max_size=5),
)
def test_what_cannot_be_seen_is_refused_everywhere(before: str, bad: str, after: str) -> None:
    """Control characters, surrogates, separators, overrides, and what shows nothing."""
    value = before + bad + after
    assert not fields.can_exist(value)
    for require in (fields.require_id, fields.require_text):
        with pytest.raises(ValidationFailed):
            require(value, field="x")
    for metadata in ({"a": value}, {value: "a"}):
        with pytest.raises(ValidationFailed):
            fields.require_metadata(metadata)
    with pytest.raises(ValidationFailed):
        fields.require_key(value)


@pytest.mark.parametrize("character", INVISIBLE)
def test_every_invisible_character_is_refused(character: str) -> None:
    """Two ids that look alike would be two accounts."""
    for require in (fields.require_id, fields.require_text):
        with pytest.raises(ValidationFailed):
            require(f"a{character}b", field="x")


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_joiners_belong_to_texts_and_not_to_ids(joiner: str) -> None:
    """Persian and Indic names are written with them; an id is told apart without."""
    fields.require_text(f"a{joiner}b", field="x")
    with pytest.raises(ValidationFailed):
        fields.require_id(f"a{joiner}b", field="x")


@pytest.mark.parametrize("value", [".", ".."])
def test_an_id_is_no_step_in_a_path(value: str) -> None:
    """A client would take it out of the URL; longer names may hold dots."""
    with pytest.raises(ValidationFailed) as refused:
        fields.require_id(value, field="x")
    assert refused.value.field == "x"
    fields.require_id(f"{value}a", field="x")
    fields.require_text(value, field="x")


@pytest.mark.parametrize("value", ["", " ", "\u00a0 \u3000"])
def test_a_text_of_blanks_is_no_text(value: str) -> None:
    """Neither as a value nor as a name or value of metadata."""
    with pytest.raises(ValidationFailed):
        fields.require_text(value, field="x")
    for metadata in ({"a": value}, {value: "a"}):
        with pytest.raises(ValidationFailed):
            fields.require_metadata(metadata)


def test_bounds_are_inclusive() -> None:
    """The documented maximum passes, one more does not."""
    fields.require_id("x" * 200, field="x")
    fields.require_id("\u00e4", field="x")
    fields.require_id("\u00e4" * 200, field="x")
    fields.require_text("x" * 500, field="x")
    fields.require_key("k" * 255)
    fields.require_metadata({"n" * 40: "v" * 500})
    fields.require_metadata({f"n{number}": "v" for number in range(20)})
    calls: tuple[Callable[[], None], ...] = (
        lambda: fields.require_id("x" * 201, field="x"),
        lambda: fields.require_text("x" * 501, field="x"),
        lambda: fields.require_key("k" * 256),
        lambda: fields.require_key(""),
        lambda: fields.require_key("a b"),
        lambda: fields.require_key("ключ"),
        lambda: fields.require_metadata({"n" * 41: "v"}),
        lambda: fields.require_metadata({f"n{number}": "v" for number in range(21)}),
    )
    for call in calls:
        with pytest.raises(ValidationFailed):
            call()
    with pytest.raises(ValidationFailed) as refused:
        fields.require_key("")
    assert refused.value.field == "key"


def test_absent_is_not_malformed() -> None:
    """Optional fields may be left out."""
    fields.require_text(None, field="x")
    fields.require_metadata(None)
    fields.require_new_id(None, field="x", prefix="acc_")


@given(st.integers(1, 10**18 - 1))
def test_an_id_made_from_a_position_leads_back_to_it(position: int) -> None:
    """One id a position, and one position an id."""
    assert fields.position_of(f"jrn_{position}", "jrn_") == position


@pytest.mark.parametrize("text", ["jrn_", "jrn_0", "jrn_01", "jrn_-1", "jrn_1x", "acc_1", "7", ""])
def test_other_ids_lead_nowhere(text: str) -> None:
    """No second spelling, no other prefix."""
    assert fields.position_of(text, "jrn_") is None


def test_every_refusal_has_a_code_and_a_sentence_of_its_own() -> None:
    """Codes are stable names: two refusals never share one, nor the root's."""
    kinds = leaves()
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes) > 20
    assert LedgerError.code not in codes
    assert all(kind.sentence.endswith(".") for kind in kinds)
    assert all(kind.sentence != LedgerError.sentence for kind in kinds)
