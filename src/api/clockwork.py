"""The server's clockwork: what time alone brings about, without anybody's request.

Holds expire and limits come into force when they fall due: the ledger's writer records that before
it decides anything else, so all that is done here is to wake it. Standing orders are run for
today's date, in UTC: at the start, when the date changes, and every few minutes for those that were
ordered meanwhile. Everything may be done by several servers at once, or late, or twice: the ledger
sees to it that it counts once.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

import psycopg
import structlog

from api import business_day
from api.edge import frames_of
from api.runtime import Runtime
from ledger_core import log
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Submission
from ledger_core.log import Connection

ACTOR = "clock"
POLL_S = 0.25
# An order for today that is made today is run within this time.
ORDERS_EVERY = timedelta(minutes=5)
RETRY_S_MIN = 0.5
RETRY_S_MAX = 30.0

_DUE = (
    "SELECT DISTINCT p.ledger_id, p.position FROM views.projections p"
    " JOIN views.kept k ON k.ledger_id = p.ledger_id AND k.slot = p.slot"
    " WHERE p.name = 'kept' AND p.live AND k.due_at <= %s"
)

_log = structlog.get_logger("ledger.clockwork")


class Clockwork:
    """Two threads: one wakes writers when something is due, one runs standing orders."""

    def __init__(self, runtime: Runtime, *, runs_orders: bool) -> None:
        """Start; without ``runs_orders`` these wait for somebody to run a business day."""
        self._runtime = runtime
        self._stopping = threading.Event()
        # Ledger -> the position at which its writer was woken last.
        self._woken: dict[int, int] = {}
        self._day_run: date | None = None
        self._run_again_at: datetime | None = None
        works = [self._wake, self._run_orders] if runs_orders else [self._wake]
        self._threads = [
            threading.Thread(
                target=self._keep_doing, args=(work,), name=f"clock{work.__name__}", daemon=True
            )
            for work in works
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _keep_doing(self, work: Callable[[Connection], None]) -> None:
        """Do it again and again until stopped, whatever goes wrong; after a failure ever later."""
        retry_s = RETRY_S_MIN
        while not self._stopping.is_set():
            try:
                with self._runtime.connect("ledger_reader") as connection:
                    while not self._stopping.is_set():
                        work(connection)
                        retry_s = RETRY_S_MIN
                        self._stopping.wait(POLL_S)
            except Exception as error:  # noqa: BLE001 - time goes on; the server must not end
                _log_failure(work.__name__, error, retry_s)
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)

    def _wake(self, connection: Connection) -> None:
        """Have every ledger in which something is due record that."""
        due = connection.execute(_DUE, (self._runtime.now(),)).fetchall()
        # What a writer recorded when it was woken may not be in the views yet.
        asleep = [name for name, position in due if position >= self._woken.get(name, 0)]

        def wake(ledger_id: int) -> None:
            """Have one ledger record what is due."""
            self._runtime.submit(ledger_id, Submission((), ACTOR)).result()
            self._woken[ledger_id] = log.read_head(connection, ledger_id).position

        self._for_each(asleep, wake)

    def _run_orders(self, connection: Connection) -> None:
        """Run the business day of every ledger, if the date is another or it is time again."""
        now = self._runtime.now()
        if self._day_run == now.date() and self._run_again_at and now < self._run_again_at:
            return

        def run(ledger_id: int) -> None:
            """Run one ledger's day."""
            day = business_day.run(self._runtime, ledger_id, now.date(), ACTOR, self._stopping)
            if day.ran or day.refused:
                _log.info(
                    "standing orders run",
                    ledger_id=ledger_id,
                    business_date=day.business_date.isoformat(),
                    ran=day.ran,
                    refused=day.refused,
                )

        self._for_each([ledger_id for ledger_id, _ in log.ledgers(connection)], run)
        self._day_run, self._run_again_at = now.date(), now + ORDERS_EVERY

    def _for_each(self, ledger_ids: Sequence[int], work: Callable[[int], None]) -> None:
        """Do it for every ledger: one that is damaged does not stop the others.

        Raises:
            Exception: the first failure, once all others were served.
        """
        failures: list[Exception] = []
        for ledger_id in ledger_ids:
            if self._stopping.is_set():
                break
            try:
                work(ledger_id)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
        if failures:
            raise failures[0]


def _log_failure(work: str, error: Exception, retry_s: float) -> None:
    """Say what failed and where; the database or the ledger being away for a while is no bug."""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | LedgerBusy):
        _log.warning("clockwork waits", work=work, reason=type(error).__name__, retry_s=retry_s)
        return
    _log.error(
        "clockwork failed",
        work=work,
        error_type=type(error).__name__,
        frames=frames_of(error.__traceback__),
        retry_s=retry_s,
    )
