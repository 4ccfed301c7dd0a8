"""Holds, limits and groups on accounts; kept states; what is held, line by line.

Additive: new columns have defaults, so that a program of the version before goes on. The new
projection begins at position 1 when it is first registered; what was recorded before holds no
such states.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE views.accounts ADD COLUMN ceiling_minor numeric",
    "ALTER TABLE views.accounts ADD COLUMN groups json NOT NULL DEFAULT '[]'",
    """
    CREATE TABLE views.kept (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        kind text NOT NULL,
        kept_id text NOT NULL,
        status text NOT NULL,
        due_at timestamptz,
        tags text[] NOT NULL,
        state json NOT NULL,
        position bigint NOT NULL,
        last_position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, kind, kept_id)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX kept_due ON views.kept (ledger_id, slot, due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX kept_position ON views.kept (ledger_id, slot, kind, position)",
    "CREATE INDEX kept_tags ON views.kept USING gin (tags)",
    """
    CREATE TABLE views.held_lines (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        account_no bigint NOT NULL,
        position bigint NOT NULL,
        recorded_at timestamptz NOT NULL,
        due_at timestamptz,
        side char(1) NOT NULL CHECK (side IN ('D', 'C')),
        change_minor numeric NOT NULL,
        debits_held_after_minor numeric NOT NULL CHECK (debits_held_after_minor >= 0),
        credits_held_after_minor numeric NOT NULL CHECK (credits_held_after_minor >= 0),
        version bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, account_no, position)
    )
    """,
    "GRANT SELECT ON views.kept, views.held_lines TO ledger_writer, ledger_reader",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON views.kept, views.held_lines TO ledger_projector",
)


def upgrade() -> None:
    """Add the columns and tables, and their grants."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statement in STATEMENTS:
        op.execute(statement)
