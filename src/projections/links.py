"""Which accounts a customer is linked to, and in which roles, now or as of then."""

import sqlalchemy
from sqlalchemy import and_, select

from ledger_core.events import Recorded
from projections.customer_360 import Link, customer_accounts, evolve_links
from projections.event_tags import event_tags
from projections.reading import EVENT_COLUMNS, Reading, log_events, recorded_of
from projections.tables import projections


def linked_accounts(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, customer_id: str
) -> dict[str, tuple[str, ...]]:
    """The accounts that the customer is linked to, each with the roles in order.

    The reading must cover ``customer_360`` and ``event_tags``.
    """
    if is_latest(conn, ledger_id, reading):
        rows = conn.execute(
            select(customer_accounts.c.account_id, customer_accounts.c.role)
            .where(
                customer_accounts.c.ledger_id == ledger_id,
                customer_accounts.c.slot == reading.slots["customer_360"],
                customer_accounts.c.customer_id == customer_id,
            )
            .order_by(customer_accounts.c.account_id, customer_accounts.c.role)
        )
        pairs = [(row.account_id, row.role) for row in rows]
    else:
        links: dict[Link, int] = {}
        evolve_links(links, events_of(conn, ledger_id, reading, customer_id))
        pairs = sorted(
            (link.account_id, link.role) for link in links if link.customer_id == customer_id
        )
    roles: dict[str, tuple[str, ...]] = {}
    for account_id, role in pairs:
        roles[account_id] = (*roles.get(account_id, ()), role)
    return roles


def events_of(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, customer_id: str
) -> list[Recorded]:
    """Every event about the customer up to the reading, in order."""
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
            event_tags.c.tag == f"customer:{customer_id}",
            event_tags.c.position <= reading.position,
            log_events.c.ledger_id == ledger_id,
        )
        .order_by(event_tags.c.position)
    )
    return [recorded_of(row) for row in rows]


def is_latest(conn: sqlalchemy.Connection, ledger_id: int, reading: Reading) -> bool:
    """Whether the reading is at the position where the customers' projection stands."""
    position = conn.execute(
        select(projections.c.position).where(
            projections.c.ledger_id == ledger_id,
            projections.c.live,
            projections.c.name == "customer_360",
        )
    ).scalar()
    return position == reading.position
