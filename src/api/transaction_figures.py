"""What an operator watches of the writers' transactions, in Prometheus' text format."""

import threading
from collections.abc import Iterable

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.distribution import ITEMS, SECONDS, Distribution


class TransactionFigures(Collector):
    """How many commands a transaction has, and how long it takes; told by every writer's thread."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._commands = Distribution(ITEMS)
        self._seconds = Distribution(SECONDS)
        self._lock = threading.Lock()

    def observe(self, commands: int, seconds: float) -> None:
        """Count a transaction."""
        with self._lock:
            self._commands.observe(commands)
            self._seconds.observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """The figures, as the library asks for them."""
        commands = HistogramMetricFamily(
            "ledger_transaction_commands", "Commands that one database transaction took."
        )
        self._commands.add_to(commands)
        seconds = HistogramMetricFamily(
            "ledger_transaction_seconds",
            "Time that a transaction took: loading, deciding, appending, commit.",
        )
        self._seconds.add_to(seconds)
        return (commands, seconds)
