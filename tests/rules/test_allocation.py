"""Allocation as arithmetic: nothing is lost or made, every share is as near as it can be."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st

from ledger_core.allocation import Movement, Part, Rounding, given, matched, taken
from ledger_core.allocation_legs import (
    Destination,
    Source,
    destination_level,
    require_no_shares,
    source_level,
)
from ledger_core.errors import InsufficientFunds, LedgerError, ValidationFailed

ROUNDINGS: tuple[Rounding, ...] = ("largest_remainder", "first")


def to(account_id: str | None = None, **fields: Any) -> Destination:  # noqa: ANN401
    """A destination; without an account, kept or with inner ones."""
    return Destination(account_id=account_id, **fields)


def of(account_id: str | None = None, **fields: Any) -> Source:  # noqa: ANN401
    """A source."""
    return Source(account_id=account_id, **fields)


def refused(path: str, available_minor: int, needed_minor: int) -> LedgerError:
    """The refusal that these tests choose for too much."""
    return InsufficientFunds(path=path, available=available_minor, needed=needed_minor)


def split(
    total_minor: int, *destinations: Destination, rounding: Rounding = "largest_remainder"
) -> list[tuple[str | None, int]]:
    """What each destination takes."""
    level = destination_level(destinations)
    return [
        (part.account_id, part.amount_minor)
        for part in taken(total_minor, level, rounding, refused)
    ]


def drawn(
    total_minor: int | None,
    *sources: Source,
    rounding: Rounding = "largest_remainder",
    **can_give: int | None,
) -> list[tuple[str | None, int]]:
    """What each source gives that gives something."""
    parts = given(total_minor, source_level(sources), rounding, can_give)
    return [(part.account_id, part.amount_minor) for part in parts if part.amount_minor]


@pytest.mark.parametrize(
    ("total_minor", "shares", "rounding", "amounts"),
    [
        (10001, ["33.33%", "33.33%", "33.34%"], "largest_remainder", [3333, 3333, 3335]),
        (1, ["50%", "50%"], "largest_remainder", [1, 0]),
        (1, ["50%", "50%"], "first", [1, 0]),
        (15, ["80%", "15%", "remaining"], "first", [13, 2, 0]),
        (15, ["80%", "15%", "remaining"], "largest_remainder", [12, 2, 1]),
        (100, ["33.3%", "66.7%"], "largest_remainder", [33, 67]),
        (100, ["33.3%", "66.7%"], "first", [34, 66]),
        (7, ["100%"], "first", [7]),
        (2, ["25%", "25%", "50%"], "largest_remainder", [1, 0, 1]),
        (0, ["50%", "remaining"], "first", [0, 0]),
        (3, ["50%", "50%", "remaining"], "largest_remainder", [1, 1, 1]),
        (3, ["50%", "50%", "remaining"], "first", [2, 1, 0]),
        (10**36, ["0.000000000000000001%", "remaining"], "first", [10**16, 10**36 - 10**16]),
    ],
)
def test_shares_are_rounded_by_name(
    total_minor: int, shares: list[str], rounding: Rounding, amounts: list[int]
) -> None:
    """Floors, then stray units: to the largest remainders, the first legs, or what remains."""
    legs = [to(f"d{index}", share=share) for index, share in enumerate(shares)]
    taken_amounts = [amount for _, amount in split(total_minor, *legs, rounding=rounding)]
    assert taken_amounts == amounts


def test_a_share_may_be_a_fraction() -> None:
    """Three thirds are the whole; the stray unit goes to the first."""
    thirds = [to(name, share="1/3") for name in "ABC"]
    assert [amount for _, amount in split(100, *thirds)] == [34, 33, 33]


def test_a_fixed_amount_is_exact_and_shares_are_of_the_total() -> None:
    """A quarter is a quarter of everything, whatever is fixed beside it."""
    legs = [to("A", fixed="50000"), to("B", share="25%"), to("C", share="10%"), to("D")]
    assert split(123456, *legs) == [("A", 50000), ("B", 30864), ("C", 12345), ("D", 30247)]
    legs = [to("A", fixed="20000"), to("B", share="50%"), to("C", share="remaining")]
    assert split(100000, *legs) == [("A", 20000), ("B", 50000), ("C", 30000)]
    assert split(100, to("A", fixed="50"), to("B", share="50%")) == [("A", 50), ("B", 50)]
    legs = [to("A", share="25%"), to("B", share="25%"), to("C", fixed="1")]
    assert split(2, *legs) == [("A", 1), ("B", 0), ("C", 1)]


@pytest.mark.parametrize(
    ("rounding", "amounts"), [("largest_remainder", [33, 67]), ("first", [34, 66])]
)
def test_shares_are_rounded_in_the_same_way_everywhere(
    rounding: Rounding, amounts: list[int]
) -> None:
    """Of destinations and of sources, at the top and inside."""
    destinations = (to("A", share="33.3%"), to("B", share="66.7%"))
    for legs in (destinations, (to(inner=destinations),)):
        assert [amount for _, amount in split(100, *legs, rounding=rounding)] == amounts
    sources = (of("A", share="33.3%"), of("B", share="66.7%"))
    for drained in (sources, (of(inner=sources),), (of(inner=sources, fixed="100"),)):
        found = drawn(100, *drained, rounding=rounding, A=100, B=100)
        assert [amount for _, amount in found] == amounts


def test_maxima_are_filled_in_order_and_what_is_kept_counts() -> None:
    """What remains comes last wherever it stands, and a kept part is taken like any other."""
    legs = (to(kept=True, max="10"), to("d2", max="12"), to("rem", share="remaining"))
    assert split(100, *legs) == [(None, 10), ("d2", 12), ("rem", 78)]
    assert split(15, *legs) == [(None, 10), ("d2", 5), ("rem", 0)]
    assert split(100, to("rem"), to("d2", max="12")) == [("rem", 88), ("d2", 12)]
    assert split(15, to("A", share="50%"), to("B", max="10")) == [("A", 7), ("B", 8)]
    nested = to(share="60%", inner=(to("b", max="10"), to("c", share="remaining")))
    assert split(100, to("a", share="20%"), to(kept=True, share="20%"), nested) == [
        ("a", 20),
        (None, 20),
        ("b", 10),
        ("c", 50),
    ]


def test_a_level_takes_all_of_its_amount_or_is_refused() -> None:
    """Maxima that leave something, fixed amounts that leave something or are too much."""
    with pytest.raises(ValidationFailed) as refusal:
        split(100, to("A", max="99"))
    assert refusal.value.field == "destinations"
    with pytest.raises(ValidationFailed) as refusal:
        split(100, to("A", share="50%"), to(inner=(to("B", fixed="49"),)))
    assert refusal.value.field == "destinations[1].inner"
    with pytest.raises(InsufficientFunds) as short:
        split(100, to("A", share="50%"), to("B", fixed="51"))
    assert short.value.seen == {"path": "destinations", "available": 100, "needed": 101}
    with pytest.raises(InsufficientFunds) as short:
        split(100, to("A"), to(max="5", inner=(to("B", fixed="6"),)))
    assert short.value.seen["path"] == "destinations[1].inner"


def test_sources_are_drained_in_order() -> None:
    """Each gives what it has, no more than its maximum, and the last what is still missing."""
    legs = [of("main"), of("v1"), of("v2"), of("v3")]
    assert drawn(10000, *legs, main=5000, v1=1000, v2=3000, v3=10000) == [
        ("main", 5000),
        ("v1", 1000),
        ("v2", 3000),
        ("v3", 1000),
    ]
    assert drawn(100, of("a", max="30"), of("world"), a=50, world=None) == [
        ("a", 30),
        ("world", 70),
    ]
    inner = of(inner=(of("a"), of("b")), max="70")
    assert drawn(100, inner, of("c"), a=50, b=50, c=50) == [("a", 50), ("b", 20), ("c", 30)]
    with pytest.raises(InsufficientFunds) as short:
        drawn(101, of("a"), of("b"), a=50, b=50)
    assert short.value.seen == {
        "field": "sources",
        "available_minor": "100",
        "needed_minor": "101",
    }


def test_an_account_in_several_legs_gives_no_more_in_all() -> None:
    """What a firm leg needs is set aside before the account is drained."""
    legs = (of("a", max="30"), of("b", max="10"), of("a"))
    assert drawn(60, *legs, a=50, b=50) == [("a", 30), ("b", 10), ("a", 20)]
    with pytest.raises(InsufficientFunds):
        drawn(61, *legs, a=50, b=50)
    assert drawn(50, of("a"), of("a", fixed="40"), of("b"), a=50, b=50) == [("a", 10), ("a", 40)]


def test_a_share_or_fixed_amount_that_is_short_is_refused() -> None:
    """Even where others could pay for it."""
    legs = (of("a", share="10%"), of("world", share="remaining"))
    assert drawn(100, *legs, a=10, world=None) == [("a", 10), ("world", 90)]
    with pytest.raises(InsufficientFunds) as short:
        drawn(100, *legs, a=9, world=None)
    assert short.value.seen == {"account_id": "a", "available_minor": "9", "needed_minor": "10"}
    with pytest.raises(InsufficientFunds):
        drawn(100, of("a", fixed="10"), of("world"), a=9, world=None)
    pair = of(inner=(of("a", share="50%"), of("b", max="30")))
    assert drawn(60, pair, of("c"), a=50, b=50, c=50) == [("a", 30), ("b", 30)]
    with pytest.raises(InsufficientFunds) as short:
        drawn(80, pair, of("c"), a=50, b=50, c=50)
    assert short.value.seen == {
        "field": "sources[0].inner",
        "available_minor": "70",
        "needed_minor": "80",
    }


def test_a_share_or_fixed_amount_of_several_sources_is_given_by_them_together() -> None:
    """In their order, as far as each goes; together they fall short, or they do not."""
    for measure in ({"share": "60%"}, {"fixed": "60"}):
        legs = (of(inner=(of("a"), of("b")), **measure), of("world"))
        assert drawn(100, *legs, a=50, b=50, world=None) == [("a", 50), ("b", 10), ("world", 40)]
        with pytest.raises(InsufficientFunds) as short:
            drawn(100, *legs, a=50, b=9, world=None)
        assert short.value.seen == {
            "field": "sources[0].inner",
            "available_minor": "59",
            "needed_minor": "60",
        }


def test_fixed_sources_of_more_than_is_asked_are_refused() -> None:
    """A fixed amount is exact; but a level of which nothing is asked gives nothing."""
    with pytest.raises(ValidationFailed) as refusal:
        drawn(10, of("a", fixed="11"), a=50)
    assert refusal.value.field == "sources"
    assert drawn(10, of("a", fixed="4"), of("b", fixed="6"), a=50, b=50) == [("a", 4), ("b", 6)]
    assert drawn(10, of("a", fixed="10"), of("b"), a=50, b=50) == [("a", 10)]
    assert drawn(10, of("a"), of(inner=(of("b", fixed="5"),)), a=50, b=50) == [("a", 10)]


def test_all_is_what_the_sources_have() -> None:
    """Each up to its maximum, fixed ones exactly; shares would be of an unknown total."""
    legs = (of("a"), of(inner=(of("b"), of("c", max="5"))), of("d", fixed="7"))
    assert drawn(None, *legs, a=1, b=2, c=9, d=9) == [("a", 1), ("b", 2), ("c", 5), ("d", 7)]
    assert drawn(None, of("a", max="5"), a=0) == []
    require_no_shares(source_level(legs))
    for share in ("10%", "remaining"):
        level = source_level((of("b"), of(inner=(of("a", share=share), of("c")))))
        with pytest.raises(ValidationFailed) as refusal:
            require_no_shares(level)
        assert refusal.value.field == "sources[1].inner[0].share"


def test_movements_follow_both_orders() -> None:
    """Neighbours between the same accounts are one, what is kept or nothing is none."""
    parts = [Part("a", 10), Part("b", 0), Part("c", 5), Part("c", 5)]
    assert matched(parts, [Part("x", 3), Part(None, 4), Part("x", 1), Part("y", 12)]) == [
        Movement("a", "x", 4),
        Movement("a", "y", 2),
        Movement("c", "y", 10),
    ]


# Properties.

percentages = st.integers(1, 9999).map(lambda n: Fraction(n, 10_000))


def percent(share: Fraction) -> str:
    """A share in hundredths of a percent, as a caller writes it."""
    hundredths = share * 10_000
    assert hundredths.denominator == 1
    return f"{int(hundredths) // 100}.{int(hundredths) % 100:02}%"


@st.composite
def shares_of_everything(draw_one: Any) -> list[str]:  # noqa: ANN401 - hypothesis's own
    """Draw shares that come to exactly 100 %."""
    cuts = sorted({0, 10_000, *draw_one(st.lists(st.integers(1, 9999), max_size=8))})
    return [percent(Fraction(b - a, 10_000)) for a, b in pairwise(cuts)]


@draw(st.integers(0, 10**36), shares_of_everything(), st.sampled_from(ROUNDINGS))
def test_parts_are_the_whole_and_each_within_a_unit(
    total_minor: int, shares: list[str], rounding: Rounding
) -> None:
    """Nothing is lost or made, and no share is a whole minor unit off."""
    legs = [to(f"d{index}", share=share) for index, share in enumerate(shares)]
    parts = split(total_minor, *legs, rounding=rounding)
    assert sum(amount for _, amount in parts) == total_minor
    for (_, amount), share in zip(parts, shares, strict=True):
        assert abs(amount - Fraction(share[:-1]) / 100 * total_minor) < 1 or rounding == "first"
        assert abs(amount - Fraction(share[:-1]) / 100 * total_minor) <= 1


@draw(st.integers(0, 10**12), shares_of_everything(), st.data())
def test_the_order_of_legs_decides_only_ties(
    total_minor: int, shares: list[str], data: st.DataObject
) -> None:
    """The same shares in another order give the same amounts to the same shares."""
    order = data.draw(st.permutations(range(len(shares))))
    first = [amount for _, amount in split(total_minor, *(to("x", share=s) for s in shares))]
    moved = [to("x", share=shares[index]) for index in order]
    second = [amount for _, amount in split(total_minor, *moved)]
    by_share = sorted(zip(shares, first, strict=True))
    assert sorted(zip((shares[index] for index in order), second, strict=True)) == by_share


measures = st.one_of(
    st.integers(1, 33).map(lambda n: {"share": f"{n}%"}),
    st.integers(1, 30).map(lambda n: {"fixed": str(n)}),
    st.integers(1, 300).map(lambda n: {"max": str(n)}),
)
plain_legs = st.builds(
    lambda account_id, measure: to(account_id, kept=account_id is None, **measure),
    st.none() | st.sampled_from("abc"),
    measures,
)


def nesting(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Legs that have legs of their own, and one for what remains."""
    return st.lists(
        st.builds(lambda legs, measure: to(inner=(*legs, to("rest")), **measure), inner, measures),
        min_size=1,
        max_size=2,
    ).map(tuple)


