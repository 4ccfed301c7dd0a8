"""What an operator watches of the self-audits, in Prometheus' text format."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ledger_core.log import Connection

State = Literal["none yet", "nothing found", "findings"]

_LATEST = (
    "SELECT l.ledger_id, a.started_at, a.ended_at, a.findings_count, a.imbalance_minor,"
    " coalesce(v.position, 0), v.ended_at"
    " FROM ledger.ledgers l CROSS JOIN LATERAL"
    " (SELECT * FROM audit.self_audits s WHERE s.ledger_id = l.ledger_id"
    " ORDER BY s.audit_no DESC LIMIT 1) a"
    " LEFT JOIN LATERAL"
    " (SELECT s.position, s.ended_at FROM audit.self_audits s WHERE s.ledger_id = l.ledger_id"
    " AND s.findings_count = 0 ORDER BY s.audit_no DESC LIMIT 1) v ON true"
    " ORDER BY l.ledger_id"
)


class LatestAudit(msgspec.Struct, frozen=True):
    """The newest self-audit of a ledger, and up to where the newest without a finding went."""

    ledger_id: int
    started_at: datetime
    ended_at: datetime
    findings_count: int
    imbalance_minor: dict[str, int]
    verified_position: int
    verified_at: datetime | None = None


def latest_audits(connection: Connection) -> list[LatestAudit]:
    """The newest self-audit of every ledger that has one."""
    return [
        LatestAudit(
            ledger_id,
            started_at,
            ended_at,
            count,
            msgspec.json.decode(imbalance, type=dict[str, int]),
            verified,
            verified_at,
        )
        for (
            ledger_id,
            started_at,
            ended_at,
            count,
            imbalance,
            verified,
            verified_at,
        ) in connection.execute(_LATEST)
    ]


def state_of(latest: Iterable[LatestAudit]) -> State:
    """What the newest self-audits of all ledgers say together."""
    counts = [item.findings_count for item in latest]
    if not counts:
        return "none yet"
    return "findings" if any(counts) else "nothing found"


class SelfAuditFigures(Collector):
    """What an operator watches of the self-audits, as the library asks for it."""

    def __init__(self) -> None:
        """There is none yet; whoever shows the figures sets ``latest`` before."""
        self.latest: Sequence[LatestAudit] = ()

    def collect(self) -> Iterable[Metric]:
        """The figures of every ledger that was audited."""
        labels = ("ledger_id",)
        verified = GaugeMetricFamily(
            "ledger_last_verified_position",
            "Everything up to here was folded again and compared; nothing was found.",
            labels=labels,
        )
        verified_at = GaugeMetricFamily(
            "ledger_last_verified_seconds",
            "When the newest self-audit without a finding ended, since 1970.",
            labels=labels,
        )
        findings = GaugeMetricFamily(
            "ledger_self_audit_findings", "Findings of the newest self-audit.", labels=labels
        )
        ended = GaugeMetricFamily(
            "ledger_self_audit_ended_seconds", "When it ended, since 1970.", labels=labels
        )
        lasted = GaugeMetricFamily(
            "ledger_self_audit_duration_seconds",
            "How long it took, pauses included.",
            labels=labels,
        )
        imbalance = GaugeMetricFamily(
            "ledger_imbalance_minor",
            "Debits minus credits over all accounts, in minor units: never other than 0.",
            labels=("ledger_id", "currency"),
        )
        for item in self.latest:
            where = (str(item.ledger_id),)
            verified.add_metric(where, item.verified_position)
            if item.verified_at is not None:
                verified_at.add_metric(where, item.verified_at.timestamp())
            findings.add_metric(where, item.findings_count)
            ended.add_metric(where, item.ended_at.timestamp())
            lasted.add_metric(where, (item.ended_at - item.started_at).total_seconds())
            for currency, difference in item.imbalance_minor.items():
                imbalance.add_metric((*where, currency), difference)
        return (verified, verified_at, findings, ended, lasted, imbalance)
