"""The simulated database is held against PostgreSQL: both are told the same, and say the same.

Every statement of a simulation is carried out by PostgreSQL too, over as many connections and in
the same order, and each answer is compared; at the end, every row. What the simulation makes wait
for a lock is not sent before it is free, so PostgreSQL must never make it wait.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.simulation.running import run_script, run_seed
from tests.simulation.script import parse
from tests.simulation.session import Answer, Operation, Session
from tests.simulation.statements import LEDGER_ID, tags_of, understand
from tests.simulation.view_values import value_of
from tests.simulation.world import Setting, World
from tests.strategies import START

from ledger_core import database, log
from ledger_core.log import Connection
from projections.tables import metadata

SEEDS = 6
STEPS = 800
SCRIPTS = Path(__file__).parent / "scripts"


class Mirror:
    """PostgreSQL beside the simulated database."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        """Create the ledger there."""
        self._url = url
        self._stack = stack
        self._connections: dict[int, Connection] = {}
        self._sessions: list[Session] = []
        self.statements = 0
        writer = self._connect("ledger_writer")
        assert log.create_ledger(writer, "main", START) == LEDGER_ID
        self.store = World(Setting()).store

    def world(self, setting: Setting) -> World:
        """A world whose database is both."""
        world = World(setting, self.understand)
        self.store = world.store
        return world

    def understand(self, query: Any, parameters: Sequence[Any]) -> Operation:  # noqa: ANN401 - whatever the product says
        """Do it in both, the simulated one first: it knows what has to wait."""
        simulated = understand(query, parameters)

        def both(session: Session) -> Answer:
            expected: Answer | psycopg.Error
            try:
                expected = simulated(session)
            except psycopg.Error as error:
                expected = error
            self._compare(session, query, parameters, expected)
            if isinstance(expected, psycopg.Error):
                raise expected
            return expected

        return both

    def _compare(
        self,
        session: Session,
        query: Any,  # noqa: ANN401 - as above
        parameters: Sequence[Any],
        expected: Answer | psycopg.Error,
    ) -> None:
        """PostgreSQL gives the same answer."""
        self.statements += 1
        connection = self._connection(session)
        if isinstance(expected, psycopg.Error):
            with pytest.raises(type(expected)):
                _told(connection, query, parameters)
            return
        rows, rowcount = _told(connection, query, parameters)
        is_ordered = isinstance(query, str) and "ORDER BY" in query and "GROUP BY" not in query
        assert _plain(rows, ordered=is_ordered) == _plain(
            expected.fetchall(), ordered=is_ordered
        ), (query, parameters)
        if expected.rowcount >= 0:
            assert rowcount == expected.rowcount, (query, parameters)

    def _connection(self, session: Session) -> Connection:
        """The connection that stands for a simulated one."""
        found = self._connections.get(id(session))
        if found is None:
            is_server = session.owner.startswith("server")
            found = self._connect("ledger_writer" if is_server else "ledger_projector")
            found.execute("SET statement_timeout = '20s'")
            found.execute("SET lock_timeout = '1s'")
            self._connections[id(session)] = found
            session.on_drop = found.close
            self._sessions.append(session)  # So that no other can have its id.
        return found

    def _connect(self, role: database.Role) -> Connection:
        """Open a connection."""
        return self._stack.enter_context(database.connect(self._url, role))

    def compare_all(self) -> None:
        """Every row of the log and of the views is the same in both."""
        reader = self._connect("ledger_reader")
        writer = self._connect("ledger_writer")
        head = log.read_head(writer, LEDGER_ID)
        assert (head.position, head.recorded_at) == self.store.head[:2]
        stored = log.read_events(writer, LEDGER_ID, 0, head.position + 1)
        simulated = [log.StoredEvent(*row[:4], tags_of(row), *row[5:]) for row in self.store.log]
        assert stored == simulated
        for table in metadata.sorted_tables:
            names = [
                str(column.name)
                for column in table.columns
                if column.name not in ("ledger_id", "slot")
            ]
            if table.name == "projections":
                continue
            query = f"SELECT {', '.join(names)} FROM {table.fullname}"
            rows = reader.execute(query.encode()).fetchall()
            mine = [
                tuple(value_of(table, name, row[name]) for name in names)
                for row in self.store.views.get(str(table.name), {}).values()
            ]
            assert _plain(rows) == _plain(mine), table.name


def _told(
    connection: Connection,
    query: Any,  # noqa: ANN401 - as above
    parameters: Sequence[Any],
) -> tuple[list[tuple[Any, ...]], int]:
    """What PostgreSQL says: rows, and how many were changed."""
    text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else ""
    if text.startswith("COPY"):
        with connection.cursor() as cursor, cursor.copy(text.encode()) as copy:
            copy.write(parameters[0])
        return [], cursor.rowcount
    result = connection.execute(query, parameters or None, prepare=False)
    while result.nextset():
        pass
    rows = result.fetchall() if result.description is not None else []
    return rows, result.rowcount


def _plain(rows: Sequence[Sequence[Any]], *, ordered: bool = False) -> list[str]:
    """Rows as texts that are the same for the same values; in any order, if none was asked for."""
    texts = [repr([_value(item) for item in row]) for row in rows]
    return texts if ordered else sorted(texts)


def _value(value: object) -> object:
    """A value, free of how it is represented."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, str | bytes) and value[:1] in {b"{", b"[", "{", "["}:
        with suppress(ValueError):  # It only looks like JSON: a hash may begin thus.
            return json.dumps(json.loads(value), sort_keys=True)
    return value


@pytest.fixture
def mirror(database_url: str) -> Iterator[Mirror]:
    """PostgreSQL with an empty ledger."""
    with ExitStack() as stack:
        yield Mirror(database_url, stack)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_postgres_says_the_same(mirror: Mirror, seed: int) -> None:
    """The answers to every statement, and every row in the end."""
    result = run_seed(seed, steps=STEPS, begin=mirror.world)
    assert not result.findings
    assert mirror.statements > STEPS / 10
    mirror.compare_all()


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_postgres_says_the_same_to_a_script(mirror: Mirror, path: Path) -> None:
    """The scripts of the bugs that were mended go the same way on PostgreSQL."""
    result = run_script(parse(path.read_text("utf-8")), begin=mirror.world)
    assert not result.findings
    assert result.events
    mirror.compare_all()