levels = st.recursive(st.lists(plain_legs, max_size=3).map(tuple), nesting, max_leaves=4)
"""Legs without the one that takes what remains."""


@draw(levels, st.integers(1, 10**6), st.sampled_from(ROUNDINGS))
def test_whatever_is_not_refused_is_whole_fixed_exact_and_below_its_maximum(
    legs: tuple[Destination, ...], total_minor: int, rounding: Rounding
) -> None:
    """Of any tree: what its legs take is the total, and no leg takes what it may not."""
    level = destination_level((*legs, to("rest")))
    try:
        parts = taken(total_minor, level, rounding, refused)
    except InsufficientFunds:
        return
    assert sum(part.amount_minor for part in parts) == total_minor
    _check(legs, parts)


def _check(legs: tuple[Destination, ...], parts: list[Part]) -> None:
    """Take each leg's parts off the front and look at them."""
    for leg in (*legs, to("rest")):
        before = sum(part.amount_minor for part in parts)
        if leg.inner is None:
            part = parts.pop(0)
            assert part.account_id == leg.account_id
        else:
            _check(leg.inner[:-1], parts)
        amount = before - sum(part.amount_minor for part in parts)
        assert amount >= 0
        assert leg.max is None or amount <= int(leg.max)
        assert leg.fixed is None or amount == int(leg.fixed)


