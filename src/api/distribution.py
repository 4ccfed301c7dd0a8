"""Values counted in plain numbers, shown as a histogram of Prometheus.

The library's own histograms take a lock and some microseconds a value.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

# An append takes milliseconds; what takes seconds is an outage.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ITEMS = (1, 10, 100, 1_000, 5_000, 10_000, 20_000)


class Distribution:
    """How many values fell up to each bound, and their sum; for one thread at a time."""

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
