"""Blind indexes: tokens by which customers are found, in the key store.

``key_id`` says with which secret a token was made. There is nothing of a person in clear here, and
what is left of one goes with the person: these rows are deleted.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; tokens are looked up by value and deleted by customer."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE TABLE keystore.blind_indexes (
            ledger_id integer NOT NULL,
            token bytea NOT NULL CHECK (octet_length(token) = 32),
            customer_id text NOT NULL,
            field text NOT NULL,
            form text NOT NULL CHECK (form IN ('exact', 'normal')),
            key_id text NOT NULL,
            PRIMARY KEY (ledger_id, token, customer_id)
        )
        """
    )
    op.execute(
        "CREATE INDEX blind_indexes_customer ON keystore.blind_indexes (ledger_id, customer_id)"
    )
    op.execute("GRANT SELECT ON keystore.blind_indexes TO ledger_reader")
    op.execute("GRANT SELECT, INSERT, DELETE ON keystore.blind_indexes TO ledger_writer")
