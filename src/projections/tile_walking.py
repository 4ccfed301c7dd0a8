"""The stored tiles against the leaves of the log, a little at a time, for the self-audit.

Tiles are only ever added, all that a leaf fills at once: those that are there when a walk begins
stay as they are, and each page may be read in a transaction of its own. What they should be is
computed from the leaf hashes, which the self-audit has held against the events before. Goes on from
where the last walk ended.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from ledger_core import tiles
from ledger_core.log import Connection
from ledger_core.tiles import BATCH_TILES, HEIGHT, TILE, TILE_BYTES, Growing, TreeDamagedError
from projections.findings import Findings

_LEVELS = range(8)

# Of each level, the tiles that are filled by a stretch of tiles of leaves.
_PAGE = """
    SELECT t.level, t.tile_index, sha256(t.hashes || t.nodes)
    FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) AS w (level, first, after)
    JOIN audit.tiles t ON t.ledger_id = %s AND t.log = 'events'
        AND t.level = w.level AND t.tile_index >= w.first AND t.tile_index < w.after
"""
# One statement, so that head and tiles are of one moment. The shifts leave how many can be full.
_BEYOND = """
    SELECT t.level, t.tile_index FROM ledger.heads h
    CROSS JOIN generate_series(0, 7) AS w (level)
    CROSS JOIN LATERAL (
        SELECT level, tile_index FROM audit.tiles s
        WHERE s.ledger_id = h.ledger_id AND s.log = 'events' AND s.level = w.level
            AND s.tile_index >= h.position >> 8 >> (8 * w.level)
        ORDER BY s.tile_index LIMIT 1
    ) t
    WHERE h.ledger_id = %s
"""


class TileWalk:
    """A walk along the tiles over the events of one ledger."""

    def __init__(self, ledger_id: int, findings: Findings) -> None:
        """Begin before the first leaf."""
        self._ledger_id = ledger_id
        self._findings = findings
        self._growing = Growing({})
        self._done = 0

    def to(self, connection: Connection, position: int) -> Iterator[None]:
        """Compare all tiles that are there now and that the log fills up to a position.

        Page by page, with no transaction open in between.
        """
        full = tiles.count(connection, self._ledger_id, "events")
        for level, index in connection.execute(_BEYOND, (self._ledger_id,)).fetchall():
            what = f"tile {index} of level {level} is beyond the end of the log"
            self._findings.add("tile", what)
        full = min(full, position // TILE)
        while self._done < full:
            end = min(full, self._done - self._done % BATCH_TILES + BATCH_TILES)
            try:
                leaves = tiles.leaf_hashes(
                    connection, self._ledger_id, "events", self._done * TILE, end * TILE
                )
            except TreeDamagedError as error:
                self._findings.add("tile", str(error))
                return
            self._compare(leaves, self._stored(connection, end))
            self._done = end
            yield

    def _stored(self, connection: Connection, end: int) -> dict[tuple[int, int], bytes]:
        """The digests of the tiles that are filled by the next tiles of leaves."""
        firsts = [self._done >> (HEIGHT * level) for level in _LEVELS]
        afters = [end >> (HEIGHT * level) for level in _LEVELS]
        with connection.cursor(binary=True) as cursor:
            cursor.execute(_PAGE.encode(), (list(_LEVELS), firsts, afters, self._ledger_id))
            rows: list[Any] = cursor.fetchall()
        return {(row[0], row[1]): bytes(row[2]) for row in rows}

    def _compare(self, leaves: bytes, stored: dict[tuple[int, int], bytes]) -> None:
        """Hold what is stored of these leaves' tiles against what it should be."""
        for place in range(0, len(leaves), TILE_BYTES):
            index = self._done + place // TILE_BYTES
            for row in self._growing.add(0, index, leaves[place : place + TILE_BYTES]):
                found = stored.get((row.level, row.number))
                if found == sha256(row.hashes + row.nodes).digest():
                    continue
                what = "missing" if found is None else "not that of the log's tree"
                self._findings.add(
                    "tile",
                    f"tile {row.number} of level {row.level} is {what}",
                    position=(row.number + 1) << (HEIGHT * (row.level + 1)),
                )
