"""bandit's findings: gone, or explained where they stand, as ``make audit`` wants them."""

from pathlib import Path

import pytest
from tests.security import audit
from tests.security.audit import EXPLAINED, ROOT, SHIPPED, Finding, findings, unexplained

DANGEROUS = '''
import subprocess


def run(name: str, connection) -> None:
    """Do what must not be done."""
    subprocess.run(name, shell=True)
    connection.execute(f"SELECT * FROM t WHERE name = '{name}'")
    connection.execute(f"SELECT {name} FROM t")  # noqa: S608 - our own names
    connection.execute(f"DELETE FROM t WHERE name = '{name}'")  # noqa: S608
'''


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    """What bandit finds in all that is shipped."""
    return findings(ROOT, SHIPPED)


def test_every_finding_is_explained(found: list[Finding]) -> None:
    """Nothing is left of which nobody says why it is no danger."""
    assert list(unexplained(ROOT, found)) == []
    assert found, "bandit found nothing at all: it did not look"


def test_no_explanation_outlives_what_it_explains(found: list[Finding]) -> None:
    """A place that is excused still has something to excuse."""
    kinds = {(item["test_id"], audit.path_of(item)) for item in found}
    stale = [
        place
        for known, place, _ in EXPLAINED
        if not any(kind == known and Path(path).match(place) for kind, path in kinds)
    ]
    assert stale == []


def test_what_is_dangerous_is_found(tmp_path: Path) -> None:
    """A shell, and SQL made of input: found, also beside a word that gives no reason."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "planted.py").write_text(DANGEROUS)
    left = list(unexplained(tmp_path, findings(tmp_path, ("src",))))
    assert {int(text.split(":")[1]) for text in left} == {7, 8, 10}
