"""Group commit: commands waiting at one moment are decided and appended in one transaction.

One thread owns the ledger's write side; any number of threads submit. The queue is bounded: what
does not fit is refused at once (``LedgerBusy``) instead of growing memory.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Outcome, Submission

# Beyond about 10,000 commands a transaction gains nothing and only delays the others' answers.
TRANSACTION_COMMANDS_MAX = 10_000
# Two of the largest batches plus a thousand single commands may wait.
QUEUE_COMMANDS_MAX = 250_000

Execute = Callable[[Sequence[Submission]], list[list[Outcome]]]


class Writer:
    """The thread that carries out submissions, as many as are waiting at a time."""

    def __init__(self, execute: Execute, close: Callable[[], None], name: str) -> None:
        """Start the thread; ``execute`` and ``close`` are called by it alone."""
        self._execute = execute
        self._close = close
        self._waiting: deque[tuple[Submission, Future[list[Outcome]]]] = deque()
        self._commands_waiting = 0
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
        size = len(submission.commands)
        with self._has_work:
            is_full = self._waiting and self._commands_waiting + size > QUEUE_COMMANDS_MAX
            if is_full or self._is_stopping:
                raise LedgerBusy(reason="stopping" if self._is_stopping else "queue_full")
            self._waiting.append((submission, future))
            self._commands_waiting += size
            self._has_work.notify()
        return future

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

    def _carry_out(self, group: list[tuple[Submission, Future[list[Outcome]]]]) -> bool:
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
            for _, future in group:
                future.set_exception(error)
            return True
        for (_, future), outcomes in zip(group, results, strict=True):
            future.set_result(outcomes)
        return True

    def _next_group(self) -> list[tuple[Submission, Future[list[Outcome]]]]:
        """Wait for work; then as many submissions as one transaction takes. Empty: stop."""
        with self._has_work:
            group: list[tuple[Submission, Future[list[Outcome]]]] = []
            while not group:
                while not self._waiting and not self._is_stopping:
                    self._has_work.wait()
                if not self._waiting:
                    break
                self._take(group)
            return group

    def _take(self, group: list[tuple[Submission, Future[list[Outcome]]]]) -> None:
        """Move what waits into the group, except what its caller gave up on meanwhile."""
        size = 0
        while self._waiting:
            submission, future = self._waiting[0]
            if group and size + len(submission.commands) > TRANSACTION_COMMANDS_MAX:
                return
            self._waiting.popleft()
            self._commands_waiting -= len(submission.commands)
            # From here on the caller can no longer cancel the future.
            if future.set_running_or_notify_cancel():
                group.append((submission, future))
                size += len(submission.commands)
