"""Between the event loop and the writers' threads: one hand-over a turn of the loop, each way.

What arrives in one turn goes to the writer together, so that it is one transaction and wakes the
thread once; what one transaction answers wakes the loop once. A hand-over costs as much as the
command itself: a lock, a system call and the wait for the interpreter.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Outcome, Submission
from ledger_core.writer import Item

Result = list[Outcome] | BaseException
Then = Callable[[Result], None]

_log = structlog.get_logger("ledger.intake")


class Intake:
    """Takes submissions on the event loop; used by that alone."""

    def __init__(
        self, submit_all: Callable[[int, list[Item]], None], observe: Callable[[float], None]
    ) -> None:
        """Hand over by ``submit_all``; ``observe`` is told how many seconds each took."""
        self._submit_all = submit_all
        self._observe = observe
        self._waiting: dict[int, list[Item]] = {}
        self._returns: _Returns | None = None

    def submit(self, ledger_id: int, submission: Submission, then: Then) -> None:
        """Have it carried out; ``then`` is told on this loop, once the outcomes are durable."""
        loop = asyncio.get_running_loop()
        returns = self._returns
        if returns is None or returns.loop is not loop:
            returns = self._returns = _Returns(loop, self._observe)
            self._waiting = {}
        waiting = self._waiting.get(ledger_id)
        if waiting is None:
            if not self._waiting:
                loop.call_soon(self._hand_over)
            waiting = self._waiting[ledger_id] = []
        waiting.append((submission, _Reply(returns, then)))

    def _hand_over(self) -> None:
        """Give the writers what arrived in this turn."""
        arrived, self._waiting = self._waiting, {}
        for ledger_id, items in arrived.items():
            try:
                self._submit_all(ledger_id, items)
            except LedgerBusy as error:
                for _, reply in items:
                    reply.set_exception(error)


class _Returns:
    """What the writers answered and the loop has not been told yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop, observe: Callable[[float], None]) -> None:
        """Nothing yet."""
        self.loop = loop
        self._observe = observe
        self._told: deque[tuple[_Reply, Result]] = deque()
        self._is_called = False

    def put(self, reply: "_Reply", result: Result) -> None:
        """Have the loop told, from any thread."""
        self._told.append((reply, result))
        if not self._is_called:
            self._is_called = True
            try:
                self.loop.call_soon_threadsafe(self._tell)
            except RuntimeError:  # The loop has ended: nobody waits any more.
                self._told.clear()

    def _tell(self) -> None:
        """Tell whoever waits."""
        # Before the first is taken: what comes later calls again.
        self._is_called = False
        now_s = self.loop.time()
        while self._told:
            reply, result = self._told.popleft()
            if not isinstance(result, BaseException):
                self._observe(now_s - reply.submitted_at_s)
            try:
                reply.then(result)
            except Exception as error:  # noqa: BLE001 - the others must hear all the same
                _log.error("failure", error_type=type(error).__name__)


class _Reply:
    """Takes the outcomes in the writer's thread."""

    __slots__ = ("_returns", "submitted_at_s", "then")

    def __init__(self, returns: _Returns, then: Then) -> None:
        """Remember when it began."""
        self._returns = returns
        self.then = then
        self.submitted_at_s = returns.loop.time()

    def set_running_or_notify_cancel(self) -> bool:
        """Nobody gives up: a caller who goes away must not cancel what was asked for."""
        return True

    def set_result(self, result: list[Outcome], /) -> None:
        """Pass the outcomes on."""
        self._returns.put(self, result)

    def set_exception(self, exception: BaseException, /) -> None:
        """Pass the failure on."""
        self._returns.put(self, exception)
