"""The lines of deposits, by account: what the structuring rule looks back on.

Without it, an account's whole history is walked for the few deposits in it. Partial, so that it
costs nothing for any other line.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "CREATE INDEX statement_lines_deposits"
        " ON views.statement_lines (ledger_id, slot, account_no, position, line)"
        " WHERE kind = 'deposit'"
    )
