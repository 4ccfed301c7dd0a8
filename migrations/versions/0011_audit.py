"""What an outsider checks the log with: signed checkpoints, tiles of its tree, time-stamps.

All of it is append-only: no role that the program acts as may change or delete a row. ``log`` says
whose tree it is: that of the events, or that of the access log.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ROLES = "ledger_writer, ledger_projector, ledger_reader"


def upgrade() -> None:
    """Create the schema, its tables, and the grants."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE SCHEMA audit")
    op.execute(f"GRANT USAGE ON SCHEMA audit TO {_ROLES}")
    op.execute(
        """
        CREATE TABLE audit.checkpoints (
            ledger_id integer NOT NULL,
            log text NOT NULL CHECK (log IN ('events', 'accesses')),
            size bigint NOT NULL CHECK (size >= 0),
            root bytea NOT NULL CHECK (octet_length(root) = 32),
            signed_at timestamptz NOT NULL,
            note text NOT NULL,
            PRIMARY KEY (ledger_id, log, size)
        )
        """
    )
    # ``hashes``: 256 hashes of the level below (level 0: of leaves). ``nodes``: the roots of the
    # perfect subtrees that the tile completes within its parent tile, its own first.
    op.execute(
        """
        CREATE TABLE audit.tiles (
            ledger_id integer NOT NULL,
            log text NOT NULL CHECK (log IN ('events', 'accesses')),
            level smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
            tile_index bigint NOT NULL CHECK (tile_index >= 0),
            hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
            nodes bytea NOT NULL CHECK (
                octet_length(nodes) BETWEEN 32 AND 256 AND octet_length(nodes) % 32 = 0
            ),
            PRIMARY KEY (ledger_id, log, level, tile_index)
        )
        """
    )
    # Hashes do not compress; kept aside, they leave the rows of a range of tiles close together.
    op.execute("ALTER TABLE audit.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE audit.checkpoints ALTER COLUMN note SET STORAGE EXTERNAL")
    op.execute(
        """
        CREATE TABLE audit.timestamps (
            ledger_id integer NOT NULL,
            log text NOT NULL CHECK (log IN ('events', 'accesses')),
            size bigint NOT NULL CHECK (size >= 0),
            stamped_at timestamptz NOT NULL,
            response bytea NOT NULL,
            PRIMARY KEY (ledger_id, log, size)
        )
        """
    )
    tables = "audit.checkpoints, audit.tiles, audit.timestamps"
    op.execute(f"GRANT SELECT ON {tables} TO {_ROLES}")
    op.execute(f"GRANT INSERT ON {tables} TO ledger_writer")
    op.execute("GRANT INSERT ON audit.tiles TO ledger_projector")
