"""Where traced requests wait for the projections: which position belongs to which trace.

No part of the books: rows live for two minutes at most, are lost with a crash of the server, and
nobody misses them but who looks at that trace. So the table is not logged (and not replicated).
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create schema and table."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE SCHEMA traces")
    op.execute(
        """
        CREATE UNLOGGED TABLE traces.traced (
            ledger_id integer NOT NULL,
            position bigint NOT NULL CHECK (position > 0),
            traceparent text NOT NULL CHECK (length(traceparent) = 55),
            tracestate text CHECK (length(tracestate) <= 512),
            committed_at timestamptz NOT NULL,
            PRIMARY KEY (ledger_id, position)
        )
        """
    )
    op.execute("GRANT USAGE ON SCHEMA traces TO ledger_writer, ledger_projector, ledger_reader")
    op.execute("GRANT SELECT ON traces.traced TO ledger_writer, ledger_projector, ledger_reader")
    op.execute("GRANT INSERT, DELETE ON traces.traced TO ledger_writer")
    op.execute("GRANT DELETE ON traces.traced TO ledger_projector")
