"""Statements: every posting of every account, with the sums after it.

Lines are only ever added. What an entry says (its id, reference, description, the other side) is
read from the log when a page is asked for. The queries are in ``statement_queries``.
"""

from sqlalchemy import CHAR, BigInteger, Column, Date, DateTime, Numeric, SmallInteger, Text

from projections.folding import Batch, Line
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
)
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


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Add the batch's lines."""
    slot.copy(statement_lines, COLUMNS, row_texts(batch.lines))


PROJECTION = Projection("statements", (statement_lines,), apply)
