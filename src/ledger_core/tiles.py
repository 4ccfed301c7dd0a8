"""Tiles (c2sp.org/tlog-tiles): the inner hashes of a log's tree, kept so that proofs stay cheap.

A full tile holds 256 hashes of one level of the tree: of leaves on level 0, above it of full tiles
of the level below. It is computed once (``extend``), some time after its leaves were appended, and
never changes. Beside its hashes stand the roots of the perfect subtrees that it completes within
its parent tile, so any node of the tree is one row: a proof reads some twenty rows of any log.

What no tile covers yet, the right edge, is computed from the leaves themselves, within a bound.
Deliberately does not know: what a leaf means, or whose signature a root bears.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, LiteralString, NamedTuple

from ledger_core import proofs
from ledger_core.errors import LedgerBusy, LedgerNotFound
from ledger_core.log import Connection
from ledger_core.merkle import EMPTY, HASH_SIZE, Frontier, from_bytes, root
from ledger_core.proofs import Node, hash_nodes, root_of_perfect

LogName = Literal["events", "accesses"]
"""Whose tree it is: that of the events, or that of the access log."""

TILE = 256
"""Hashes of a full tile, and so levels of 2**8."""
TILE_BYTES = TILE * HASH_SIZE
HEIGHT = 8

# Tiles that are written in one transaction: some 16,000 leaves, 50 ms.
BATCH_TILES = 64
# Leaves that a proof reads at most where tiles lack. What is missing more is soon there.
EDGE_LEAVES_MAX = 65_536

# Of each log: the tables of its leaves and of its heads, and what they call a leaf's number.
_TABLES: Mapping[LogName, tuple[LiteralString, LiteralString, LiteralString]] = {
    "events": ("ledger.events", "ledger.heads", "position"),
    "accesses": ("audit.accesses", "audit.access_heads", "number"),
}
_LOGS: tuple[LogName, ...] = ("events", "accesses")


class TreeDamagedError(RuntimeError):
    """What is stored of a tree does not fit together; the message says where."""


class _Row(NamedTuple):
    """A full tile: its level and number there, its hashes, and the nodes that it completes."""

    level: int
    number: int
    hashes: bytes
    nodes: bytes


def logs(connection: Connection) -> tuple[LogName, ...]:
    """The logs that this database has."""
    rows = connection.execute(
        "SELECT to_regclass('audit.accesses') IS NOT NULL"
        " AND to_regclass('audit.access_heads') IS NOT NULL"
    ).fetchone()
    return _LOGS if rows is not None and rows[0] else _LOGS[:1]


def heads(connection: Connection, log: LogName) -> dict[int, int]:
    """Every ledger's last position in a log."""
    _, table, number = _TABLES[log]
    query = f"SELECT ledger_id, {number} FROM {table}"  # noqa: S608 - our own names
    return {row[0]: row[1] for row in connection.execute(query)}


def head(connection: Connection, ledger_id: int, log: LogName) -> Frontier:
    """The tree as the head of the log has it; an access log begins with the first access.

    Raises:
        LedgerNotFound: no such ledger.
        TreeDamagedError: the head's position and its tree have different sizes.
    """
    _, table, number = _TABLES[log]
    query = f"SELECT {number}, frontier FROM {table} WHERE ledger_id = %s"  # noqa: S608 - our own names
    row = connection.execute(query, (ledger_id,)).fetchone()
    if row is None and log == "events":
        raise LedgerNotFound
    if row is None:
        return EMPTY
    try:
        frontier = from_bytes(row[1])
    except ValueError as error:
        raise TreeDamagedError(f"the head's frontier is none: {error}") from None
    if frontier.size != row[0]:
        raise TreeDamagedError("the head's position and the size of its tree differ")
    return frontier


def count(connection: Connection, ledger_id: int, log: LogName) -> int:
    """How many full tiles of leaves there are."""
    row = connection.execute(
        "SELECT max(tile_index) FROM audit.tiles WHERE ledger_id = %s AND log = %s AND level = 0",
        (ledger_id, log),
    ).fetchone()
    return 0 if row is None or row[0] is None else int(row[0]) + 1


