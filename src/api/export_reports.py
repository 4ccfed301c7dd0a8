"""Trial balance and general ledger as CSV, of any moment and value date, in constant memory.

Amounts come twice: as people write them, and in minor units. Nothing personal is known here: the
names are those of accounts.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import sqlalchemy
from sqlalchemy import and_, select

from api.csv_text import Amount, Cell
from api.masking import ALL_MASKED, covered
from ledger_core import events
from ledger_core.journal import JournalEntryPosted, entry_id_at
from ledger_core.money import decimal_text
from projections import balance_queries
from projections.balance_queries import Balance
from projections.balances import accounts
from projections.history import PROJECTIONS_READ
from projections.reading import AsOf, Reading, log_events, resolve
from projections.statements import statement_lines

_PAGE = 1_000
_ROWS = 5_000
_SIDES = {"D": "debit", "C": "credit"}

TRIAL_BALANCE = (
    "account_id",
    "account_type",
    "code",
    "name",
    "status",
    "currency",
    "scale",
    "debits_posted",
    "credits_posted",
    "debit",
    "credit",
    "debits_posted_minor",
    "credits_posted_minor",
    "debit_minor",
    "credit_minor",
)
GENERAL_LEDGER = (
    "account_id",
    "account_type",
    "code",
    "currency",
    "position",
    "line",
    "recorded_at",
    "booking_date",
    "value_date",
    "entry_id",
    "kind",
    "side",
    "debit",
    "credit",
    "balance",
    "debit_minor",
    "credit_minor",
    "balance_minor",
    "reference",
    "reverses",
    "description",
)


def pinned(connection: sqlalchemy.Connection, ledger_id: int, as_of: AsOf) -> Reading:
    """The moment of a report: all its reads are as of the position of this one.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    return resolve(connection, ledger_id, as_of, *PROJECTIONS_READ)


def balances_at(
    connection: sqlalchemy.Connection, ledger_id: int, reading: Reading, value_date: date | None
) -> Iterator[Balance]:
    """The balance of every account that was open by then, a page at a time."""
    after: str | None = None
    while True:
        page = balance_queries.balances(
            connection,
            ledger_id,
            as_of=AsOf(position=reading.position),
            value_date=value_date,
            after=after,
            limit=_PAGE,
        )
        yield from page.items
        after = page.next_after
        if after is None:
            return


def trial_balance(
    connection: sqlalchemy.Connection, ledger_id: int, reading: Reading, value_date: date | None
) -> Iterator[tuple[Cell, ...]]:
    """The rows of the trial balance, by account id: each balance stands on one side."""
    for found in balances_at(connection, ledger_id, reading, value_date):
        debits, credits_ = found.debits_posted_minor, found.credits_posted_minor
        amounts = (debits, credits_, max(debits - credits_, 0), max(credits_ - debits, 0))
        yield (
            found.account_id,
            found.account_type,
            found.code,
            found.name,
            found.status,
            found.currency,
            found.scale,
            *(Amount(decimal_text(amount, found.scale)) for amount in amounts),
            *amounts,
        )


def general_ledger(
    connection: sqlalchemy.Connection, ledger_id: int, reading: Reading, value_date: date | None
) -> Iterator[tuple[Cell, ...]]:
    """The rows of the general ledger: every posting, by account and then as it was booked.

    The balance after each is on the account's normal side.
    """
    account_no, balance = 0, 0
    for row in _postings(connection, ledger_id, reading, value_date):
        if row.account_no != account_no:
            account_no, balance = row.account_no, 0
        amount, side = int(row.amount_minor), _SIDES[row.side]
        debit, credit = (amount, 0) if side == "debit" else (0, amount)
        balance += amount if side == row.normal_side else -amount
        event = events.decode(row.type, row.version, row.data)
        entry = event if isinstance(event, JournalEntryPosted) else None
        yield (
            row.account_id,
            row.account_type,
            row.code,
            row.currency,
            row.position,
            row.line,
            row.recorded_at,
            row.recorded_at.date(),
            row.value_date,
            None if entry is None else entry_id_at(entry, row.position),
            row.kind,
            side,
            *(Amount(decimal_text(item, row.scale)) for item in (debit, credit, balance)),
            debit,
            credit,
            balance,
            None if entry is None else entry.reference,
            None if entry is None else entry.reverses,
            None if entry is None else covered(entry.description, ALL_MASKED),
        )


def _postings(
    connection: sqlalchemy.Connection, ledger_id: int, reading: Reading, value_date: date | None
) -> Iterator[Any]:
    """The lines of every account, with its terms and the entry of each."""
    lines = statement_lines.c
    query = (
        select(
            accounts.c.account_no,
            accounts.c.account_id,
            accounts.c.account_type,
            accounts.c.code,
            accounts.c.currency,
            accounts.c.scale,
            accounts.c.normal_side,
            lines.position,
            lines.line,
            lines.recorded_at,
            lines.value_date,
            lines.kind,
            lines.side,
            lines.amount_minor,
            log_events.c.type,
            log_events.c.version,
            log_events.c.data,
        )
        .join_from(
            statement_lines,
            accounts,
            and_(
                accounts.c.ledger_id == lines.ledger_id,
                accounts.c.account_no == lines.account_no,
                accounts.c.slot == reading.slots["balances"],
            ),
        )
        .join(
            log_events,
            and_(
                log_events.c.ledger_id == lines.ledger_id, log_events.c.position == lines.position
            ),
        )
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.position <= reading.position,
        )
        .order_by(lines.account_no, lines.position, lines.line)
    )
    if value_date is not None:
        query = query.where(lines.value_date <= value_date)
    streamed = connection.execution_options(stream_results=True, max_row_buffer=_ROWS)
    yield from streamed.execute(query)
