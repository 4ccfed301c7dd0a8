"""Waiting until the views reflect a position: one look for all who wait, and so many may.

Each that waited by itself would ask the database up to ten times a second: a thousand of them would
be its whole load. Here one look serves everybody who waits for a ledger; the looks come quickly
while somebody has just come, and then less often.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from ledger_core.errors import LedgerBusy
from projections.reading import PositionAhead

# How long to sleep between two looks at projections that are behind: at first and at most.
POLL_S_MIN = 0.005
POLL_S_MAX = 0.1
# Each keeps a connection and its request, for up to half a minute.
WAITERS_MAX = 1_000

Reached = Callable[[int], Awaitable[int]]
"""The position that every view of a ledger reflects."""


class _Waiter(msgspec.Struct, frozen=True, eq=False):
    """Somebody who waits: for which position, until when on the loop's clock."""

    asked: int
    end_at_s: float
    told: "asyncio.Future[None]"


class _Queue:
    """Those who wait for one ledger."""

    def __init__(self) -> None:
        """Nobody does."""
        self.waiters: list[_Waiter] = []
        self.has_come = asyncio.Event()
        self.looking: asyncio.Task[None] | None = None


class Waiting:
    """Everybody who waits for a position; used by one event loop."""

    def __init__(self, reached: Reached) -> None:
        """Nobody waits."""
        self._reached = reached
        self._queues: dict[int, _Queue] = {}
        self._count = 0

    async def until(self, ledger_id: int, asked: int, wait_s: float) -> None:
        """Wait until the views of the ledger reflect a position; they are looked at once at least.

        Raises:
            PositionAhead: they do not within that time.
            LedgerBusy: too many wait already.
        """
        if self._count >= WAITERS_MAX:
            raise LedgerBusy(reason="too_many_waiting")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(asked, loop.time() + wait_s, loop.create_future())
        queue = self._queues.setdefault(ledger_id, _Queue())
        queue.waiters.append(waiter)
        queue.has_come.set()
        if queue.looking is None:
            queue.looking = loop.create_task(self._look(ledger_id, queue))
        self._count += 1
        try:
            await waiter.told
        finally:
            self._count -= 1
            if waiter in queue.waiters:  # Its request was given up.
                queue.waiters.remove(waiter)

    async def _look(self, ledger_id: int, queue: _Queue) -> None:
        """Look again and again until nobody waits for the ledger."""
        loop = asyncio.get_running_loop()
        waiters, pause_s = queue.waiters, POLL_S_MIN
        try:
            while waiters:
                # Who comes while the look is under way is told by it, too: positions only grow.
                found = await self._reached(ledger_id)
                _tell(waiters, found, loop.time())
                if not waiters:
                    break
                queue.has_come.clear()
                left_s = min(waiter.end_at_s for waiter in waiters) - loop.time()
                has_come = await _is_set_within(queue.has_come, min(pause_s, max(0.0, left_s)))
                pause_s = POLL_S_MIN if has_come else min(2 * pause_s, POLL_S_MAX)
        except Exception as error:  # noqa: BLE001 - it is told to each of those who wait
            for waiter in waiters:
                if not waiter.told.done():
                    waiter.told.set_exception(error)
            waiters.clear()
        finally:
            del self._queues[ledger_id]


def _tell(waiters: list[_Waiter], found: int, now_s: float) -> None:
    """Tell those whose position is reached, and those whose time is over."""
    for waiter in [*waiters]:
        if waiter.asked <= found:
            if not waiter.told.done():
                waiter.told.set_result(None)
        elif waiter.end_at_s <= now_s:
            if not waiter.told.done():
                waiter.told.set_exception(PositionAhead(waiter.asked, found))
        else:
            continue
        waiters.remove(waiter)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether something is set within that time."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
