"""Questions to the tag index: which events are about something."""

import sqlalchemy
from sqlalchemy import select

from projections.event_tags import event_tags
from projections.reading import NOW, resolve


def positions_tagged(
    conn: sqlalchemy.Connection, ledger_id: int, tag: str, after: int, limit: int
) -> tuple[list[int], int]:
    """Where events carry a tag, after a position and in order; and how far the index has come.

    Raises:
        LedgerNotFound: no such ledger.
    """
    reading = resolve(conn, ledger_id, NOW, "event_tags")
    rows = conn.execute(
        select(event_tags.c.position)
        .where(
            event_tags.c.ledger_id == ledger_id,
            event_tags.c.slot == reading.slots["event_tags"],
            event_tags.c.tag == tag,
            event_tags.c.position > after,
        )
        .order_by(event_tags.c.position)
        .limit(limit)
    )
    return [int(row.position) for row in rows], reading.position
