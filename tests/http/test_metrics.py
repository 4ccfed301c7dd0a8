"""The figures counted in plain numbers are those that the library's own counters would show."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from api.metrics import Metrics

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@given(st.lists(st.floats(0, 20) | st.sampled_from(BOUNDS), max_size=50))
def test_a_distribution_is_the_librarys_histogram(values: list[float]) -> None:
    """The same lines for the same values, those on a bound included."""
    registry = CollectorRegistry()
    name = "ledger_append_seconds"
    histogram = Histogram(name, "x", buckets=BOUNDS, registry=registry)
    metrics = Metrics()
    for value in values:
        histogram.observe(value)
        metrics.append_seconds.observe(value)
    ours = metrics.render().decode().splitlines()
    theirs = generate_latest(registry).decode().splitlines()
    expected = [line for line in theirs if line.startswith(f"{name}_") and "_created" not in line]
    assert [line for line in ours if line.startswith(f"{name}_")] == expected
    assert len(expected) == len(BOUNDS) + 3
