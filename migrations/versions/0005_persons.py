"""Who acts by an API key, and with which permissions: what approvals are counted by.

``person`` null is the key itself. Every key's role is a permission too; it is not repeated here.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; keys made before act for themselves, without permissions."""
    op.execute(
        """
        ALTER TABLE keystore.api_keys
            ADD COLUMN person text CHECK (char_length(person) BETWEEN 1 AND 100),
            ADD COLUMN permissions text[] NOT NULL DEFAULT '{}'
                CHECK (cardinality(permissions) <= 20)
        """
    )
