"""What an operator watches of the notary, in Prometheus' text format."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.notary import Notary

if TYPE_CHECKING:
    from api.outlets import Outlet


class NotaryFigures(Collector):
    """What an operator watches of the notary, as the library asks for it."""

    def __init__(self, notary: Notary) -> None:
        """Watch that notary."""
        self._notary = notary
        self.outlets: Sequence[Outlet] = ()

    def collect(self) -> Iterable[Metric]:
        """The figures of every log that was to be signed, and of every outlet."""
        labels = ("ledger_id", "log")
        size = GaugeMetricFamily(
            "ledger_checkpoint_size", "Size of the newest checkpoint.", labels=labels
        )
        signed = GaugeMetricFamily(
            "ledger_checkpoint_signed_seconds", "When it was signed, since 1970.", labels=labels
        )
        stopped = GaugeMetricFamily(
            "ledger_notary_stopped",
            "1 where the log does not continue what was signed: nothing more of it is signed.",
            labels=labels,
        )
        failures = CounterMetricFamily(
            "ledger_checkpoint_failures", "Heads that could not be signed.", labels=labels
        )
        for (ledger_id, log), figures in list(self._notary.figures.items()):
            where = (str(ledger_id), log)
            size.add_metric(where, figures.size)
            if figures.signed_at is not None:
                signed.add_metric(where, figures.signed_at.timestamp())
            stopped.add_metric(where, figures.stopped is not None)
            failures.add_metric(where, figures.failures)
        sent = CounterMetricFamily(
            "ledger_checkpoints_published", "Checkpoints sent, by outlet.", labels=("outlet",)
        )
        unsent = CounterMetricFamily(
            "ledger_checkpoint_publish_failures", "Attempts that failed.", labels=("outlet",)
        )
        for outlet in self.outlets:
            sent.add_metric((outlet.name,), outlet.sent)
            unsent.add_metric((outlet.name,), outlet.failures)
        return (size, signed, stopped, failures, sent, unsent)