def extend(
    connection: Connection, ledger_id: int, log: LogName, size: int, tiles_max: int = BATCH_TILES
) -> int:
    """Compute the tiles that the first ``size`` leaves fill and that are not there yet.

    At most so many of leaves, in one transaction; several at once may do it, the result is one.
    Tells how many were computed: 0 at the end.

    Raises:
        TreeDamagedError: a leaf or a tile is missing.
    """
    with connection.transaction():
        done = count(connection, ledger_id, log)
        end = min(size // TILE, done + tiles_max)
        if end <= done:
            return 0
        growing = Growing(_open_rows(connection, ledger_id, log, done))
        rows = [
            row
            for index, hashes in _full_leaves(connection, ledger_id, log, done, end)
            for row in growing.add(0, index, hashes)
        ]
        connection.execute(
            "INSERT INTO audit.tiles (ledger_id, log, level, tile_index, hashes, nodes)"
            " SELECT %s, %s, * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[], %s::bytea[])"
            " ON CONFLICT DO NOTHING",
            (
                ledger_id,
                log,
                [row.level for row in rows],
                [row.number for row in rows],
                [row.hashes for row in rows],
                [row.nodes for row in rows],
            ),
        )
        return end - done


class Growing:
    """Full tiles from full tiles of leaves, level above level, in order."""

    def __init__(self, begun: Mapping[int, Sequence[tuple[bytes, bytes]]]) -> None:
        """Go on where, on each level, some tiles of a parent are there: root and nodes of each."""
        self._begun = {level: list(rows) for level, rows in begun.items()}

    def add(self, level: int, index: int, hashes: bytes) -> Iterator[_Row]:
        """The tile, and those above that it completes."""
        begun = self._begun.setdefault(level, [])
        if len(begun) != index % TILE:
            raise TreeDamagedError(f"tiles of level {level} before {index} are missing")
        node = root_of_perfect(hashes)
        nodes = [node]
        place, height = index % TILE, 0
        while place & 1 and height < HEIGHT - 1:
            left = begun[index % TILE - (1 << height)][1]
            node = hash_nodes(_hash(left, height), node)
            nodes.append(node)
            place, height = place >> 1, height + 1
        completed = b"".join(nodes)
        begun.append((nodes[0], completed))
        yield _Row(level, index, hashes, completed)
        if len(begun) == TILE:
            whole = b"".join(root for root, _ in begun)
            begun.clear()
            yield from self.add(level + 1, index // TILE, whole)


class Tree:
    """A log's tree as it is stored, seen by one transaction.

    ``nodes_at`` reads what a proof needs, by two statements at most, and nothing twice.
    """

    def __init__(self, connection: Connection, ledger_id: int, log: LogName = "events") -> None:
        """See what the connection's transaction sees."""
        self._connection = connection
        self._ledger_id = ledger_id
        self._log = log
        self._tiles = count(connection, ledger_id, log)
        self._known: dict[Node, bytes] = {}

    @property
    def lag_from(self) -> int:
        """Index of the first leaf that is in no tile yet."""
        return self._tiles * TILE

    def nodes_at(self, wanted: Sequence[Node]) -> list[bytes]:
        """The roots of perfect subtrees, as ``proofs`` asks for them.

        Raises:
            LedgerBusy: so much is in no tile yet that reading it would take too long.
            TreeDamagedError: a leaf or a tile is missing.
        """
        parts = {part for node in wanted for part in self._parts(node)} - self._known.keys()
        self._known |= self._stored([part for part in parts if part.end <= self.lag_from])
        self._known |= self._edge([part for part in parts if part.end > self.lag_from])
        return [self._root(node) for node in wanted]

    def read_ahead(self, *proving: Callable[[proofs.NodesAt], object]) -> None:
        """Read at once what several proofs will ask for, one after another.

        Raises:
            LedgerBusy: as ``nodes_at``.
            TreeDamagedError: as ``nodes_at``.
        """
        wanted: list[Node] = []

        def note(nodes: Sequence[Node]) -> list[bytes]:
            """Note what is asked for, and make something up."""
            wanted.extend(nodes)
            return [bytes(HASH_SIZE)] * len(nodes)

        for prove in proving:
            prove(note)
        self.nodes_at(wanted)

    def root_within(self, head: Frontier, size: int) -> bytes:
        """The root of the first ``size`` leaves, proven against the head of the log.

        Raises:
            LedgerBusy: as ``nodes_at``.
            TreeDamagedError: as ``nodes_at``; or the head does not begin with what is stored.
            ValueError: the log is not that long.
        """
        whole = root(head)
        if size == head.size:
            return whole
        self.read_ahead(
            partial(proofs.root_at, size), partial(proofs.consistency_path, size, head.size)
        )
        found = proofs.root_at(size, self.nodes_at)
        path = proofs.consistency_path(size, head.size, self.nodes_at)
        if not proofs.verify_consistency(size, head.size, found, whole, path):
            raise TreeDamagedError("what is stored of the tree is not that of the log's head")
        return found

    def tile(self, level: int, index: int, width: int) -> bytes:
        """The first ``width`` hashes of a tile, full or not.

        Raises:
            LedgerBusy: as ``nodes_at``.
            TreeDamagedError: as ``nodes_at``.
        """
        first = index * TILE
        if (index + 1) << (HEIGHT * (level + 1)) <= self.lag_from:
            row = self._rows([(level, index, True)]).get((level, index))
            if row is None:
                raise TreeDamagedError(f"tile {index} of level {level} is missing")
            return row[0][: width * HASH_SIZE]
        nodes = [Node(HEIGHT * level, first + place) for place in range(width)]
        return b"".join(self.nodes_at(nodes))

    def _parts(self, node: Node) -> Iterator[Node]:
        """The node itself, or those below it that are in a tile or beyond all tiles."""
        if node.end <= self.lag_from or node.start >= self.lag_from:
            yield node
            return
        for place in (0, 1):
            yield from self._parts(Node(node.height - 1, 2 * node.number + place))

    def _root(self, node: Node) -> bytes:
        """A node, from the parts that were read."""
        known = self._known.get(node)
        if known is None:
            left, right = (Node(node.height - 1, 2 * node.number + place) for place in (0, 1))
            known = self._known[node] = hash_nodes(self._root(left), self._root(right))
        return known

    def _stored(self, wanted: Sequence[Node]) -> dict[Node, bytes]:
        """Nodes that tiles hold."""
        places = {node: place_of(node) for node in wanted}
        asked: dict[tuple[int, int], bool] = {}
        for level, index, within in places.values():
            asked[level, index] = asked.get((level, index), False) or within is None
        if not asked:
            return {}
        rows = self._rows([(*key, is_whole) for key, is_whole in asked.items()])
        found: dict[Node, bytes] = {}
        for node, (level, index, within) in places.items():
            row = rows.get((level, index))
            if row is None:
                raise TreeDamagedError(f"tile {index} of level {level} is missing")
            hashes, nodes = row
            if within is not None:
                found[node] = _hash(nodes, within)
            else:
                start = node.start % TILE * HASH_SIZE
                end = start + (HASH_SIZE << node.height)
                found[node] = root_of_perfect(hashes[start:end])
        return found

    def _rows(
        self, wanted: Sequence[tuple[int, int, bool]]
    ) -> dict[tuple[int, int], tuple[bytes, bytes]]:
        """Hashes, where they are asked for, and nodes of tiles.

        LIMIT keeps the planner at looking up row after row: a join could read all tiles.
        """
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute(
                "SELECT t.level, t.tile_index, CASE WHEN w.whole THEN t.hashes ELSE '' END, t.nodes"
                " FROM unnest(%s::smallint[], %s::bigint[], %s::boolean[])"
                " AS w (level, tile_index, whole)"
                " CROSS JOIN LATERAL (SELECT * FROM audit.tiles s WHERE s.ledger_id = %s"
                " AND s.log = %s AND s.level = w.level AND s.tile_index = w.tile_index LIMIT 1) t",
                (
                    [level for level, _, _ in wanted],
                    [index for _, index, _ in wanted],
                    [whole for _, _, whole in wanted],
                    self._ledger_id,
                    self._log,
                ),
            )
            return {(row[0], row[1]): (row[2], row[3]) for row in cursor}

    def _edge(self, wanted: Sequence[Node]) -> dict[Node, bytes]:
        """Nodes beyond all tiles, from the leaves.

        Raises:
            LedgerBusy: see ``nodes_at``.
            TreeDamagedError: a leaf is missing.
        """
        if not wanted:
            return {}
        start, end = min(node.start for node in wanted), max(node.end for node in wanted)
        if end - start > EDGE_LEAVES_MAX:
            raise LedgerBusy
        leaves = leaf_hashes(self._connection, self._ledger_id, self._log, start, end)
        return {
            node: root_of_perfect(
                leaves[(node.start - start) * HASH_SIZE : (node.end - start) * HASH_SIZE]
            )
            for node in wanted
        }


def leaf_hashes(
    connection: Connection, ledger_id: int, log: LogName, start: int, end: int
) -> bytes:
    """The hashes of the leaves from index ``start`` to before ``end``, one after another.

    Raises:
        TreeDamagedError: one is missing.
    """
    table, _, number = _TABLES[log]
    query = (
        f"SELECT coalesce(string_agg(leaf_hash, ''::bytea ORDER BY {number}), ''::bytea)"  # noqa: S608 - our own names
        f" FROM {table} WHERE ledger_id = %s AND {number} > %s AND {number} <= %s"
    )
    with connection.cursor(binary=True) as cursor:
        cursor.execute(query, (ledger_id, start, end))
        row: Any = cursor.fetchone()
    if len(row[0]) != (end - start) * HASH_SIZE:
        raise TreeDamagedError(f"an event from {start + 1} to {end} is missing")
    return bytes(row[0])


def _full_leaves(
    connection: Connection, ledger_id: int, log: LogName, first: int, end: int
) -> Iterator[tuple[int, bytes]]:
    """The hashes of full tiles of leaves, from tile ``first`` to before ``end``.

    Raises:
        TreeDamagedError: a leaf is missing.
    """
    leaves = leaf_hashes(connection, ledger_id, log, first * TILE, end * TILE)
    for index in range(first, end):
        start = (index - first) * TILE_BYTES
        yield index, leaves[start : start + TILE_BYTES]


def _open_rows(
    connection: Connection, ledger_id: int, log: LogName, done: int
) -> dict[int, list[tuple[bytes, bytes]]]:
    """On each level, root and nodes of the tiles whose parent is not full yet."""
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    counts = _full_counts(done)
    firsts = [full - full % TILE for full in counts]
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            "SELECT t.level, t.nodes FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[])"
            " AS w (level, first, after) JOIN audit.tiles t ON t.ledger_id = %s AND t.log = %s"
            " AND t.level = w.level AND t.tile_index >= w.first AND t.tile_index < w.after"
            " ORDER BY t.level, t.tile_index",
            (list(range(len(counts))), firsts, counts, ledger_id, log),
        )
        for level, nodes in cursor:
            found.setdefault(level, []).append((_hash(nodes, 0), nodes))
    return found


def _full_counts(done: int) -> list[int]:
    """How many full tiles there are on each level, up to the last that has any."""
    counts = []
    while done:
        counts.append(done)
        done //= TILE
    return counts


def place_of(node: Node) -> tuple[int, int, int | None]:
    """Where a node is stored: level and index of a tile, and its place among the tile's nodes.

    ``None``: it is below the tile's root, to be computed from the hashes of leaves.
    """
    if node.height < HEIGHT:
        return 0, node.start // TILE, None
    level, within = divmod(node.height - HEIGHT, HEIGHT)
    return level, ((node.number + 1) << within) - 1, within


def _hash(hashes: bytes, place: int) -> bytes:
    """One of several hashes that stand one after another."""
    return hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE]
