"""Sums of keyed hashes: equal for equal rows in any order, and different for anything else."""

from hypothesis import given
from hypothesis import strategies as st

from projections.paging import PAGE_POSITIONS
from projections.row_sums import Sums, positions_of

KEY = b"k" * 32

rows = st.lists(
    st.tuples(st.integers(1, 3 * PAGE_POSITIONS), st.text(max_size=3)), min_size=1, max_size=20
)


def _sums(found: list[tuple[int, str]], key: bytes = KEY) -> Sums:
    """The sums of rows."""
    sums = Sums(key)
    sums.add([position for position, _ in found], [text for _, text in found])
    return sums


@given(rows.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_rows_makes_no_difference(
    readings: tuple[list[tuple[int, str]], list[tuple[int, str]]],
) -> None:
    """Two readings of the same rows differ nowhere."""
    one, other = readings
    assert _sums(one).differing(_sums(other)) == []


@given(rows, st.data())
def test_a_row_changed_lost_doubled_or_moved_is_seen_on_its_page(
    found: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Whatever happens to one row, its page differs and no other does."""
    at = data.draw(st.integers(0, len(found) - 1))
    position, text = found[at]
    page = position // PAGE_POSITIONS
    for other in (
        [*found[:at], (position, text + "x"), *found[at + 1 :]],
        [*found[:at], *found[at + 1 :]],
        [*found, found[at]],
    ):
        assert _sums(found).differing(_sums(other)) == [page]
    moved = [*found[:at], (position + PAGE_POSITIONS, text), *found[at + 1 :]]
    assert _sums(found).differing(_sums(moved)) == [page, page + 1]
    first, last = positions_of(page)
    assert first <= position <= last


def test_sums_of_one_key_say_nothing_about_another() -> None:
    """Who does not know the key cannot prepare rows whose sum is right."""
    assert _sums([(1, "a")]).pages != _sums([(1, "a")], b"l" * 32).pages
