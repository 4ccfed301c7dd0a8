"""The log: ledgers, heads, events, identities, and the roles that may touch them.

Append-only is a matter of grants: no role that the program acts as may update, delete or truncate
an event or an identity. ``ledger_id`` leads every key, so that the tables can be distributed.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLES = ("ledger_writer", "ledger_projector", "ledger_reader")


def upgrade() -> None:
    """Create the roles (they belong to the whole server) and the log's tables."""
    for role in ROLES:
        op.execute(
            f"""
            DO $$ BEGIN
                CREATE ROLE {role} NOLOGIN;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END $$
            """
        )
        op.execute(
            f"""
            DO $$ BEGIN
                -- From PostgreSQL 16 on, being a member no longer means being allowed to SET ROLE.
                IF NOT pg_has_role(
                    current_user, '{role}',
                    CASE WHEN current_setting('server_version_num')::int >= 160000
                    THEN 'SET' ELSE 'MEMBER' END
                ) THEN
                    EXECUTE format('GRANT {role} TO %I', current_user);
                END IF;
            END $$
            """
        )
    op.execute("CREATE SCHEMA ledger")
    op.execute(
        """
        CREATE TABLE ledger.ledgers (
            ledger_id integer PRIMARY KEY,
            name text NOT NULL UNIQUE,
            created_at timestamptz NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE ledger.heads (
            ledger_id integer PRIMARY KEY,
            position bigint NOT NULL CHECK (position >= 0),
            recorded_at timestamptz NOT NULL,
            frontier bytea NOT NULL
        ) WITH (fillfactor = 10)
        """
    )
    op.execute(
        """
        CREATE TABLE ledger.events (
            ledger_id integer NOT NULL,
            position bigint NOT NULL CHECK (position > 0),
            recorded_at timestamptz NOT NULL,
            type text NOT NULL,
            version smallint NOT NULL CHECK (version > 0),
            tags text[] NOT NULL,
            command_key text,
            actor text NOT NULL,
            data json NOT NULL,
            leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
            PRIMARY KEY (ledger_id, position)
        )
        """
    )
    op.execute(
        "CREATE UNIQUE INDEX events_command_key ON ledger.events (ledger_id, command_key)"
        " WHERE command_key IS NOT NULL"
    )
    # Without statistics on it, PostgreSQL expects a ledger to have one event in 200, whatever it
    # saw when it last looked; with them, a new ledger to have none, and plans for that.
    op.execute("ALTER TABLE ledger.events ALTER COLUMN ledger_id SET STATISTICS 0")
    op.execute(
        """
        CREATE TABLE ledger.identities (
            ledger_id integer NOT NULL,
            kind text NOT NULL CHECK (kind IN ('entry', 'reference', 'reversal')),
            name text NOT NULL,
            position bigint NOT NULL,
            PRIMARY KEY (ledger_id, kind, name)
        )
        """
    )
    op.execute("GRANT USAGE ON SCHEMA ledger TO ledger_writer, ledger_projector, ledger_reader")
    op.execute(
        "GRANT SELECT ON ledger.ledgers, ledger.heads, ledger.events, ledger.identities"
        " TO ledger_writer, ledger_projector, ledger_reader"
    )
    op.execute(
        "GRANT INSERT ON ledger.ledgers, ledger.heads, ledger.events, ledger.identities"
        " TO ledger_writer"
    )
    op.execute("GRANT UPDATE (position, recorded_at, frontier) ON ledger.heads TO ledger_writer")
