"""What is ready is told a few at a time: nobody's answer waits until hundreds of others are given.

An answer takes the event loop some 50 µs. Where a thousand are ready at one moment, whoever asks
meanwhile would wait for all of them, and be told too late that there is no room.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

_Item = TypeVar("_Item")

_log = structlog.get_logger("ledger.telling")


class Telling(Generic[_Item]):
    """What one event loop has yet to tell, in the order in which it was put here."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tell: Callable[[_Item], None], at_once: int
    ) -> None:
        """Nothing yet; ``tell`` is called on the loop, ``at_once`` times in a turn at most."""
        self.loop = loop
        self._tell = tell
        self._at_once = at_once
        self._ready: deque[_Item] = deque()
        self._is_called = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to be told."""
        return not self._ready

    def put(self, *items: _Item) -> None:
        """Have them told, from any thread."""
        self._ready.extend(items)
        if not self._is_called:
            self._is_called = True
            try:
                self.loop.call_soon_threadsafe(self._some)
            except RuntimeError:  # The loop has ended: nobody waits any more.
                self._ready.clear()

    def _some(self) -> None:
        """Tell some; the others after this turn."""
        # Before the first is taken: what comes later calls again.
        self._is_called = False
        for _ in range(self._at_once):
            if not self._ready:
                return
            try:
                self._tell(self._ready.popleft())
            except Exception as error:  # noqa: BLE001 - the others must hear all the same
                _log.error("failure", error_type=type(error).__name__)
        if self._ready and not self._is_called:
            self._is_called = True
            self.loop.call_soon(self._some)
