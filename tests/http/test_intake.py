"""Between the loop and the writers: together there, together back, and nobody is forgotten."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from api.intake import Intake, Result
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Outcome, Submission
from ledger_core.writer import Item

EMPTY: list[Outcome] = []


def _nothing(_seconds: float) -> None:
    """Observe nothing."""


async def _turns(count: int = 3) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_arrives_in_one_turn_is_handed_over_together() -> None:
    """One hand-over a turn and ledger, in the order of arrival; each hears of its own outcome."""
    handed: list[tuple[int, list[str]]] = []
    observed: list[float] = []
    told: list[tuple[str, Result]] = []

    def submit_all(ledger_id: int, items: list[Item]) -> None:
        """Answer at once."""
        handed.append((ledger_id, [item.actor for item, _ in items]))
        for _, reply in items:
            assert reply.set_running_or_notify_cancel()
            reply.set_result(EMPTY)

    async def work() -> None:
        """Submit in two turns."""
        intake = Intake(submit_all, observed.append)
        for ledger_id, actor in ((1, "a"), (2, "b"), (1, "c")):
            intake.submit(
                ledger_id,
                Submission((), actor),
                lambda result, actor=actor: told.append((actor, result)),  # type: ignore[misc]
            )
        assert not handed
        await _turns()
        intake.submit(1, Submission((), "d"), lambda result: told.append(("d", result)))
        await _turns()

    asyncio.run(work())
    assert handed == [(1, ["a", "c"]), (2, ["b"]), (1, ["d"])]
    assert sorted(actor for actor, _ in told) == ["a", "b", "c", "d"]
    assert len(observed) == 4
    assert all(seconds >= 0 for seconds in observed)


def test_a_refusal_to_take_and_a_failure_reach_those_who_wait() -> None:
    """A stopping writer, a failed transaction, a listener that fails: all others hear."""
    told: list[Result] = []

    def submit_all(ledger_id: int, items: list[Item]) -> None:
        """Refuse one ledger, fail the other."""
        if ledger_id == 1:
            raise LedgerBusy(reason="stopping")
        for _, reply in items:
            reply.set_exception(KeyError())

    def fail(_result: Result) -> None:
        """Fail."""
        raise ValueError

    async def work() -> None:
        """Submit to both."""
        intake = Intake(submit_all, _nothing)
        intake.submit(2, Submission((), "a"), fail)
        for ledger_id in (1, 2):
            intake.submit(ledger_id, Submission((), "a"), told.append)
        await _turns()

    asyncio.run(work())
    assert sorted(type(result).__name__ for result in told) == ["KeyError", "LedgerBusy"]


def test_answers_from_other_threads_reach_everybody_once() -> None:
    """However the threads race with the loop."""
    told: list[int] = []

    async def work() -> None:
        """Submit again and again, answered by eight threads."""
        with ThreadPoolExecutor(8) as threads:

            def submit_all(_ledger_id: int, items: list[Item]) -> None:
                """Answer each in some thread."""
                for _, reply in items:
                    threads.submit(reply.set_result, EMPTY)

            intake = Intake(submit_all, _nothing)
            for number in range(2_000):
                while intake.refusal(1):  # noqa: ASYNC110 - told by the intake alone
                    await asyncio.sleep(0.001)
                intake.submit(
                    1,
                    Submission((), "a"),
                    lambda _, number=number: told.append(number),  # type: ignore[misc]
                )
                if number % 7 == 0:
                    await asyncio.sleep(0)
            async with asyncio.timeout(20):
                while len(told) < 2_000:  # noqa: ASYNC110 - told by the intake alone
                    await asyncio.sleep(0.001)

    asyncio.run(work())
    assert sorted(told) == list(range(2_000))


def test_an_answer_after_the_loops_end_harms_nobody() -> None:
    """A writer that finishes late must not fail; another loop is served anew."""
    held: list[Item] = []
    told: list[Result] = []
    intake = Intake(lambda _, items: held.extend(items), _nothing)

    async def work() -> None:
        """Submit, and do not wait for the answer."""
        intake.submit(1, Submission((), "a"), told.append)
        await _turns()

    asyncio.run(work())
    asyncio.run(work())
    assert len(held) == 2
    for _, reply in held:
        reply.set_result(EMPTY)
    assert not told
