"""Between the event loop and the writers' threads: one hand-over a turn of the loop, each way.

What arrives in one turn goes to the writer together, so that it is one transaction and wakes the
thread once; what one transaction answers wakes the loop once. A hand-over costs as much as the
command itself: a lock, a system call and the wait for the interpreter. What could not be answered
in time is refused here, before anything waits for it (``api.admission``).
"""

import asyncio
from collections.abc import Callable, Mapping

from api import admission
from api.admission import Room, Rooms
from api.telling import Telling
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Outcome, Submission
from ledger_core.writer import Item

Result = list[Outcome] | BaseException
Then = Callable[[Result], None]

QUEUE_S = 0.25
"""How long a command waits for its answer, as far as is in the hands of this server."""
BATCH_FROM = 101
"""Of so many commands on, a submission is a batch: who sends it expects to wait."""
_TOLD_AT_ONCE = 100
"""In a turn of the loop (``api.telling``); fewer would cost more turns, more make them longer."""


class Intake:
    """Takes submissions on the event loop; used by that alone."""

    def __init__(
        self,
        submit_all: Callable[[int, list[Item]], None],
        observe: Callable[[float], None],
        queue_s: float = QUEUE_S,
    ) -> None:
        """Hand over by ``submit_all``; ``observe`` is told how many seconds each took.

        What would be answered later than ``queue_s`` after it came is refused; batches, which come
        many commands at a time, may take longer.
        """
        self._submit_all = submit_all
        self._observe = observe
        self.singles = Rooms(admission.singles(queue_s))
        self.batches = Rooms(admission.batches(queue_s))
        # Ledgers that take no commands now, and why.
        self._closed: dict[int, str] = {}
        self._waiting: dict[int, list[Item]] = {}
        self._telling: Telling[_Answered] | None = None

    def close(self, ledger_id: int, reason: str) -> None:
        """Take no commands of the ledger until it is opened again."""
        self._closed[ledger_id] = reason

    def open(self, ledger_id: int) -> None:
        """Take the ledger's commands again."""
        self._closed.pop(ledger_id, None)

    @property
    def closed(self) -> Mapping[int, str]:
        """The ledgers that take no commands now, and why."""
        return self._closed

    def refusal(self, ledger_id: int) -> str | None:
        """Why a single command of the ledger would be refused now, if it would be."""
        if self._closed and (reason := self._closed.get(ledger_id)) is not None:
            return reason
        return "queue_full" if self.singles.is_full(ledger_id) else None

    def require_room_for_batch(self, ledger_id: int) -> None:
        """Look, before a batch is read, whether one would be taken.

        Raises:
            LedgerBusy: it would not.
        """
        if ledger_id in self._closed:
            raise LedgerBusy(reason=self._closed[ledger_id])
        if self.batches.is_full(ledger_id):
            raise LedgerBusy(reason="queue_full")

    def submit(self, ledger_id: int, submission: Submission, then: Then) -> None:
        """Have it carried out; ``then`` is told on this loop, once the outcomes are durable.

        Raises:
            LedgerBusy: it would not be answered in time, or the ledger takes no commands now.
        """
        if self._closed and ledger_id in self._closed:
            raise LedgerBusy(reason=self._closed[ledger_id])
        telling = self._telling
        if telling is None or not telling.loop.is_running():
            loop = asyncio.get_running_loop()
            telling = self._telling = Telling(loop, self._tell, _TOLD_AT_ONCE)
            self._waiting = {}
            self.singles, self.batches = self.singles.emptied(), self.batches.emptied()
        size = len(submission.commands) or 1
        room = (self.singles if size < BATCH_FROM else self.batches).of(ledger_id)
        among = room.begin(size)
        waiting = self._waiting.get(ledger_id)
        if waiting is None:
            if not self._waiting:
                telling.loop.call_soon(self._hand_over)
            waiting = self._waiting[ledger_id] = []
        waiting.append((submission, _Reply(telling, then, room, size, among)))

    def _hand_over(self) -> None:
        """Give the writers what arrived in this turn."""
        arrived, self._waiting = self._waiting, {}
        for ledger_id, items in arrived.items():
            try:
                self._submit_all(ledger_id, items)
            except Exception as error:  # noqa: BLE001 - each of those who wait must hear of it
                for _, reply in items:
                    reply.set_exception(error)

    def _tell(self, answered: "_Answered") -> None:
        """Tell whoever waits."""
        reply, result = answered
        reply.room.end(reply.size)
        if not isinstance(result, BaseException):
            seconds = reply.telling.loop.time() - reply.submitted_at_s
            self._observe(seconds)
            if reply.telling.is_done:  # All were answered that were under way when it came.
                reply.room.learn(reply.among, seconds)
        reply.then(result)


class _Reply:
    """Takes the outcomes in the writer's thread."""

    __slots__ = ("among", "room", "size", "submitted_at_s", "telling", "then")

    def __init__(
        self, telling: "Telling[_Answered]", then: Then, room: Room, size: int, among: int
    ) -> None:
        """Remember when it began, and among how many commands under way."""
        self.telling = telling
        self.then = then
        self.room = room
        self.size = size
        self.among = among
        self.submitted_at_s = telling.loop.time()

    def set_running_or_notify_cancel(self) -> bool:
        """Nobody gives up: a caller who goes away must not cancel what was asked for."""
        return True

    def set_result(self, result: list[Outcome], /) -> None:
        """Pass the outcomes on."""
        self.telling.put((self, result))

    def set_exception(self, exception: BaseException, /) -> None:
        """Pass the failure on."""
        self.telling.put((self, exception))


_Answered = tuple[_Reply, Result]
