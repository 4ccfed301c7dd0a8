"""Replay: a schema that shows the ledger as it stood; whole or not there, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from tests.postgres.ledger_harness import World
from tests.postgres.moments import everything, histories, lived
from tests.strategies import START

from ledger_core import database, log, merkle
from ledger_core.commands import Command
from ledger_core.log import Connection
from projections import replaying
from projections.reading import AsOf
from projections.registry import PROJECTIONS
from projections.replaying import Replay, ReplayRefused, Wanted
from projections.tables import metadata

if TYPE_CHECKING:
    import sqlalchemy

_numbers = count(1)
TABLES = [str(table.name) for table in metadata.sorted_tables]


@contextmanager
def _owner(url: str) -> Iterator[Connection]:
    """A connection of the role that owns replays, by whatever right the program has."""
    with database.connect(url, "ledger_replayer") as connection:
        yield connection


@contextmanager
def _reading(url: str) -> Iterator["sqlalchemy.Connection"]:
    """A transaction of the role that owns the database; whatever it does is taken back."""
    engine = database.engine(url, "ledger_reader")
    try:
        with engine.connect() as conn:
            conn.exec_driver_sql("SET ROLE NONE")
            yield conn
            conn.rollback()
    finally:
        engine.dispose()


def _replayed(world: World, position: int, schema: str = "march", **others: Any) -> Replay:  # noqa: ANN401
    """Replay the world's ledger."""
    wanted = Wanted(
        schema=schema,
        ledger_id=world.ledger_id,
        ledger="test",
        position=position,
        asked=str(position),
        **others,
    )
    with _owner(world.url) as owner, world.connect("ledger_projector") as projector:
        return replaying.replay_into(owner, projector, wanted, START)


def _rows(conn: Connection, schema: str, table: str, ledger_id: int) -> list[str]:
    """Every row of a ledger's live version, but for its slot."""
    slot = ""
    if table != "projections":
        names = {str(item.name): p.name for p in PROJECTIONS for item in p.tables}
        slot = (
            f" AND t.slot = (SELECT p.slot FROM {schema}.projections p"
            f" WHERE p.ledger_id = t.ledger_id AND p.live AND p.name = '{names[table]}')"
        )
    rows = conn.execute(
        f"SELECT (to_jsonb(t) - 'slot')::text FROM {schema}.{table} t"
        f" WHERE t.ledger_id = %s{slot} ORDER BY 1".encode(),
        (ledger_id,),
    )
    return [row[0] for row in rows]


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(history=histories, data=st.data())
def test_a_replay_is_what_the_ledger_was(
    database_url: str, history: list[list[Command]], data: st.DataObject
) -> None:
    """At a random position all answers are those as of it; at the head every row is as live."""
    number = next(_numbers)
    with World(database_url, f"replayed-{number}") as world:
        head = lived(world, history)
        position = data.draw(st.integers(0, head))
        made = _replayed(world, position, f"then_{number}")
        assert made.position == position
        leaves = [item.leaf_hash for item in world.stored()]
        assert made.root == merkle.root(merkle.extend(merkle.EMPTY, leaves[:position])).hex()
        _replayed(world, head, f"now_{number}")
        reader = world.connect("ledger_reader")
        for table in TABLES:
            live = _rows(reader, "views", table, world.ledger_id)
            assert _rows(reader, f"now_{number}", table, world.ledger_id) == live
        with _reading(world.owner_url) as conn:
            then = everything(conn, world.ledger_id, AsOf(position=position))
        with _reading(world.owner_url) as conn:
            conn.exec_driver_sql("ALTER SCHEMA views RENAME TO the_live_ones")
            conn.exec_driver_sql(f"ALTER SCHEMA then_{number} RENAME TO views")
            assert everything(conn, world.ledger_id, AsOf()) == then


