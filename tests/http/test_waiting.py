"""Waiting for a position: one look for all, bounded in number and time."""

import asyncio

import pytest

from api import waiting
from api.waiting import Waiting
from ledger_core.errors import LedgerBusy
from projections.reading import PositionAhead


class Views:
    """Views at a position, and how often they were looked at."""

    def __init__(self) -> None:
        """They have nothing."""
        self.position = 0
        self.looks = 0
        self.failure: Exception | None = None

    async def reached(self, _ledger_id: int) -> int:
        """Look."""
        self.looks += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.position


def test_a_hundred_who_wait_cost_one_look_at_a_time() -> None:
    """All are told by the look that finds their position; then nobody looks any more."""
    views = Views()

    async def work() -> None:
        """Wait, move on, hear."""
        waiting_ = Waiting(views.reached)
        tasks = [asyncio.create_task(waiting_.until(1, 5, 20)) for _ in range(100)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)
        assert views.looks < 40
        views.position = 5
        await asyncio.gather(*tasks)
        looks = views.looks
        await asyncio.sleep(0.05)
        assert views.looks == looks

    asyncio.run(work())


def test_no_time_at_all_is_one_look() -> None:
    """What is there is there; what is not is told at once, with where the views are."""
    views = Views()
    views.position = 4

    async def work() -> None:
        """Ask for what is there, and for more."""
        waiting_ = Waiting(views.reached)
        await waiting_.until(1, 4, 0)
        with pytest.raises(PositionAhead) as refused:
            await waiting_.until(1, 5, 0)
        assert refused.value.seen["reached"] == 4

    asyncio.run(work())
    assert views.looks == 2


def test_so_many_may_wait_and_who_gives_up_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound one is refused at once; nothing is kept of those who went away."""
    monkeypatch.setattr(waiting, "WAITERS_MAX", 3)
    views = Views()

    async def work() -> None:
        """Fill, be refused, make room."""
        waiting_ = Waiting(views.reached)
        tasks = [asyncio.create_task(waiting_.until(at, 5, 20)) for at in (1, 1, 2)]
        await asyncio.sleep(0.01)
        with pytest.raises(LedgerBusy):
            await waiting_.until(1, 5, 20)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        views.position = 5
        await waiting_.until(1, 5, 20)

    asyncio.run(work())


def test_a_look_that_fails_is_told_to_all_and_the_next_begins_anew() -> None:
    """A database that is away for a moment does not leave anybody waiting."""
    views = Views()
    views.failure = ConnectionError()

    async def work() -> None:
        """Fail, then succeed."""
        waiting_ = Waiting(views.reached)
        tasks = [waiting_.until(1, 5, 20) for _ in range(3)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(item) for item in found] == [ConnectionError] * 3
        views.failure, views.position = None, 5
        await waiting_.until(1, 5, 20)

    asyncio.run(work())
