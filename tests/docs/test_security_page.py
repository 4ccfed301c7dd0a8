"""SECURITY.md: complete, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

from tests.docs.tables import ROOT

from api.default_roles import DEFAULT_ROLES
from api.embedded_postgres import Login

PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = re.compile(r"`(tests/[^`]+?\.py)::([^`]+)`")
THREAT = re.compile(r"^\| ([①-⑧ ]*) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
STRIDE = "STRIDE"


def _parts() -> dict[str, str]:
    """The text of each letter's part."""
    found = re.split(r"^### ([STRIDE]): ", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def test_each_letter_has_threats_and_each_threat_a_test() -> None:
    """None rests on words alone, and each says what is left."""
    assert "".join(_parts()) == STRIDE
    for letter, text in _parts().items():
        threats = THREAT.findall(text.partition("\n## ")[0])
        assert len(threats) >= 3, letter
        for _, threat, against, tests, left in threats:
            assert NAMED.search(tests), threat
            assert against
            assert left


def test_each_crossing_of_the_data_flow_has_threats() -> None:
    """Every place where trust changes is in the table."""
    places = {place for found in THREAT.findall(PAGE) for place in found[0].split()}
    assert places == set("①②③④⑤⑥⑦⑧")


def test_every_test_named_exists() -> None:
    """A test that is renamed is renamed here, too."""
    named = NAMED.findall(PAGE)
    assert [f"{path}::{name}" for path, name in named if name not in _tests_of(path)] == []
    assert len(named) > 60


def test_what_each_can_do_at_worst_is_said_of_everybody() -> None:
    """Every default role, and every login of the database that people or programs have."""
    part = PAGE.partition("## What each can do at worst")[2].partition("\n## ")[0]
    said = set(re.findall(r"^\| `([a-z_]+)`", part, re.MULTILINE))
    assert said == {*DEFAULT_ROLES, "ledger_program", "ledger_analyst"}
    assert {"program", "owner", "analyst", "superuser"} == set(get_args(Login))


def test_every_page_that_is_named_is_there() -> None:
    """Links lead somewhere."""
    pages = [ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


@cache
def _tests_of(path: str) -> frozenset[str]:
    """The tests of a file; none where there is no such file."""
    file = Path(ROOT / path)
    tree = ast.parse(file.read_text() if file.exists() else "")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))
