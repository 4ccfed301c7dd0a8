"""What an operator watches, in Prometheus' text format: requests, appends, refusals, lag.

What every request adds to is counted in plain numbers, by the event loop alone: the library's own
counters take a lock and some microseconds each.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from api.standing import Standing
from ledger_core.writer import Writer

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# An append takes milliseconds; what takes seconds is an outage.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ITEMS = (1, 10, 100, 1_000, 5_000, 10_000, 20_000)


class Distribution:
    """How many values fell up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin at zero; ``bounds`` ascend, and belong to what they bound."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Say what was counted."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        family.add_metric(labels, buckets, self._sum)


class Metrics(Collector):
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._request_seconds: dict[str, Distribution] = {}
        self._refusals: Counter[str] = Counter()
        self.append_seconds = Distribution(_SECONDS)
        self.batch_commands = Distribution(_ITEMS)
        registry = self._registry = CollectorRegistry()
        registry.register(self)
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

    def register(self, collector: Collector) -> None:
        """Show another's figures, too."""
        self._registry.register(collector)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; labels come from the table of routes, never from the caller."""
        self._requests[method, route, status] += 1
        durations = self._request_seconds.get(route)
        if durations is None:
            durations = self._request_seconds[route] = Distribution(_SECONDS)
        durations.observe(seconds)

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._refusals[code] += 1

    def collect(self) -> Iterable[Metric]:
        """What was counted, as the library asks for it."""
        requests = CounterMetricFamily(
            "ledger_requests",
            "Requests answered, by route template.",
            labels=("method", "route", "status"),
        )
        for (method, route, status), count in self._requests.items():
            requests.add_metric((method, route, str(status)), count)
        seconds = HistogramMetricFamily(
            "ledger_request_seconds", "Time from request to answer.", labels=("route",)
        )
        for route, durations in self._request_seconds.items():
            durations.add_to(seconds, (route,))
        refusals = CounterMetricFamily(
            "ledger_refusals", "Requests and batch items refused.", labels=("code",)
        )
        for code, count in self._refusals.items():
            refusals.add_metric((code,), count)
        appends = HistogramMetricFamily(
            "ledger_append_seconds",
            "Time from a command's arrival at the writer to its durable outcome.",
        )
        self.append_seconds.add_to(appends)
        batches = HistogramMetricFamily("ledger_batch_commands", "Commands of a batch.")
        self.batch_commands.add_to(batches)
        return (requests, seconds, refusals, appends, batches)

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
