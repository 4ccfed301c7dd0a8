"""A migration that a program of before could not bear says so."""

import re
from pathlib import Path

import pytest
from tests.upgrades.keep import ROOT

FIRST = "0019"
"""Until then a migration was for servers that were all stopped."""

TAKES_AWAY = re.compile(
    r"DROP\s+(TABLE|COLUMN|SCHEMA|VIEW|FUNCTION)|RENAME|SET\s+NOT\s+NULL|REVOKE|ALTER\s+COLUMN\s+\w+"
    r"\s+(SET\s+DATA\s+)?TYPE|ADD\s+COLUMN[^;]*NOT\s+NULL(?![^;]*DEFAULT)|ADD\s+CONSTRAINT|ADD\s+CHECK",
    re.IGNORECASE,
)
SAYS_SO = re.compile(r"UPDATE\s+ledger\.compatibility\s+SET\s+works_from", re.IGNORECASE)

MIGRATIONS = [
    path
    for path in sorted((ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    if path.name >= FIRST
]


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_only_adds_or_says_so(path: Path) -> None:
    """Old servers go on beside it, or know that they cannot; it waits for no lock for long."""
    text = path.read_text().split('"""', 2)[2]
    taken = TAKES_AWAY.search(text)
    assert taken is None or SAYS_SO.search(text), f"{taken} without raising works_from"
    assert "lock_timeout" in text


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE ledger.events DROP COLUMN actor",
        "ALTER TABLE ledger.events RENAME COLUMN actor TO who",
        "ALTER TABLE ledger.events ALTER COLUMN actor TYPE integer",
        "ALTER TABLE ledger.events ADD COLUMN more text NOT NULL",
        "REVOKE SELECT ON ledger.events FROM ledger_reader",
    ],
)
def test_what_takes_away_is_known(statement: str) -> None:
    """The pattern sees it."""
    assert TAKES_AWAY.search(statement)
    assert not TAKES_AWAY.search("ALTER TABLE ledger.events ADD COLUMN more text")
    assert not TAKES_AWAY.search("ADD COLUMN more text NOT NULL DEFAULT ''")
