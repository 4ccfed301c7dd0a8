"""Rebuild projections beside the live ones, compare, and swap.

The new versions are made from the log alone, in the slots that are not live, while the live ones go
on; one reading of the log serves all. It never adds on top of what is there. The comparison and the
swap hold the live projections where they are, so both versions stand at the same position.
"""

from collections.abc import Callable, Sequence
from functools import cache

import msgspec
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import JSON

from ledger_core.errors import ValidationFailed
from ledger_core.log import Connection
from projections.batches import BATCH_EVENTS_MAX, STORES, ensure_registered, take_batch
from projections.memory import Memory
from projections.registry import PROJECTIONS
from projections.writing import Projection

DIFFERENCES_MAX = 20
"""How many differing rows a report shows; it counts them all."""


class RebuildDisturbedError(RuntimeError):
    """Another rebuild of the same projection got in the way; nothing was swapped."""


class Difference(msgspec.Struct, frozen=True):
    """A row that was not as the log has it; ``None`` means that there was no such row."""

    table: str
    live: str | None
    rebuilt: str | None

    def __str__(self) -> str:
        """Say which table, what stood there, and what should have."""
        live, rebuilt = self.live or "no such row", self.rebuilt or "no such row"
        return f"{self.table}: live {live}; rebuilt {rebuilt}"


class RebuildReport(msgspec.Struct, frozen=True):
    """What a rebuild did: rows made from how many events, and where they differed."""

    name: str
    events: int
    rows: int
    differing_rows: int
    differences: tuple[Difference, ...]
    swapped: bool


def rebuild(
    connection: Connection,
    ledger_id: int,
    name: str,
    progress: Callable[[int, int], None] | None = None,
) -> RebuildReport:
    """Rebuild a projection from position 1 and put it in the place of the live one.

    Raises:
        As ``rebuild_all``.
    """
    return rebuild_all(connection, ledger_id, [name], progress)[0]


