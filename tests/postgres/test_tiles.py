"""Tiles on PostgreSQL: built in steps, read in few statements, honest about what lacks."""

from hashlib import sha256
from typing import Any, Self, get_args

import psycopg
import pytest
from tests.postgres.ledger_harness import World
from tests.strategies import START

from ledger_core import merkle, proofs, tiles
from ledger_core.appending import append
from ledger_core.database import Role
from ledger_core.errors import LedgerBusy, LedgerNotFound
from ledger_core.log import NewEvent, begin, read_head
from ledger_core.tiles import TILE, Tree, TreeDamagedError
from projections import sealing
from projections.paging import begin_snapshot

LONG = TILE * TILE + 3 * TILE + 100
"""One full tile of level 1, three tiles of leaves beyond it, and a right edge."""

_statements: list[int] = []


class _Counting(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor that notes how many rows each statement gives."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:  # noqa: ANN401 - the driver's own
        """Execute, and note it."""
        super().execute(query, params, **options)
        _statements.append(self.rowcount)
        return self


def fill(world: World, size: int, first: int = 1) -> list[bytes]:
    """Append made-up events up to a size, as far as the tree is concerned; all leaf hashes."""
    leaves = [sha256(b"%d" % number).digest() for number in range(1, size + 1)]
    with world.writer.cursor() as cursor, world.writer.transaction():
        statement = (
            "COPY ledger.events (ledger_id, position, recorded_at, type, version, tags, actor,"
            " data, leaf_hash) FROM STDIN"
        )
        with cursor.copy(statement) as copy:
            for position in range(first, size + 1):
                copy.write(
                    f"{world.ledger_id}\t{position}\t2026-01-01T00:00:00Z\tUnitRegistered\t1\t{{}}"
                    f"\ttest\t{{}}\t\\\\x{leaves[position - 1].hex()}\n"
                )
        frontier = merkle.to_bytes(merkle.extend(merkle.EMPTY, leaves))
        cursor.execute(
            "UPDATE ledger.heads SET position = %s, frontier = %s WHERE ledger_id = %s",
            (size, frontier, world.ledger_id),
        )
    return leaves


def build(world: World, size: int, tiles_max: int = tiles.BATCH_TILES) -> int:
    """Build every full tile."""
    total = 0
    while built := tiles.extend(world.projector, world.ledger_id, "events", size, tiles_max):
        total += built
    return total


def rows_of(world: World) -> list[tuple[Any, ...]]:
    """Every tile of the ledger."""
    return world.writer.execute(
        "SELECT level, tile_index, hashes, nodes FROM audit.tiles WHERE ledger_id = %s"
        " ORDER BY level, tile_index",
        (world.ledger_id,),
    ).fetchall()


def defined_root(leaves: list[bytes]) -> bytes:
    """The root over leaves, by the append's own arithmetic."""
    return merkle.root(merkle.extend(merkle.EMPTY, leaves))


def test_tiles_do_not_depend_on_the_steps_in_which_they_were_built(world: World) -> None:
    """One tile at a time while the log grows, or all at the end: the same rows."""
    sizes = (255, 256, 257, 700, 5 * TILE, 9 * TILE + 1)
    before = 0
    for size in sizes:
        fill(world, size, before + 1)
        assert build(world, size, 1) == size // TILE - before // TILE
        before = size
    stepwise = rows_of(world)
    with psycopg.connect(world.owner_url, autocommit=True) as owner:
        owner.execute("DELETE FROM audit.tiles")
    assert build(world, sizes[-1]) == 9
    assert rows_of(world) == stepwise
    assert build(world, sizes[-1]) == 0


def test_a_long_log_has_tiles_of_two_levels_and_proofs_of_few_rows(world: World) -> None:
    """Every proof is right, and takes three statements, few rows of tiles and no more leaves."""
    leaves = fill(world, LONG)
    assert build(world, LONG) == LONG // TILE
    assert [(row[0], row[1]) for row in rows_of(world) if row[0]] == [(1, 0)]
    reader = world.connect("ledger_reader")
    reader.cursor_factory = _Counting
    sizes = (LONG, LONG - 100, TILE * TILE, TILE * TILE + 1, 40_000)
    for size in sizes:
        root = defined_root(leaves[:size])
        for index in (0, 255, 256, size // 2, size - 1):
            _statements.clear()
            tree = Tree(reader, world.ledger_id)
            path = proofs.inclusion_path(index, size, tree.nodes_at)
            assert len(_statements) <= 3
            # One row counts the tiles, one has all leaves of the right edge.
            assert sum(_statements) <= 2 + 25
            assert proofs.verify_inclusion(leaves[index], index, size, path, root)
            grown = proofs.consistency_path(index + 1, size, tree.nodes_at)
            first_root = proofs.root_at(index + 1, tree.nodes_at)
            assert first_root == defined_root(leaves[: index + 1])
            assert proofs.verify_consistency(index + 1, size, first_root, root, grown)


def test_tiles_are_served_full_and_partial(world: World) -> None:
    """Any width of any tile, whether stored or computed from what is below it."""
    leaves = fill(world, LONG)
    build(world, LONG)
    tree = Tree(world.connect("ledger_reader"), world.ledger_id)
    assert tree.tile(0, 3, TILE) == b"".join(leaves[3 * TILE : 4 * TILE])
    assert tree.tile(0, 3, 7) == b"".join(leaves[3 * TILE : 3 * TILE + 7])
    last = LONG // TILE
    assert tree.tile(0, last, 100) == b"".join(leaves[last * TILE :])
    roots = [defined_root(leaves[at * TILE : (at + 1) * TILE]) for at in range(last)]
    assert tree.tile(1, 0, TILE) == b"".join(roots[:TILE])
    assert tree.tile(1, 1, 3) == b"".join(roots[TILE:])
    assert tree.tile(2, 0, 1) == defined_root(leaves[: TILE * TILE])


def test_proofs_hold_while_tiles_lag(world: World) -> None:
    """With no tiles, and with some: what lacks is computed from the leaves."""
    size = 20 * TILE + 9
    leaves = fill(world, size)
    root = defined_root(leaves)
    for built in (0, 1, 7):
        while Tree(world.projector, world.ledger_id).lag_from < built * TILE:
            tiles.extend(world.projector, world.ledger_id, "events", size, 1)
        tree = Tree(world.projector, world.ledger_id)
        assert tree.lag_from == built * TILE
        for index in (0, 300, 3_000, size - 1):
            path = proofs.inclusion_path(index, size, tree.nodes_at)
            assert proofs.verify_inclusion(leaves[index], index, size, path, root)
        assert tree.tile(1, 0, 20) == b"".join(
            defined_root(leaves[at * TILE : (at + 1) * TILE]) for at in range(20)
        )


def test_too_long_an_edge_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tiles are far behind, a proof is refused for now rather than take long."""
    fill(world, 4 * TILE)
    monkeypatch.setattr(tiles, "EDGE_LEAVES_MAX", 2 * TILE)
    tree = Tree(world.projector, world.ledger_id)
    with pytest.raises(LedgerBusy):
        proofs.root_at(4 * TILE, tree.nodes_at)
    build(world, 4 * TILE)
    proofs.root_at(4 * TILE, Tree(world.projector, world.ledger_id).nodes_at)


def test_two_builders_at_once_build_the_same(world: World) -> None:
    """A second process at the same work changes nothing and fails nowhere."""
    fill(world, 6 * TILE)
    other = world.connect()
    with world.projector.transaction():
        tiles.extend(world.projector, world.ledger_id, "events", 2 * TILE)
        assert tiles.count(other, world.ledger_id, "events") == 0
    assert tiles.extend(other, world.ledger_id, "events", 6 * TILE) == 4
    assert build(world, 6 * TILE) == 0
    assert [row[1] for row in rows_of(world)] == list(range(6))


def test_a_missing_event_or_tile_is_told(world: World) -> None:
    """Neither tiles nor proofs are made over a gap."""
    fill(world, 3 * TILE)
    build(world, 2 * TILE)
    with psycopg.connect(world.owner_url, autocommit=True) as owner:
        owner.execute("DELETE FROM ledger.events WHERE position = %s", (2 * TILE + 5,))
        with pytest.raises(TreeDamagedError, match="missing"):
            build(world, 3 * TILE)
        owner.execute("DELETE FROM audit.tiles WHERE tile_index = 0")
    with pytest.raises(TreeDamagedError, match="tile 0"):
        proofs.inclusion_path(3, 2 * TILE, Tree(world.projector, world.ledger_id).nodes_at)


def test_heads_are_read_and_checked(world: World) -> None:
    """The head's tree has the head's size; a ledger that is not there has none."""
    leaves = fill(world, 300)
    assert merkle.root(tiles.head(world.writer, world.ledger_id, "events")) == defined_root(leaves)
    assert tiles.heads(world.writer, "events") == {world.ledger_id: 300}
    with pytest.raises(LedgerNotFound):
        tiles.head(world.writer, 99, "events")
    world.writer.execute("UPDATE ledger.heads SET position = 299")
    with pytest.raises(TreeDamagedError, match="differ"):
        tiles.head(world.writer, world.ledger_id, "events")


@pytest.mark.parametrize("role", get_args(Role))
def test_no_role_changes_what_outsiders_check_with(world: World, role: Role) -> None:
    """Checkpoints, tiles and time-stamps are inserted, and then stay as they are."""
    connection = world.connect(role)
    for table in ("checkpoints", "tiles", "timestamps"):
        for statement in (
            "UPDATE audit.{} SET ledger_id = 2",
            "DELETE FROM audit.{}",
            "TRUNCATE audit.{}",
            "DROP TABLE audit.{}",
            "ALTER TABLE audit.{} ADD COLUMN extra text",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(table).encode())
    inserts = {
        "ledger_reader": {"checkpoints", "tiles", "timestamps"},
        "ledger_replayer": {"checkpoints", "tiles", "timestamps"},
        "ledger_projector": {"checkpoints", "timestamps"},
        "ledger_writer": set[str](),
    }
    for table in inserts[role]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"INSERT INTO audit.{table} DEFAULT VALUES".encode())


def _verified(world: World) -> list[str]:
    """What a verification finds of tiles."""
    order = sealing.Order(world.ledger_id, read_head(world.writer, world.ledger_id).position, None)
    with world.projector.transaction():
        begin_snapshot(world.projector)
        report = sealing.check(world.projector, order)
    return [finding.message for _, finding in report.findings if finding.kind == "tile"]


def _sealed(world: World, size: int) -> None:
    """Fill a log whose leaves are those of its events."""
    stored = (
        NewEvent("UnitRegistered", 1, (), None, "test", b'{"number":%d}' % number)
        for number in range(size)
    )
    head = begin(world.writer, world.ledger_id)
    append(world.writer, world.ledger_id, head, START, list(stored))


@pytest.mark.parametrize("built", [0, 1, 3, 5])
def test_verification_finds_nothing_wrong_with_tiles_that_follow(world: World, built: int) -> None:
    """All tiles, some, or none yet: the log's tree is the head's either way."""
    _sealed(world, 5 * TILE + 7)
    build(world, built * TILE)
    assert _verified(world) == []
    order = sealing.Order(world.ledger_id, 5 * TILE + 7, None)
    with world.projector.transaction():
        begin_snapshot(world.projector)
        report = sealing.check(world.projector, order)
    assert report.findings == []
    assert report.frontier == tiles.head(world.writer, world.ledger_id, "events")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            (
                "UPDATE audit.tiles SET hashes = overlay(hashes placing '\\x00' from 77)"
                " WHERE tile_index = 1"
            ),
            "tile 1 of level 0 is not that of the log's tree",
        ),
        (
            (
                "UPDATE audit.tiles SET nodes = overlay(nodes placing '\\x00' from 1)"
                " WHERE tile_index = 3"
            ),
            "tile 3 of level 0 is not that of the log's tree",
        ),
        ("DELETE FROM audit.tiles WHERE tile_index = 2", "tile 2 of level 0 is missing"),
        (
            (
                "INSERT INTO audit.tiles SELECT ledger_id, log, 0, 9, hashes, nodes"
                " FROM audit.tiles WHERE tile_index = 0"
            ),
            "tile 9 of level 0 is beyond the end of the log",
        ),
        (
            (
                "INSERT INTO audit.tiles SELECT ledger_id, log, 1, 0, hashes, nodes"
                " FROM audit.tiles WHERE tile_index = 0"
            ),
            "tile 0 of level 1 is beyond the end of the log",
        ),
        (
            (
                "INSERT INTO audit.tiles SELECT ledger_id, log, 7, 9223372036854775807, hashes,"
                " nodes FROM audit.tiles WHERE tile_index = 0"
            ),
            "tile 9223372036854775807 of level 7 is beyond the end of the log",
        ),
    ],
)
def test_verification_finds_a_tile_that_is_not_the_trees(
    world: World, damage: str, expected: str
) -> None:
    """Altered, missing before others, or of nothing that is in the log."""
    _sealed(world, 5 * TILE + 7)
    build(world, 5 * TILE)
    with psycopg.connect(world.owner_url, autocommit=True) as owner:
        owner.execute(damage.encode())
    assert _verified(world) == [expected]


def test_an_altered_event_is_found_once(world: World) -> None:
    """It is the event that is at fault, and not every tile over it."""
    _sealed(world, 3 * TILE)
    build(world, 3 * TILE)
    with psycopg.connect(world.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger.events SET data = '{}' WHERE position = 5")
    order = sealing.Order(world.ledger_id, 3 * TILE, None)
    with world.projector.transaction():
        begin_snapshot(world.projector)
        report = sealing.check(world.projector, order)
    assert [finding.position for _, finding in report.findings] == [5]
