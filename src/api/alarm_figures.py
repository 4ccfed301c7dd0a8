"""What an operator watches of the alarms, in Prometheus' text format."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from projections.alarm_queries import AlarmCount


class AlarmFigures(Collector):
    """How many alarms were raised, and how many are open, as the library asks for it."""

    def __init__(self) -> None:
        """There is none yet; whoever shows the figures sets ``counts`` before."""
        self.counts: Sequence[AlarmCount] = ()

    def collect(self) -> Iterable[Metric]:
        """The figures of every ledger and rule that has alarms."""
        labels = ("ledger_id", "rule")
        raised = GaugeMetricFamily("ledger_alarms_raised", "Alarms raised so far.", labels=labels)
        still_open = GaugeMetricFamily(
            "ledger_alarms_open", "Alarms that nobody has acknowledged.", labels=labels
        )
        for item in self.counts:
            raised.add_metric((str(item.ledger_id), item.rule), item.raised)
            still_open.add_metric((str(item.ledger_id), item.rule), item.open)
        return (raised, still_open)
