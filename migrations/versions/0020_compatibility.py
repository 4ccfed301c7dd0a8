"""Which programs may work on this schema, and whose secrets belong to this database.

``ledger.compatibility.works_from`` is the oldest revision whose program may still work on the
schema. A migration that such a program could not bear (it drops, renames or narrows something)
raises it; one that only adds leaves it, and old and new servers may run side by side.

``ledger.installation`` holds a fingerprint of the server's secret: a server that has another one
would refuse every key and find no customer, without saying why.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables, of one row each."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE TABLE ledger.compatibility (
            is_row boolean PRIMARY KEY DEFAULT true CHECK (is_row),
            works_from text NOT NULL CHECK (works_from ~ '^[0-9]{4}$')
        )
        """
    )
    op.execute("INSERT INTO ledger.compatibility (works_from) VALUES ('0018')")
    op.execute(
        """
        CREATE TABLE ledger.installation (
            is_row boolean PRIMARY KEY DEFAULT true CHECK (is_row),
            secret_fingerprint bytea NOT NULL CHECK (length(secret_fingerprint) = 32)
        )
        """
    )
    op.execute(
        "GRANT SELECT ON ledger.compatibility, ledger.installation"
        " TO ledger_writer, ledger_projector, ledger_reader"
    )
    op.execute("GRANT INSERT ON ledger.installation TO ledger_writer")
    op.execute("GRANT UPDATE (secret_fingerprint) ON ledger.installation TO ledger_writer")
