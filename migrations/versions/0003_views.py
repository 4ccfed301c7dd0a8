"""The read models: their positions, and the tables that projectors keep from the log.

Every table leads with ``ledger_id`` and ``slot``: a projection is rebuilt in the slot that is not
live, beside the live one, and then swapped. Only projectors write here. Updated rows find room on
their own page (fillfactor), so that an update touches no index.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE views.projections (
        ledger_id integer NOT NULL,
        name text NOT NULL,
        slot smallint NOT NULL CHECK (slot IN (0, 1)),
        position bigint NOT NULL CHECK (position >= 0),
        recorded_at timestamptz,
        live boolean NOT NULL,
        PRIMARY KEY (ledger_id, name, slot)
    ) WITH (fillfactor = 10)
    """,
    "CREATE UNIQUE INDEX projections_live ON views.projections (ledger_id, name) WHERE live",
    """
    CREATE TABLE views.accounts (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        account_id text NOT NULL,
        account_no bigint NOT NULL,
        account_type text NOT NULL,
        currency text NOT NULL,
        scale smallint NOT NULL,
        normal_side text NOT NULL,
        status text NOT NULL,
        limit_minor numeric,
        code text,
        name text,
        blocks json NOT NULL,
        holders json NOT NULL,
        metadata json,
        opened_at timestamptz NOT NULL,
        debits_posted_minor numeric NOT NULL,
        credits_posted_minor numeric NOT NULL,
        debits_held_minor numeric NOT NULL,
        credits_held_minor numeric NOT NULL,
        version bigint NOT NULL,
        last_position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, account_id)
    ) WITH (fillfactor = 70)
    """,
    # account_no leads: with ledger_id and slot in front, the planner takes this index for the
    # primary key's prefix where it expects few accounts, and walks through all of them.
    "CREATE UNIQUE INDEX accounts_account_no ON views.accounts (account_no, ledger_id, slot)",
    """
    CREATE TABLE views.account_changes (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        account_no bigint NOT NULL,
        position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, account_no, position)
    )
    """,
    """
    CREATE TABLE views.units (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        code text NOT NULL,
        scale smallint NOT NULL,
        name text,
        position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, code)
    )
    """,
    """
    CREATE TABLE views.statement_lines (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        account_no bigint NOT NULL,
        position bigint NOT NULL,
        line smallint NOT NULL,
        recorded_at timestamptz NOT NULL,
        value_date date NOT NULL,
        side char(1) NOT NULL CHECK (side IN ('D', 'C')),
        amount_minor numeric NOT NULL CHECK (amount_minor > 0),
        debits_after_minor numeric NOT NULL,
        credits_after_minor numeric NOT NULL,
        version bigint NOT NULL,
        kind text NOT NULL,
        PRIMARY KEY (ledger_id, slot, account_no, position, line)
    )
    """,
    """
    CREATE TABLE views.trial_balance (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        currency text NOT NULL,
        account_type text NOT NULL,
        debits_posted_minor numeric NOT NULL,
        credits_posted_minor numeric NOT NULL,
        accounts bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, currency, account_type)
    ) WITH (fillfactor = 10)
    """,
    """
    CREATE TABLE views.customers (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        customer_id text NOT NULL,
        customer_no bigint NOT NULL,
        subject text NOT NULL,
        sealed json NOT NULL,
        public json NOT NULL,
        erased boolean NOT NULL,
        registered_at timestamptz NOT NULL,
        last_position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, customer_id)
    )
    """,
    """
    CREATE TABLE views.customer_accounts (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        customer_id text NOT NULL,
        account_id text NOT NULL,
        role text NOT NULL,
        since_position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, customer_id, account_id, role)
    )
    """,
    """
    CREATE TABLE views.risk_flags (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        flag_id text NOT NULL,
        rule text NOT NULL,
        account_id text NOT NULL,
        account_no bigint NOT NULL,
        currency text NOT NULL,
        raised_position bigint NOT NULL,
        raised_at timestamptz NOT NULL,
        value_date date NOT NULL,
        status text NOT NULL,
        reason text NOT NULL,
        figures json NOT NULL,
        positions json NOT NULL,
        PRIMARY KEY (ledger_id, slot, flag_id)
    )
    """,
    """
    CREATE INDEX risk_flags_account
        ON views.risk_flags (ledger_id, slot, account_no, raised_position)
    """,
    "CREATE INDEX risk_flags_position ON views.risk_flags (ledger_id, slot, raised_position)",
    """
    CREATE TABLE views.risk_rules (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        rule text NOT NULL,
        parameters json NOT NULL,
        enabled boolean NOT NULL,
        position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, rule)
    )
    """,
    """
    CREATE TABLE views.event_tags (
        ledger_id integer NOT NULL,
        slot smallint NOT NULL,
        tag text NOT NULL,
        position bigint NOT NULL,
        PRIMARY KEY (ledger_id, slot, tag, position)
    )
    """,
)


def upgrade() -> None:
    """Create the schema, its tables, and the grants."""
    op.execute("CREATE SCHEMA views")
    for statement in TABLES:
        op.execute(statement)
    op.execute("GRANT USAGE ON SCHEMA views TO ledger_writer, ledger_projector, ledger_reader")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA views TO ledger_writer, ledger_reader")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA views TO ledger_projector"
    )
