"""What an operator watches of the database and the views, in Prometheus' text format.

One look at a time, in a thread and on a connection of its own, bounded in time: a database that
does not answer costs one thread, and whoever asks for figures gets those of the last look, with
``ledger_database_up 0``. Figures of ledgers are bounded: so many ledgers, the oldest.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.alarm_figures import AlarmFigures
from api.self_audit_figures import LatestAudit, SelfAuditFigures, latest_audits
from ledger_core.log import Connection
from projections import alarm_queries

# Prometheus gives up after 10 s by default, and asks every 15 s.
LOOK_S = 3.0
# Each has a dozen figures a projection; who has more ledgers watches the others by their servers.
LEDGERS_MAX = 200
CURRENCIES_MAX = 1_000

_LEDGERS = f"SELECT ledger_id FROM ledger.ledgers ORDER BY ledger_id LIMIT {LEDGERS_MAX}"  # noqa: S608 - our own text
_HEADS = f"SELECT h.ledger_id, h.position FROM ledger.heads h WHERE h.ledger_id IN ({_LEDGERS})"  # noqa: S608 - our own text
_LAGS = (
    "SELECT p.ledger_id, p.name, greatest(h.position - p.position, 0), e.recorded_at"  # noqa: S608 - our own text
    " FROM views.projections p JOIN ledger.heads h ON h.ledger_id = p.ledger_id"
    " LEFT JOIN ledger.events e ON e.ledger_id = p.ledger_id AND e.position = p.position + 1"
    f" WHERE p.live AND p.ledger_id IN ({_LEDGERS}) ORDER BY p.ledger_id, p.name"
)
# Those that differ first, should there be more currencies than are shown.
_DIFFERENCES = (
    "SELECT t.ledger_id, t.currency,"  # noqa: S608 - our own text
    " sum(t.debits_posted_minor) - sum(t.credits_posted_minor) AS difference"
    " FROM views.trial_balance t JOIN views.projections p ON p.ledger_id = t.ledger_id"
    " AND p.slot = t.slot AND p.live AND p.name = 'trial_balance'"
    f" WHERE t.ledger_id IN ({_LEDGERS}) GROUP BY t.ledger_id, t.currency"
    f" ORDER BY abs(sum(t.debits_posted_minor) - sum(t.credits_posted_minor)) DESC, 1, 2"
    f" LIMIT {CURRENCIES_MAX}"
)
_SERVER = (
    "SELECT (SELECT count(*) FROM ledger.ledgers),"
    " (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()),"
    " current_setting('max_connections')::int,"
    " current_setting('transaction_read_only') = 'on',"
    " current_setting('synchronous_standby_names') <> '',"
    " (SELECT count(*) FROM pg_stat_replication)"
)


class Lag(msgspec.Struct, frozen=True):
    """How many events a projection lacks, and when the oldest of them was recorded."""

    ledger_id: int
    projection: str
    events: int
    since: datetime | None


class Server(msgspec.Struct, frozen=True):
    """What PostgreSQL says of itself; ``standbys`` are those that are connected now."""

    ledgers: int
    connections: int
    connections_max: int
    is_read_only: bool
    is_synchronous: bool
    standbys: int


class Seen(msgspec.Struct, frozen=True):
    """What one look at the database found."""

    at: datetime
    server: Server
    heads: Sequence[tuple[int, int]]
    lags: Sequence[Lag]
    differences: Sequence[tuple[int, str, int]]
    audits: Sequence[LatestAudit]
    alarms: "Sequence[alarm_queries.AlarmCount]"


class DatabaseFigures(Collector):
    """The newest look, as the library asks for it; used by one event loop."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        now: Callable[[], datetime],
        audits: SelfAuditFigures,
        alarms: AlarmFigures,
    ) -> None:
        """Nothing was seen yet; ``connect`` gives up what takes too long."""
        self._connect = connect
        self._now = now
        self._audits = audits
        self._alarms = alarms
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="figures")
        self._looking: asyncio.Future[Seen] | None = None
        self._seen: Seen | None = None
        self._is_up = False

    async def look(self) -> None:
        """Look again, in bounded time; where that fails, what was seen before stays."""
        looking = self._looking
        if looking is None or looking.done():
            loop = asyncio.get_running_loop()
            looking = self._looking = loop.run_in_executor(self._thread, self._look)
            looking.add_done_callback(_heard)
        self._is_up = False
        try:
            seen = self._seen = await asyncio.wait_for(asyncio.shield(looking), LOOK_S)
        except (psycopg.Error, TimeoutError):
            return
        self._is_up = not seen.server.is_read_only
        self._audits.latest, self._alarms.counts = seen.audits, seen.alarms

    def close(self) -> None:
        """Look no longer; a look under way is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._looking is None or self._looking.done():
            self._disconnect()

    def collect(self) -> Iterable[Metric]:
        """The figures of the newest look."""
        up = GaugeMetricFamily(
            "ledger_database_up", "1 where the database answered just now, and can be written."
        )
        up.add_metric((), self._is_up)
        seen = self._seen
        return (up, *_of_server(seen), *_of_ledgers(seen, self._now()))

    def _look(self) -> Seen:
        """Ask on the connection there is, else on a new one."""
        try:
            if self._connection is not None and not self._connection.closed:
                try:
                    return self._asked(self._connection)
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    self._disconnect()
            self._connection = self._connect()
            return self._asked(self._connection)
        except psycopg.Error:
            self._disconnect()
            raise

    def _asked(self, connection: Connection) -> Seen:
        """What the database says, of one moment for all ledgers."""
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            server = connection.execute(_SERVER).fetchone()
            assert server is not None  # noqa: S101 - one row, always
            return Seen(
                self._now(),
                Server(*server),
                connection.execute(_HEADS.encode()).fetchall(),
                [Lag(*row) for row in connection.execute(_LAGS.encode())],
                connection.execute(_DIFFERENCES.encode()).fetchall(),
                latest_audits(connection),
                alarm_queries.counts(connection),
            )

    def _disconnect(self) -> None:
        """Let go of the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _of_server(seen: Seen | None) -> Iterable[Metric]:
    """The figures of PostgreSQL itself."""
    at = GaugeMetricFamily(
        "ledger_figures_read_seconds",
        "When the figures of the database were read, since 1970: older where it does not answer.",
    )
    connections = GaugeMetricFamily(
        "ledger_database_connections", "Connections to the database, of whomever."
    )
    most = GaugeMetricFamily("ledger_database_connections_max", "How many the server allows.")
    synchronous = GaugeMetricFamily(
        "ledger_database_synchronous",
        "1 where a commit waits for a standby (synchronous_standby_names).",
    )
    standbys = GaugeMetricFamily(
        "ledger_database_standbys", "Standbys and receivers of backups that are connected."
    )
    ledgers = GaugeMetricFamily(
        "ledger_ledgers", f"Ledgers of the database; figures are shown of up to {LEDGERS_MAX}."
    )
    if seen is not None:
        at.add_metric((), seen.at.timestamp())
        connections.add_metric((), seen.server.connections)
        most.add_metric((), seen.server.connections_max)
        synchronous.add_metric((), seen.server.is_synchronous)
        standbys.add_metric((), seen.server.standbys)
        ledgers.add_metric((), seen.server.ledgers)
    return (at, connections, most, synchronous, standbys, ledgers)