def rebuild_all(
    connection: Connection,
    ledger_id: int,
    names: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> list[RebuildReport]:
    """Rebuild projections from position 1 and put them in the place of the live ones.

    Those that stand at one position are made together, from one reading of the log. A difference is
    reported, and is what the rebuild repairs: the new version goes live all the same, for it is
    what the log says.

    Raises:
        ValidationFailed: there is no projection of that name.
        RebuildDisturbedError: somebody else rebuilds the same projection.
        UnknownEvent, msgspec.DecodeError, UnfoldableError: the log itself cannot be taken in.
    """
    projections = [_projection(name) for name in names]
    ensure_registered(connection, ledger_id)
    reports: dict[str, RebuildReport] = {}
    standings = _live(connection, ledger_id, names, "")
    for position in sorted({standing.position for standing in standings.values()}):
        group = [
            (projection, standings[projection.name].slot)
            for projection in projections
            if standings[projection.name].position == position
        ]
        for report in _Rebuilding(connection, ledger_id, group).run(position, progress):
            reports[report.name] = report
    return [reports[name] for name in names]


class _Standing(msgspec.Struct, frozen=True):
    """Where a live projection stands."""

    slot: int
    position: int


class _Rebuilding:
    """Some projections being rebuilt together, given with their live slots."""

    def __init__(
        self, connection: Connection, ledger_id: int, group: Sequence[tuple[Projection, int]]
    ) -> None:
        """Nothing is done yet."""
        self.connection = connection
        self.ledger_id = ledger_id
        self.group = group
        self.targets = [(projection, 1 - slot) for projection, slot in group]
        slots = {projection.name: slot for projection, slot in self.targets}
        # What memory forgets is read back from the new versions, if they have it.
        self.memory = Memory(is_complete=not slots.keys() >= STORES, slots=slots)

    def run(self, goal: int, progress: Callable[[int, int], None] | None) -> list[RebuildReport]:
        """Make the new versions, compare, swap, and delete the old ones."""
        for projection, slot in self.targets:
            self._clear(projection, slot)
            self.connection.execute(
                "INSERT INTO views.projections (ledger_id, name, slot, position, recorded_at, live)"
                " VALUES (%s, %s, %s, 0, NULL, false)",
                (self.ledger_id, projection.name, slot),
            )
        while self.memory.position < goal:
            with self.connection.transaction():
                self._build(goal)
            if progress is not None:
                progress(self.memory.position, goal)
        with self.connection.transaction():
            goal = self._lock()
            while self.memory.position < goal:
                self._build(goal)
            reports = [self._compare(projection, slot) for projection, slot in self.targets]
            for projection, slot in self.targets:
                self.connection.execute(
                    "UPDATE views.projections SET live = false"
                    " WHERE ledger_id = %s AND name = %s AND slot = %s",
                    (self.ledger_id, projection.name, 1 - slot),
                )
                self.connection.execute(
                    "UPDATE views.projections SET live = true"
                    " WHERE ledger_id = %s AND name = %s AND slot = %s",
                    (self.ledger_id, projection.name, slot),
                )
        for projection, slot in self.group:
            self._clear(projection, slot)
        return reports

    def _lock(self) -> int:
        """Hold the live versions where they are; their position.

        Raises:
            RebuildDisturbedError: they are not the same any more, or no longer together.
        """
        names = [projection.name for projection, _ in self.group]
        standings = _live(self.connection, self.ledger_id, names, " FOR UPDATE")
        for projection, slot in self.group:
            if standings[projection.name].slot != slot:
                raise RebuildDisturbedError(projection.name)
        positions = {standing.position for standing in standings.values()}
        if len(positions) != 1:
            raise RebuildDisturbedError(", ".join(names))
        return positions.pop()

    def _clear(self, projection: Projection, slot: int) -> None:
        """Delete a version that is not live.

        Raises:
            RebuildDisturbedError: it has gone live meanwhile.
        """
        place = (self.ledger_id, slot)
        with self.connection.transaction():
            row = self.connection.execute(
                "SELECT live FROM views.projections"
                " WHERE ledger_id = %s AND slot = %s AND name = %s FOR UPDATE",
                (*place, projection.name),
            ).fetchone()
            if row is not None and row[0]:
                raise RebuildDisturbedError(projection.name)
            self.connection.execute(
                "DELETE FROM views.projections WHERE ledger_id = %s AND slot = %s AND name = %s",
                (*place, projection.name),
            )
            for table in projection.tables:
                self.connection.execute(
                    f"DELETE FROM {table.fullname} WHERE ledger_id = %s AND slot = %s".encode(),  # noqa: S608 - our own names
                    place,
                )

    def _build(self, goal: int) -> None:
        """Take one batch into the new versions, in the caller's transaction.

        Raises:
            RebuildDisturbedError: somebody else writes to them.
        """
        names = [projection.name for projection, _ in self.targets]
        slots = [slot for _, slot in self.targets]
        rows = self.connection.execute(
            "SELECT p.position FROM views.projections p"
            " JOIN unnest(%s::text[], %s::smallint[]) AS v(name, slot)"
            " ON p.name = v.name AND p.slot = v.slot"
            " WHERE p.ledger_id = %s AND NOT p.live ORDER BY p.name FOR UPDATE OF p",
            (names, slots, self.ledger_id),
        ).fetchall()
        if rows != [(self.memory.position,)] * len(names):
            raise RebuildDisturbedError(", ".join(names))
        most = min(BATCH_EVENTS_MAX, goal - self.memory.position)
        if not take_batch(self.connection, self.ledger_id, self.targets, self.memory, most):
            message = f"{', '.join(names)} stand at {goal}, beyond the end of the log"
            raise RebuildDisturbedError(message)

    def _compare(self, projection: Projection, slot: int) -> RebuildReport:
        """Compare the new version in ``slot`` with the live one."""
        rows = differing_rows = 0
        differences: list[Difference] = []
        for table in projection.tables:
            counts = [self._digest(table, at) for at in (1 - slot, slot)]
            rows += counts[1][0]
            if counts[0] == counts[1]:
                continue
            differing = self.connection.execute(
                _comparison(table),
                (self.ledger_id, 1 - slot, self.ledger_id, slot, DIFFERENCES_MAX),
            ).fetchall()
            differing_rows += differing[0][2] if differing else 0
            differences += [
                Difference(str(table.name), live, rebuilt) for live, rebuilt, _ in differing
            ]
        return RebuildReport(
            projection.name,
            self.memory.position,
            rows,
            differing_rows,
            tuple(differences[:DIFFERENCES_MAX]),
            swapped=True,
        )

    def _digest(self, table: Table, slot: int) -> tuple[int, int | None]:
        """How many rows a version has, and the sum of their hashes: the same only for the same."""
        row = self.connection.execute(_hashes(table), (self.ledger_id, slot)).fetchone()
        return (0, None) if row is None else (row[0], row[1])


def _projection(name: str) -> Projection:
    """The projection of that name.

    Raises:
        ValidationFailed: none.
    """
    for projection in PROJECTIONS:
        if projection.name == name:
            return projection
    known = ", ".join(projection.name for projection in PROJECTIONS)
    raise ValidationFailed("name", f"known projections: {known}")


def _live(
    connection: Connection, ledger_id: int, names: Sequence[str], lock: str
) -> dict[str, _Standing]:
    """Where the live versions of projections stand.

    Raises:
        RebuildDisturbedError: one of them has none.
    """
    rows = connection.execute(
        "SELECT name, slot, position FROM views.projections"  # noqa: S608 - a constant
        " WHERE ledger_id = %s AND name = ANY(%s) AND live ORDER BY name" + lock,
        (ledger_id, list(names)),
    )
    standings = {row[0]: _Standing(*row[1:]) for row in rows}
    for name in names:
        if name not in standings:
            raise RebuildDisturbedError(name)
    return standings


@cache
def _hashes(table: Table) -> bytes:
    """The query for the number of rows in a slot and the sum of 64 bits of hash of each."""
    row = ", ".join(
        f"{column.name}::text" if isinstance(column.type, JSON) else column.name
        for column in table.columns
        if column.name not in ("ledger_id", "slot")
    )
    return (
        f"SELECT count(*), sum(hash_record_extended(ROW({row}), 0)) FROM {table.fullname}"  # noqa: S608 - our own names
        " WHERE ledger_id = %s AND slot = %s"
    ).encode()


def _comparison(table: Table) -> bytes:
    """The query for the rows that are not the same in two slots, with their number."""
    columns = [column.name for column in table.columns if column.name not in ("ledger_id", "slot")]
    row = ", ".join(f"'{name}', {name}" for name in columns)
    key = ", ".join(
        column.name for column in table.primary_key if column.name not in ("ledger_id", "slot")
    )
    side = (
        f"SELECT json_build_array({key})::text AS k, json_build_object({row})::text AS v"  # noqa: S608 - our own names
        f" FROM {table.fullname} WHERE ledger_id = %s AND slot = %s"
    )
    return (
        f"SELECT l.v, r.v, count(*) OVER () FROM ({side}) l FULL JOIN ({side}) r USING (k)"  # noqa: S608 - our own names
        " WHERE l.v IS DISTINCT FROM r.v ORDER BY k LIMIT %s"
    ).encode()
