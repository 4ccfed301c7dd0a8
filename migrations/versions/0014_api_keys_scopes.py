"""API keys of any role that the ledger defines, narrowed by scopes, rates and certificates.

``scopes`` null: all that the role allows. ``certificate_sha256`` null: over any connection.
``created_by`` and ``replaces`` say where a key came from; ``last_used_at`` is written at most once
a minute. Nothing of a key but its end and its last use can be changed once it is there.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Which roles there are is for the ledger to say, not for the table; keys made before stay."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE keystore.api_keys DROP CONSTRAINT api_keys_role_check")
    op.execute("ALTER TABLE keystore.api_keys ADD CHECK (role <> '')")
    op.execute(
        """
        ALTER TABLE keystore.api_keys
            ADD COLUMN scopes text[] CHECK (cardinality(scopes) BETWEEN 1 AND 100),
            ADD COLUMN rate_per_s real CHECK (rate_per_s >= 0.009),
            ADD COLUMN certificate_sha256 bytea CHECK (octet_length(certificate_sha256) = 32),
            ADD COLUMN created_by text NOT NULL DEFAULT '',
            ADD COLUMN replaces text,
            ADD COLUMN last_used_at timestamptz
        """
    )
    op.execute("GRANT UPDATE (last_used_at) ON keystore.api_keys TO ledger_writer")
