"""The last part of a trace: the projector's batch that took in what the request recorded.

The server leaves a row for every traced position. Batches are remembered for a while, so that the
row may come after the batch. What another server's projector took is its own to tell; rows that
nobody took are deleted when they are old.
"""

import threading
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import psycopg
import structlog
from opentelemetry.sdk.trace.export import SpanExporter

from api import clock
from api.request_traces import RETRY_S, ROW_AGE_S, STATEMENT_S, Row
from api.trace_sending import Place, SpanSender
from api.trace_settings import TraceSettings
from api.tracing import Drops, new_span_id, parent_of
from ledger_core import database
from ledger_core.log import Connection
from projections.registry import PROJECTIONS
from projections.runner import Taken

INTERVAL_S = 0.25
# Some minutes of batches: at most 20 a second and ledger.
BATCHES_MAX = 5_000
ROWS_MAX = 5_000
STOP_S = 2.0
_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000_000_000

_READ = (
    "SELECT ledger_id, position, traceparent, tracestate, committed_at FROM traces.traced"
    " ORDER BY ledger_id, position LIMIT %s"
)
_DELETE = (
    "DELETE FROM traces.traced t USING unnest(%s::integer[], %s::bigint[]) AS d (ledger, place)"
    " WHERE t.ledger_id = d.ledger AND t.position = d.place"
)

_log = structlog.get_logger("ledger.traces")


class Batch(msgspec.Struct, frozen=True):
    """What some projections of a ledger took in together, and when."""

    ledger_id: int
    taken: Taken
    begun_ns: int
    ended_ns: int


class ProjectionTraces:
    """Watches the runner, and makes the projector's spans in a thread of its own."""

    def __init__(
        self, settings: TraceSettings, database_url: str, exporter: SpanExporter | None = None
    ) -> None:
        """Start the thread; ``stop`` ends it."""
        self._database_url = database_url
        self._connection: Connection | None = None
        self._begun_ns = 0
        self._batches: deque[Batch] = deque(maxlen=BATCHES_MAX)
        self._told: dict[tuple[int, int], set[str]] = {}
        self._sender = SpanSender(settings.endpoint, "projector", Drops(), exporter)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def begins(self) -> None:
        """A batch begins; called by the runner's thread."""
        self._begun_ns = clock.now_ns()

    def took(self, ledger_id: int, taken: Taken) -> None:
        """A batch was committed; called by the runner's thread."""
        self._batches.append(Batch(ledger_id, taken, self._begun_ns, clock.now_ns()))

    def stop(self) -> None:
        """Tell what is known, for some seconds at most; then end."""
        self._stopping.set()
        self._thread.join(STOP_S)
        self._sender.stop()

    def _run(self) -> None:
        """Look for rows, again and again; more rarely where the database does not answer."""
        pause_s = INTERVAL_S
        while not self._stopping.wait(pause_s):
            pause_s = INTERVAL_S if self._works() else RETRY_S
        self._works()
        if self._connection is not None:
            self._connection.close()

    def _works(self) -> bool:
        """Tell of the rows there are; whether the database answered."""
        try:
            if self._connection is None:
                self._connection = database.connect(
                    self._database_url, "ledger_projector", timeout_s=STATEMENT_S
                )
            # Before the rows: what comes in between is told of next time.
            batches = list(self._batches)
            rows = [Row(*row) for row in self._connection.execute(_READ, (ROWS_MAX,))]
            old = clock.now() - timedelta(seconds=ROW_AGE_S)
            done = [row for row in rows if self._is_done(row, batches, old)]
            if done:
                self._delete(self._connection, done)
        except psycopg.Error as error:
            _log.warning("traces wait", reason=type(error).__name__)
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return False
        return True

    def _is_done(self, row: Row, batches: Sequence[Batch], old: datetime) -> bool:
        """Tell of the batches that took a row's position; whether there is nothing more to tell."""
        told = self._told.setdefault((row.ledger_id, row.position), set())
        for batch in batches:
            taken = batch.taken
            if (
                batch.ledger_id == row.ledger_id
                and taken.first <= row.position <= taken.last
                and told.isdisjoint(taken.names)
            ):
                told.update(taken.names)
                self._add(row, batch)
        return len(told) >= len(PROJECTIONS) or row.committed_at < old

    def _delete(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Forget rows that are done."""
        connection.execute(
            _DELETE, ([row.ledger_id for row in rows], [row.position for row in rows])
        )
        for row in rows:
            self._told.pop((row.ledger_id, row.position), None)
        if len(self._told) > ROWS_MAX:  # Of rows that others deleted.
            self._told.clear()

    def _add(self, row: Row, batch: Batch) -> None:
        """The span of a batch in the trace of a request."""
        parent = parent_of([row.traceparent.encode()])
        if parent is None:
            return
        committed_ns = int(row.committed_at.timestamp() * _SECOND_NS)
        self._sender.add(
            "ledger.project",
            Place(parent.trace_id, new_span_id(), row.tracestate),
            Place(parent.trace_id, parent.span_id, row.tracestate),
            begun_ns=batch.begun_ns,
            ended_ns=batch.ended_ns,
            attributes={
                "ledger.ledger_id": row.ledger_id,
                "ledger.position": row.position,
                "ledger.lag_ms": max(0, batch.ended_ns - committed_ns) / _MILLISECOND_NS,
                "ledger.batch.first": batch.taken.first,
                "ledger.batch.last": batch.taken.last,
                "ledger.projections": len(batch.taken.names),
            },
        )