balances = st.lists(st.integers(0, 1000), min_size=1, max_size=5)


@draw(balances, st.integers(1, 5000), shares_of_everything(), st.sampled_from(ROUNDINGS))
def test_sources_give_what_destinations_take(
    has: list[int], total_minor: int, shares: list[str], rounding: Rounding
) -> None:
    """No account gives more than it has; between two accounts stands what both sides say."""
    can_give = {f"s{index}": amount for index, amount in enumerate(has)}
    sources = source_level(tuple(of(name) for name in can_give))
    if total_minor > sum(has):
        with pytest.raises(InsufficientFunds):
            given(total_minor, sources, rounding, can_give)
        return
    given_parts = given(total_minor, sources, rounding, can_give)
    legs = tuple(to(f"d{index}", share=share) for index, share in enumerate(shares))
    taken_parts = taken(total_minor, destination_level(legs), rounding, refused)
    movements = matched(given_parts, taken_parts)
    assert all(movement.amount_minor > 0 for movement in movements)
    assert len(movements) <= len(has) + len(shares) - 1
    for side, parts in (("from_id", given_parts), ("to_id", taken_parts)):
        for part in parts:
            moved = sum(
                movement.amount_minor
                for movement in movements
                if getattr(movement, side) == part.account_id
            )
            assert moved == part.amount_minor
            assert side == "to_id" or moved <= can_give[part.account_id or ""]
