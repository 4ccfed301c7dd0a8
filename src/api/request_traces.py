"""The traces of a server's requests: what was noted becomes spans, and the projector is told.

One request is one trace here: its span, the wait for the writer, the transaction that took it (one
for many requests: the first has it in its trace, the others link to it), and the commit. For the
projector, which is another process, a row says which position belongs to which span.
"""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import psycopg
import structlog
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import SpanKind

from api.trace_sending import Place, SpanSender, Value
from api.trace_settings import TraceSettings
from api.tracing import Answered, Carried, CarriedOut, RequestSpan, Tracing, new_span_id
from ledger_core import database

if TYPE_CHECKING:
    from ledger_core.log import Connection

INTERVAL_S = 0.2
# Rows that no projector took by then are of nobody's interest: a projector is much sooner.
ROW_AGE_S = 120.0
# A database that does not answer is not waited for: rows of traces may be lost.
STATEMENT_S = 5.0
RETRY_S = 5.0
STOP_S = 2.0
# What a span may link to, as the library bounds it.
LINKS_MAX = 128
_SERVER_ERROR = 500
_SECOND_NS = 1_000_000_000

_INSERT = (
    "INSERT INTO traces.traced (ledger_id, position, traceparent, tracestate, committed_at)"
    " SELECT * FROM unnest(%s::integer[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[])"
    " ON CONFLICT DO NOTHING"
)
_PRUNE = "DELETE FROM traces.traced WHERE committed_at < %s"

_log = structlog.get_logger("ledger.traces")


class Row(msgspec.Struct, frozen=True):
    """A position that belongs to a trace."""

    ledger_id: int
    position: int
    traceparent: str
    tracestate: str | None
    committed_at: datetime


