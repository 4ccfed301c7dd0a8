"""The stateful machine on PostgreSQL: two writers, restarts, and projectors that lag."""

import itertools
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from tests.postgres.ledger_harness import World
from tests.rules.machine import LedgerMachine

from ledger_core import snapshots
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.ledger import Mode
from projections import runner


class PostgresMachine(LedgerMachine):
    """The ledger itself, written to by one of two writers at a time."""

    url: ClassVar[str]
    numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        """Begin with a ledger of its own."""
        super().__init__()
        self.world = World(self.url, f"machine-{next(self.numbers)}")
        self.writers = [self.world.main, self.world.ledger()]
        self.turn = 0

    def teardown(self) -> None:
        """Close every connection."""
        self.world.__exit__(None, None, None)

    def submit(self, batch: list[Command], mode: Mode) -> list[tuple[str, int]]:
        """Carry out by the writer whose turn it is."""
        outcomes = self.world.run(*batch, mode=mode, ledger=self.writers[self.turn])
        return [
            (item.error.code, 0) if item.error is not None else (item.status, item.position)
            for item in outcomes
        ]

    def state(self) -> Books:
        """The log folded, with its positions checked; the writer's memory agrees with it."""
        folded = self.world.folded()
        for ledger in self.writers:
            books = ledger._books  # noqa: SLF001 - the writer's memory is what is compared
            if books.position == folded.position:
                for name, account in books.accounts.items():
                    assert account == folded.accounts[name]
        return folded

    @rule()
    def change_writers(self) -> None:
        """The other writer goes on, and finds out what it missed."""
        self.turn = 1 - self.turn

    @rule()
    def restart(self) -> None:
        """A new process takes over from the snapshots and the log."""
        self.writers[self.turn].close()
        self.writers[self.turn] = self.world.ledger()

    @rule(limit=st.integers(1, 12))
    def advance(self, limit: int) -> None:
        """The projectors take in some of the events."""
        runner.advance(self.world.projector, self.world.ledger_id, limit=limit)

    @rule()
    def catch_up(self) -> None:
        """The projectors take in all events: every stored account is as the log says."""
        assert self.world.catch_up() == self.model.position
        loaded = snapshots.load_accounts(
            self.world.writer, self.world.ledger_id, self.model.accounts
        )
        folded = self.world.folded().accounts
        assert {account.terms.account_id: account for account in loaded} == folded

    @rule(name=st.sampled_from(["balances", "customer_360", "statements"]))
    def rebuild(self, name: str) -> None:
        """A projection is rebuilt beside the live one and swapped."""
        report = runner.rebuild(self.world.projector, self.world.ledger_id, name)
        assert not report.differences

    @invariant()
    def identities_are_of_entries(self) -> None:
        """Each chosen id, reference and reversal stands once, at the position of its entry."""
        rows = self.world.writer.execute(
            "SELECT count(*), count(e.position) FROM ledger.identities i LEFT JOIN ledger.events e"
            " ON e.ledger_id = i.ledger_id AND e.position = i.position"
            " AND e.type = 'JournalEntryPosted' WHERE i.ledger_id = %s",
            (self.world.ledger_id,),
        ).fetchone()
        assert rows is not None
        assert rows[0] == rows[1] == _identities(self)


def _identities(machine: PostgresMachine) -> int:
    """How many names the model's entries took."""
    chosen = sum(kind == "entry_exists" for kind, _ in machine.model.used)
    reversals = sum(entry.is_reversal for entry in machine.model.entries.values())
    return chosen + len(machine.model.references) + reversals


def test_the_ledger_does_what_the_model_says(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command, in every mode, on every mixture of memory, snapshots and log."""
    monkeypatch.setattr(PostgresMachine, "url", database_url, raising=False)
    examples = settings.default.max_examples if settings.default is not None else 60
    run_state_machine_as_test(
        PostgresMachine, settings=settings(max_examples=examples // 3, stateful_step_count=40)
    )
