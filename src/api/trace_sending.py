"""Spans, made and sent by OpenTelemetry's library, in threads of their own.

Nobody waits for this: notes and spans wait in bounded queues, what does not fit or cannot be sent
is dropped and counted, and an end waits some seconds at most. Imported only where there are traces.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from api.tracing import Drops
from api.version import program_version

# Spans that wait to be sent, some 10 MB; and how many one request to the collector has.
SPANS_MAX = 10_000
SPANS_AT_ONCE = 1_000
# How long a span may wait for others to be sent with.
SEND_INTERVAL_S = 1.0
# How long one request to the collector may take, and the last ones at an end.
SEND_TIMEOUT_S = 5.0
STOP_S = 5.0
SERVICE = "ledger"
# A failing collector is told of this often.
_COMPLAIN_EVERY = 60

Value = str | int | float | bool
Kinds = Mapping[str, SpanKind]

_log = structlog.get_logger("ledger.traces")


class Place:
    """Where a span stands in its trace: ids as in ``traceparent``, and the vendors' notes."""

    __slots__ = ("context",)

    def __init__(self, trace_id: str, span_id: str, tracestate: str | None) -> None:
        """Read the ids, which must be well formed."""
        self.context = SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
            trace_state=TraceState.from_header([tracestate]) if tracestate else None,
        )


class SpanSender:
    """Makes spans, and sends them to the collector; ``add`` is for one thread at a time."""

    def __init__(
        self, endpoint: str, process: str, drops: Drops, exporter: SpanExporter | None = None
    ) -> None:
        """Start the thread that sends; ``process`` says which of the program's this is."""
        # What the library says of a failure may repeat what a collector answered: we say it.
        library = logging.getLogger("opentelemetry")
        library.addHandler(logging.NullHandler())
        library.propagate = False
        self._exporter = exporter or OTLPSpanExporter(endpoint=endpoint, timeout=SEND_TIMEOUT_S)
        self._ids = _Ids()
        self._ended = _Ended()
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_resource(process),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("ledger", program_version())
        self._drops = drops
        self._spans: deque[ReadableSpan] = deque()
        self._failures = 0
        self.sent = 0
        self._stopping = threading.Event()
        self._has_many = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trace-sender", daemon=True)
        self._thread.start()

    def add(  # noqa: PLR0913 - what a span is
        self,
        name: str,
        place: Place,
        parent: Place | None,
        *,
        begun_ns: int,
        ended_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Value] | None = None,
        links: Sequence[Place] = (),
        failed: bool = False,
    ) -> None:
        """Make a span that has ended, and have it sent; dropped where too many wait."""
        if len(self._spans) >= SPANS_MAX:
            self._drops.queue += 1
            return
        self._ids.next = place.context
        context = (
            Context()
            if parent is None
            else set_span_in_context(NonRecordingSpan(parent.context), Context())
        )
        span = self._tracer.start_span(
            name,
            context,
            kind,
            attributes=attributes,
            links=[Link(item.context) for item in links],
            start_time=begun_ns,
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(max(begun_ns, ended_ns))
        self._spans += self._ended.take()
        if len(self._spans) >= SPANS_AT_ONCE:
            self._has_many.set()

    def stop(self) -> None:
        """Send what waits, for some seconds at most; then end."""
        self._stopping.set()
        self._has_many.set()
        self._thread.join(STOP_S)
        self._exporter.shutdown()
        if self._spans:
            self._drops.export += len(self._spans)
            _log.warning("traces not sent at the end", spans=len(self._spans))

    def _run(self) -> None:
        """Send what waits, again and again; after an end was asked for, once more."""
        while not self._stopping.is_set():
            self._has_many.wait(SEND_INTERVAL_S)
            self._has_many.clear()
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        """Send what waits; give up at the first failure once an end was asked for."""
        while self._spans:
            spans = [self._spans.popleft() for _ in range(min(len(self._spans), SPANS_AT_ONCE))]
            if self._sends(spans):
                self.sent += len(spans)
                self._failures = 0
                continue
            self._drops.export += len(spans)
            if self._failures % _COMPLAIN_EVERY == 0:
                _log.warning("traces not sent", spans=len(spans))
            self._failures += 1
            if self._stopping.is_set():
                return

    def _sends(self, spans: Sequence[ReadableSpan]) -> bool:
        """Whether the collector took the spans."""
        try:
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - traces never fail anything
            return False


class _Ids(IdGenerator):
    """Gives the next span the ids that its request has had all along."""

    def __init__(self) -> None:
        """Nothing is to be made yet."""
        self.next = SpanContext(0, 0, is_remote=False)

    def generate_span_id(self) -> int:
        """The id of the span."""
        return self.next.span_id

    def generate_trace_id(self) -> int:
        """The id of its trace, where it begins one."""
        return self.next.trace_id


class _Ended(SpanProcessor):
    """Keeps the spans that ended until they are taken."""

    def __init__(self) -> None:
        """None yet."""
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span."""
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """The spans kept, which are forgotten."""
        spans, self._spans = self._spans, []
        return spans


def _resource(process: str) -> Resource:
    """Who sends: as OpenTelemetry's variables say, and which of the program's processes."""
    found = Resource.create({SERVICE_VERSION: program_version(), "ledger.process": process})
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: SERVICE}))
    return found
