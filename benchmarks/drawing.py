"""The plots of the documentation, from the results of a run and of a growing log."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks import plots

Point = tuple[float, float]

SINGLE = "POST /v1/transfers, "
BATCHES = "library, batches of "


def charts(document: Mapping[str, Any], grown: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Every plot for which there are figures, by name."""
    rates = {
        str(figure["name"]): median(item["rate"] for item in figure["rounds"])
        for figure in document["figures"]
    }
    found = {
        "concurrency": plots.line_chart(
            "One transfer a request: throughput against concurrency",
            "connections",
            "transfers/s",
            {"W1": concurrency(rates)},
        ),
        "batches": plots.line_chart(
            "Ledger.execute: throughput against the size of the batch",
            "transfers a call",
            "transfers/s",
            {"W1": batches(rates)},
        ),
        "latency": plots.line_chart(
            "One transfer a request: share of answers within a time",
            "ms",
            "%",
            {
                name.removeprefix(SINGLE): plots.distribution(histogram)
                for name, histogram in document["histograms"].items()
                if name.startswith(f"{SINGLE}W1")
            },
        ),
    }
    line = [(_number(item["events"]), _number(item["a second"])) for item in grown]
    line = [point for point in line if point[1] > 0]
    if line:
        found["growth"] = plots.line_chart(
            "Writing with all projections kept up, as the log grows",
            "events in the log",
            "events/s",
            {"W1": sorted(line)},
        )
    return found


def concurrency(rates: Mapping[str, float]) -> list[Point]:
    """Transfers a second by the number of connections."""
    head = f"{SINGLE}W1, "
    found = [(name, rate) for name, rate in rates.items() if name.startswith(head)]
    return sorted((_number(name.removeprefix(head).split()[0]), rate) for name, rate in found)


def batches(rates: Mapping[str, float]) -> list[Point]:
    """Transfers a second by the size of the batch."""
    found = [
        (name.removeprefix(BATCHES).removesuffix(", W1"), rate)
        for name, rate in rates.items()
        if name.startswith(BATCHES) and name.endswith(", W1")
    ]
    return sorted((_number(size), rate) for size, rate in found)


def _number(text: str) -> float:
    """A number as the tables write it."""
    return float(text.replace(",", ""))
