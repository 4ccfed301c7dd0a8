"""Every account's balance as our views say it at a position, one JSON line an account.

Part of an exported log, for the verifier to compare with what it replays itself. One COPY: the sums
of an account that has not changed since are those that are stored, of any other those after its
last line up to there.
"""

from collections.abc import Iterator

import sqlalchemy
from psycopg import sql

from api.sql import driver_connection
from projections.history import PROJECTIONS_READ
from projections.reading import AsOf, resolve

_LINES = sql.SQL(
    """COPY (SELECT '{{"account":' || to_json(a.account_id)::text
    || ',"currency":' || to_json(a.currency)::text
    || ',"debits_posted":"' || coalesce(l.debits_after_minor,
        CASE WHEN a.last_position <= {position} THEN a.debits_posted_minor ELSE 0 END)
    || '","credits_posted":"' || coalesce(l.credits_after_minor,
        CASE WHEN a.last_position <= {position} THEN a.credits_posted_minor ELSE 0 END)
    || '","debits_held":"' || coalesce(h.debits_held_after_minor,
        CASE WHEN a.last_position <= {position} THEN a.debits_held_minor ELSE 0 END)
    || '","credits_held":"' || coalesce(h.credits_held_after_minor,
        CASE WHEN a.last_position <= {position} THEN a.credits_held_minor ELSE 0 END)
    || '"}}'
    FROM views.accounts a
    LEFT JOIN LATERAL (SELECT debits_after_minor, credits_after_minor FROM views.statement_lines
        WHERE a.last_position > {position} AND ledger_id = {ledger_id} AND slot = {lines_slot}
        AND account_no = a.account_no AND position <= {position}
        ORDER BY position DESC, line DESC LIMIT 1) l ON true
    LEFT JOIN LATERAL (SELECT debits_held_after_minor, credits_held_after_minor
        FROM views.held_lines
        WHERE a.last_position > {position} AND ledger_id = {ledger_id} AND slot = {lines_slot}
        AND account_no = a.account_no AND position <= {position}
        ORDER BY position DESC LIMIT 1) h ON true
    WHERE a.ledger_id = {ledger_id} AND a.slot = {slot} AND a.account_no <= {position}
    ORDER BY a.account_id COLLATE "C")
    TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')"""
)


def balance_lines(
    connection: sqlalchemy.Connection, ledger_id: int, position: int
) -> Iterator[bytes]:
    """The lines, by account id; an account that nothing was booked on has sums of 0.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: the views have not reached the position.
    """
    reading = resolve(connection, ledger_id, AsOf(position=position), *PROJECTIONS_READ)
    statement = _LINES.format(
        position=sql.Literal(position),
        ledger_id=sql.Literal(ledger_id),
        slot=sql.Literal(reading.slots["balances"]),
        lines_slot=sql.Literal(reading.slots["statements"]),
    )
    with driver_connection(connection).cursor() as cursor, cursor.copy(statement) as copy:
        for piece in copy:
            yield bytes(piece).replace(b"\x01", b"")
