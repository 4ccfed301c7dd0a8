"""Recording reads before they are answered: those of one moment share a transaction.

No answer about a customer or an account goes out before its access is durable. What makes that
cheap is what makes single commands cheap: the accesses that wait at one moment are written by one
transaction, and while it is under way the next ones gather. Where an access cannot be recorded the
read is refused: better no answer than one that nobody will know of.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain

import psycopg
import structlog

from api.problems import RETRY_AFTER_S, Kind, Problem
from ledger_core.access_log import AccessWriter, NewAccess
from ledger_core.database import LOST
from ledger_core.errors import LedgerBusy, LedgerNotFound
from ledger_core.log import Connection

UNAVAILABLE = Kind(
    503,
    "access_log_unavailable",
    "Reads are refused while the access log cannot be written: try again.",
)
# Each waits with a connection of its own, and for milliseconds: so many are a server that stands.
WAITING_MAX = 10_000
# As many as one statement writes in a few milliseconds.
GROUP_MAX = 500
# How long the access to a balance that shows no customer may be put off: it shares its transaction
# with the reads of that time, and is lost if this process is killed meanwhile. With the transaction
# itself that is 50 ms.
PUT_OFF_S = 0.04
# Accesses of one ledger are written one transaction after the other, which take milliseconds.
LOCK_TIMEOUT_S = 5

_log = structlog.get_logger("ledger.accesses")

Place = tuple[int, NewAccess]


class Recorder:
    """Writes accesses on a connection of its own; used by one thread."""

    def __init__(self, connect: Callable[[], Connection], now: Callable[[], datetime]) -> None:
        """Connect when first needed, as ``ledger_writer``."""
        self._connect = connect
        self._now = now
        self._connection: Connection | None = None
        self._writer: AccessWriter | None = None
        self._put_off: list[Place] = []
        self._since_s = 0.0

    def record(self, accesses: Iterable[Place]) -> None:
        """Have accesses durable, each in its ledger's log, and those that were put off before them.

        A connection that was lost meanwhile is made anew, once: an access that was in its commit
        just then may stand in the log twice, with one request id.

        Raises:
            Problem: they could not be recorded; what was put off still is.
        """
        by_ledger: dict[int, list[NewAccess]] = {}
        for ledger_id, access in chain(self._put_off, accesses):
            by_ledger.setdefault(ledger_id, []).append(access)
        try:
            for ledger_id, some in by_ledger.items():
                self._append(ledger_id, some)
                self._put_off = [place for place in self._put_off if place[0] != ledger_id]
        except (psycopg.Error, ValueError, LedgerNotFound) as error:
            self.close()
            raise _unavailable(error) from None

    def record_soon(self, accesses: Sequence[Place], now_s: float) -> None:
        """Put accesses off: they are recorded with the next, at the latest after ``PUT_OFF_S``.

        Who calls this sees to it that ``record`` is called by then. ``now_s`` never runs backwards.

        Raises:
            Problem: those that were put off before could not be recorded in time.
        """
        if self._put_off and (now_s - self._since_s >= PUT_OFF_S or self._is_full(accesses)):
            self.record(accesses)
            return
        if not self._put_off:
            self._since_s = now_s
        self._put_off += accesses

    @property
    def puts_off(self) -> bool:
        """Whether something waits to be recorded."""
        return bool(self._put_off)

    def require_writable(self) -> None:
        """What is recorded next can be written, as far as one can know.

        Raises:
            Problem: it cannot.
        """
        try:
            try:
                self._connected().require_writable()
            except LOST:
                self.close()
                self._connected().require_writable()
        except psycopg.Error as error:
            self.close()
            raise _unavailable(error) from None

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = self._writer = None

    def _is_full(self, accesses: Sequence[Place]) -> bool:
        """Whether these are too many to be put off with the others."""
        return len(self._put_off) + len(accesses) > GROUP_MAX

    def _append(self, ledger_id: int, accesses: Sequence[NewAccess]) -> None:
        """Write one ledger's accesses."""
        was_connected = self._writer is not None
        try:
            self._connected().append(ledger_id, self._now(), accesses)
        except LOST:
            if not was_connected:
                raise
            self.close()
            self._connected().append(ledger_id, self._now(), accesses)

    def _connected(self) -> AccessWriter:
        """The writer on the connection, made where there is none."""
        if self._writer is None:
            self._connection = self._connect()
            self._connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'".encode())
            self._writer = AccessWriter(self._connection)
        return self._writer


class Accesses:
    """Takes accesses on the event loop, and writes them in a thread of its own."""

    def __init__(self, connect: Callable[[], Connection], now: Callable[[], datetime]) -> None:
        """Write by connections of that kind, by that clock."""
        self._connect = connect
        self._now = now
        self._recorder = self.recorder()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="accesses")
        self._waiting: list[tuple[Place, asyncio.Future[None]]] = []
        self._serving: asyncio.Task[None] | None = None

    def recorder(self) -> Recorder:
        """One for a thread that records what it reads by itself."""
        return Recorder(self._connect, self._now)

    async def record(self, ledger_id: int, access: NewAccess) -> None:
        """Wait until an access is durable.

        Raises:
            LedgerBusy: too many wait already.
            Problem: it could not be recorded.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise LedgerBusy
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(((ledger_id, access), future))
        if self._serving is None:
            self._serving = loop.create_task(self._serve())
        await future

    async def require_writable(self) -> None:
        """The access log can be written, as far as one can know.

        Raises:
            Problem: it cannot.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._recorder.require_writable)

    def close(self) -> None:
        """Wait for the group under way, and close the connection."""
        self._thread.shutdown()
        self._recorder.close()

    async def _serve(self) -> None:
        """Write one group after the other until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._waiting[:GROUP_MAX]
            del self._waiting[:GROUP_MAX]
            failure: Exception | None = None
            try:
                await loop.run_in_executor(
                    self._thread, self._recorder.record, [place for place, _ in group]
                )
            except Exception as error:  # noqa: BLE001 - it is told to each of those who wait
                failure = error
            for _, future in group:
                if future.done():
                    continue
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)
        self._serving = None


def _unavailable(error: Exception) -> Problem:
    """The refusal of a read that cannot be recorded; the log names the error's type only."""
    _log.error("access log unavailable", error_type=type(error).__name__)
    return Problem(UNAVAILABLE, headers=(("Retry-After", str(RETRY_AFTER_S)),))
