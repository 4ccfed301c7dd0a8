"""How much may be under way: never more than has room, and as much as is answered in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import admission
from api.admission import Room, Rooms, Size
from ledger_core.errors import LedgerBusy

SIZE = Size(rate_per_s=1_000, target_s=0.5, least=100, most=5_000)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(1, 2_000)),
        st.tuples(st.just("end"), st.integers(0, 50)),
        st.tuples(st.just("learn"), st.integers(0, 10_000)),
    ),
    max_size=100,
)


@given(steps, st.floats(0.000_1, 100))
def test_what_is_under_way_is_bounded_whatever_happens(
    taken: list[tuple[str, int]], seconds: float
) -> None:
    """Never more than the limit, but for one that came alone; limits stay within their bounds."""
    room = Room(SIZE)
    under_way: list[int] = []
    for what, number in taken:
        if what == "begin":
            try:
                among = room.begin(number)
            except LedgerBusy:
                assert under_way
                assert sum(under_way) + number > room.limit
                continue
            under_way.append(number)
            assert among == sum(under_way)
            assert among <= room.limit or len(under_way) == 1
        elif what == "end" and under_way:
            room.end(under_way.pop(number % len(under_way)))
        elif what == "learn":
            room.learn(number, seconds)
        assert room.under_way == sum(under_way)
        assert SIZE.least <= room.limit <= SIZE.most


@given(st.floats(300, 9_000))
def test_the_limit_becomes_what_is_answered_in_time(rate_per_s: float) -> None:
    """A server that answers so many a second comes to have room for half a second of them."""
    room = Room(SIZE)
    for _ in range(100):
        room.learn(room.limit, room.limit / rate_per_s)
    assert room.limit == pytest.approx(max(100, rate_per_s * SIZE.target_s), rel=0.02)


def test_a_server_with_little_to_do_teaches_nothing() -> None:
    """One command a transaction of 3 ms is no rate of 333 a second."""
    room = Room(SIZE)
    for _ in range(1_000):
        room.learn(1, 0.003)
    assert room.limit == 500


def test_a_batch_that_comes_alone_has_room_and_the_next_waits_its_turn() -> None:
    """However large; of several so many as are answered in ten seconds."""
    room = Room(admission.batches(0.25))
    room.begin(1_000_000)
    with pytest.raises(LedgerBusy):
        room.begin(1)
    room.end(1_000_000)
    assert room.begin(20_000) == 20_000


def test_rooms_of_ledgers_are_separate_and_those_left_are_forgotten() -> None:
    """A full ledger does not keep others out; thousands of ledgers are no growth."""
    rooms = Rooms(SIZE)
    rooms.of(1).begin(SIZE.most)
    assert rooms.is_full(1)
    assert not rooms.is_full(2)
    for ledger_id in range(2, 5_000):
        rooms.of(ledger_id)
    assert len(rooms.all()) <= 1_001
    assert rooms.is_full(1)
