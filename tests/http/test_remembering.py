"""What was looked up a moment ago: how old it may be, who asks, and what a change does to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

import pytest

from api.remembering import REMEMBERED_S, RENEWED_S, Remembered

MOST = 3


class _World:
    """Values that change, and how often each was asked for."""

    def __init__(self) -> None:
        """Every value is its name, until it is set."""
        self.ahead_s = 0.0
        self.values: dict[str, str] = {}
        self.asked: list[str] = []
        self.failing = False
        self.is_slow = False
        # Look-ups that have read their value already, and do not tell it yet.
        self.held: list[tuple[Future[str], str]] = []
        self.remembered = Remembered(self._ask, MOST, self._now_s)

    def _now_s(self) -> float:
        """The time, and what the test added."""
        return time.monotonic() + self.ahead_s

    def _ask(self, name: str) -> "Future[str]":
        """Look up."""
        self.asked.append(name)
        asked: Future[str] = Future()
        if self.failing:
            asked.set_exception(LookupError(name))
        elif self.is_slow:
            self.held.append((asked, self.values.get(name, name)))
        else:
            asked.set_result(self.values.get(name, name))
        return asked

    def tell(self) -> None:
        """End the look-ups that are held."""
        for asked, value in self.held:
            asked.set_result(value)
        self.held.clear()

    async def later(self, seconds: float) -> None:
        """Let time pass, and whatever began meanwhile end."""
        self.ahead_s += seconds
        for _ in range(10):
            await asyncio.sleep(0)


def _in_a_world(test: Callable[[_World], Awaitable[None]]) -> None:
    """Run a test."""
    complaints: list[str] = []

    async def run() -> None:
        """Hear what the loop complains of."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, about: complaints.append(str(about["message"])))
        await test(_World())

    asyncio.run(run())
    assert complaints == []


def test_what_is_in_use_is_looked_up_again_while_it_still_counts() -> None:
    """Nobody waits for it, and nobody is told what is older than it may be."""

    async def use(world: _World) -> None:
        """Use it often, for a while."""
        assert await world.remembered.value("a") == "a"
        world.values["a"] = "new"
        await world.later(RENEWED_S / 2)
        assert await world.remembered.value("a") == "a"
        assert world.asked == ["a"]
        await world.later(RENEWED_S)
        # The one that begins the next look-up does not wait for it, and those beside it begin none.
        world.is_slow = True
        assert [await world.remembered.value("a") for _ in range(3)] == ["a"] * 3
        assert world.asked == ["a", "a"]
        # It takes no turn of the loop.
        world.tell()
        assert await world.remembered.value("a") == "new"

    _in_a_world(use)


def test_what_was_not_used_is_waited_for() -> None:
    """All who come at one moment wait for one look-up."""

    async def use(world: _World) -> None:
        """Come back when it is too old."""
        await world.remembered.value("a")
        world.values["a"] = "new"
        await world.later(REMEMBERED_S + 0.01)
        assert await asyncio.gather(*[world.remembered.value("a") for _ in range(4)]) == ["new"] * 4
        assert world.asked == ["a", "a"]

    _in_a_world(use)


def test_a_change_here_counts_at_once() -> None:
    """Also where a look-up is under way that began before it."""

    async def use(world: _World) -> None:
        """Change it while it is being looked up."""
        world.is_slow = True
        waiting = asyncio.ensure_future(world.remembered.value("a"))
        await world.later(0)
        world.is_slow = False
        world.values["a"] = "new"
        world.remembered.forget("a")
        assert await world.remembered.value("a") == "new"
        world.tell()
        assert await waiting == "a"
        assert await world.remembered.value("a") == "new"

    _in_a_world(use)


def test_a_look_up_that_fails_is_told_to_those_who_wait_only() -> None:
    """What is known still counts as long as it would have."""

    async def use(world: _World) -> None:
        """Fail, first beside a known value, then without one."""
        await world.remembered.value("a")
        world.failing = True
        await world.later(RENEWED_S + 0.01)
        assert await world.remembered.value("a") == "a"
        await world.later(0)
        assert world.asked == ["a", "a"]
        await world.later(REMEMBERED_S)
        with pytest.raises(LookupError):
            await world.remembered.value("a")
        world.failing = False
        assert await world.remembered.value("a") == "a"

    _in_a_world(use)


def test_it_remembers_so_many() -> None:
    """Whoever asks for ever other names does not fill the memory."""

    async def use(world: _World) -> None:
        """Ask for one more than it remembers, then for the first."""
        for number in range(MOST + 1):
            await world.remembered.value(str(number))
        await world.remembered.value(str(MOST))
        assert len(world.asked) == MOST + 1
        await world.remembered.value("0")
        assert len(world.asked) == MOST + 2

    _in_a_world(use)
