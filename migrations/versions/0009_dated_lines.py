"""The lines that count from another day than their booking date, by value date.

Sums by value date add up these lines alone. Partial, so that it costs nothing for any other line.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "CREATE INDEX statement_lines_dated"
        " ON views.statement_lines (ledger_id, slot, account_no, value_date, position, line)"
        " INCLUDE (side, amount_minor)"
        " WHERE value_date <> (timezone('UTC', recorded_at))::date"
    )
