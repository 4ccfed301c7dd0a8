"""Keys: one wrapped data key a subject, and the API keys (only their hashes).

A schema of its own, so that it can be left out of a backup: without it nothing personal in the
log can be read.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the key store and the API keys."""
    op.execute("CREATE SCHEMA keystore")
    op.execute(
        """
        CREATE TABLE keystore.subject_keys (
            ledger_id integer NOT NULL,
            subject text NOT NULL,
            wrapped_key bytea,
            wrapping_key_id text NOT NULL,
            created_at timestamptz NOT NULL,
            destroyed_at timestamptz,
            PRIMARY KEY (ledger_id, subject),
            CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL))
        )
        """
    )
    op.execute(
        """
        CREATE TABLE keystore.api_keys (
            ledger_id integer NOT NULL,
            key_id text NOT NULL,
            secret_hash bytea NOT NULL,
            role text NOT NULL CHECK (role IN ('reader', 'teller', 'auditor', 'admin')),
            name text NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz,
            revoked_at timestamptz,
            PRIMARY KEY (ledger_id, key_id)
        )
        """
    )
    op.execute("GRANT USAGE ON SCHEMA keystore TO ledger_writer, ledger_reader")
    op.execute("GRANT SELECT ON keystore.subject_keys, keystore.api_keys TO ledger_reader")
    op.execute("GRANT SELECT, INSERT ON keystore.subject_keys, keystore.api_keys TO ledger_writer")
    op.execute(
        "GRANT UPDATE (wrapped_key, wrapping_key_id, destroyed_at) ON keystore.subject_keys"
        " TO ledger_writer"
    )
    op.execute("GRANT UPDATE (revoked_at) ON keystore.api_keys TO ledger_writer")
