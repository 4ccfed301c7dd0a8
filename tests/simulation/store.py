"""The simulated database: one ledger's log and views, and transactions that wait for each other.

As PostgreSQL at READ COMMITTED: a statement sees what was committed before it begins and what its
own transaction did; a row that is locked makes others wait; a connection that is lost takes its
transaction along. A statement is done in one piece, for all that it may wait before.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

from ledger_core import merkle

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEAD = "head"
PROJECTIONS = "projections"


class LogRow(NamedTuple):
    """A row of ``ledger.events``; ``tags`` as the text of their array."""

    position: int
    recorded_at: datetime
    type: str
    version: int
    tags: str
    command_key: str | None
    actor: str
    data: bytes
    leaf_hash: bytes


class HeadRow(NamedTuple):
    """The row of ``ledger.heads``."""

    position: int
    recorded_at: datetime
    frontier: bytes


class StandingRow(NamedTuple):
    """A row of ``views.projections``; all are live."""

    name: str
    slot: int
    position: int
    recorded_at: datetime | None


Identity = tuple[str, str]
Row = dict[str, Any]
Key = tuple[Any, ...]


class Blocked(Exception):  # noqa: N818 - no error: the statement is tried again
    """The statement has to wait for the end of another transaction."""

    def __init__(self, holder: "Transaction") -> None:
        """Say for whose."""
        super().__init__()
        self.holder = holder


class Transaction:
    """What one session changed and nobody else sees yet."""

    __slots__ = (
        "head",
        "identities",
        "is_failed",
        "is_over",
        "keys",
        "log",
        "standings",
        "views",
        "waiters",
    )

    def __init__(self) -> None:
        """Nothing changed."""
        self.log: list[LogRow] = []
        self.keys: dict[str, int] = {}
        self.identities: dict[Identity, int] = {}
        self.head: HeadRow | None = None
        self.views: dict[str, dict[Key, Row]] = {}
        self.standings: dict[str, StandingRow] = {}
        self.is_failed = False
        self.is_over = False
        # Called when it is over: those who wait for it go on.
        self.waiters: list[Callable[[], None]] = []


class Store:
    """Everything that is committed, and who holds which lock."""

    def __init__(self) -> None:
        """An empty ledger."""
        self.log: list[LogRow] = []
        self.keys: dict[str, int] = {}
        self.identities: dict[Identity, int] = {}
        self.head = HeadRow(0, EPOCH, merkle.to_bytes(merkle.EMPTY))
        self.views: dict[str, dict[Key, Row]] = {}
        self.standings: dict[str, StandingRow] = {}
        self.locks: dict[str, Transaction] = {}
        self.open: list[Transaction] = []
        self.on_commit: Callable[[Transaction], None] = lambda _: None

    def begin(self) -> Transaction:
        """Begin a transaction."""
        transaction = Transaction()
        self.open.append(transaction)
        return transaction

    def lock(self, name: str, transaction: Transaction) -> None:
        """Hold a lock until the transaction's end.

        Raises:
            Blocked: another transaction has it.
        """
        holder = self.locks.setdefault(name, transaction)
        if holder is not transaction:
            raise Blocked(holder)

    def row_at(self, transaction: Transaction | None, position: int) -> LogRow | None:
        """The event at a position, as the transaction sees it."""
        if 0 < position <= len(self.log):
            return self.log[position - 1]
        for row in () if transaction is None else transaction.log:
            if row.position == position:
                return row
        return None

    def rows_after(
        self, transaction: Transaction | None, after: int, last: int | None = None
    ) -> Iterator[LogRow]:
        """The events after a position (up to another), as the transaction sees them."""
        yield from self.log[after:last]
        for row in () if transaction is None else transaction.log:
            if row.position > after and (last is None or row.position <= last):
                yield row

    def insert_events(self, transaction: Transaction, rows: list[LogRow]) -> None:
        """Insert events.

        Raises:
            Blocked: another transaction inserted one in the same place, and is not over.
            psycopg.errors.UniqueViolation: its place or key is taken.
        """
        for other in self.open:
            if other is not transaction and other.log:
                raise Blocked(other)
        for row in rows:
            if self.row_at(transaction, row.position) is not None:
                message = "duplicate key value violates unique constraint: position"
                raise psycopg.errors.UniqueViolation(message)
            key = row.command_key
            if key is not None:
                if key in self.keys or key in transaction.keys:
                    message = "duplicate key value violates unique constraint: command_key"
                    raise psycopg.errors.UniqueViolation(message)
                transaction.keys[key] = row.position
            transaction.log.append(row)

    def insert_identities(self, transaction: Transaction, taken: dict[Identity, int]) -> None:
        """Take names.

        Raises:
            psycopg.errors.UniqueViolation: one is taken.
        """
        for name, position in taken.items():
            if name in self.identities or name in transaction.identities:
                message = "duplicate key value violates unique constraint: identities"
                raise psycopg.errors.UniqueViolation(message)
            transaction.identities[name] = position

    def table(self, transaction: Transaction | None, name: str) -> dict[Key, Row]:
        """A table of the views as the transaction sees it; not to be changed."""
        committed = self.views.get(name, {})
        own = {} if transaction is None else transaction.views.get(name, {})
        return {**committed, **own} if own else committed

    def view_row(self, transaction: Transaction | None, name: str, key: Key) -> Row | None:
        """One row of a table of the views, as the transaction sees it."""
        if transaction is not None:
            own = transaction.views.get(name, {}).get(key)
            if own is not None:
                return own
        return self.views.get(name, {}).get(key)

    def standing_rows(self, transaction: Transaction | None) -> list[StandingRow]:
        """Where the projections stand, in the order of their names."""
        own = {} if transaction is None else transaction.standings
        return [row for _, row in sorted({**self.standings, **own}.items())]

    def commit(self, transaction: Transaction) -> None:
        """Make the transaction's changes everybody's, and free its locks."""
        if transaction.is_failed:
            self.rollback(transaction)
            return
        self.log += transaction.log
        self.keys |= transaction.keys
        self.identities |= transaction.identities
        if transaction.head is not None:
            self.head = transaction.head
        for name, rows in transaction.views.items():
            self.views.setdefault(name, {}).update(rows)
        self.standings |= transaction.standings
        self.on_commit(transaction)
        self._over(transaction)

    def rollback(self, transaction: Transaction) -> None:
        """Forget the transaction's changes, and free its locks."""
        self._over(transaction)

    def _over(self, transaction: Transaction) -> None:
        """Free the locks, and wake who waited."""
        transaction.is_over = True
        if transaction in self.open:
            self.open.remove(transaction)
        for name, holder in list(self.locks.items()):
            if holder is transaction:
                del self.locks[name]
        for wake in transaction.waiters:
            wake()
        transaction.waiters.clear()
