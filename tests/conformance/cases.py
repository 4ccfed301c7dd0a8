"""Conformance cases: one JSON object a line, as their README describes them.

A case restates what a published ledger does, in neutral words. What is read here is the case and
nothing else: which commands and queries of this ledger it becomes is ``adapter``'s business.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

Json = dict[str, Any]

PERIOD = "$period"
"""The name under which a case's accounts say up to which hour the ledger is closed."""


class Expectation(msgspec.Struct, frozen=True):
    """One answer an operation, and the balances of accounts at the end."""

    results: list[Any] = []
    balances: Json = {}


class Case(msgspec.Struct, frozen=True):
    """A behaviour that a published ledger documents or tests; ``source`` says where."""

    source: str
    name: str
    ops: list[Json]
    n: int | str = ""
    setup: Json = {}
    expect: Expectation = Expectation()
    note: str = ""

    @property
    def accounts(self) -> dict[str, Json]:
        """The accounts that are there before the case starts."""
        named = self.setup.get("accounts", {}).items()
        return {account: terms or {} for account, terms in named if account != PERIOD}

    @property
    def period(self) -> Json | None:
        """How the ledger is closed before the case starts, if it is."""
        found: Json | None = self.setup.get("accounts", {}).get(PERIOD)
        return found


def read_cases(path: Path) -> list[Case]:
    """The cases of a file, in its order; blank lines are left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [msgspec.json.decode(line, type=Case) for line in lines if line.strip()]


def walk(ops: list[Json]) -> Iterator[Json]:
    """Every operation and every item and command inside one, in the order of their doing."""
    for op in ops:
        yield op
        yield from walk(op.get("items") or [])
        if isinstance(op.get("command"), dict):
            yield from walk([op["command"]])


def ledgers_of(case: Case) -> tuple[str, ...]:
    """The books that the case means as ledgers; none where a book is a currency.

    They are ledgers where operations name them and every account's name begins with one of them.
    """
    books = {str(op["book"]) for op in walk(case.ops) if op.get("book") is not None}
    named = tuple(sorted(books))
    if not named or not case.accounts:
        return ()
    prefixes = tuple(f"{book}:" for book in named)
    return named if all(account.startswith(prefixes) for account in case.accounts) else ()
