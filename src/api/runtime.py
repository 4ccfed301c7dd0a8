"""What a running program holds: the database, one writer a ledger, the read side, the vault.

The HTTP server and the command line both work on a ``Runtime``, so they share one code path.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from api import api_keys, clock, embedded_postgres, migrations
from api.customer_search import CustomerSearch
from api.executing import Watched
from api.key_providers import provider_of
from api.notary import Notary
from api.settings import Settings
from api.tracing import Tracing
from api.transaction_figures import TransactionFigures
from ledger_core import database, log
from ledger_core.blind_index import BlindIndex
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.errors import LedgerBusy, LedgerNotFound
from ledger_core.ledger import Ledger, Mode, Outcome, Submission
from ledger_core.log import Connection
from ledger_core.vault import Vault
from ledger_core.writer import Item, Writer
from projections import runner

# Ledgers written to at one time; beyond, the one longest unused is read anew when next needed.
WRITERS_MAX = 16

_T = TypeVar("_T")


class Runtime:
    """Open resources of one process; ``close`` drains the writers and lets go of everything."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] = clock.now) -> None:
        """Start the embedded server where none is named, and bring the schema up to date.

        ``now`` is the clock by which events are recorded and things fall due. The schema's owner is
        needed for the second alone, and where there is something to do.
        """
        self.settings = settings
        self.now = now
        self.owner_url = settings.migration_url
        if settings.database_url is None:
            cluster = embedded_postgres.ensure_running(settings.data_dir)
            self.database_url, self.owner_url = cluster.url(), cluster.url(login="owner")
        else:
            self.database_url = settings.database_url
        migrations.bring_up(self.database_url, self.owner_url)
        provider = provider_of(settings.keys, settings.key_encryption_key)
        self.vault = Vault(provider, clock.random_bytes)
        self.blind_index = BlindIndex(settings.server_secret)
        self.search = CustomerSearch(self.vault, self.blind_index)
        self.engine = database.engine(self.database_url, "ledger_reader")
        self.notary = Notary(settings, self.connect, now)
        self.tracing = None if settings.traces is None else Tracing(settings.traces)
        self.transaction_figures = TransactionFigures()
        # Whether a projector runs beside, which brings the views up: nobody here does its work too.
        self.is_projected = False
        self._writers: dict[int, Writer] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def connect(self, role: database.Role) -> Connection:
        """A new connection in that role."""
        return database.connect(self.database_url, role)

    def ledger_id(self, name: str) -> int:
        """The id of the ledger of that name.

        Raises:
            LedgerNotFound: none.
        """
        with self.connect("ledger_reader") as connection:
            found = log.find_ledger(connection, name)
        if found is None:
            raise LedgerNotFound
        return found

    def create_ledger(self, name: str) -> int:
        """The id of the ledger of that name, created where there is none."""
        with self.connect("ledger_writer") as connection:
            ledger_id = log.create_ledger(connection, name, self.now())
        with self.connect("ledger_projector") as connection:
            runner.ensure_registered(connection, ledger_id)
        return ledger_id

    def writer(self, ledger_id: int) -> Writer:
        """The ledger's writer in this process.

        At most ``WRITERS_MAX`` are kept, each with a connection and its state in memory; the one
        longest unused makes room for another.
        """
        with self._lock:
            writer = self._writers.pop(ledger_id, None)
            if writer is None:
                watched = Watched(ledger_id, self.transaction_figures.observe, self.tracing)
                ledger = Ledger(
                    lambda: self.connect("ledger_writer"),
                    ledger_id,
                    self.now,
                    self.vault,
                    self.blind_index,
                )
                ledger.committing = watched.committing
                writer = Writer(
                    partial(watched.execute, ledger.execute), ledger.close, str(ledger_id)
                )
            self._writers[ledger_id] = writer
            retired = None
            if len(self._writers) > WRITERS_MAX:
                retired = self._writers.pop(next(iter(self._writers)))
        if retired is not None:
            retired.stop()
        return writer

    def writers(self) -> dict[int, Writer]:
        """The writers at work in this process, by ledger."""
        with self._lock:
            return dict(self._writers)

    def submit(self, ledger_id: int, submission: Submission) -> Future[list[Outcome]]:
        """Queue commands with the ledger's writer.

        Raises:
            LedgerBusy: the queue is full.
        """
        return self._with_writer(ledger_id, lambda writer: writer.submit(submission))

    def submit_all(self, ledger_id: int, items: list[Item]) -> None:
        """Queue submissions that came together; what finds the queue full is told so itself."""
        self._with_writer(ledger_id, lambda writer: writer.submit_all(items))

    def _with_writer(self, ledger_id: int, submit: Callable[[Writer], _T]) -> _T:
        """Submit to the ledger's writer, whichever that is by then.

        Raises:
            LedgerBusy: as ``submit`` says.
        """
        while True:
            writer = self.writer(ledger_id)
            try:
                return submit(writer)
            except LedgerBusy:
                if self._writers.get(ledger_id) is writer:
                    raise
                # It was retired between the two steps: a new one takes its place.

    def judge(self, ledger_id: int, submission: Submission, books: Books) -> list[Outcome]:
        """What the commands would be answered on these books; nothing is recorded.

        Raises:
            LedgerBusy: the database cannot be reached.
        """
        ledger = Ledger(lambda: self.connect("ledger_writer"), ledger_id, self.now, self.vault)
        return ledger.judge(submission, books)

    def execute(
        self, ledger_id: int, commands: list[Command], actor: str, mode: Mode = "each"
    ) -> list[Outcome]:
        """Carry out commands and wait until their outcomes are durable.

        Raises:
            LedgerBusy: the queue is full or the database cannot be reached.
        """
        return self.submit(ledger_id, Submission(commands, actor, mode)).result()

    def create_key(  # noqa: PLR0913 - the columns of a key
        self,
        ledger_id: int,
        role: str,
        name: str,
        expires_at: datetime | None = None,
        *,
        person: str | None = None,
        permissions: Sequence[str] = (),
    ) -> str:
        """The text of a new API key, shown this once; ``make_key`` says what is refused."""
        new = api_keys.NewKey(
            role=role,
            name=name,
            expires_at=expires_at,
            person=person,
            permissions=permissions,
            created_by="program",
        )
        return self.make_key(ledger_id, new).text

    def make_key(self, ledger_id: int, new: api_keys.NewKey) -> api_keys.CreatedKey:
        """A new API key, shown this once.

        Raises:
            KeyRefused: see ``api_keys.require_valid``.
        """
        with self.connect("ledger_writer") as connection:
            return api_keys.create(
                connection,
                ledger_id,
                new,
                server_secret=self.settings.server_secret,
                at=clock.now(),
                random_bytes=clock.random_bytes,
            )

    def replace_key(
        self, ledger_id: int, new: api_keys.NewKey, until: datetime
    ) -> api_keys.CreatedKey | None:
        """A new API key instead of the one that it ``replaces``, which holds until that moment.

        ``None``: that one was replaced or revoked already.

        Raises:
            KeyRefused: see ``api_keys.require_valid``.
        """
        with self.connect("ledger_writer") as connection, connection.transaction():
            if not api_keys.end_by(connection, ledger_id, new.replaces or "", until):
                return None
            return api_keys.create(
                connection,
                ledger_id,
                new,
                server_secret=self.settings.server_secret,
                at=clock.now(),
                random_bytes=clock.random_bytes,
            )

    def close(self) -> None:
        """Drain the writers and close every connection."""
        with self._lock:
            writers = list(self._writers.values())
            self._writers.clear()
        for writer in writers:
            writer.stop()
        self.notary.close()
        self.engine.dispose()
