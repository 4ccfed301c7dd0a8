"""The access log: who read what about which account or customer, sealed in a tree of its own.

``access_subjects`` is the index of accesses by what they are about: rows, because an index over
arrays stalls those who add to it. The schema is made by 0011.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; they are added to by the writer's role and changed by nobody."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE TABLE audit.access_heads (
            ledger_id integer PRIMARY KEY,
            number bigint NOT NULL CHECK (number >= 0),
            at timestamptz NOT NULL,
            frontier bytea NOT NULL
        ) WITH (fillfactor = 10)
        """
    )
    op.execute(
        """
        CREATE TABLE audit.accesses (
            ledger_id integer NOT NULL,
            number bigint NOT NULL CHECK (number > 0),
            at timestamptz NOT NULL,
            actor text NOT NULL,
            operation text NOT NULL,
            subjects text[] NOT NULL,
            reason text NOT NULL CHECK (char_length(reason) <= 200),
            request_id text NOT NULL,
            status smallint NOT NULL CHECK (status BETWEEN 100 AND 599),
            position bigint CHECK (position >= 0),
            leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
            PRIMARY KEY (ledger_id, number)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE audit.access_subjects (
            ledger_id integer NOT NULL,
            subject text NOT NULL,
            number bigint NOT NULL,
            PRIMARY KEY (ledger_id, subject, number)
        )
        """
    )
    op.execute("CREATE INDEX accesses_actor ON audit.accesses (ledger_id, actor, number)")
    op.execute("CREATE INDEX accesses_operation ON audit.accesses (ledger_id, operation, number)")
    # As for the events: without, a ledger is expected to have one row in 200, whatever there is.
    op.execute("ALTER TABLE audit.accesses ALTER COLUMN ledger_id SET STATISTICS 0")
    op.execute("ALTER TABLE audit.access_subjects ALTER COLUMN ledger_id SET STATISTICS 0")
    tables = "audit.access_heads, audit.accesses, audit.access_subjects"
    op.execute(f"GRANT SELECT ON {tables} TO ledger_writer, ledger_projector, ledger_reader")
    op.execute(f"GRANT INSERT ON {tables} TO ledger_writer")
    op.execute("GRANT UPDATE (number, at, frontier) ON audit.access_heads TO ledger_writer")
