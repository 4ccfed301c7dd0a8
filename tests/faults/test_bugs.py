"""Deliberate bugs in small: the checker finds each, in a story that is told without luck.

``make mutants`` hunts these and the others through the whole harness: see docs/faults.md.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import bugs
from tests.faults.small_bank import SmallBank

RULES = {bug.name: bug.in_small for bug in bugs.DELIBERATE if bug.in_small}
HARMLESS = [bug.name for bug in bugs.DELIBERATE if bug.harmless]


@pytest.fixture
def bank(database_url: str, tmp_path: Path) -> Iterator[SmallBank]:
    """Two servers of a ledger of their own."""
    bank = SmallBank(database_url, tmp_path)
    yield bank
    bank.close()


def test_the_program_as_it_is(bank: SmallBank) -> None:
    """Nothing is found, whatever is lost, killed or sent twice."""
    assert bank.findings() == []


@pytest.mark.parametrize("name", RULES)
def test_a_bug_is_found(bank: SmallBank, owner_url: str, name: str) -> None:
    """What it breaks is among the findings."""
    bugs.drop_guards(name, owner_url)
    with bugs.planted(name):
        found = bank.findings()
    assert RULES[name] in {finding.rule for finding in found}, found


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_bug_is_harmless(bank: SmallBank, name: str) -> None:
    """What another safeguard stands behind breaks nothing, in this story either."""
    with bugs.planted(name):
        assert bank.findings() == []


def test_every_bug_is_tried() -> None:
    """Each deliberate bug breaks a rule in the story, or has a reason for which it does not."""
    assert {*RULES, *HARMLESS} == {*bugs.NAMED}


def test_a_bug_is_taken_out_again(bank: SmallBank) -> None:
    """After a planted bug the program is what it was."""
    for name in bugs.BUGS:
        with bugs.planted(name):
            pass
    assert bank.findings() == []
