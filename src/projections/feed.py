"""The log as projections read it: pieces of many events each, decoded a piece at a time.

The database joins the events of one kind that were recorded at one time into a JSON array, so that
a row of the answer, and a call of the decoder, serves dozens of them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, cast

import msgspec

from ledger_core import events
from ledger_core.books import Event
from ledger_core.events import Recorded
from projections.folding import UnfoldableError

PIECE_EVENTS_MAX = 100
"""Bounds an array: 100 events, however large they are, are far below what a field may hold."""

Piece = tuple[str, int, datetime, int, int, list[int] | None, str]
"""Type, version and time of some events, their first and last position, all positions if some
between these are missing, and a JSON array of their data."""

# Bounds, no LIMIT: a planner that expects little of a ledger would sort all that is left of it.
PIECES = (
    "SELECT type, version, recorded_at, min(position), max(position),"  # noqa: S608 - a constant
    " CASE WHEN max(position) - min(position) >= count(*)"
    " THEN array_agg(position ORDER BY position) END,"
    " '[' || string_agg(data::text, ',' ORDER BY position) || ']'"
    " FROM ledger.events WHERE ledger_id = %s AND position > %s AND position <= %s"
    f" GROUP BY position / {PIECE_EVENTS_MAX}, type, version, recorded_at"
)


def decode(pieces: Sequence[Piece], after: int) -> list[Recorded]:
    """The events of all pieces in order, which must follow ``after`` without a gap.

    Raises:
        UnfoldableError: a position is missing.
        UnknownEvent: an event that this program does not know.
        msgspec.DecodeError: bytes that are not such an event.
    """
    recorded: list[Recorded] = []
    for name, version, recorded_at, first, last, positions, data in pieces:
        recorded += [
            Recorded(position, recorded_at, event)
            for position, event in zip(
                positions or range(first, last + 1), decoder(name, version)(data), strict=True
            )
        ]
    recorded.sort(key=_position)
    if recorded and recorded[-1].position - after != len(recorded):
        at = next(at for at, item in enumerate(recorded) if item.position != after + 1 + at)
        raise UnfoldableError(recorded[at].position, f"position {after + 1 + at} was expected")
    return recorded


def _position(item: Recorded) -> int:
    """Where the event stands."""
    return item.position


@cache
def decoder(name: str, version: int) -> Callable[[str], list[Event]]:
    """What makes events of one name and version from a JSON array of their data."""
    kind = events.types().get(name)
    if kind is not None and events.version_of(name) == version:
        return msgspec.json.Decoder(cast("Any", list[kind])).decode  # type: ignore[valid-type]
    raw = msgspec.json.Decoder(list[msgspec.Raw])
    return lambda data: [events.decode(name, version, bytes(item)) for item in raw.decode(data)]
