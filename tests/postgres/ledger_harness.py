"""One ledger on PostgreSQL and what a test does with it: write, read, fold, look everywhere."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from tests import databases
from tests.strategies import START

from ledger_core import database, events, log
from ledger_core.books import Books, Event
from ledger_core.commands import Command
from ledger_core.key_provider import Ring
from ledger_core.ledger import Ledger, Mode, Outcome, Submission
from ledger_core.log import Connection, StoredEvent
from ledger_core.vault import Vault
from projections import runner

KEY_ENCRYPTION_KEY = bytes(range(32))


class World:
    """A fresh ledger; every connection that the test opens through it is closed at the end."""

    def __init__(self, url: str, name: str = "test") -> None:
        """Create the ledger and register its projections."""
        self.url = url
        self.now = START
        self.tick = timedelta(seconds=1)
        self._stack = ExitStack()
        self.vault = Vault(Ring([KEY_ENCRYPTION_KEY]), os.urandom)
        self.writer = self.connect()
        self.ledger_id = log.create_ledger(self.writer, name, START)
        self.projector = self.connect("ledger_projector")
        runner.ensure_registered(self.projector, self.ledger_id)
        self.main = self.ledger()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything."""
        self._stack.close()

    def clock(self) -> datetime:
        """A clock that moves a tick a reading: a second, unless the test says otherwise."""
        self.now += self.tick
        return self.now

    @property
    def owner_url(self) -> str:
        """URL of the database for who owns its tables."""
        return databases.owner_of(self.url)

    def connect(self, role: database.Role = "ledger_writer") -> Connection:
        """Open a connection in a role of the program's."""
        return self._stack.enter_context(database.connect(self.url, role))

    def ledger(self, connect: Callable[[], Connection] | None = None) -> Ledger:
        """Make a write side of its own, as another process would have one."""
        ledger = Ledger(connect or self.connect, self.ledger_id, self.clock, self.vault)
        self._stack.callback(ledger.close)
        return ledger

    def run(
        self,
        *commands: Command,
        mode: Mode = "each",
        ledger: Ledger | None = None,
        actor: str = "tester",
        dry_run: bool = False,
    ) -> list[Outcome]:
        """Carry out commands as one submission."""
        submission = Submission(commands, actor, mode, dry_run=dry_run)
        return (ledger or self.main).execute([submission])[0]

    def catch_up(self) -> int:
        """Bring every projection to the head."""
        return runner.catch_up(self.projector, self.ledger_id)

    def stored(self, after: int = 0) -> list[StoredEvent]:
        """Every event of the log, or those after a position."""
        head = log.read_head(self.writer, self.ledger_id).position
        return log.read_events(self.writer, self.ledger_id, after, head)

    def events(self, after: int = 0) -> list[Event]:
        """What happened after a position, decoded."""
        stored = self.stored(after)
        return [events.decode(item.type, item.version, item.data) for item in stored]

    def folded(self) -> Books:
        """The state that the log amounts to, folded from position 1."""
        books = Books()
        for item in self.stored():
            event = events.decode(item.type, item.version, item.data)
            books.recorded_at = item.recorded_at
            assert books.record(event) == item.position
        books.settle()
        return books

    def posted(self, *account_ids: str) -> list[int]:
        """What the accounts hold by the log alone."""
        accounts = self.folded().accounts
        return [accounts[account_id].posted_minor for account_id in account_ids]

    def count(self, query: str) -> int:
        """A number that a query gives."""
        row = self.writer.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


def answers(outcomes: list[Outcome]) -> list[str]:
    """One word a command: its status, or the code of its refusal."""
    return [item.status if item.error is None else item.error.code for item in outcomes]
