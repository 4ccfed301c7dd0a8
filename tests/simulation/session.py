"""The simulated connection: what the product uses of psycopg's, a turn given away at every step.

A statement is under way twice: to the server and back. In between it is done, or waits for a lock.
A connection can be lost at any of these moments. The server may hear of that only later: then it
does what it was told all the same, and rolls back what was not committed (``late``).
"""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import psycopg
from tests.simulation.store import Blocked, Store, Transaction
from tests.simulation.tasks import Hub, Killed, Task

Rows = Sequence[tuple[Any, ...]]
Phase = Literal["idle", "sent", "done"]
LOST = "server closed the connection unexpectedly"


class Answer:
    """What a statement came to; as much of a cursor as the product uses."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Rows = (), rowcount: int = -1) -> None:
        """The rows, and how many were changed."""
        self._rows = rows
        self.rowcount = rowcount

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row."""
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return list(self._rows)

    def nextset(self) -> bool:
        """Turn to the answer of the next statement of several: it is the one that is here."""
        return True

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """All rows."""
        return iter(self._rows)


Operation = Callable[["Session"], Answer]
Understand = Callable[[Any, Sequence[Any]], Operation]


class Session:
    """One connection, used by one task."""

    def __init__(self, hub: Hub, store: Store, understand: Understand, owner: str) -> None:
        """Idle, outside of any transaction."""
        self.hub = hub
        self.store = store
        self.owner = owner
        self.open: Transaction | None = None
        self.is_lost = False
        self.is_closed = False
        self.phase: Phase = "idle"
        self.task: Task | None = None
        self.under_way: Operation | None = None
        self.is_copying = False
        self.is_out_of_time = False
        self.on_drop: Callable[[], None] = lambda: None
        self._understand = understand

    @property
    def broken(self) -> bool:
        """Whether it was lost."""
        return self.is_lost

    def __enter__(self) -> Self:
        """Use it for a while."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def execute(
        self, query: object, parameters: Sequence[Any] = (), *, prepare: bool | None = None
    ) -> Answer:
        """Carry out a statement.

        Raises:
            psycopg.Error: as the database says, or the connection is lost.
        """
        assert not self.is_copying, f"nothing else can be done while COPY goes on ({prepare})"
        return self.do(self._understand(query, parameters))

    def do(self, operation: Operation) -> Answer:
        """Have an operation done by the server.

        Raises:
            psycopg.Error: see ``execute``.
        """
        if self.is_lost or self.is_closed:
            raise psycopg.OperationalError("the connection is closed")
        self.under_way, self.phase, self.task = operation, "sent", self.hub.current
        self._step()
        while True:
            try:
                answer: Answer | BaseException = operation(self)
            except Blocked as blocked:
                self._block(blocked)
                continue
            except psycopg.Error as error:
                answer = error
                if self.open is not None:
                    self.open.is_failed = True
            break
        self.phase = "done"
        self._step()
        self.phase = "idle"
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def cursor(self) -> "Cursor":
        """For COPY."""
        return Cursor(self)

    def begin(self) -> None:
        """Begin a transaction."""
        assert self.open is None, "there is a transaction in progress"
        self.open = self.store.begin()

    def end(self, *, is_commit: bool) -> None:
        """End the transaction, if there is one."""
        transaction, self.open = self.open, None
        if transaction is not None:
            (self.store.commit if is_commit else self.store.rollback)(transaction)

    def transaction(self) -> "Block":
        """As ``psycopg.Connection.transaction``."""
        return Block(self)

    def close(self) -> None:
        """Let go of the connection; the server rolls back what was not committed."""
        self.is_closed = True
        if not self.is_lost:
            self.drop()

    def lose(self) -> None:
        """Lose the connection, and let the server notice at once."""
        if not self.is_lost:
            self.forsake()
            self.drop()

    def drop(self) -> None:
        """The server is done with the connection: it rolls back what was not committed."""
        self.end(is_commit=False)
        self.on_drop()

    def time_out(self) -> bool:
        """Wait no longer for a lock; whether that was waited for."""
        if self.task is None or self.task.state != "blocked":
            return False
        self.is_out_of_time = True
        self.task.state = "ready"
        return True

    def forsake(self) -> Operation | None:
        """Lose the connection; what the server has still to do, if it has heard of it."""
        self.is_lost = True
        if self.task is not None and self.task.state == "blocked" and self.phase == "sent":
            self.task.state = "ready"
        return self.under_way if self.phase == "sent" else None

    def _step(self) -> None:
        """Give the turn away.

        Raises:
            psycopg.OperationalError: the connection is lost by now.
        """
        self.hub.pause()
        if self.is_lost:
            self.phase = "idle"
            raise psycopg.OperationalError(LOST)

    def _block(self, blocked: Blocked) -> None:
        """Wait for the end of another transaction.

        Raises:
            psycopg.OperationalError: see ``_step``.
        """
        task = self.hub.current
        if task is not None:
            task.state = "blocked"

            def wake() -> None:
                if task.state == "blocked":
                    task.state = "ready"

            blocked.holder.waiters.append(wake)
        self._step()
        if self.is_out_of_time:
            self.is_out_of_time = False
            if self.open is not None:
                self.open.is_failed = True
            self.phase = "idle"
            raise psycopg.errors.LockNotAvailable("canceling statement due to lock timeout")


class Block:
    """A transaction that ends with its block."""

    def __init__(self, session: Session) -> None:
        """Not begun yet."""
        self._session = session

    def __enter__(self) -> Self:
        """Begin."""
        self._session.execute("BEGIN")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit, or roll back if something was raised."""
        if error is None:
            self._session.execute("COMMIT")
        elif not self._session.is_lost and not isinstance(error, Killed):
            self._session.execute("ROLLBACK")


class Cursor:
    """As much of a cursor as COPY needs."""

    def __init__(self, session: Session) -> None:
        """Of that connection."""
        self._session = session

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left."""

    def copy(self, statement: str | bytes) -> "Copy":
        """Begin to stream rows."""
        return Copy(self._session, statement)


class Copy:
    """Rows on their way into a table; they are there when the block has ended."""

    def __init__(self, session: Session, statement: str | bytes) -> None:
        """Nothing was sent."""
        self._session = session
        self._statement = statement
        self._parts: list[str] = []

    def __enter__(self) -> Self:
        """Nothing else can be done on the connection meanwhile."""
        assert not self._session.is_copying
        self._session.is_copying = True
        return self

    def write(self, data: str | bytes) -> None:
        """Send rows: at this moment too the connection can be lost."""
        self._parts.append(data if isinstance(data, str) else data.decode())
        if self._session.is_lost:
            raise psycopg.OperationalError(LOST)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Have the rows inserted, unless something was raised."""
        self._session.is_copying = False
        if error is None:
            self._session.execute(self._statement, ("".join(self._parts),))
