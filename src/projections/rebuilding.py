"""Rebuild a projection beside the live one, compare the two, and swap.

The new version is made from the log alone, in the slot that is not live, while the live one goes
on. It never adds on top of what is there. The comparison and the swap hold the live projection
where it is, so both versions stand at the same position.
"""

from collections.abc import Callable

import msgspec
from sqlalchemy import Table

from ledger_core.errors import ValidationFailed
from ledger_core.log import Connection
from projections.batches import BATCH_EVENTS_MAX, ensure_registered, take_batch
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

    A difference is reported, and is what the rebuild repairs: the new version goes live all the
    same, for it is what the log says.

    Raises:
        ValidationFailed: there is no projection of that name.
        RebuildDisturbedError: somebody else rebuilds the same projection.
        UnknownEvent, msgspec.DecodeError, UnfoldableError: the log itself cannot be taken in.
    """
    projection = _projection(name)
    ensure_registered(connection, ledger_id)
    live_slot, goal = _live(connection, ledger_id, name, "")
    slot = 1 - live_slot
    _clear(connection, ledger_id, projection, slot)
    with connection.transaction():
        connection.execute(
            "INSERT INTO views.projections (ledger_id, name, slot, position, recorded_at, live)"
            " VALUES (%s, %s, %s, 0, NULL, false)",
            (ledger_id, name, slot),
        )
    memory = Memory(is_complete=True, slots={name: slot})
    while memory.position < goal:
        with connection.transaction():
            _build(connection, ledger_id, projection, memory, goal)
        if progress is not None:
            progress(memory.position, goal)
    with connection.transaction():
        still_live, goal = _live(connection, ledger_id, name, " FOR UPDATE")
        if still_live != live_slot:
            raise RebuildDisturbedError(name)
        while memory.position < goal:
            _build(connection, ledger_id, projection, memory, goal)
        report = _compare(connection, ledger_id, projection, slot, memory.position)
        for at, is_live in ((live_slot, False), (slot, True)):
            connection.execute(
                "UPDATE views.projections SET live = %s"
                " WHERE ledger_id = %s AND name = %s AND slot = %s",
                (is_live, ledger_id, name, at),
            )
    _clear(connection, ledger_id, projection, live_slot)
    return report


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


def _live(connection: Connection, ledger_id: int, name: str, lock: str) -> tuple[int, int]:
    """The live slot and its position."""
    row = connection.execute(
        "SELECT slot, position FROM views.projections"  # noqa: S608 - a constant
        " WHERE ledger_id = %s AND name = %s AND live" + lock,
        (ledger_id, name),
    ).fetchone()
    if row is None:
        raise RebuildDisturbedError(name)
    return row[0], row[1]


def _clear(connection: Connection, ledger_id: int, projection: Projection, slot: int) -> None:
    """Delete a version that is not live.

    Raises:
        RebuildDisturbedError: it has gone live meanwhile.
    """
    with connection.transaction():
        row = connection.execute(
            "SELECT live FROM views.projections"
            " WHERE ledger_id = %s AND name = %s AND slot = %s FOR UPDATE",
            (ledger_id, projection.name, slot),
        ).fetchone()
        if row is not None and row[0]:
            raise RebuildDisturbedError(projection.name)
        connection.execute(
            "DELETE FROM views.projections WHERE ledger_id = %s AND name = %s AND slot = %s",
            (ledger_id, projection.name, slot),
        )
        for table in projection.tables:
            connection.execute(
                f"DELETE FROM {table.fullname} WHERE ledger_id = %s AND slot = %s".encode(),  # noqa: S608 - our own names
                (ledger_id, slot),
            )


def _build(
    connection: Connection, ledger_id: int, projection: Projection, memory: Memory, goal: int
) -> None:
    """Take one batch into the new version, in the caller's transaction.

    Raises:
        RebuildDisturbedError: somebody else writes to it.
    """
    slot = memory.slots[projection.name]
    row = connection.execute(
        "SELECT position FROM views.projections"
        " WHERE ledger_id = %s AND name = %s AND slot = %s AND NOT live FOR UPDATE",
        (ledger_id, projection.name, slot),
    ).fetchone()
    if row is None or row[0] != memory.position:
        raise RebuildDisturbedError(projection.name)
    most = min(BATCH_EVENTS_MAX, goal - memory.position)
    if not take_batch(connection, ledger_id, [(projection, slot)], memory, most):
        message = f"{projection.name} stands at {goal}, beyond the end of the log"
        raise RebuildDisturbedError(message)


def _compare(
    connection: Connection, ledger_id: int, projection: Projection, slot: int, events: int
) -> RebuildReport:
    """Compare the new version in ``slot`` with the live one, row by row."""
    rows = differing_rows = 0
    differences: list[Difference] = []
    for table in projection.tables:
        counted = connection.execute(
            f"SELECT count(*) FROM {table.fullname} WHERE ledger_id = %s AND slot = %s".encode(),  # noqa: S608 - our own names
            (ledger_id, slot),
        ).fetchone()
        rows += 0 if counted is None else counted[0]
        differing = connection.execute(
            _comparison(table), (ledger_id, 1 - slot, ledger_id, slot, DIFFERENCES_MAX)
        ).fetchall()
        differing_rows += differing[0][2] if differing else 0
        differences += [
            Difference(str(table.name), live, rebuilt) for live, rebuilt, _ in differing
        ]
    return RebuildReport(
        projection.name,
        events,
        rows,
        differing_rows,
        tuple(differences[:DIFFERENCES_MAX]),
        swapped=True,
    )


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
