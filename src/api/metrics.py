"""What an operator watches, in Prometheus' text format: requests, appends, refusals, lag."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from api.standing import Standing
from ledger_core.writer import Writer

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# An append takes milliseconds; what takes seconds is an outage.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ITEMS = (1, 10, 100, 1_000, 5_000, 10_000, 20_000)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "ledger_requests",
            "Requests answered, by route template.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "ledger_request_seconds",
            "Time from request to answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._refusals = Counter(
            "ledger_refusals", "Requests and batch items refused.", ("code",), registry=registry
        )
        self.append_seconds = Histogram(
            "ledger_append_seconds",
            "Time from a command's arrival at the writer to its durable outcome.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_commands = Histogram(
            "ledger_batch_commands", "Commands of a batch.", buckets=_ITEMS, registry=registry
        )
        self._queue = Gauge(
            "ledger_writer_queue_commands",
            "Commands that wait for the writer.",
            ("ledger_id",),
            registry=registry,
        )
        self._head = Gauge(
            "ledger_head_position", "Last position of the log.", ("ledger_id",), registry=registry
        )
        self._lag = Gauge(
            "ledger_projection_lag_events",
            "Events that a projection has not taken in yet.",
            ("ledger_id", "projection"),
            registry=registry,
        )
        self._children: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[str, Histogram] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; labels come from the table of routes, never from the caller."""
        name = (method, route, status)
        child = self._children.get(name)
        if child is None:
            child = self._children[name] = self._requests.labels(method, route, str(status))
            self._durations[route] = self._request_seconds.labels(route)
        child.inc()
        self._durations[route].observe(seconds)

    def refused(self, code: str, count: int = 1) -> None:
        """Count refusals of one code."""
        self._refusals.labels(code).inc(count)

    def render(self, writers: dict[int, Writer], standings: Iterable[Standing]) -> bytes:
        """Every figure as text, the state of queues and projections included."""
        for ledger_id, writer in writers.items():
            self._queue.labels(str(ledger_id)).set(writer.commands_waiting)
        for standing in standings:
            ledger = str(standing.ledger_id)
            self._head.labels(ledger).set(standing.position)
            for name, view in standing.projections.items():
                self._lag.labels(ledger, name).set(view.lag_events)
        return generate_latest(self._registry)
