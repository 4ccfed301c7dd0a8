"""Group commit: commands waiting at one moment are decided and appended in one transaction.

One thread owns the ledger's write side; any number of threads submit. The queue is bounded: what
does not fit is refused at once (``LedgerBusy``) instead of growing memory.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Protocol

from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Outcome, Submission

# Beyond about 10,000 commands a transaction gains nothing and only delays the others' answers.
TRANSACTION_COMMANDS_MAX = 10_000
# Callers who were answered together come back one after another, and a transaction for the first
# of them costs as much as one for all: up to this long it is waited for half of them.
GATHER_S = 0.002
# Two of the largest batches plus a thousand single commands may wait.
QUEUE_COMMANDS_MAX = 250_000

Execute = Callable[[Sequence[Submission]], list[list[Outcome]]]


class Reply(Protocol):
    """Where a submission's outcomes go, told by the writer's thread: a ``Future``, or less."""

    def set_running_or_notify_cancel(self) -> bool:
        """Whether somebody still waits; from now on nobody can give up."""

    def set_result(self, result: list[Outcome], /) -> None:
        """Take the outcomes, which are durable."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Take what failed."""


Item = tuple[Submission, Reply]


class Writer:
    """The thread that carries out submissions, as many as are waiting at a time."""

    def __init__(self, execute: Execute, close: Callable[[], None], name: str) -> None:
        """Start the thread; ``execute`` and ``close`` are called by it alone."""
        self._execute = execute
        self._close = close
        self._waiting: deque[Item] = deque()
        self._commands_waiting = 0
        self._last_size = 0
        self._has_work = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)
        self._thread.start()

    def submit(self, submission: Submission) -> Future[list[Outcome]]:
        """Queue a submission; the future's result is durable when it arrives.

        Raises:
            LedgerBusy: the queue is full, or the writer is stopping.
        """
        future: Future[list[Outcome]] = Future()
        with self._has_work:
            self._require_working()
            if not self._queue((submission, future)):
                raise LedgerBusy(reason="queue_full")
            self._has_work.notify()
        return future

    def submit_all(self, items: Iterable[Item]) -> None:
        """Queue submissions that came together, so that one transaction can take them together.

        Raises:
            LedgerBusy: the writer is stopping. Whatever finds the queue full is told so itself.
        """
        with self._has_work:
            self._require_working()
            refused = [item for item in items if not self._queue(item)]
            self._has_work.notify()
        for _, reply in refused:
            reply.set_exception(LedgerBusy(reason="queue_full"))

    @property
    def commands_waiting(self) -> int:
        """How many commands are queued and not yet being carried out."""
        return self._commands_waiting

    @property
    def is_running(self) -> bool:
        """Whether submissions are being carried out."""
        return self._thread.is_alive() and not self._is_stopping

    def stop(self) -> None:
        """Carry out what is queued, then end the thread."""
        with self._has_work:
            self._is_stopping = True
            self._has_work.notify()
        self._thread.join()

    def _require_working(self) -> None:
        """The writer still takes submissions.

        Raises:
            LedgerBusy: it is stopping.
        """
        if self._is_stopping:
            raise LedgerBusy(reason="stopping")

    def _queue(self, item: Item) -> bool:
        """Queue a submission, if there is room; a single one of any size always has room."""
        size = len(item[0].commands)
        if self._waiting and self._commands_waiting + size > QUEUE_COMMANDS_MAX:
            return False
        self._waiting.append(item)
        self._commands_waiting += size
        return True

    def _run(self) -> None:
        """Take what waits, carry it out, answer; until stopped and empty."""
        while True:
            group = self._next_group()
            if not group:
                self._close()
                return
            if not self._carry_out(group):
                # Nothing was recorded. One submission's fault is not the others' loss.
                for item in group:
                    self._carry_out([item])

    def _carry_out(self, group: list[Item]) -> bool:
        """Carry out in one transaction and answer; whether everybody has an answer."""
        try:
            results = self._execute([submission for submission, _ in group])
        except BaseException as error:  # noqa: BLE001 - every waiting caller must hear of it
            if (
                len(group) > 1
                and isinstance(error, Exception)
                and not isinstance(error, LedgerBusy)
            ):
                return False
            for _, reply in group:
                reply.set_exception(error)
            return True
        for (_, reply), outcomes in zip(group, results, strict=True):
            reply.set_result(outcomes)
        return True

    def _next_group(self) -> list[Item]:
        """Wait for work; then as many submissions as one transaction takes. Empty: stop."""
        with self._has_work:
            group: list[Item] = []
            while not group:
                while not self._waiting and not self._is_stopping:
                    self._has_work.wait()
                if not self._waiting:
                    break
                self._has_work.wait_for(self._is_enough, GATHER_S)
                self._take(group)
            self._last_size = len(group)
            return group

    def _is_enough(self) -> bool:
        """Whether it is time to begin: half of those who were answered last have come back."""
        return 2 * len(self._waiting) >= self._last_size or self._is_stopping

    def _take(self, group: list[Item]) -> None:
        """Move what waits into the group, except what its caller gave up on meanwhile."""
        size = 0
        while self._waiting:
            submission, reply = self._waiting[0]
            if group and size + len(submission.commands) > TRANSACTION_COMMANDS_MAX:
                return
            self._waiting.popleft()
            self._commands_waiting -= len(submission.commands)
            # From here on the caller can no longer cancel.
            if reply.set_running_or_notify_cancel():
                group.append((submission, reply))
                size += len(submission.commands)
