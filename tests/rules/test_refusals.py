"""Which refusals are recorded, and by what they are found again."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.strategies import START, ids

from ledger_core import commands, events
from ledger_core import refusals as refusals_module
from ledger_core.booking import MovementFields
from ledger_core.holds import VoidHold
from ledger_core.refusals import RECORDED_MAX, WINDOW, CommandRefused, RefusalBounds

INSTANT = timedelta(microseconds=1)


def _admitted(bounds: RefusalBounds, count: int, actor: str = "a") -> list[int | None]:
    """What is said to so many refusals at one moment."""
    return [bounds.admit(actor, START) for _ in range(count)]


def test_a_caller_is_recorded_so_often_and_then_counted() -> None:
    """A hundred a minute; the first one recorded after that says how many were not."""
    bounds = RefusalBounds()
    assert _admitted(bounds, RECORDED_MAX) == [0] * RECORDED_MAX
    assert _admitted(bounds, 7) == [None] * 7
    assert bounds.admit("a", START + WINDOW - INSTANT) is None
    assert bounds.admit("a", START + WINDOW) == 8
    assert bounds.admit("a", START + WINDOW) == 0


def test_callers_are_counted_apart() -> None:
    """Whoever floods the ledger takes nobody else's place."""
    bounds = RefusalBounds()
    _admitted(bounds, RECORDED_MAX + 1)
    assert bounds.admit("b", START) == 0
    assert bounds.admit("a", START) is None


def test_a_minute_begins_with_its_first_refusal() -> None:
    """Not with the clock's: what is recorded in any one of them is bounded."""
    bounds = RefusalBounds()
    assert bounds.admit("a", START + timedelta(seconds=59)) == 0
    later = START + timedelta(seconds=61)
    assert [bounds.admit("a", later) for _ in range(RECORDED_MAX)] == (
        [0] * (RECORDED_MAX - 1) + [None]
    )


def test_callers_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who was silent longest is forgotten, and begins anew."""
    monkeypatch.setattr(refusals_module, "CALLERS_MAX", 2)
    monkeypatch.setattr(refusals_module, "RECORDED_MAX", 1)
    bounds = RefusalBounds()
    assert [bounds.admit(actor, START) for actor in "aab"] == [0, None, 0]
    assert bounds.admit("a", START) is None  # Which makes b the one longest silent.
    assert bounds.admit("c", START) == 0
    assert bounds.admit("b", START) == 0
    assert bounds.admit("c", START) is None


@draw(seconds=st.lists(st.integers(0, 30), max_size=60), bound=st.integers(1, 5))
def test_every_refusal_is_recorded_or_counted(seconds: list[int], bound: int) -> None:
    """None is lost: those recorded, those they speak of, and those counted last make up all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refusals_module, "RECORDED_MAX", bound)
        bounds, now, said = RefusalBounds(), START, list[int | None]()
        for pause in seconds:
            now += timedelta(seconds=pause)
            said.append(bounds.admit("a", now))
        said.append(bounds.admit("a", now + WINDOW))
    recorded = [unrecorded for unrecorded in said if unrecorded is not None]
    assert len(recorded) + sum(recorded) == len(said)


@draw(one=ids, other=ids)
def test_a_refusal_is_found_by_its_accounts_and_its_code(one: str, other: str) -> None:
    """Every account that the command named, whether it exists or not, and the one at fault."""
    tags = events.tags_of(
        CommandRefused(
            {"type": "transfer", "debit_account_id": one, "credit_account_id": other},
            "insufficient_funds",
            {"account_id": one},
        ),
        9,
    )
    assert tags[0] == "refusal:insufficient_funds"
    assert set(tags[1:]) == {"account:" + one, "account:" + other}
    assert len(tags) == len(set(tags))


@pytest.mark.parametrize(
    ("command", "tags"),
    [
        ({"type": "withdraw", "account_id": "A"}, ("account:A",)),
        (
            {"type": "transfer", "debit_account_id": "A", "credit_account_id": "B"},
            ("account:A", "account:B"),
        ),
        (
            {"type": "post_entry", "postings": [{"account_id": "A"}, {"account_id": "B"}]},
            ("account:A", "account:B"),
        ),
        (
            {"type": "capture_hold", "hold_id": "H", "debit_account_id": "A"},
            ("account:A", "hold:H"),
        ),
    ],
)
def test_a_refusal_is_found_by_what_its_command_names(
    command: dict[str, Any], tags: tuple[str, ...]
) -> None:
    """Whether or not the figures seen are of an account."""
    refused = CommandRefused(command, "period_closed", {})
    assert events.tags_of(refused, 9) == ("refusal:period_closed", *tags)


def test_a_refused_capture_is_found_by_its_hold() -> None:
    """The hold that it was about is named; the accounts are the hold's own."""
    refused = CommandRefused({"type": "void_hold", "hold_id": "H"}, "hold_expired", {})
    assert events.tags_of(refused, 9) == ("refusal:hold_expired", "hold:H")


def test_what_moves_money_is_recorded() -> None:
    """Every command that books an entry or touches a hold, and no other."""
    moving = {kind for kind in commands.types() if issubclass(kind, MovementFields)}
    assert moving | {VoidHold} == commands.MOVEMENTS


def test_what_is_only_tried_is_not_counted() -> None:
    """Neither for a caller who was refused before, nor for one who never was; others go on."""
    bounds = RefusalBounds()
    assert _admitted(bounds, RECORDED_MAX - 1) == [0] * (RECORDED_MAX - 1)
    with bounds.uncounted("a"):
        assert [bounds.admit("a", START) for _ in range(3)] == [0, None, None]
    assert bounds.admit("a", START) == 0
    assert bounds.admit("a", START) is None
    with bounds.uncounted("b"):
        assert bounds.admit("b", START) == 0
    assert [bounds.admit("b", START) for _ in range(RECORDED_MAX)] == [0] * RECORDED_MAX
    assert bounds.admit("b", START) is None
    with bounds.uncounted("c"):
        assert bounds.admit("b", START) is None
