"""Rules, dashboard, runbook and the table speak of figures and alerts that there are."""

import json
import re
from pathlib import Path

import promql_parser
from prometheus_client.parser import text_string_to_metric_families
from tests.http.bank import Bank

DOCS = Path(__file__).parents[2] / "docs"
RULES = (DOCS / "observability" / "alerts.yml").read_text()
DASHBOARD = json.loads((DOCS / "observability" / "dashboard.json").read_text())
RUNBOOK = (DOCS / "runbook.md").read_text()
PAGE = (DOCS / "observability.md").read_text()

# What Prometheus itself says of a target.
_OF_PROMETHEUS = frozenset({"up"})
_ADDED = frozenset({"job", "instance", "le"})
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def _rules() -> list[str]:
    """The query of every alert."""
    queries = re.findall(r"^ +expr: (.+)$", RULES, re.MULTILINE)
    assert len(queries) == RULES.count("- alert:") > 10
    return queries


def _panels() -> list[str]:
    """The queries of every panel."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def _rows() -> dict[str, tuple[str, frozenset[str], str]]:
    """What the page's table says of each figure: its kind, its labels, and what it means."""
    return {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in _ROW.findall(PAGE)
    }


def _asked(query: str) -> list[tuple[str, set[str]]]:
    """The samples that a valid query names, each with the labels that are matched."""
    found: list[tuple[str, set[str]]] = []

    def visit(expression: promql_parser.Expr) -> bool:
        """Note a selector."""
        if isinstance(expression, promql_parser.VectorSelector):
            labels = {matcher.name for matcher in expression.matchers.matchers}
            found.append((str(expression.name), labels))
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def _samples() -> dict[str, str]:
    """The samples of every figure of the table, by the figure's name."""
    return {
        name + suffix: name
        for name, (kind, _, _) in _rows().items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


def test_the_table_is_what_is_served(bank: Bank) -> None:
    """Every figure, its kind and its meaning; and no label that the table does not name."""
    text = bank.client.get("/metrics").text
    rows = _rows()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    meanings = dict(re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE))
    said = {name: (kind, meaning) for name, (kind, _, meaning) in rows.items()}
    served = {name: (kind, meanings[name]) for name, kind in kinds.items()}
    assert served.items() <= said.items()
    # What is told of the process depends on the system.
    assert {name for name in said if name.startswith("ledger_")} <= served.keys()
    owners = _samples()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert set(sample.labels) - _ADDED <= rows[owners[sample.name]][1], sample.name


def test_every_rule_and_panel_asks_for_figures_that_are_served() -> None:
    """Valid queries, over samples and labels that there are; all figures are on a panel or rule."""
    owners, rows = _samples(), _rows()
    asked = set()
    for query in _rules() + _panels():
        for name, labels in _asked(query):
            if name in _OF_PROMETHEUS:
                continue
            assert labels - _ADDED <= rows[owners[name]][1], query
            asked.add(owners[name])
        for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
            known = frozenset().union(
                *(rows[owners[n]][1] for n, _ in _asked(query) if n in owners)
            )
            assert set(re.findall(r"\w+", by)) <= known | _ADDED, query
    assert {name for name in rows if name.startswith("ledger_")} <= asked
    assert all(panel["title"] and panel["description"] for panel in DASHBOARD["panels"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    """Under its own name, and the annotation leads there; it says what to look at or do."""
    alerts = re.findall(r"- alert: (\w+)", RULES)
    assert len(alerts) == len(set(alerts))
    sections = re.split(r"^## (\w+)$", RUNBOOK, flags=re.MULTILINE)
    assert sections[1::2] == alerts
    for alert, text in zip(alerts, sections[2::2], strict=True):
        assert f'runbook: "docs/runbook.md#{alert.lower()}"' in RULES
        assert len(text) > 100, alert
    assert RULES.count("severity:") == len(alerts)
    for anchor in re.findall(r"\(#(\w+)\)", RUNBOOK):
        assert anchor in {alert.lower() for alert in alerts}
