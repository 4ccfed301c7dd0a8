"""Questions to the tag index: which events are about something."""

import sqlalchemy
from sqlalchemy import and_, select

from ledger_core.events import Recorded
from projections.event_tags import event_tags
from projections.reading import EVENT_COLUMNS, NOW, Reading, log_events, recorded_of, resolve


def events_tagged(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, tag: str
) -> list[Recorded]:
    """Every event about something up to the reading, in order: for what few events are about."""
    rows = conn.execute(
        select(*EVENT_COLUMNS)
        .join(
            event_tags,
            and_(
                log_events.c.ledger_id == event_tags.c.ledger_id,
                log_events.c.position == event_tags.c.position,
            ),
        )
        .where(
            event_tags.c.ledger_id == ledger_id,
            event_tags.c.slot == reading.slots["event_tags"],
            event_tags.c.tag == tag,
            event_tags.c.position <= reading.position,
            log_events.c.ledger_id == ledger_id,
        )
        .order_by(event_tags.c.position)
    )
    return [recorded_of(row) for row in rows]


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