class RequestTraces:
    """The thread that makes a server's spans."""

    def __init__(
        self,
        settings: TraceSettings,
        tracing: Tracing,
        database_url: str,
        exporter: SpanExporter | None = None,
    ) -> None:
        """Start it; ``stop`` ends it."""
        self._tracing = tracing
        self._database_url = database_url
        self._connection: Connection | None = None
        self._retry_in = 0.0
        self._prune_in = 0.0
        self._sender = SpanSender(settings.endpoint, "server", tracing.drops, exporter)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Make and send what was noted, for some seconds at most; then end."""
        self._stopping.set()
        self._thread.join(STOP_S)
        self._sender.stop()
        self._tracing.exported = self._sender.sent

    def _run(self) -> None:
        """Take the notes, again and again."""
        while not self._stopping.wait(INTERVAL_S):
            self._work()
        self._work()
        if self._connection is not None:
            self._connection.close()

    def _work(self) -> None:
        """Make spans of all notes, and leave rows for the projector."""
        notes, rows = self._tracing.notes, []
        for _ in range(len(notes)):
            match notes.popleft():
                case Answered() as answered:
                    self._add_answered(answered)
                case CarriedOut() as carried_out:
                    rows += self._add_carried_out(carried_out)
        self._tracing.exported = self._sender.sent
        self._retry_in -= INTERVAL_S
        self._prune_in -= INTERVAL_S
        if rows:
            self._leave(rows)

    def _add_answered(self, note: Answered) -> None:
        """The span of a request, by OpenTelemetry's conventions for HTTP; without a path."""
        span = note.span
        attributes: dict[str, Value] = {
            "http.request.method": note.method if note.method != "-" else "_OTHER",
            "http.response.status_code": note.status,
            "http.route": note.route,
        }
        if note.ledger_id is not None:
            attributes["ledger.ledger_id"] = note.ledger_id
        if note.code is not None:
            attributes["ledger.refusal"] = note.code
        is_failed = note.status >= _SERVER_ERROR
        if is_failed:
            attributes["error.type"] = note.code or str(note.status)
        self._sender.add(
            f"{note.method} {note.route}",
            _place(span),
            _parent(span),
            begun_ns=span.begun_ns,
            ended_ns=note.ended_ns,
            kind=SpanKind.SERVER,
            attributes=attributes,
            failed=is_failed,
        )

    def _add_carried_out(self, note: CarriedOut) -> list[Row]:
        """The spans of a transaction in the traces of its requests; what the projector is told."""
        places = [_child(item.span) for item in note.carried]
        whole = places[0]
        others = [_place(item.span) for item in note.carried[1 : 1 + LINKS_MAX]]
        rows = []
        for item, place in zip(note.carried, places, strict=True):
            self._add_wait(item, note)
            self._sender.add(
                "ledger.append",
                place,
                _place(item.span),
                begun_ns=note.begun_ns,
                ended_ns=note.ended_ns,
                attributes=_of_transaction(note) | _of_request(item),
                links=others if place is whole else [whole],
            )
            if item.position is not None:
                rows.append(_row(note, item, place))
        self._sender.add(
            "ledger.commit",
            _child(note.carried[0].span),
            whole,
            begun_ns=note.committing_ns,
            ended_ns=note.ended_ns,
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": "postgresql", "ledger.ledger_id": note.ledger_id},
        )
        return rows

    def _add_wait(self, item: Carried, note: CarriedOut) -> None:
        """The wait for the writer."""
        span = item.span
        self._sender.add(
            "ledger.queue",
            _child(span),
            _place(span),
            begun_ns=span.submitted_ns,
            ended_ns=note.begun_ns,
            attributes={"ledger.ledger_id": note.ledger_id},
        )

    def _leave(self, rows: Sequence[Row]) -> None:
        """Tell the projector; where the database does not answer, these traces end here."""
        if self._retry_in > 0:
            return
        try:
            if self._connection is None:
                self._connection = database.connect(
                    self._database_url, "ledger_writer", timeout_s=STATEMENT_S
                )
            columns = zip(*(msgspec.structs.astuple(row) for row in rows), strict=True)
            self._connection.execute(_INSERT, [list(column) for column in columns])
            if self._prune_in <= 0:
                before = max(row.committed_at for row in rows) - timedelta(seconds=ROW_AGE_S)
                self._connection.execute(_PRUNE, (before,))
                self._prune_in = ROW_AGE_S
        except psycopg.Error as error:
            _log.warning("traces not handed on", reason=type(error).__name__)
            self._retry_in = RETRY_S
            if self._connection is not None:
                self._connection.close()
            self._connection = None


def time_of(ns: int) -> datetime:
    """The moment so many nanoseconds after 1970."""
    return datetime.fromtimestamp(ns / _SECOND_NS, UTC)


def _place(span: RequestSpan) -> Place:
    """Where the request's own span stands."""
    return Place(span.trace_id, span.span_id, span.tracestate)


def _child(span: RequestSpan) -> Place:
    """Where a new span of the request's trace stands."""
    return Place(span.trace_id, new_span_id(), span.tracestate)


def _parent(span: RequestSpan) -> Place | None:
    """Where the caller's span stands, if there is one."""
    if span.parent_id is None:
        return None
    return Place(span.trace_id, span.parent_id, span.tracestate)


def _of_transaction(note: CarriedOut) -> dict[str, Value]:
    """What the whole transaction was."""
    return {
        "ledger.ledger_id": note.ledger_id,
        "ledger.transaction.submissions": note.submissions,
        "ledger.transaction.commands": note.commands,
    }


def _of_request(item: Carried) -> dict[str, Value]:
    """What it came to for one request."""
    said: dict[str, Value] = {"ledger.commands": item.commands, "ledger.refused": item.refused}
    return said if item.position is None else said | {"ledger.position": item.position}


def _row(note: CarriedOut, item: Carried, place: Place) -> Row:
    """What the projector is told: its span belongs under the request's append."""
    traceparent = f"00-{item.span.trace_id}-{place.context.span_id:016x}-01"
    committed_at = time_of(note.ended_ns)
    return Row(note.ledger_id, item.position or 0, traceparent, item.span.tracestate, committed_at)