def _of_ledgers(seen: Seen | None, now: datetime) -> Iterable[Metric]:
    """The figures of each ledger; what waits grows older also while nobody can look."""
    head = GaugeMetricFamily(
        "ledger_head_position", "Last position of the log.", labels=("ledger_id",)
    )
    labels = ("ledger_id", "projection")
    events = GaugeMetricFamily(
        "ledger_projection_lag_events",
        "Events that a projection has not taken in yet.",
        labels=labels,
    )
    seconds = GaugeMetricFamily(
        "ledger_projection_lag_seconds",
        "Age of the oldest event that a projection has not taken in yet; 0 where there is none.",
        labels=labels,
    )
    difference = GaugeMetricFamily(
        "ledger_trial_balance_difference_minor",
        "Debits minus credits of the trial balance, in minor units: never other than 0.",
        labels=("ledger_id", "currency"),
    )
    if seen is not None:
        for ledger_id, position in seen.heads:
            head.add_metric((str(ledger_id),), position)
        for lag in seen.lags:
            where = (str(lag.ledger_id), lag.projection)
            age_s = 0.0 if lag.since is None else max(0.0, (now - lag.since).total_seconds())
            events.add_metric(where, lag.events)
            seconds.add_metric(where, age_s)
        for ledger_id, currency, minor in seen.differences:
            difference.add_metric((str(ledger_id), currency), float(minor))
    return (head, events, seconds, difference)


def _heard(asked: "asyncio.Future[Any]") -> None:
    """Nobody may wait any more for what failed: that is no failure of its own."""
    if not asked.cancelled():
        asked.exception()
