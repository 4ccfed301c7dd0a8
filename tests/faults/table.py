"""The table of faults and what came of them, made from the results of a campaign."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.run import MIXED, MIXED_NEEDS, Result, kinds

BEGIN = "<!-- begin: made by make faults -->"
END = "<!-- end -->"
LOSSES = frozenset({"lost", "refused"})
DOUBLES = frozenset({"doubled"})

_HEAD = (
    "| fault | what happens | runs | acknowledged | sent again | in doubt | lost | doubled"
    " | other findings | again |\n|---|---|--:|--:|--:|--:|--:|--:|--:|---|"
)


def lines(results: Sequence[Result]) -> str:
    """The table, a row a fault, and a last one for all."""
    by_fault: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_fault[result.fault].append(result)
    rows = [_row(fault, by_fault[fault]) for fault in kinds() if fault in by_fault]
    made = [result for result in results if result.skipped is None]
    total = f"| **all** | | {_figures(made)} | |"
    return "\n".join((_HEAD, *rows, total))


def write(path: Path, results: Sequence[Result]) -> None:
    """Put the table between its marks in a page.

    Raises:
        ValueError: the page has no such marks.
    """
    page = path.read_text()
    begin = page.index(BEGIN) + len(BEGIN)
    end = page.index(END, begin)
    path.write_text(f"{page[:begin]}\n{lines(results)}\n{page[end:]}")


def _row(fault: str, results: Sequence[Result]) -> str:
    """One fault's row."""
    needs = MIXED_NEEDS if fault == MIXED else FAULTS[fault].needs
    skipped = next((item.skipped for item in results if item.skipped is not None), None)
    if skipped is not None:
        return f"| `{fault}` | {needs} | skipped: {skipped} | | | | | | | |"
    seeds = sorted(result.seed for result in results)
    again = (
        f".venv/bin/python -m tests.faults --fault {fault} --seed {seeds[0]} --runs {len(seeds)}"
    )
    return f"| `{fault}` | {needs} | {_figures(results)} | `{again}` |"


def _figures(results: Sequence[Result]) -> str:
    """The columns of figures."""
    rules = [finding.rule for result in results for finding in result.findings]
    lost = sum(rule in LOSSES for rule in rules)
    doubled = sum(rule in DOUBLES for rule in rules)
    figures = (
        len(results),
        sum(result.acknowledged for result in results),
        sum(result.repeated for result in results),
        sum(result.unknown for result in results),
        lost,
        doubled,
        len(rules) - lost - doubled,
    )
    return " | ".join(f"{figure:,}" for figure in figures)
