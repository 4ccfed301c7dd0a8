"""How projections write: whole batches, by one statement a table.

A ``Slot`` is the place a projection writes to: one of its two versions in one ledger. Rows go in
by ``COPY`` where they are only ever added, and by one ``INSERT … SELECT`` from JSON where they may
replace what is there. The database carries them out in order while the next are being prepared.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Protocol

import msgspec
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from ledger_core.log import Connection
from projections.folding import Batch
from projections.memory import Memory
from projections.tables import SCHEMA

# Keys in a fixed order, so that the same content is the same text in every rebuild.
_ENCODER = msgspec.json.Encoder(order="deterministic")
_TABS = bytes.maketrans(b",", b"\t")
_TABLE_OF_VIEWS = re.compile(rf"\b{SCHEMA}\.")


def raw_json(value: object) -> msgspec.Raw:
    """A JSON value as it is to stand in a ``json`` column, with its keys in a fixed order."""
    return msgspec.Raw(_ENCODER.encode(value))


class Lane:
    """One connection's statements, carried out in order by a thread of their own.

    Within a transaction of the caller's, who leaves the connection alone meanwhile. Statements name
    the tables of the views; a lane to another schema means the tables of the same names there.
    """

    def __init__(
        self, connection: Connection, thread: ThreadPoolExecutor, schema: str = SCHEMA
    ) -> None:
        """Begin with nothing to do."""
        self._connection = connection
        self._thread = thread
        self._schema = schema
        self._pending: list[Future[None]] = []

    def read(self, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a query, after everything that was asked for before."""
        return self.ask(query, parameters)()

    def ask(self, query: str, parameters: Sequence[object]) -> Callable[[], list[tuple[Any, ...]]]:
        """Begin a query after everything that was asked for before; call for its rows."""
        placed = _placed(query, self._schema)
        return self._thread.submit(
            lambda: self._connection.execute(placed, parameters).fetchall()
        ).result

    def execute(self, statement: str, parameters: Sequence[object]) -> None:
        """Carry out a statement some time before ``finish`` returns."""
        self._pending.append(self._thread.submit(self._execute, statement, parameters))

    def copy(self, statement: str, data: bytes) -> None:
        """Carry out a COPY some time before ``finish`` returns."""
        self._pending.append(self._thread.submit(self._copy, statement, data))

    def finish(self) -> None:
        """Wait until everything was carried out; raises the first error."""
        for future in self._pending:
            future.result()

    def _execute(self, statement: str, parameters: Sequence[object]) -> None:
        """Carry out a statement now."""
        self._connection.execute(_placed(statement, self._schema), parameters)

    def _copy(self, statement: str, data: bytes) -> None:
        """Carry out a COPY now."""
        placed = _placed(statement, self._schema)
        with self._connection.cursor() as cursor, cursor.copy(placed) as copy:
            copy.write(data)


@contextmanager
def lane(connection: Connection, schema: str = SCHEMA) -> Iterator[Lane]:
    """A lane on the connection; everything in it was carried out when the context ends."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="projections") as thread:
        opened = Lane(connection, thread, schema)
        yield opened
        opened.finish()


class Reads(Protocol):
    """Answers queries: a lane does, and whatever only reads."""

    def read(self, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a projection's tables in one ledger, to read from."""

    lane: Reads
    ledger_id: int
    slot: int


@dataclass(frozen=True, slots=True)
class Slot(Stored):
    """One version of a projection's tables in one ledger, and the lane to write to it."""

    lane: Lane

    def insert(self, table: Table, rows: Sequence[Mapping[str, object]], on_conflict: str) -> None:
        """Insert rows, given without ``ledger_id`` and ``slot``; one statement.

        ``on_conflict`` says what becomes of a row whose key is there: ``replace`` it, ``keep``
        what is there, or the SQL of an update.
        """
        if rows:
            self.lane.execute(
                _insert_sql(table, on_conflict),
                (self.ledger_id, self.slot, _ENCODER.encode(rows).decode()),
            )

    def copy(self, table: Table, columns: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Add rows, each beginning after ``ledger_id`` and ``slot``.

        JSON, line by line, is nearly what COPY reads, and nothing makes it faster. No string may
        have a comma, a bracket or anything to escape.
        """
        if rows:
            place = f"{self.ledger_id}\t{self.slot}\t".encode()
            self.lane.copy(
                f"COPY {table.fullname} (ledger_id, slot, {columns}) FROM STDIN (NULL 'null')",
                _ENCODER.encode_lines(rows).replace(b"[", place).translate(_TABS, b']"'),
            )


@dataclass(frozen=True, slots=True)
class Projection:
    """A read model: its name, its tables, and how a batch of events changes them.

    A batch is taken in by parts, unless the projection ``coalesces``: then it is given what all
    parts together changed, without their lines.
    """

    name: str
    tables: tuple[Table, ...]
    apply: Callable[[Slot, Batch, Memory], None]
    coalesces: bool = False


@lru_cache(maxsize=1_000)  # Some dozens of statements a schema.
def _placed(statement: str, schema: str) -> bytes:
    """The statement on the tables of a schema, whose name needs no quotes."""
    if schema == SCHEMA:
        return statement.encode()
    return _TABLE_OF_VIEWS.sub(f"{schema}.", statement).encode()


@cache
def _insert_sql(table: Table, on_conflict: str) -> str:
    """The statement that inserts rows given as a JSON array."""
    columns = [column for column in table.columns if column.name not in ("ledger_id", "slot")]
    names = ", ".join(column.name for column in columns)
    dialect: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
    types = ", ".join(f"{column.name} {column.type.compile(dialect)}" for column in columns)
    key = ", ".join(column.name for column in table.primary_key)
    action = on_conflict
    if on_conflict == "keep":
        action = "DO NOTHING"
    elif on_conflict == "replace":
        updates = ", ".join(
            f"{column.name} = excluded.{column.name}"
            for column in columns
            if not column.primary_key
        )
        action = f"DO UPDATE SET {updates}"
    return (
        f"INSERT INTO {table.fullname} (ledger_id, slot, {names})"  # noqa: S608 - our own names
        f" SELECT %s, %s, {names} FROM json_to_recordset(%s::json) AS v({types})"
        f" ON CONFLICT ({key}) {action}"
    )
