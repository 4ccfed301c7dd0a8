"""What was looked up a moment ago: asked once for all who wait, and again before it is forgotten.

Each step of a look-up waits for a turn of the event loop, which takes a tenth of a second where the
server is overloaded. So what is in use is looked up again while it still counts, and nobody waits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_Name = TypeVar("_Name")
_Value = TypeVar("_Value")

REMEMBERED_S = 0.75
"""What is known is never older."""
RENEWED_S = 0.25
"""Of what is older, a use begins the next look-up."""


class Remembered(Generic[_Name, _Value]):
    """Values by name; used by the event loop alone."""

    def __init__(self, ask: Callable[[_Name], Awaitable[_Value]], most: int) -> None:
        """Know nothing yet; beyond ``most`` all is forgotten at once: memory is bounded."""
        self._ask = ask
        self._most = most
        # Until when, and the value.
        self._known: dict[_Name, tuple[float, _Value]] = {}
        self._asking: dict[_Name, asyncio.Task[_Value]] = {}

    async def value(self, name: _Name) -> _Value:
        """The value, as it was at most ``REMEMBERED_S`` ago; raises what the look-up raises."""
        loop = asyncio.get_running_loop()
        known = self._known.get(name)
        left_s = 0.0 if known is None else known[0] - loop.time()
        if known is None or left_s <= 0:
            # A look-up that is under way tells what was so when it began, or later.
            return await asyncio.shield(self._begun(loop, name))
        if left_s < REMEMBERED_S - RENEWED_S:
            self._begun(loop, name)
        return known[1]

    def forget(self, name: _Name) -> None:
        """Look up anew before it is used again: it was changed here."""
        self._known.pop(name, None)
        self._asking.pop(name, None)

    def _begun(self, loop: asyncio.AbstractEventLoop, name: _Name) -> "asyncio.Task[_Value]":
        """The one look-up that is under way."""
        task = self._asking.get(name)
        if task is None or task.get_loop() is not loop:  # That loop may have ended meanwhile.
            task = loop.create_task(self._look_up(name))
            task.add_done_callback(_ended)
            self._asking[name] = task
        return task

    async def _look_up(self, name: _Name) -> _Value:
        """Ask, and remember."""
        asked_at = asyncio.get_running_loop().time()
        try:
            value = await self._ask(name)
        finally:
            # Where it was forgotten meanwhile, another look-up counts.
            is_in_force = self._asking.get(name) is asyncio.current_task()
            if is_in_force:
                del self._asking[name]
        if is_in_force:
            if len(self._known) >= self._most and name not in self._known:
                self._known.clear()
            self._known[name] = (asked_at + REMEMBERED_S, value)
        return value


def _ended(task: "asyncio.Task[_Value]") -> None:
    """Whoever waits is told of a failure; where nobody does, the next will ask anew."""
    if not task.cancelled():
        task.exception()
