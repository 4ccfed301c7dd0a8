"""${message}."""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Say here what changes and why it is safe on a running ledger."""
    ${upgrades if upgrades else 'op.execute("SELECT 1")'}
