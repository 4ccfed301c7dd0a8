"""Appending to the log: rows are sealed and sent while later events are still being decided.

Many events are streamed by COPY, so that the database takes in the first ones while the next are
being decided. A few go in by one statement together with the head's move and the commit: one round
trip. Either way every event is a leaf of the tree before anything is committed.

A writer that has been alone need not even lock the head first: it appends on condition that the
head is where it left it (compare and swap), and that is one round trip for everything.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime

from ledger_core import log, merkle
from ledger_core.log import Connection, Head, Identity, NewEvent, leaf_of, micros

# So many events are sent at a time: enough for the calls not to count, and soon enough for the
# database to be at work while Python is.
STREAM_EVENTS = 128
# Up to so many are cheaper to parse as one statement than two more round trips.
STATEMENT_EVENTS_MAX = 32

_EVENT_COLUMNS = (
    "ledger_id, position, recorded_at, type, version, tags, command_key, actor, data, leaf_hash"
)
_IDENTITY_COLUMNS = "ledger_id, kind, name, position"
_NULL = "\\N"
_BETWEEN = '","'


class HeadMoved(Exception):  # noqa: N818 - no error: the work is done again
    """Another writer appended meanwhile; nothing of this transaction is in the log."""


class Appending:
    """The events of one transaction on their way into a log.

    Either its head is locked already, or it is assumed to be where the writer left it and locked
    when the connection is needed for more than the one statement that appends on that condition.
    While events are being streamed, the connection is good for nothing else: see ``pause``.
    """

    def __init__(
        self,
        connection: Connection,
        ledger_id: int,
        head: Head,
        recorded_at: datetime,
        *,
        is_locked: bool = True,
    ) -> None:
        """Append after ``head``; ``recorded_at`` may not be before its time."""
        if recorded_at < head.recorded_at:
            msg = "recorded_at never runs backwards"
            raise ValueError(msg)
        self._connection = connection
        self._ledger_id = ledger_id
        self._recorded_at = recorded_at
        self._recorded_at_us = micros(recorded_at)
        self.began = head
        self._position = head.position
        self.is_locked = is_locked
        self._frontier = head.frontier
        self._waiting: list[NewEvent] = []
        self._stream = ExitStack()
        self._write: Callable[[str], None] | None = None
        self.last: NewEvent | None = None

    def add(self, events: Sequence[NewEvent]) -> None:
        """Append events, in order."""
        if not events:
            return
        self._waiting += events
        self.last = events[-1]
        if len(self._waiting) >= STREAM_EVENTS:
            self._send()

    def lock(self) -> None:
        """Keep every other writer out from here on.

        Raises:
            HeadMoved: the head is not where this transaction took it to be.
        """
        if self.is_locked:
            return
        if log.begin(self._connection, self._ledger_id).position != self.began.position:
            self._connection.execute("ROLLBACK")
            raise HeadMoved
        self.is_locked = True

    def pause(self) -> None:
        """Let the connection be used for something else, in the transaction that has the lock.

        Raises:
            HeadMoved: see ``lock``.
        """
        self.lock()
        self._write = None
        self._stream.close()

    def commit(self, identities: Sequence[Identity] = ()) -> Head:
        """Move the head behind what was appended, and end the transaction; the new head.

        ``identities`` are the names that entries of this transaction take; each can be taken once.

        Raises:
            HeadMoved: see ``lock``.
        """
        is_streamed = self._write is not None or len(self._waiting) > STATEMENT_EVENTS_MAX
        if not self.is_locked and not is_streamed and not identities:
            return self._swap()
        self.lock()
        if is_streamed:
            self._send()
            self.pause()
        statements: list[str] = []
        if self._waiting:
            statements.append(self._insertion())
        if len(identities) > STATEMENT_EVENTS_MAX:
            self._copy_identities(identities)
        elif identities:
            statements.append(self._taking(identities))
        statements += (self._move(), "COMMIT")
        self._connection.execute("; ".join(statements).encode(), prepare=False)
        return self.head()

    def _swap(self) -> Head:
        """Append and commit by one statement, if the head is where it was taken to be; the new one.

        The update waits for a writer that has the lock, and looks at the position again afterwards;
        of two writers that took the head to be in one place, the second changes no row.

        Raises:
            HeadMoved: it is not.
        """
        rows = ", ".join(self._rows())
        statement = (
            f"WITH moved AS ({self._move()} AND position = {self.began.position} RETURNING 1)"  # noqa: S608 - see _literal
            f" INSERT INTO ledger.events ({_EVENT_COLUMNS})"
            " SELECT l, p, r::timestamptz, t, v, g::text[], k, a, d::json, h::bytea"
            f" FROM moved, (VALUES {rows}) AS e (l, p, r, t, v, g, k, a, d, h)"
        )
        if not self._connection.execute(statement.encode(), prepare=False).rowcount:
            raise HeadMoved
        return self.head()

    def head(self) -> Head:
        """The head behind everything that was sealed so far: at a commit, all of it."""
        return Head(self._position, self._recorded_at, self._frontier)

    def _move(self) -> str:
        """The statement that moves the head there."""
        return (
            f"UPDATE ledger.heads SET position = {self._position},"  # noqa: S608 - whole numbers, a time and hexadecimal
            f" recorded_at = '{self._recorded_at.isoformat()}',"
            f" frontier = '\\x{merkle.to_bytes(self._frontier).hex()}'"
            f" WHERE ledger_id = {self._ledger_id}"
        )

    def _sealed(self) -> tuple[list[tuple[int, NewEvent, bytes]], bool]:
        """What is waiting, as leaves of the tree: positions, events and the hashes of their leaves.

        And whether no text of it has to be escaped but for quotes of SQL. What JSON does not escape
        is special neither in an array nor in COPY, except for blanks between the members of
        somebody else's payload.
        """
        first, recorded_at_us, waiting = self._position + 1, self._recorded_at_us, self._waiting
        leaves = [
            leaf_of(
                position,
                recorded_at_us,
                event.type,
                event.version,
                event.command_key,
                event.actor,
                event.tags,
                event.data,
            )
            for position, event in enumerate(waiting, first)
        ]
        hashes = merkle.leaf_hashes(leaves)
        sealed = list(zip(range(first, first + len(waiting)), waiting, hashes, strict=True))
        all_bytes = b"".join(leaves)
        self._position += len(waiting)
        self._frontier = merkle.extend(self._frontier, hashes)
        self._waiting = []
        is_simple = not any(special in all_bytes for special in (b"\\", b"\t", b"\r"))
        return sealed, is_simple and all_bytes.count(b"\n") == len(hashes)

    def _send(self) -> None:
        """Stream what is waiting."""
        if self._write is None:
            self.lock()
            cursor = self._stream.enter_context(self._connection.cursor())
            copy = f"COPY ledger.events ({_EVENT_COLUMNS}) FROM STDIN"
            self._write = self._stream.enter_context(cursor.copy(copy.encode())).write
        before, recorded_at = f"{self._ledger_id}\t", self._recorded_at.isoformat()
        sealed, is_simple = self._sealed()
        if is_simple:
            rows = [
                f"{before}{position}\t{recorded_at}\t{event.type}\t{event.version}\t{{"
                + (f'"{_BETWEEN.join(event.tags)}"' if event.tags else "")
                + f"}}\t{_NULL if event.command_key is None else event.command_key}\t{event.actor}"
                f"\t{event.data.decode()}\t\\\\x{leaf_hash.hex()}\n"
                for position, event, leaf_hash in sealed
            ]
        else:
            rows = [
                f"{before}{position}\t{recorded_at}\t{_copy_text(event.type)}\t{event.version}"
                f"\t{_copy_text(_array(event.tags))}"
                f"\t{_NULL if event.command_key is None else _copy_text(event.command_key)}"
                f"\t{_copy_text(event.actor)}\t{_copy_text(event.data.decode())}"
                f"\t\\\\x{leaf_hash.hex()}\n"
                for position, event, leaf_hash in sealed
            ]
        self._write("".join(rows))

    def _insertion(self) -> str:
        """The statement that inserts what is waiting."""
        return f"INSERT INTO ledger.events ({_EVENT_COLUMNS}) VALUES {', '.join(self._rows())}"  # noqa: S608 - see _literal

    def _rows(self) -> list[str]:
        """What is waiting, as rows of VALUES."""
        before = f"({self._ledger_id}, "
        recorded_at = self._recorded_at.isoformat()
        return [
            f"{before}{position}, '{recorded_at}', {_literal(event.type)}, {event.version},"
            f" {_literal(_array(event.tags))}, {_literal(event.command_key)},"
            f" {_literal(event.actor)}, {_literal(event.data.decode())},"
            f" '\\x{leaf_hash.hex()}')"
            for position, event, leaf_hash in self._sealed()[0]
        ]

    def _taking(self, identities: Sequence[Identity]) -> str:
        """The statement that takes names."""
        rows = ", ".join(
            f"({self._ledger_id}, {_literal(item.kind)}, {_literal(item.name)}, {item.position})"
            for item in identities
        )
        return f"INSERT INTO ledger.identities ({_IDENTITY_COLUMNS}) VALUES {rows}"  # noqa: S608 - see _literal

    def _copy_identities(self, identities: Sequence[Identity]) -> None:
        """Take many names."""
        self.pause()
        statement = f"COPY ledger.identities ({_IDENTITY_COLUMNS}) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(
                "".join(
                    f"{self._ledger_id}\t{item.kind}\t{_copy_text(item.name)}\t{item.position}\n"
                    for item in identities
                )
            )


def append(
    connection: Connection,
    ledger_id: int,
    head: Head,
    recorded_at: datetime,
    events: Sequence[NewEvent],
) -> Head:
    """Append events after ``head``, which this transaction must have locked, and commit."""
    appending = Appending(connection, ledger_id, head, recorded_at)
    appending.add(events)
    return appending.commit()


def _literal(text: str | None) -> str:
    """A text as a literal of SQL with standard strings, in which only the quote is special.

    Raises:
        ValueError: it has a NUL, which PostgreSQL cannot store.
    """
    if text is None:
        return "NULL"
    if "\0" in text:
        msg = "no text may have a NUL"
        raise ValueError(msg)
    return "'" + text.replace("'", "''") + "'" if "'" in text else f"'{text}'"


def _array(tags: Sequence[str]) -> str:
    """Tags as an array's literal."""
    if not tags:
        return "{}"
    joined = '","'.join(tags)
    if "\\" in joined or joined.count('"') != 2 * (len(tags) - 1):
        joined = '","'.join(tag.replace("\\", "\\\\").replace('"', '\\"') for tag in tags)
    return f'{{"{joined}"}}'


def _copy_text(text: str) -> str:
    """A value in COPY's text format, where backslash, tab and line ends are special."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if text.isprintable():
        return text
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
