"""The table of the page on faults: what it counts, and that no fault is left out."""

from pathlib import Path

import pytest
from tests.faults import table
from tests.faults.history import Finding
from tests.faults.run import Result, kinds

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_a_row_says_what_came_of_a_fault() -> None:
    """Runs of one fault are one row; losses and doubles are told apart from the rest."""
    lost = Finding("lost", "k1 is not in the log")
    other = Finding("balance", "a is off")
    results = [
        Result(seed=1, fault="kill-server", acknowledged=1_000, repeated=20, unknown=9),
        Result(seed=2, fault="kill-server", acknowledged=500, findings=[lost, other]),
        Result(seed=1, fault="disk-full", skipped="no user namespaces"),
    ]
    rows = table.lines(results).splitlines()
    assert rows[2].startswith("| `kill-server` |")
    assert "| 2 | 1,500 | 20 | 9 | 1 | 0 | 1 | `.venv/bin/python -m tests.faults" in rows[2]
    assert "skipped: no user namespaces" in rows[3]
    assert rows[4].startswith("| **all** | | 2 | 1,500 | 20 | 9 | 1 | 0 | 1 |")


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    """What stands around the table stays."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write(page, [Result(seed=1, fault="none")])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| `none` |" in text


@pytest.mark.parametrize("fault", kinds())
def test_every_fault_has_its_row(fault: str) -> None:
    """The page shows what came of every fault there is."""
    assert f"| `{fault}` |" in PAGE.read_text()
