"""What was looked up a moment ago: how old it may be, who asks, and what a change does to it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.remembering import REMEMBERED_S, RENEWED_S, Remembered

MOST = 3


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose time a test moves on."""

    ahead_s = 0.0

    def time(self) -> float:
        """The time, and what the test added."""
        return super().time() + self.ahead_s


class _World:
    """Values that change, and how often each was asked for."""

    def __init__(self, loop: _Loop) -> None:
        """Every value is its name, until it is set."""
        self.loop = loop
        self.values: dict[str, str] = {}
        self.asked: list[str] = []
        self.failing = False
        # What holds look-ups back that have read their value already.
        self.held: asyncio.Event | None = None
        self.remembered = Remembered(self._ask, MOST)

    async def _ask(self, name: str) -> str:
        """Look up."""
        self.asked.append(name)
        value = self.values.get(name, name)
        if self.held is not None:
            await self.held.wait()
        if self.failing:
            raise LookupError(name)
        return value

    async def later(self, seconds: float) -> None:
        """Let time pass, and whatever began meanwhile end."""
        self.loop.ahead_s += seconds
        for _ in range(10):
            await asyncio.sleep(0)


def _in_a_world(test: Callable[[_World], Awaitable[None]]) -> None:
    """Run a test."""
    complaints: list[str] = []
    loop = _Loop()
    loop.set_exception_handler(lambda _, about: complaints.append(str(about["message"])))
    try:
        loop.run_until_complete(test(_World(loop)))
    finally:
        loop.close()
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
        assert [await world.remembered.value("a") for _ in range(3)] == ["a"] * 3
        await world.later(0)
        assert world.asked == ["a", "a"]
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
        world.held = asyncio.Event()
        waiting = asyncio.ensure_future(world.remembered.value("a"))
        await world.later(0)
        held, world.held = world.held, None
        world.values["a"] = "new"
        world.remembered.forget("a")
        assert await world.remembered.value("a") == "new"
        held.set()
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
