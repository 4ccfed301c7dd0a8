"""Tiles without a database: what each completes, by the definition of the tree."""

import hashlib
from collections.abc import Sequence
from functools import partial

import pytest

from ledger_core import proofs, tiles
from ledger_core.proofs import Node
from ledger_core.tiles import Growing, TreeDamagedError

TILES = 2 * tiles.TILE + 5
LEAVES = [hashlib.sha256(b"%d" % number).digest() for number in range(TILES * tiles.TILE)]


def _grown() -> dict[tuple[int, int], tuple[bytes, bytes]]:
    """Every tile over all leaves: its hashes and nodes, by level and number."""
    growing = Growing({})
    return {
        (row.level, row.number): (row.hashes, row.nodes)
        for number in range(TILES)
        for row in growing.add(0, number, _hashes(number * tiles.TILE, tiles.TILE))
    }


def _hashes(first: int, count: int) -> bytes:
    """Leaves, one after another."""
    return b"".join(LEAVES[first : first + count])


def test_tiles_hold_what_they_are_defined_to_hold() -> None:
    """Level 0 has leaves; above it, every hash is the root of a full tile below."""
    grown = _grown()
    assert {level for level, _ in grown} == {0, 1}
    assert [number for level, number in grown if level == 1] == [0, 1]
    for (level, number), (hashes, _) in grown.items():
        height = tiles.HEIGHT * level
        first = number * tiles.TILE
        expected = [
            proofs.root_of_perfect(_hashes((first + at) << height, 1 << height))
            for at in (0, 1, 100, 255)
        ]
        assert [hashes[at * 32 : at * 32 + 32] for at in (0, 1, 100, 255)] == expected


@pytest.mark.parametrize("height", range(8, 18))
def test_every_node_stands_in_one_row(height: int) -> None:
    """A node of height 8 and more is read from the tile that completes it, by its place alone."""
    grown = _grown()
    for number in range((TILES * tiles.TILE) >> height):
        node = Node(height, number)
        level, tile, place = tiles.place_of(node)
        assert place is not None
        nodes = grown[level, tile][1]
        expected = proofs.root_of_perfect(b"".join(LEAVES[node.start : node.end]))
        assert nodes[place * 32 : place * 32 + 32] == expected


def test_a_gap_is_not_built_over() -> None:
    """A tile whose predecessors are missing is refused."""
    with pytest.raises(TreeDamagedError, match="missing"):
        list(Growing({}).add(0, 3, _hashes(0, tiles.TILE)))


@pytest.mark.parametrize("size", [100_000_000, 99_999_999, 67_108_864, 2**33 + 12_345])
def test_a_proof_in_a_long_log_touches_few_rows(size: int) -> None:
    """Some 30 rows of tiles at 100 million events, and no more leaves than one tile has."""
    lag_from = size // tiles.TILE * tiles.TILE
    for index in (0, 1, 255, size // 3, size // 2, size - 300, size - 1):
        for path in (proofs.inclusion_path, proofs.consistency_path):
            asked: list[Node] = []
            path(index, size, partial(_note, asked))
            rows = {tiles.place_of(node)[:2] for node in asked if node.end <= lag_from}
            edge = [node for node in asked if node.end > lag_from]
            assert len(rows) <= 32
            assert all(node.start >= lag_from for node in edge)
            assert sum(node.end - node.start for node in edge) < tiles.TILE


def _note(asked: list[Node], wanted: Sequence[Node]) -> list[bytes]:
    """Note which nodes are asked for."""
    asked.extend(wanted)
    return [bytes(32)] * len(wanted)
