"""Statements: every posting and every change of what is held, by account, with the sums after.

Lines are only ever added. What an entry says (its id, reference, description, the other side) is
read from the log when a page is asked for. The queries are in ``statement_queries``.
"""

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
_NULL = "\\N"
COLUMNS = (
    "account_no, position, line, recorded_at, value_date, side, amount_minor,"
    " debits_after_minor, credits_after_minor, version, kind"
)


def row_texts(lines: list[Line]) -> list[str]:
    """The lines in COPY's text format, columns in the order of ``COLUMNS``.

    Many lines that follow each other have the same times: those are put into text once.
    """
    texts: list[str] = []
    before, times = None, ""
    for line in lines:
        if before is None or (line.recorded_at, line.value_date) != before:
            before = line.recorded_at, line.value_date
            times = f"{line.recorded_at:%Y-%m-%d %H:%M:%S.%f}+00\t{line.value_date}"
        after, posting = line.after, line.posting
        texts.append(
            f"{after.terms.account_no}\t{line.position}\t{line.index}\t{times}"
            f"\t{'D' if posting.side == 'debit' else 'C'}\t{posting.amount_minor}"
            f"\t{after.debits_posted_minor}\t{after.credits_posted_minor}\t{after.version}"
            f"\t{line.kind}"
        )
    return texts


def held_texts(lines: list[HeldLine]) -> list[str]:
    """The changes of what is held in COPY's text format, columns as in ``HELD_COLUMNS``."""
    return [
        f"{line.after.terms.account_no}\t{line.position}\t{line.recorded_at.isoformat()}"
        f"\t{_NULL if line.due_at is None else line.due_at.isoformat()}"
        f"\t{'D' if line.side == 'debit' else 'C'}\t{line.change_minor}"
        f"\t{line.after.debits_held_minor}\t{line.after.credits_held_minor}"
        f"\t{line.after.version}"
        for line in lines
    ]


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Add the batch's lines."""
    slot.copy(statement_lines, COLUMNS, row_texts(batch.lines))
    slot.copy(held_lines, HELD_COLUMNS, held_texts(batch.held_lines))


PROJECTION = Projection("statements", (statement_lines, held_lines), apply)
