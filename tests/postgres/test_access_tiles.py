"""The tiles over the access log: verified against the accesses, column by column and row by row."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.postgres.ledger_harness import World
from tests.strategies import START

from ledger_core import access_log, tiles
from ledger_core.access_log import AccessWriter, NewAccess
from ledger_core.tiles import TILE
from projections import access_verification
from projections.findings import Findings
from projections.paging import begin_snapshot
from projections.verification import verify

OTHER_VALUE = {
    "ledger_id": "ledger_id + 1",
    "log": "'events'",
    "level": "level + 1",
    "tile_index": "tile_index + 100",
    "hashes": "set_byte(hashes, 8191, get_byte(hashes, 8191) # 1)",
    "nodes": "set_byte(nodes, 31, get_byte(nodes, 31) # 128)",
}


def read(world: World, count: int) -> None:
    """Record accesses, and build every tile that they fill."""
    writer = AccessWriter(world.connect())
    access = NewAccess("key:1", "get_account", ["account:a"], "", "request", 200, 5)
    for start in range(0, count, 5_000):
        writer.append(world.ledger_id, START, [access] * min(5_000, count - start))
    size = access_log.read_head(world.writer, world.ledger_id).number
    while tiles.extend(world.projector, world.ledger_id, "accesses", size):
        pass


def found(world: World) -> list[tuple[str, str, int | None]]:
    """What a check of the access log finds: kinds, messages, positions of events."""
    findings = Findings()
    with world.projector.transaction():
        begin_snapshot(world.projector)
        access_verification.check(world.projector, world.ledger_id, findings)
    return [(item.kind, item.message, item.position) for _, item in findings.shown]


@contextmanager
def damaged(world: World, statement: str) -> Iterator[None]:
    """The tiles after a statement, which is undone."""
    with psycopg.connect(world.owner_url, autocommit=True) as owner:
        owner.execute("CREATE TEMP TABLE kept AS TABLE audit.tiles")
        assert owner.execute(statement.encode()).rowcount > 0
        yield
        owner.execute("TRUNCATE audit.tiles")
        owner.execute("INSERT INTO audit.tiles TABLE kept")


@pytest.mark.parametrize("count", [0, 1, TILE - 1, TILE, 3 * TILE + 10])
def test_untouched_tiles_are_as_they_should_be(world: World, count: int) -> None:
    """However many there are, and where they lag behind."""
    read(world, count)
    assert found(world) == []
    writer = AccessWriter(world.connect())
    access = NewAccess("key:2", "list_accounts", [], "", "other", 200, None)
    writer.append(world.ledger_id, START, [access] * (TILE + 1))
    assert found(world) == []
    assert verify(world.projector, world.ledger_id).ok


def test_a_change_of_any_column_of_any_tile_is_found(world: World) -> None:
    """Of each tile before the last; the last may be as if it was not there yet."""
    read(world, 3 * TILE + 10)
    with psycopg.connect(world.owner_url) as owner:
        columns = owner.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = 'audit' AND table_name = 'tiles'"
        ).fetchall()
    assert {name for (name,) in columns} == OTHER_VALUE.keys()
    for index in (0, 1, 2):
        for column, changed in OTHER_VALUE.items():
            if index == 2 and column in {"ledger_id", "log"}:
                continue
            statement = f"UPDATE audit.tiles SET {column} = {changed} WHERE tile_index = {index}"
            with damaged(world, statement):
                findings = found(world)
                assert findings, (index, column)
                assert {(kind, position) for kind, _, position in findings} == {
                    ("access_tile", None)
                }
                assert any(f"tile {index} of" in what for _, what, _ in findings) or index == 2
                assert not verify(world.projector, world.ledger_id).ok
    assert found(world) == []


def test_tiles_taken_out_and_put_in_are_found(world: World) -> None:
    """Missing before others, beyond the end, or of a level that the log does not reach."""
    read(world, 3 * TILE + 10)
    insert = "INSERT INTO audit.tiles SELECT ledger_id, log, {}, hashes, nodes FROM audit.tiles"
    for statement, expected in (
        ("DELETE FROM audit.tiles WHERE tile_index = 0", "tile 0 of level 0 is missing"),
        ("DELETE FROM audit.tiles WHERE tile_index = 1", "tile 1 of level 0 is missing"),
        (insert.format("0, 7"), "tile 7 of level 0 is beyond the end of the log"),
        (insert.format("2, 0"), "tile 0 of level 2 is beyond the end of the log"),
    ):
        with damaged(world, statement + " WHERE tile_index = 1" * statement.startswith("INSERT")):
            assert found(world) == [("access_tile", expected, None)]


def test_tiles_of_the_second_level_are_checked(world: World) -> None:
    """They are completed by the last of their 256 tiles, and compared with what those make."""
    read(world, TILE * TILE + 2 * TILE)
    assert found(world) == []
    for column in ("hashes", "nodes"):
        statement = f"UPDATE audit.tiles SET {column} = {OTHER_VALUE[column]} WHERE level = 1"
        with damaged(world, statement):
            what = "tile 0 of level 1 is not that of the log's tree"
            assert found(world) == [("access_tile", what, None)]


def test_an_altered_access_is_one_finding(world: World) -> None:
    """The tiles over it are as they were sealed: it is the access that is at fault."""
    read(world, 2 * TILE + 10)
    with psycopg.connect(world.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE audit.accesses SET reason = 'none' WHERE number = 5")
    kinds = [kind for kind, _, _ in found(world)]
    assert kinds == ["access", "access_tree"]