def test_a_replay_says_what_it_is_and_readers_may_read_it(bank: World) -> None:
    """Ledger, position, time and root; the tables are open to the reading role and to no other."""
    made = _replayed(bank, 4)
    assert made.root == merkle.root(log.read_head(bank.writer, bank.ledger_id).frontier).hex()
    with bank.connect("ledger_reader") as reader:
        assert replaying.replays(reader) == [made]
        row = reader.execute("SELECT * FROM march.replay_info").fetchone()
        assert row == (
            bank.ledger_id,
            "test",
            4,
            made.recorded_at,
            made.root,
            "4",
            START,
        )
        found = reader.execute("SELECT account_id FROM march.accounts ORDER BY 1").fetchall()
        assert [name for (name,) in found] == ["A", "B", "bank:counter:EUR"]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM march.accounts")
    with (
        bank.connect("ledger_projector") as projector,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        projector.execute("DELETE FROM march.accounts")


def test_a_replay_is_replaced_only_when_asked_to(bank: World) -> None:
    """What is there stays until then; what something else made stays in any case."""
    _replayed(bank, 4)
    with pytest.raises(ReplayRefused, match="there already"):
        _replayed(bank, 2)
    assert _replayed(bank, 2, replace=True).position == 2
    with _owner(bank.url) as owner:
        assert [item.position for item in replaying.replays(owner)] == [2]
        owner.execute("CREATE SCHEMA mine")
        with pytest.raises(ReplayRefused, match="not made by a replay"):
            _replayed(bank, 2, "mine", replace=True)
        with pytest.raises(ReplayRefused, match="not made by a replay"):
            replaying.drop(owner, "mine")
        replaying.drop(owner, "march")
        assert replaying.replays(owner) == []
        with pytest.raises(ReplayRefused, match="There is no schema"):
            replaying.drop(owner, "march")


def test_what_others_made_of_a_replay_is_not_dropped_with_it(bank: World) -> None:
    """A table of theirs in it, a view of theirs on it: they are told, and nothing is lost."""
    _replayed(bank, 4)
    with _owner(bank.url) as owner, psycopg.connect(bank.owner_url, autocommit=True) as other:
        owner.execute("CREATE TABLE march.notes (note text)")
        with pytest.raises(ReplayRefused, match="Others made objects"):
            replaying.drop(owner, "march")
        with pytest.raises(ReplayRefused, match="Others made objects"):
            _replayed(bank, 2, replace=True)
        assert [item.position for item in replaying.replays(owner)] == [4]
        owner.execute("DROP TABLE march.notes")
        other.execute("CREATE VIEW public.big AS SELECT * FROM march.accounts")
        with pytest.raises(ReplayRefused, match="Others made objects"):
            replaying.drop(owner, "march")
        other.execute("DROP VIEW public.big")
        replaying.drop(owner, "march")
        assert _schemas(owner) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Then",
        "1then",
        "select",
        "t-1",
        "a b",
        'a"b',
        "views; DROP SCHEMA views",
        "tagé",
        "x" * 51,
        "views",
        "ledger",
        "keystore",
        "audit",
        "analytics",
        "ledger_program",
        "public",
        "pg_then",
        "march__building",
    ],
)
def test_only_a_plain_name_of_ones_own_is_taken(bank: World, name: str) -> None:
    """Nothing that needs quotes, no word of SQL, no schema of ours or the server's."""
    with pytest.raises(ReplayRefused):
        _replayed(bank, 1, name, replace=True)
    with _owner(bank.url) as owner, pytest.raises(ReplayRefused):
        replaying.drop(owner, name)


def test_nothing_half_done_is_left(bank: World, superuser_url: str) -> None:
    """A log that cannot be taken in leaves no schema; one that was left halfway is made anew."""
    with pytest.raises(ReplayRefused, match="ends at position 4"):
        _replayed(bank, 5)
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute("UPDATE ledger.events SET type = 'Unheard' WHERE position = 3")
        with pytest.raises(ValueError, match="Unheard"):
            _replayed(bank, 4)
        assert _schemas(bank.writer) == []
        superuser.execute("UPDATE ledger.events SET type = 'AccountOpened' WHERE position = 3")
    with _owner(bank.url) as owner:
        # As a process leaves it that is killed: under its provisional name, with some rows in it.
        made = _replayed(bank, 4)
        owner.execute("ALTER SCHEMA march RENAME TO march__building")
        assert replaying.replays(owner) == []
        assert _replayed(bank, 4) == made
        assert _schemas(owner) == ["march"]
        owner.execute("ALTER SCHEMA march RENAME TO march__building")
        replaying.drop(owner, "march")
        assert _schemas(owner) == []


def test_two_replays_into_one_schema_do_not_meet(bank: World) -> None:
    """The second is refused while the first is at it."""
    with _owner(bank.url) as owner:
        owner.execute("SELECT pg_advisory_lock(hashtextextended('made by ledger replay march', 0))")
        with pytest.raises(ReplayRefused, match="under way"):
            _replayed(bank, 4)
    assert _replayed(bank, 4).position == 4


def test_the_live_views_are_not_touched(bank: World) -> None:
    """Not a row of them is written, and not one of the log."""
    bank.catch_up()
    before = {table: _versions(bank.writer, table) for table in TABLES}
    _replayed(bank, 3)
    assert {table: _versions(bank.writer, table) for table in TABLES} == before


def _schemas(conn: Connection) -> list[str]:
    """The schemas that replays made."""
    rows = conn.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname ^@ 'march' ORDER BY nspname"
    ).fetchall()
    return [row[0] for row in rows]


def _versions(conn: Connection, table: str) -> list[tuple[Any, ...]]:
    """Which transaction wrote each row of a table of the live views."""
    return conn.execute(
        sql.SQL("SELECT xmin::text, ctid::text FROM {}").format(sql.Identifier("views", table))
    ).fetchall()
