"""What is ready is told a few at a time: in order, once, and others have their turn between."""

import asyncio

from api.telling import Telling

AT_ONCE = 3


async def _turn() -> None:
    """Let the loop turn once."""
    await asyncio.sleep(0)


def test_others_have_their_turn_before_the_rest_is_told() -> None:
    """So many in a turn at most, in the order in which they were put."""
    told: list[int] = []
    seen: list[int] = []

    async def work() -> None:
        """Put more than are told at once, and look at each turn how many were told."""
        telling = Telling(asyncio.get_running_loop(), told.append, AT_ONCE)
        telling.put(*range(8))
        assert not told
        assert not telling.is_done
        while not telling.is_done:
            await _turn()
            seen.append(len(told))
        telling.put(8)
        await _turn()

    asyncio.run(work())
    assert told == [*range(9)]
    assert all(now - before <= AT_ONCE for before, now in zip([0, *seen], seen, strict=False))


def test_one_who_cannot_be_told_keeps_nobody_else_waiting() -> None:
    """A listener that fails is logged, and the next is told in the same turn."""
    told: list[int] = []

    def tell(number: int) -> None:
        """Fail for one."""
        if number == 1:
            raise ValueError
        told.append(number)

    async def work() -> None:
        """Put all at once."""
        telling = Telling(asyncio.get_running_loop(), tell, AT_ONCE)
        telling.put(0, 1, 2)
        await _turn()
        await _turn()

    asyncio.run(work())
    assert told == [0, 2]


def test_what_is_put_while_others_are_told_is_told_too() -> None:
    """By the listeners themselves, beyond what one turn tells."""
    told: list[int] = []

    async def work() -> None:
        """Each but the last puts its successor."""
        telling: Telling[int]

        def tell(number: int) -> None:
            """Put the next."""
            told.append(number)
            if number < 10:
                telling.put(number + 1)

        telling = Telling(asyncio.get_running_loop(), tell, AT_ONCE)
        telling.put(0)
        async with asyncio.timeout(5):
            while len(told) <= 10:
                await _turn()

    asyncio.run(work())
    assert told == [*range(11)]


def test_nobody_is_told_after_the_loops_end() -> None:
    """A thread that is late fails at nothing."""
    told: list[int] = []

    async def begin() -> Telling[int]:
        """Make one, of a loop that ends."""
        return Telling(asyncio.get_running_loop(), told.append, AT_ONCE)

    telling = asyncio.run(begin())
    telling.put(1)
    assert telling.is_done
    assert not told
