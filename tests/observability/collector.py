"""A collector of traces, as small as can be: it takes OTLP over HTTP and keeps the spans."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

PATIENCE_S = 30.0


class Span(msgspec.Struct, frozen=True):
    """A span as it arrived; ids in hexadecimal, ``links`` the spans it links to."""

    process: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    tracestate: str
    begun_ns: int
    ended_ns: int
    kind: str
    is_error: bool
    attributes: dict[str, str | int | float | bool]
    links: tuple[str, ...]


class Collector:
    """What a collector was sent."""

    def __init__(self, url: str) -> None:
        """Nothing yet."""
        self.url = url
        self.spans: list[Span] = []
        self.resources: list[dict[str, str | int | float | bool]] = []
        self.headers: list[dict[str, str]] = []
        self.texts: list[str] = []

    def of(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace by name, each there once."""
        found = [span for span in self.spans if span.trace_id == trace_id]
        by_name = {span.name: span for span in found}
        assert len(by_name) == len(found), found
        return by_name

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until what arrived meets a condition."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, [span.name for span in self.spans]
            time.sleep(0.05)

    def take(self, body: bytes) -> None:
        """Keep what one request brought."""
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        self.texts.append(str(request))
        for of_resource in request.resource_spans:
            said = {item.key: _value(item.value) for item in of_resource.resource.attributes}
            self.resources.append(said)
            for of_scope in of_resource.scope_spans:
                self.spans += [_span(span, str(said["ledger.process"])) for span in of_scope.spans]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        """One request of an exporter."""

        def do_POST(self) -> None:
            """Take spans, where they belong."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _span(span: trace_pb2.Span, process: str) -> Span:
    """A span out of its message."""
    return Span(
        process,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        trace_pb2.Span.SpanKind.Name(span.kind),
        span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        {item.key: _value(item.value) for item in span.attributes},
        tuple(link.span_id.hex() for link in span.links),
    )


def _value(value: AnyValue) -> str | int | float | bool:
    """The value of an attribute, which is a plain one."""
    kind = value.WhichOneof("value")
    assert kind is not None
    found = getattr(value, kind)
    assert isinstance(found, str | int | float | bool)
    return found
