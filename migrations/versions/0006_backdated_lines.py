"""The lines of backdated entries, by position: the list of such entries reads nothing else.

Partial, so that it costs nothing but for lines that count from a day before their booking date.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "CREATE INDEX statement_lines_backdated"
        " ON views.statement_lines (ledger_id, slot, position)"
        " WHERE value_date < (timezone('UTC', recorded_at))::date"
    )
