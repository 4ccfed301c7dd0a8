"""The tiles of a log's tree against the leaves of the log, while the log is being read.

A tile that is not what the leaves below it make it is found, one that is missing before others, and
one that nothing of the log fills. That the newest are not there yet is none: they follow the log.
Knows leaves as hashes, and nothing of events.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from psycopg import ServerCursor

from ledger_core import merkle
from ledger_core.merkle import Frontier
from ledger_core.tiles import HEIGHT, TILE, Growing, LogName
from projections.findings import Findings

# The digest of a tile stands for its 8 kB; by the last leaf of each, as the log fills them.
# Numeric, for what a damaged row holds may be beyond any whole number's range.
_ROWS = """
    SELECT level, tile_index, sha256(hashes || nodes) FROM audit.tiles
    WHERE ledger_id = %s AND log = %s
    ORDER BY (tile_index + 1::numeric) * (1::bigint << (8 * level)), level
"""
_PAGE_ROWS = 2_000

_KINDS: Mapping[LogName, str] = {"events": "tile", "accesses": "access_tile"}

# When a tile is full, by leaves, and its level.
_Place = tuple[int, int]


class TileCheck:
    """Takes the leaves of a log in order, and holds the stored tiles against them."""

    def __init__(
        self,
        cursor: ServerCursor[Any],
        ledger_id: int,
        findings: Findings,
        log: LogName = "events",
    ) -> None:
        """Begin before the first leaf; the caller closes the cursor, a binary one."""
        self._findings = findings
        self._log: LogName = log
        self._found = _rows(cursor, ledger_id, log)
        self._next = next(self._found, None)
        self._growing = Growing({})
        self._roots = merkle.EMPTY
        self._rest: list[bytes] = []

    @property
    def frontier(self) -> Frontier:
        """The tree over all leaves so far."""
        whole = Frontier(self._roots.size * TILE, self._roots.nodes)
        return merkle.extend(whole, self._rest)

    def take(self, leaves: Sequence[bytes]) -> None:
        """Check the tiles that these leaves fill."""
        rest = [*self._rest, *leaves]
        full = len(rest) // TILE * TILE
        for start in range(0, full, TILE):
            self._take_tile(b"".join(rest[start : start + TILE]))
        self._rest = rest[full:]

    def finish(self) -> None:
        """Note what is stored beyond the end of the log."""
        while self._next is not None:
            (_, level), index, _ = self._next
            self._add(f"tile {index} of level {level} is beyond the end of the log")
            self._next = next(self._found, None)

    def _take_tile(self, hashes: bytes) -> None:
        """Check a tile of leaves, and those above that it completes."""
        for row in self._growing.add(0, self._roots.size, hashes):
            if not row.level:
                self._roots = merkle.extend(self._roots, [row.nodes[: merkle.HASH_SIZE]])
            self._compare(row.level, row.number, sha256(row.hashes + row.nodes).digest())

    def _compare(self, level: int, index: int, digest: bytes) -> None:
        """Hold a tile against what is stored in its place."""
        place = _place(level, index)
        while self._next is not None and self._next[0] < place:
            (_, other), number, _ = self._next
            self._add(f"tile {number} of level {other} is none of the tree's")
            self._next = next(self._found, None)
        if self._next is None:
            return  # It is not stored yet, and neither is any after it.
        last = place[0]
        if self._next[0] != place:
            self._add(f"tile {index} of level {level} is missing", last)
            return
        if self._next[2] != digest:
            self._add(f"tile {index} of level {level} is not that of the log's tree", last)
        self._next = next(self._found, None)

    def _add(self, what: str, last: int | None = None) -> None:
        """Note what is wrong with a tile; ``last`` is the leaf that fills it."""
        position = last if self._log == "events" else None
        self._findings.add(_KINDS[self._log], what, position=position)


def _rows(
    cursor: ServerCursor[Any], ledger_id: int, log: LogName
) -> Iterator[tuple[_Place, int, bytes]]:
    """The stored tiles in the order in which the log fills them: place, index and digest."""
    cursor.itersize = _PAGE_ROWS
    cursor.execute(_ROWS.encode(), (ledger_id, log))
    for level, index, digest in cursor:
        yield _place(level, index), index, bytes(digest)


def _place(level: int, index: int) -> _Place:
    """Where a tile stands among all: after the leaf that fills it, and the tiles below it."""
    return (index + 1) << (HEIGHT * (level + 1)), level
