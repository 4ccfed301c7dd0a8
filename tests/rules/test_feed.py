"""The feed: pieces of the log become its events again, in order, or it is said what is missing."""

from datetime import UTC, datetime
from itertools import groupby

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies

from ledger_core import events
from ledger_core.books import Event
from ledger_core.events import Recorded, UnknownEvent
from projections import feed
from projections.feed import Piece, decode
from projections.folding import UnfoldableError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

logs = st.lists(st.tuples(strategies.events, st.booleans()), max_size=12)


def _recorded(drawn: list[tuple[Event, bool]], after: int) -> list[Recorded]:
    """The events one after another; some are recorded a second later than the one before."""
    second, recorded = 0, []
    for position, (event, is_later) in enumerate(drawn, start=after + 1):
        second += is_later
        recorded.append(Recorded(position, NOON.replace(second=second), event))
    return recorded


def _pieces(recorded: list[Recorded]) -> list[Piece]:
    """What the database makes of them (see ``PIECES``), in an order of its own."""

    def group(item: Recorded) -> tuple[str, int, datetime, int]:
        """What the events of a piece have in common."""
        return (
            *events.name_of(item.event),
            item.recorded_at,
            item.position // feed.PIECE_EVENTS_MAX,
        )

    pieces: list[Piece] = []
    for (name, version, recorded_at, _), found in groupby(sorted(recorded, key=group), key=group):
        items = list(found)
        positions = [item.position for item in items]
        has_gaps = positions[-1] - positions[0] >= len(items)
        data = b"[" + b",".join(events.encode(item.event) for item in items) + b"]"
        pieces.append(
            (
                name,
                version,
                recorded_at,
                positions[0],
                positions[-1],
                positions if has_gaps else None,
                data.decode(),
            )
        )
    return pieces


@given(logs, st.integers(0, 10**6))
def test_pieces_become_the_events_again(drawn: list[tuple[Event, bool]], after: int) -> None:
    """Whatever their types and times, however these alternate."""
    recorded = _recorded(drawn, after)
    assert decode(_pieces(recorded), after) == recorded


@given(logs.filter(lambda drawn: len(drawn) > 1), st.data())
def test_a_missing_event_is_noticed(drawn: list[tuple[Event, bool]], data: st.DataObject) -> None:
    """Wherever it is missing, but for the end: that is where the log ends."""
    recorded = _recorded(drawn, 0)
    missing = data.draw(st.integers(0, len(recorded) - 2))
    rest = recorded[:missing] + recorded[missing + 1 :]
    with pytest.raises(UnfoldableError, match=f"position {missing + 1} was expected") as caught:
        decode(_pieces(rest), 0)
    assert caught.value.position == missing + 2


def test_what_is_not_known_or_no_event_raises() -> None:
    """Another name, another version, other fields: nothing is passed over."""
    for name, version in (("Nonsense", 1), ("AccountOpened", 99)):
        with pytest.raises(UnknownEvent):
            decode([(name, version, NOON, 1, 1, None, "[{}]")], 0)
    with pytest.raises(msgspec.DecodeError):
        decode([("AccountOpened", 1, NOON, 1, 1, None, "[{}]")], 0)
