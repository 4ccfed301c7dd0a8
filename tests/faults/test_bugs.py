"""Deliberate bugs in small: the checker finds each, in a story that is told without luck.

``make mutants`` hunts these and the others through the whole harness: see docs/faults.md.
"""

from collections.abc import Iterator

import pytest
from tests.faults import bugs
from tests.faults.small_bank import SmallBank

RULES = {bug.name: bug.in_small for bug in bugs.DELIBERATE if bug.in_small}


@pytest.fixture
def bank(database_url: str) -> Iterator[SmallBank]:
    """Two servers of a ledger of their own."""
    bank = SmallBank(database_url)
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


def test_a_bug_is_taken_out_again(bank: SmallBank) -> None:
    """After a planted bug the program is what it was."""
    for name in bugs.BUGS:
        with bugs.planted(name):
            pass
    assert bank.findings() == []
