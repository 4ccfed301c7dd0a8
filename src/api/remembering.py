"""What was looked up a moment ago: asked once for all who wait, and again before it is forgotten.

Each step of a look-up on the event loop waits for a turn of it, which takes a tenth of a second and
more where the server is overloaded. So what is in use is looked up again while it still counts, and
the thread that finds it keeps it: nobody waits, and it takes no turn.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

_Name = TypeVar("_Name")
_Value = TypeVar("_Value")

REMEMBERED_S = 0.75
"""What is known is never older."""
RENEWED_S = 0.25
"""Of what is older, a use begins the next look-up."""


class Remembered(Generic[_Name, _Value]):
    """Values by name; used by the event loop, and by the threads that look up."""

    def __init__(
        self,
        ask: Callable[[_Name], "Future[_Value]"],
        most: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing yet; ``ask`` has a thread begin to look up.

        Beyond ``most`` all is forgotten at once: memory is bounded.
        """
        self._ask = ask
        self._most = most
        self._now_s = now_s
        # Until when, and the value.
        self._known: dict[_Name, tuple[float, _Value]] = {}
        self._asking: dict[_Name, Future[_Value]] = {}
        # What is found must not be kept after it was forgotten.
        self._keeping = threading.Lock()

    async def value(self, name: _Name) -> _Value:
        """The value, as it was at most ``REMEMBERED_S`` ago; raises what the look-up raises."""
        known = self._known.get(name)
        left_s = 0.0 if known is None else known[0] - self._now_s()
        if known is None or left_s <= 0:
            # A look-up that is under way tells what was so when it began, or later.
            return await asyncio.shield(asyncio.wrap_future(self._begun(name)))
        if left_s < REMEMBERED_S - RENEWED_S:
            self._begun(name)
        return known[1]

    def forget(self, name: _Name) -> None:
        """Look up anew before it is used again: it was changed here."""
        with self._keeping:
            self._known.pop(name, None)
            self._asking.pop(name, None)

    def _begun(self, name: _Name) -> "Future[_Value]":
        """The one look-up that is under way."""
        asking = self._asking.get(name)
        if asking is None:
            until_s = self._now_s() + REMEMBERED_S
            asking = self._asking[name] = self._ask(name)
            asking.add_done_callback(partial(self._keep, name, until_s))
        return asking

    def _keep(self, name: _Name, until_s: float, asked: "Future[_Value]") -> None:
        """Remember what was found; who waits is told of a failure, else the next asks anew."""
        with self._keeping:
            if self._asking.get(name) is not asked:
                return  # It was forgotten meanwhile: another look-up counts.
            del self._asking[name]
            if asked.cancelled() or asked.exception() is not None:
                return
            if len(self._known) >= self._most and name not in self._known:
                self._known.clear()
            self._known[name] = (until_s, asked.result())
