"""The runner: brings the projections forward, a batch of the log and one transaction at a time.

Every projection keeps its position in the transaction that changes it. Those that stand at the
same position advance together, and each batch is decoded and folded once for all of them. What
cannot be decoded or folded raises and leaves everything where it was: no event is ever skipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Protocol

import msgspec

from ledger_core import log
from ledger_core.database import LOST, connect
from ledger_core.log import Connection
from projections.batches import (
    BATCH_EVENTS_MAX,
    STORES,
    ensure_registered,
    replay,
    take_batch,
)
from projections.memory import Memory
from projections.rebuilding import RebuildReport, rebuild, rebuild_all
from projections.registry import PROJECTIONS

__all__ = [
    "PROJECTIONS",
    "RebuildReport",
    "RunnerCache",
    "advance",
    "catch_up",
    "ensure_registered",
    "positions",
    "rebuild",
    "rebuild_all",
    "run_forever",
]

# How far the views may be behind a log that grows slowly; a batch costs some milliseconds.
POLL_S = 0.05
# And behind one that grows fast: an event of a large batch costs half of what one of a small does.
BUSY_POLL_S = 0.2
BUSY_EVENTS = 100
RECONNECT_S_MIN = 0.1
RECONNECT_S_MAX = 5.0

Progress = Callable[[int, int], None]


class Standing(msgspec.Struct, frozen=True):
    """Where a live projection stands."""

    name: str
    slot: int
    position: int


class Taken(msgspec.Struct, frozen=True):
    """A batch that some projections took in together: its first and last position."""

    names: tuple[str, ...]
    first: int
    last: int


class Watch(Protocol):
    """Who is told of every batch, by the runner's thread, which waits for it."""

    def begins(self) -> None:
        """A batch may be there, and is looked for."""

    def took(self, ledger_id: int, taken: Taken) -> None:
        """It was there, and is committed."""


@dataclass(slots=True)
class RunnerCache:
    """What one runner of one ledger remembers between batches, by projections that go together.

    ``taken`` is the batch that was taken in last.
    """

    memories: dict[tuple[str, ...], Memory] = field(default_factory=dict)
    taken: Taken | None = None


