"""The tag index: at which positions a tag stands, for reads of the log by subject.

Taken from the log's own column inside the database; no event is decoded for it.
"""

from sqlalchemy import BigInteger, Column, Text

from projections.folding import Batch
from projections.memory import Memory
from projections.tables import view
from projections.writing import Projection, Slot

event_tags = view(
    "event_tags",
    Column("tag", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
)


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Index the batch's tags; a tag that an event carries twice is indexed once."""
    slot.lane.execute(
        "INSERT INTO views.event_tags (ledger_id, slot, tag, position)"
        " SELECT e.ledger_id, %s, t.tag, e.position"
        " FROM ledger.events e CROSS JOIN unnest(e.tags) AS t(tag)"
        " WHERE e.ledger_id = %s AND e.position BETWEEN %s AND %s"
        " ORDER BY t.tag, e.position ON CONFLICT DO NOTHING",
        (slot.slot, slot.ledger_id, batch.first, batch.last),
    )


PROJECTION = Projection("event_tags", (event_tags,), apply, stage="log")
