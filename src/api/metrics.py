"""What an operator watches, in Prometheus' text format: requests, appends, refusals.

What every request adds to is counted in plain numbers, by the event loop alone: the library's own
counters take a lock and some microseconds each.
"""

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.distribution import ITEMS, SECONDS, Distribution

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics(Collector):
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._request_seconds: dict[str, Distribution] = {}
        self._refusals: Counter[str] = Counter()
        self.append_seconds = Distribution(SECONDS)
        self.batch_commands = Distribution(ITEMS)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        # Memory, processor time and open files of this process, where the system tells.
        ProcessCollector(registry=self._registry)

    def register(self, *collectors: Collector) -> None:
        """Show others' figures, too."""
        for collector in collectors:
            self._registry.register(collector)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; labels come from the table of routes, never from the caller."""
        self._requests[method, route, status] += 1
        durations = self._request_seconds.get(route)
        if durations is None:
            durations = self._request_seconds[route] = Distribution(SECONDS)
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

    def render(self) -> bytes:
        """Every figure as text."""
        return generate_latest(self._registry)
