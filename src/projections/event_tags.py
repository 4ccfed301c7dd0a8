"""The tag index: at which positions a tag stands, for reads of the log by subject.

Taken from the log's own column. The accounts of entries and holds are not in it: where these
stand, the statements say already (see ``indexed_tags``, ``tag_queries``).
"""

from sqlalchemy import BigInteger, Column, Text

from projections.folding import Batch
from projections.indexed_tags import ACCOUNT, IN_STATEMENTS
from projections.memory import Memory
from projections.tables import view
from projections.writing import Projection, Slot

event_tags = view(
    "event_tags",
    Column("tag", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
)


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Index the batch's tags; a tag that an event carries twice is indexed once.

    An entry that has two accounts and nothing else to be found by is passed over at a glance.
    """
    in_statements = list(IN_STATEMENTS)
    slot.lane.execute(
        "INSERT INTO views.event_tags (ledger_id, slot, tag, position)"
        " SELECT e.ledger_id, %s, t.tag, e.position"
        " FROM ledger.events e CROSS JOIN unnest(e.tags) AS t(tag)"
        " WHERE e.ledger_id = %s AND e.position BETWEEN %s AND %s"
        " AND NOT (e.type = ANY(%s) AND cardinality(e.tags) = 2"
        " AND e.tags[1] ^@ %s AND e.tags[2] ^@ %s)"
        " AND NOT (e.type = ANY(%s) AND t.tag ^@ %s)"
        " ORDER BY t.tag, e.position ON CONFLICT DO NOTHING",
        (
            slot.slot,
            slot.ledger_id,
            batch.first,
            batch.last,
            in_statements,
            ACCOUNT,
            ACCOUNT,
            in_statements,
            ACCOUNT,
        ),
    )


PROJECTION = Projection("event_tags", (event_tags,), apply)
