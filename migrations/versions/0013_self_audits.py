"""What the self-audits found, one row each: append-only, like the log that they are about.

The schema is made by 0011.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; it is added to by the writer's role and changed by nobody."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE TABLE audit.self_audits (
            ledger_id integer NOT NULL,
            audit_no bigint NOT NULL CHECK (audit_no > 0),
            kind text NOT NULL CHECK (kind IN ('full', 'continued')),
            started_at timestamptz NOT NULL,
            ended_at timestamptz NOT NULL CHECK (ended_at >= started_at),
            position bigint NOT NULL CHECK (position >= 0),
            recorded_at timestamptz,
            root bytea NOT NULL CHECK (octet_length(root) = 32),
            events bigint NOT NULL CHECK (events >= 0),
            accounts bigint NOT NULL CHECK (accounts >= 0),
            findings_count bigint NOT NULL CHECK (findings_count >= 0),
            findings json NOT NULL,
            imbalance_minor json NOT NULL,
            note text NOT NULL,
            PRIMARY KEY (ledger_id, audit_no)
        )
        """
    )
    op.execute(
        "GRANT SELECT ON audit.self_audits TO ledger_writer, ledger_projector, ledger_reader"
    )
    op.execute("GRANT INSERT ON audit.self_audits TO ledger_writer")
