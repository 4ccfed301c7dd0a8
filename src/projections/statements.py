"""Statements: every posting and every change of what is held, by account, with the sums after.

Lines are only ever added. What an entry says (its id, reference, description, the other side) is
read from the log when a page is asked for. The queries are in ``statement_queries``.
"""

from operator import itemgetter

from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    Date,
    DateTime,
    Index,
    Numeric,
    SmallInteger,
    Text,
    text,
)

from projections.folding import Batch, HeldLine, Line
from projections.memory import Memory
from projections.tables import view
from projections.writing import Projection, Slot

statement_lines = view(
    "statement_lines",
    Column("account_no", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("line", SmallInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("value_date", Date, nullable=False),
    Column("side", CHAR(1), nullable=False),
    Column("amount_minor", Numeric, nullable=False),
    Column("debits_after_minor", Numeric, nullable=False),
    Column("credits_after_minor", Numeric, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Index(
        "statement_lines_backdated",
        "ledger_id",
        "slot",
        "position",
        postgresql_where=text("value_date < (timezone('UTC', recorded_at))::date"),
    ),
    Index(
        "statement_lines_dated",
        "ledger_id",
        "slot",
        "account_no",
        "value_date",
        "position",
        "line",
        postgresql_include=["side", "amount_minor"],
        postgresql_where=text("value_date <> (timezone('UTC', recorded_at))::date"),
    ),
    Index(
        "statement_lines_deposits",
        "ledger_id",
        "slot",
        "account_no",
        "position",
        "line",
        postgresql_where=text("kind = 'deposit'"),
    ),
)
held_lines = view(
    "held_lines",
    Column("account_no", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("side", CHAR(1), nullable=False),
    Column("change_minor", Numeric, nullable=False),
    Column("debits_held_after_minor", Numeric, nullable=False),
    Column("credits_held_after_minor", Numeric, nullable=False),
    Column("version", BigInteger, nullable=False),
)
HELD_COLUMNS = (
    "account_no, position, recorded_at, due_at, side, change_minor, debits_held_after_minor,"
    " credits_held_after_minor, version"
)
COLUMNS = (
    "account_no, position, line, recorded_at, value_date, side, amount_minor,"
    " debits_after_minor, credits_after_minor, version, kind"
)


def line_rows(lines: list[Line]) -> list[tuple[object, ...]]:
    """The rows of lines, columns in the order of ``COLUMNS``, by account.

    In the order of the key they reach each page of its index once. Many lines that follow each
    other have the same times: those are put into text once.
    """
    rows: list[tuple[object, ...]] = []
    add_row = rows.append
    before_at, before_date, at_text, date_text = None, None, "", ""
    for after, posting, position, index, recorded_at, value_date, kind in lines:
        if recorded_at is not before_at or value_date is not before_date:
            before_at, before_date = recorded_at, value_date
            at_text, date_text = recorded_at.isoformat(), value_date.isoformat()
        add_row(
            (
                after.terms.account_no,
                position,
                index,
                at_text,
                date_text,
                "D" if posting.side == "debit" else "C",
                posting.amount_minor,
                after.debits_posted_minor,
                after.credits_posted_minor,
                after.version,
                kind,
            )
        )
    rows.sort(key=itemgetter(0))
    return rows


def held_rows(lines: list[HeldLine]) -> list[tuple[object, ...]]:
    """The rows of changes of what is held, columns in the order of ``HELD_COLUMNS``."""
    return [
        (
            line.after.terms.account_no,
            line.position,
            line.recorded_at,
            line.due_at,
            "D" if line.side == "debit" else "C",
            line.change_minor,
            line.after.debits_held_minor,
            line.after.credits_held_minor,
            line.after.version,
        )
        for line in lines
    ]


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Add the batch's lines."""
    slot.copy(statement_lines, COLUMNS, line_rows(batch.lines))
    slot.copy(held_lines, HELD_COLUMNS, held_rows(batch.held_lines))


PROJECTION = Projection("statements", (statement_lines, held_lines), apply)
