"""Which accounts a customer is linked to, and in which roles, now or as of then."""

import sqlalchemy
from sqlalchemy import select

from ledger_core.events import Recorded
from projections.customer_360 import Link, customer_accounts, evolve_links
from projections.reading import Reading
from projections.tables import projections
from projections.tag_queries import events_tagged


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
    return events_tagged(conn, ledger_id, reading, f"customer:{customer_id}")


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
