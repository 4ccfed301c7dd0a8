"""The legs of an allocation: their form at any depth, and what they are when little is said."""

import msgspec
import pytest
from tests.rules.test_allocation import drawn, of, split, to

from ledger_core.allocation_legs import (
    DEPTH_MAX,
    LEGS_MAX,
    Destination,
    Rest,
    Source,
    UpTo,
    account_ids,
    destination_level,
    require_legs,
    source_level,
)
from ledger_core.errors import ValidationFailed


def nested_in(depth: int) -> Destination:
    """An account so many levels down."""
    leg = to("deep")
    for _ in range(depth - 1):
        leg = to(inner=(leg,))
    return leg


def source_in(depth: int) -> Source:
    """A source so many levels down."""
    leg = of("deep")
    for _ in range(depth - 1):
        leg = of(inner=(leg,))
    return leg


@pytest.mark.parametrize(
    ("legs", "path"),
    [
        ((), ""),
        ((to("A", inner=(to("B"),)),), "[0]"),
        ((to(),), "[0]"),
        ((to("A", kept=True),), "[0]"),
        ((to("A", share="10%", fixed="5"), to("B")), "[0]"),
        ((to("A", share="10%", max="5"), to("B")), "[0]"),
        ((to("A", share="remaining"), to("B")), ""),
        ((to("A", share="50%"), to("B", share="49.999%")), ""),
        ((to("A", share="50%"), to("B", share="50.001%")), ""),
        ((to("A", share="50%"), to("B", share="51%"), to("C")), ""),
        ((to("A"), to(max="5", inner=(to("B", share="50%"),))), "[1].inner"),
        ((to("A"), to(max="5", inner=())), "[1].inner"),
        ((to("A", share="0%"), to("B")), "[0].share"),
        ((to("A", share="10"), to("B")), "[0].share"),
        ((to("A", share="1/03"), to("B")), "[0].share"),
        ((to("A", share="010%"), to("B")), "[0].share"),
        ((to("A", share="0.0000000000000000001%"), to("B")), "[0].share"),
        ((to("A", share="rest"), to("B")), "[0].share"),
        ((to("A", fixed="0"), to("B")), "[0].fixed"),
        ((to("A", fixed="1.5"), to("B")), "[0].fixed"),
        ((to("A"), to("B", max="-1")), "[1].max"),
        ((to("A "),), "[0].account_id"),
        ((nested_in(DEPTH_MAX + 1),), "[0]" + ".inner[0]" * (DEPTH_MAX - 1) + ".inner"),
        ((to("A"),) * (LEGS_MAX + 1), ""),
    ],
)
def test_a_malformed_leg_is_named_by_its_path(legs: tuple[Destination, ...], path: str) -> None:
    """At any depth, on both sides."""
    with pytest.raises(ValidationFailed) as refusal:
        destination_level(legs)
    assert refusal.value.field == f"destinations{path}"


def test_a_malformed_source_is_named_by_its_path() -> None:
    """As a destination is; but a source keeps nothing, so nothing is said of that."""
    for leg, path in (
        (source_in(DEPTH_MAX + 1), "[0]" + ".inner[0]" * (DEPTH_MAX - 1) + ".inner"),
        (of(inner=(of("A", fixed="0"),)), "[0].inner[0].fixed"),
        (of("A", inner=(of("B"),)), "[0]"),
    ):
        with pytest.raises(ValidationFailed) as refusal:
            source_level((leg,))
        assert refusal.value.field == f"sources{path}"
    with pytest.raises(ValidationFailed) as refusal:
        source_level((of(),))
    assert refusal.value.rule == "one of account_id and inner"
    with pytest.raises(ValidationFailed) as refusal:
        destination_level((to(),))
    assert refusal.value.rule == "one of account_id, inner and kept"


def test_a_leg_without_a_measure_gives_as_far_as_it_goes_or_takes_what_remains() -> None:
    """At any depth: that is what a source and a destination are when nothing else is said."""
    sources = source_level((of("A"), of(inner=(of("B"),), max="5")))
    assert [leg.take for leg in sources.legs] == [UpTo(None), UpTo(5)]
    assert [leg.take for leg in (sources.legs[1].inner or sources).legs] == [UpTo(None)]
    destinations = destination_level((to("A"), to(inner=(to("B"),), max="5")))
    assert [leg.take for leg in destinations.legs] == [Rest(), UpTo(5)]
    assert [leg.take for leg in (destinations.legs[1].inner or destinations).legs] == [Rest()]


def test_the_bounds_themselves_are_allowed() -> None:
    """Eight levels, and as many legs as an entry has room for, of both sides together."""
    assert split(5, nested_in(DEPTH_MAX)) == [("deep", 5)]
    assert drawn(5, source_in(DEPTH_MAX), deep=5) == [("deep", 5)]
    assert len(source_level((of("A"),) * LEGS_MAX).legs) == LEGS_MAX
    share = f"{100 / (LEGS_MAX - 1):.10f}"
    legs = [to(f"d{index}", share=f"{share}%") for index in range(LEGS_MAX - 2)]
    destinations = destination_level((*legs, to("last")))
    sources = source_level((of("A"),))
    require_legs(sources, destinations)
    for more in ((of("A"), of("B")), (of(inner=(of("A"),)),)):
        with pytest.raises(ValidationFailed) as refusal:
            require_legs(source_level(more), destinations)
        assert refusal.value.field == "destinations"


def test_every_account_is_found_at_whatever_depth() -> None:
    """Also where the form is wrong, and deeper than is allowed."""
    assert account_ids((of("A"), of("B", inner=(of("C"),)), of(inner=()))) == {"A", "B", "C"}
    assert account_ids((nested_in(200),)) == {"deep"}


def test_legs_are_written_without_what_was_left_out() -> None:
    """What is kept of a command is what was said."""
    assert msgspec.to_builtins(to("A", share="5%")) == {"account_id": "A", "share": "5%"}
