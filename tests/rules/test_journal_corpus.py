"""The journals of ledger's own test suite, with the balances that ledger gives for them.

The corpus is not part of this project: without it beside the project, these tests are skipped.
"""

import json
from collections import defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from api.journal_text import Journal, JournalRefused, read_journal

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "journals" / "journals.jsonl"

TODAY = date(2024, 6, 15)

EXACT_MIN = 470
"""Journals of 493 that must be read; the others may be refused."""

Balances = dict[tuple[str, str], Decimal]


class Case(msgspec.Struct):
    """One line of the corpus."""

    file: str
    journal: str
    expected: list[tuple[str, str, str]]
    zero_per_commodity: bool


def balances(journal: Journal) -> Balances:
    """Return what each account of the journal itself holds, without zeros."""
    sums: Balances = defaultdict(Decimal)
    for entry in journal.entries:
        for posting in entry.postings:
            if not posting.conversion:
                sums[posting.account, posting.commodity] += posting.amount
    return {key: amount for key, amount in sums.items() if amount}


def conversions(journal: Journal) -> Balances:
    """Return what the importer's own account holds, without zeros."""
    sums: Balances = defaultdict(Decimal)
    for entry in journal.entries:
        for posting in entry.postings:
            if posting.conversion:
                sums[posting.account, posting.commodity] += posting.amount
    return {key: amount for key, amount in sums.items() if amount}


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the project")
def test_corpus() -> None:
    """Nearly every journal gives exactly the balances expected, and none gives others."""
    cases = [
        msgspec.convert(json.loads(line), Case)
        for line in CORPUS.read_text(encoding="utf-8").splitlines()
    ]
    refused: list[str] = []
    wrong: list[str] = []
    for case in cases:
        try:
            journal = read_journal(case.journal, today=TODAY)
        except JournalRefused as refusal:
            refused.append(f"{case.file}: {refusal}")
            continue
        expected = {(name, commodity): Decimal(amount) for name, commodity, amount in case.expected}
        if balances(journal) != expected or bool(conversions(journal)) == case.zero_per_commodity:
            wrong.append(case.file)
    print("\n".join([f"{len(refused)} of {len(cases)} refused", *refused]))  # noqa: T201
    assert not wrong
    assert len(cases) - len(refused) >= EXACT_MIN
