"""Whether a server can do its work, found out in bounded time; and whether the views keep up.

One look at the database at a time, in a thread and on a connection of its own, serves all who ask:
a database that does not answer costs one thread, and who asks hears so within ``LOOK_S``. The same
look tells, once a second, how far the views are behind: where that is too far the ledger takes no
commands until half of it is caught up with.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import psycopg
import structlog

from api.intake import Intake
from api.problems import DATABASE_READ_ONLY, DATABASE_UNAVAILABLE, RETRY_AFTER_S, Kind, Problem
from api.reads import LOST
from api.self_audit_figures import LatestAudit, latest_audits
from api.standing import Standing, standings
from ledger_core.log import Connection

LOOK_S = 3.0
"""Less than who asks whether a server is ready usually waits."""
LAG_LOOK_S = 1.0
BEHIND = "projections_behind"

_T = TypeVar("_T")

_log = structlog.get_logger("ledger.serve")


class Look(msgspec.Struct, frozen=True):
    """What the database said: whether it can be written, and where everything stands."""

    is_read_only: bool
    standings: Sequence[Standing]
    audits: Sequence[LatestAudit]


class Readiness:
    """Looks at the database for those who ask; used by one event loop."""

    def __init__(
        self, connect: Callable[[], Connection], require_recordable: Callable[[], Awaitable[None]]
    ) -> None:
        """Look by connections of that kind, which give up what takes too long.

        ``require_recordable`` raises where a read could not be recorded.
        """
        self._connect = connect
        self._require_recordable = require_recordable
        self._recordable: asyncio.Future[None] | None = None
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._looking: asyncio.Future[Look] | None = None

    async def look(self) -> Look:
        """What the database says now.

        Raises:
            Problem: it cannot be reached, or does not answer in time.
        """
        looking = self._looking
        if looking is None or looking.done():
            loop = asyncio.get_running_loop()
            looking = self._looking = loop.run_in_executor(self._thread, self._look)
            looking.add_done_callback(_heard)
        try:
            return await in_time(asyncio.shield(looking))
        except psycopg.Error:
            raise _unavailable(DATABASE_UNAVAILABLE) from None

    async def require_writable(self) -> Look:
        """The database answers, can be written, and reads can be recorded.

        Raises:
            Problem: it cannot be reached, does not answer in time, or is read-only; or the access
                log cannot be written.
        """
        found = await self.look()
        if found.is_read_only:
            raise _unavailable(DATABASE_READ_ONLY)
        asking = self._recordable
        if asking is None or asking.done():
            asking = self._recordable = asyncio.ensure_future(self._require_recordable())
            asking.add_done_callback(_heard)
        await in_time(asyncio.shield(asking))
        return found

    def close(self) -> None:
        """Look no longer; a look under way is not waited for."""
        self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)

    def _look(self) -> Look:
        """Ask; a connection that was lost meanwhile is made anew, once."""
        if self._connection is not None:
            try:
                return _asked(self._connection)
            except LOST:
                self._disconnect()
        self._connection = self._connect()
        try:
            return _asked(self._connection)
        except psycopg.Error:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        """Let go of the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class LagWatch:
    """Closes a ledger to commands while its views are too far behind; hears of each look."""

    def __init__(self, intake: Intake, lag_events_max: int | None) -> None:
        """Every ledger is open; ``None``: they all stay so."""
        self._intake = intake
        self._most = lag_events_max

    async def run_forever(self, look: Callable[[], Awaitable[Look]]) -> None:
        """Look every second. What cannot be seen changes nothing: commands say themselves why."""
        while self._most is not None:
            try:
                self.note((await look()).standings)
            except Problem:
                pass
            except Exception as error:  # noqa: BLE001 - one bad look must not end the watch
                _log.error("lag not seen", error_type=type(error).__name__)
            await asyncio.sleep(LAG_LOOK_S)

    def note(self, found: Sequence[Standing]) -> None:
        """Close what is further behind than it may be, and open what is no more than half of it."""
        if self._most is None:
            return
        for at in found:
            lag = max((view.lag_events for view in at.projections.values()), default=0)
            is_closed = self._intake.closed.get(at.ledger_id) == BEHIND
            if not is_closed and lag > self._most:
                self._intake.close(at.ledger_id, BEHIND)
                _log.warning("commands refused", reason=BEHIND, ledger_id=at.ledger_id, lag=lag)
            elif is_closed and lag <= self._most // 2:
                self._intake.open(at.ledger_id)
                _log.info("commands taken again", ledger_id=at.ledger_id, lag=lag)


async def in_time(awaited: Awaitable[_T]) -> _T:
    """What is awaited, if it comes within ``LOOK_S``.

    Raises:
        Problem: it does not.
    """
    try:
        return await asyncio.wait_for(awaited, LOOK_S)
    except TimeoutError:
        raise _unavailable(DATABASE_UNAVAILABLE) from None


def _unavailable(kind: Kind) -> Problem:
    """The refusal, with the advice to come again."""
    return Problem(kind, headers=(("Retry-After", str(RETRY_AFTER_S)),))


def _asked(connection: Connection) -> Look:
    """What the database says on that connection, of one moment each."""
    row = connection.execute("SELECT current_setting('transaction_read_only')").fetchone()
    is_read_only = row is not None and row[0] == "on"
    return Look(is_read_only, standings(connection), latest_audits(connection))


def _heard(asked: "asyncio.Future[Any]") -> None:
    """Nobody may wait any more for what failed: that is no failure of its own."""
    if not asked.cancelled():
        asked.exception()