def positions(connection: Connection, ledger_id: int) -> dict[str, tuple[int, datetime | None]]:
    """How far each live projection is: its position, and when that event was recorded."""
    rows = connection.execute(
        "SELECT name, position, recorded_at FROM views.projections WHERE ledger_id = %s AND live",
        (ledger_id,),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def advance(
    connection: Connection,
    ledger_id: int,
    *,
    limit: int = BATCH_EVENTS_MAX,
    cache: RunnerCache | None = None,
) -> int:
    """Bring the projections that lead forward, or else those behind; how many events were taken.

    One transaction. Another runner of the same ledger waits for it.

    Raises:
        UnknownEvent, msgspec.DecodeError, UnfoldableError: the log holds what this program cannot
            take in; nothing was changed.
    """
    cache = RunnerCache() if cache is None else cache
    try:
        with connection.transaction():
            groups = _groups(_lock(connection, ledger_id))
            for gone in cache.memories.keys() - groups.keys():
                del cache.memories[gone]
            ahead: int | None = None
            for group in groups.values():
                position = group[0].position
                most = limit if ahead is None else min(limit, ahead - position)
                taken = _advance_group(connection, ledger_id, group, most, cache)
                if taken:
                    names = tuple(item.name for item in group)
                    cache.taken = Taken(names, position + 1, position + taken)
                    return taken
                ahead = position
    except BaseException:
        cache.memories.clear()  # It may be ahead of what was rolled back.
        raise
    return 0


def catch_up(
    connection: Connection,
    ledger_id: int,
    *,
    to_position: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Bring every projection to the head, or at least to a position; the position all reached.

    Raises:
        As ``advance``.
    """
    head = log.read_head(connection, ledger_id).position
    ensure_registered(connection, ledger_id)
    goal = head if to_position is None else min(to_position, head)
    cache = RunnerCache()
    while True:
        reached = min(position for position, _ in positions(connection, ledger_id).values())
        if progress is not None:
            progress(min(reached, goal), goal)
        if reached >= goal or not advance(connection, ledger_id, cache=cache):
            return reached


def run_forever(
    url: str, stop: Event, *, poll_s: float = POLL_S, watch: Watch | None = None
) -> None:
    """Keep the projections of all ledgers up to date until ``stop`` is set.

    Unless a whole batch is waiting, there is a pause between batches: events that come one by one
    are then taken many at a time, which leaves the processor to those who write them.

    A lost connection is made anew, with growing pauses; anything else that goes wrong raises.
    ``watch`` is told of every batch.
    """
    pause_s = RECONNECT_S_MIN
    while not stop.is_set():
        try:
            with connect(url, "ledger_projector") as connection:
                caches: dict[int, RunnerCache] = {}
                while not stop.is_set():
                    taken = _advance_all(connection, caches, watch)
                    if taken < BATCH_EVENTS_MAX:
                        stop.wait(poll_s if taken < BUSY_EVENTS else max(poll_s, BUSY_POLL_S))
                    pause_s = RECONNECT_S_MIN
        except LOST:
            stop.wait(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_S_MAX)


def _lock(connection: Connection, ledger_id: int) -> list[Standing]:
    """Lock the positions of the live projections, always in the same order."""
    while True:
        locked = _live(connection, ledger_id, " FOR UPDATE")
        # While the lock was awaited, a rebuild may have swapped a slot: then lock the new one.
        if locked == _live(connection, ledger_id, ""):
            return locked


def _live(connection: Connection, ledger_id: int, lock: str) -> list[Standing]:
    """Where the live projections stand."""
    rows = connection.execute(
        "SELECT name, slot, position FROM views.projections"  # noqa: S608 - a constant
        " WHERE ledger_id = %s AND live ORDER BY name" + lock,
        (ledger_id,),
    )
    return [Standing(*row) for row in rows]


def _groups(standings: Sequence[Standing]) -> dict[tuple[str, ...], list[Standing]]:
    """Projections that stand at one position, by their names; the foremost first."""
    by_position: dict[int, list[Standing]] = {}
    for item in sorted(standings, key=lambda item: -item.position):
        by_position.setdefault(item.position, []).append(item)
    return {tuple(item.name for item in group): group for group in by_position.values()}


def _advance_group(
    connection: Connection,
    ledger_id: int,
    group: Sequence[Standing],
    limit: int,
    cache: RunnerCache,
) -> int:
    """Bring projections that stand at one position forward together."""
    names = tuple(item.name for item in group)
    slots = {item.name: item.slot for item in group}
    position = group[0].position
    memory = cache.memories.get(names)
    if memory is None or memory.position != position or memory.slots != slots:
        if slots.keys() >= STORES:
            memory = Memory(is_complete=False, position=position)
        else:
            memory = replay(connection, ledger_id, position)
        memory.slots = slots
        cache.memories[names] = memory
    targets = [
        (projection, slots[projection.name])
        for projection in PROJECTIONS
        if projection.name in slots
    ]
    return take_batch(connection, ledger_id, targets, memory, limit)


def _advance_all(
    connection: Connection, caches: dict[int, RunnerCache], watch: Watch | None
) -> int:
    """Bring every ledger one batch forward; how many events were taken."""
    taken = 0
    for ledger_id, _ in log.ledgers(connection):
        if ledger_id not in caches:
            ensure_registered(connection, ledger_id)
            caches[ledger_id] = RunnerCache()
        cache = caches[ledger_id]
        if watch is not None:
            watch.begins()
        count = advance(connection, ledger_id, cache=cache)
        if count and watch is not None and cache.taken is not None:
            watch.took(ledger_id, cache.taken)
        taken += count
    return taken
