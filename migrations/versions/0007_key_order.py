"""Idempotency keys are compared by their bytes, whatever the database's collation.

So that the writer can hold a stretch of them in memory and know what lies between its ends; and an
index in the order of bytes is the cheapest there is. Rewrites no row: only the index is made anew.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the column's collation, which remakes its index."""
    op.execute('ALTER TABLE ledger.events ALTER COLUMN command_key TYPE text COLLATE "C"')
