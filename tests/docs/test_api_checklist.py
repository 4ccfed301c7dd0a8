"""The checklist of the API: complete, and every test that it names exists."""

import ast
import re
from functools import cache

from tests.docs.tables import ROOT

ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
EXPECTATIONS = 35


def _rows() -> list[tuple[str, str, str, str]]:
    """The lines of the checklist: number, expectation, what holds here, tests."""
    return ROW.findall((ROOT / "docs/api-checklist.md").read_text())


def test_every_expectation_has_its_line_and_a_test() -> None:
    """All are there, in order, and none rests on words alone."""
    assert [int(row[0]) for row in _rows()] == list(range(1, EXPECTATIONS + 1))
    assert all("::" in row[3] for row in _rows())


def test_every_test_named_exists() -> None:
    """A test that is renamed is renamed here, too."""
    named = [name for row in _rows() for name in re.findall(r"`([^`]+)`", row[3])]
    missing = []
    for name in named:
        path, _, function = name.partition("::")
        if function not in _tests_of(path):
            missing.append(name)
    assert missing == []
    assert len(named) > 2 * EXPECTATIONS


@cache
def _tests_of(path: str) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
