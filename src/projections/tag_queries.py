"""Questions to the tag index: which events are about something.

Where entries and holds name an account is asked of the statements, by the account's number: the
index does not keep it twice (see ``indexed_tags``).
"""

from typing import Any

import sqlalchemy
from sqlalchemy import Select, Table, and_, func, select, union

from ledger_core.events import Recorded
from projections.balances import accounts
from projections.event_tags import event_tags
from projections.indexed_tags import ACCOUNT
from projections.reading import EVENT_COLUMNS, NOW, AsOf, Reading, log_events, recorded_of, resolve
from projections.statements import held_lines, statement_lines


def events_tagged(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, tag: str
) -> list[Recorded]:
    """Every event about something up to the reading, in order: for what few events are about.

    Not for an account: entries and holds are not found by it here.
    """
    return events_tagged_any(conn, ledger_id, reading, [tag])


def events_tagged_any(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, tags: list[str]
) -> list[Recorded]:
    """As ``events_tagged``, of several tags: each event once, in order."""
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
            event_tags.c.tag == func.any(tags),
            event_tags.c.position <= reading.position,
            log_events.c.ledger_id == ledger_id,
        )
        .order_by(event_tags.c.position)
    )
    by_position = {row.position: row for row in rows}
    return [recorded_of(row) for row in by_position.values()]


def positions_tagged(  # noqa: PLR0913, PLR0917 - of what, and which of them
    conn: sqlalchemy.Connection,
    ledger_id: int,
    tag: str,
    after: int,
    limit: int,
    up_to: int | None = None,
) -> tuple[list[int], int]:
    """Where events carry a tag, after a position and in order; and up to which position.

    That is ``up_to``, inclusive, or as far as the index has come.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: the index has not come as far as ``up_to``.
    """
    as_of = NOW if up_to is None else AsOf(position=up_to)
    reading = resolve(conn, ledger_id, as_of, "event_tags", "balances", "statements")
    places = [
        select(event_tags.c.position).where(
            event_tags.c.ledger_id == ledger_id,
            event_tags.c.slot == reading.slots["event_tags"],
            event_tags.c.tag == tag,
        )
    ]
    if tag.startswith(ACCOUNT):
        account_id = tag.removeprefix(ACCOUNT)
        places += [
            _with_lines(ledger_id, reading, table, account_id)
            for table in (statement_lines, held_lines)
        ]
    # Each in order and to the limit: none of them is read any further than that.
    pieces = [_after(query, after, reading.position, limit).subquery() for query in places]
    merged = union(*(select(piece.c.position) for piece in pieces)).subquery()
    rows = conn.execute(select(merged.c.position).order_by(merged.c.position).limit(limit))
    return [int(row.position) for row in rows], reading.position


def _with_lines(
    ledger_id: int, reading: Reading, table: Table, account_id: str
) -> Select[tuple[Any]]:
    """The positions at which an account has lines."""
    number = (
        select(accounts.c.account_no)
        .where(
            accounts.c.ledger_id == ledger_id,
            accounts.c.slot == reading.slots["balances"],
            accounts.c.account_id == account_id,
        )
        .scalar_subquery()
    )
    return select(table.c.position).where(
        table.c.ledger_id == ledger_id,
        table.c.slot == reading.slots["statements"],
        table.c.account_no == number,
    )


def _after(query: Select[tuple[Any]], after: int, up_to: int, limit: int) -> Select[tuple[Any]]:
    """The first of the positions beyond one, in order and each once."""
    place = query.selected_columns[0]
    return query.where(place > after, place <= up_to).distinct().order_by(place).limit(limit)
