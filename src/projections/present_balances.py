"""Balances as they stand now, of many accounts by one statement: for all who ask at one moment.

One statement sees one moment, so what it brings belongs together. Whatever takes more than a
look-up, because projections stand apart or an account is not there, is left to ``balance_queries``.
"""

from collections.abc import Collection
from datetime import datetime

import msgspec

from ledger_core.log import Connection
from ledger_core.snapshots import account_of
from projections.balance_queries import ACCOUNT_COLUMNS, Balance, balance_of
from projections.reading import Reading


class Present(msgspec.Struct, frozen=True):
    """Some balances, and when the next of the kept states falls due, by what is recorded."""

    balances: dict[str, Balance]
    due_at: datetime | None


NONE = Present({}, None)

_QUERY = (
    "SELECT b.position, b.recorded_at,"  # noqa: S608 - our own names
    " (SELECT k.due_at FROM views.kept k WHERE k.ledger_id = %(ledger_id)s"
    " AND k.slot = (SELECT p.slot FROM views.projections p"
    " WHERE p.ledger_id = %(ledger_id)s AND p.live AND p.name = 'kept')"
    " AND k.due_at IS NOT NULL ORDER BY k.due_at LIMIT 1), "
    + ", ".join(f"a.{column.name}" for column in ACCOUNT_COLUMNS)
    + " FROM views.projections b"
    " JOIN views.projections s ON s.ledger_id = b.ledger_id AND s.position = b.position"
    " JOIN views.accounts a ON a.ledger_id = b.ledger_id AND a.slot = b.slot"
    " WHERE b.ledger_id = %(ledger_id)s AND b.live AND b.name = 'balances'"
    " AND s.ledger_id = %(ledger_id)s AND s.live AND s.name = 'statements'"
    " AND a.ledger_id = %(ledger_id)s AND a.account_id = ANY(%(account_ids)s)"
).encode()


def present_balances(
    connection: Connection, ledger_id: int, account_ids: Collection[str]
) -> Present:
    """The balances of those of the accounts that are there; of none where projections stand apart.

    Each is what ``balance_queries.balance`` answers at that moment.
    """
    rows = connection.execute(
        _QUERY, {"ledger_id": ledger_id, "account_ids": list(account_ids)}, prepare=True
    ).fetchall()
    if not rows:
        return NONE
    position, recorded_at, due_at = rows[0][:3]
    reading = Reading({}, position, recorded_at)
    found = (balance_of(account_of(row[3:]), reading, None) for row in rows)
    return Present({balance.account_id: balance for balance in found}, due_at)
