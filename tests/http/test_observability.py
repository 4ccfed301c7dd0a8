"""The rules, the dashboard and the runbook speak of figures and alerts that there are."""

import json
import re
from pathlib import Path

from tests.http.bank import Bank

FOLDER = Path(__file__).parents[2] / "docs" / "observability"
RULES = (FOLDER / "alerts.yml").read_text()
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RUNBOOK = (FOLDER.parent / "runbook.md").read_text()

_FIGURE = re.compile(r"\bledger_[a-z_]+")
# What a label is called, not a figure.
_LABELS = frozenset({"ledger_id"})


def _served(bank: Bank) -> set[str]:
    """Every name that a query may use, by the types that /metrics declares."""
    text = bank.client.get("/metrics").text
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (ledger_[a-z_]+) (\w+)$", text, re.MULTILINE):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names.update(name + suffix for suffix in suffixes)
    return names


def _asked(text: str) -> set[str]:
    """The figures that a text of queries names."""
    return set(_FIGURE.findall(text)) - _LABELS


def test_every_rule_asks_for_figures_that_are_served(bank: Bank) -> None:
    """A rule over a figure that nobody has would never fire."""
    queries = re.findall(r"^ +expr: (.+)$", RULES, re.MULTILINE)
    assert len(queries) == RULES.count("- alert:") > 10
    served = _served(bank)
    for query in queries:
        assert _asked(query) <= served, query
        assert query.count("(") == query.count(")"), query


def test_every_panel_asks_for_figures_that_are_served(bank: Bank) -> None:
    """Each panel has a title and a sentence; each figure is on a panel or in a rule."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    served = _served(bank)
    for query in queries:
        assert _asked(query) <= served, query
    assert all(panel["title"] and panel["description"] for panel in DASHBOARD["panels"])
    shown = _asked(" ".join(queries) + RULES)
    families = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in served}
    assert families <= {re.sub(r"_(bucket|total)$", "", name) for name in shown}


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    """Under its own name, and the annotation leads there."""
    alerts = re.findall(r"- alert: (\w+)", RULES)
    assert len(alerts) == len(set(alerts))
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == alerts
    for alert in alerts:
        assert f'runbook: "docs/runbook.md#{alert.lower()}"' in RULES
    assert RULES.count("severity:") == len(alerts)
