"""Kept states: holds, groups, templates and whatever else the ledger keeps by id, each as a row.

The row is the state as the core has it, so it serves as the writer's snapshot too (see
``ledger_core.snapshots``). The queries are in ``kept_queries``.
"""

from collections.abc import Collection, Iterator

from sqlalchemy import BigInteger, Column, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from ledger_core import kept as states
from ledger_core.kept import Place, State
from projections.folding import Batch
from projections.memory import Memory
from projections.tables import view
from projections.writing import Projection, Slot, raw_json

kept = view(
    "kept",
    Column("kind", Text, primary_key=True),
    Column("kept_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("tags", ARRAY(Text), nullable=False),
    Column("state", JSON, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Index("kept_due", "ledger_id", "slot", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("kept_position", "ledger_id", "slot", "kind", "position"),
    Index("kept_tags", "tags", postgresql_using="gin"),
)


def kept_row(item: tuple[Place, State]) -> dict[str, object]:
    """The state's row, but for ``ledger_id`` and ``slot``."""
    (kind, kept_id), state = item
    return {
        "kind": kind,
        "kept_id": kept_id,
        "status": state.status,
        "due_at": states.due_at(state),
        "tags": list(states.tags(state)),
        "state": raw_json(state),
        "position": state.position,
        "last_position": state.last_position,
    }


def load(slot: Slot, places: Collection[Place]) -> Iterator[tuple[Place, State]]:
    """Those of the states that the slot has."""
    rows = slot.lane.read(
        "SELECT k.kind, k.kept_id, k.state::text FROM views.kept k"
        " JOIN unnest(%s::text[], %s::text[]) AS w(kind, kept_id)"
        " ON w.kind = k.kind AND w.kept_id = k.kept_id"
        " WHERE k.ledger_id = %s AND k.slot = %s",
        ([kind for kind, _ in places], [name for _, name in places], slot.ledger_id, slot.slot),
    )
    for kind, kept_id, state in rows:
        yield (kind, kept_id), states.decode(kind, state)


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Write the states that changed."""
    slot.insert(kept, [kept_row(item) for item in batch.kept.items()], "replace")


PROJECTION = Projection("kept", (kept,), apply, coalesces=True)
