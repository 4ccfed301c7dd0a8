"""Who may do what in the database: the program owns nothing, analysts see masked views.

And which wrapping keys are retired: these wrap no more keys of persons.

``ledger_program`` is what the program logs in as (or what its login is a member of): it may act as
the writer, the projector, the reader and the maker of replays, reads as the reader until it says
which, and owns nothing. ``ledger_replayer`` owns the schemas of replays, for which it may create
schemas. ``ledger_analyst`` sees the schema ``analytics`` and nothing else. The role that runs the
migrations owns all the rest.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ROLES = ("ledger_program", "ledger_replayer", "ledger_analyst")

# From PostgreSQL 16 on each membership says whether it is inherited; before, the member does.
MEMBERSHIPS = """
    DO $$
    DECLARE
        granted text;
        terms text := '';
    BEGIN
        FOREACH granted IN ARRAY ARRAY[
            'ledger_writer', 'ledger_projector', 'ledger_reader', 'ledger_replayer'
        ] LOOP
            CONTINUE WHEN EXISTS (
                SELECT FROM pg_auth_members
                WHERE roleid = granted::regrole AND member = 'ledger_program'::regrole
            );
            IF current_setting('server_version_num')::int >= 160000 THEN
                terms := ' WITH SET TRUE, INHERIT '
                    || CASE granted WHEN 'ledger_reader' THEN 'TRUE' ELSE 'FALSE' END;
            END IF;
            EXECUTE format('GRANT %I TO ledger_program', granted) || terms;
        END LOOP;
        -- To hand over what it made, and to end what was handed over.
        IF NOT pg_has_role(
            current_user, 'ledger_replayer',
            CASE WHEN current_setting('server_version_num')::int >= 160000
            THEN 'SET' ELSE 'MEMBER' END
        ) OR NOT pg_has_role(current_user, 'ledger_replayer', 'USAGE') THEN
            EXECUTE format('GRANT ledger_replayer TO %I', current_user);
        END IF;
    END $$
"""

# Only a warning where the migrating role does not own the database: see docs/database-roles.md.
ON_DATABASE = """
    DO $$ BEGIN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO ledger_replayer', current_database());
    END $$
"""

# Replays made before belonged to whoever logged in.
ADOPT_REPLAYS = """
    DO $$
    DECLARE
        schema_name name;
        table_name name;
    BEGIN
        FOR schema_name IN
            SELECT nspname FROM pg_namespace
            WHERE obj_description(oid, 'pg_namespace') = 'made by ledger replay'
                AND pg_has_role(current_user, nspowner, 'USAGE')
                AND has_database_privilege('ledger_replayer', current_database(), 'CREATE')
        LOOP
            EXECUTE format('ALTER SCHEMA %I OWNER TO ledger_replayer', schema_name);
            FOR table_name IN
                SELECT relname FROM pg_class
                WHERE relnamespace = to_regnamespace(quote_ident(schema_name))
                    AND relkind IN ('r', 'p') AND pg_has_role(current_user, relowner, 'USAGE')
            LOOP
                EXECUTE format(
                    'ALTER TABLE %I.%I OWNER TO ledger_replayer', schema_name, table_name
                );
            END LOOP;
        END LOOP;
    END $$
"""

WRAPPING_KEYS = (
    # Without ledger_id: a wrapping key is the whole program's.
    """
    CREATE TABLE keystore.wrapping_keys (
        key_id text PRIMARY KEY,
        first_used_at timestamptz NOT NULL,
        retired_at timestamptz
    )
    """,
    # At most one is in use at any time.
    """
    CREATE UNIQUE INDEX wrapping_keys_in_use ON keystore.wrapping_keys ((true))
        WHERE retired_at IS NULL
    """,
    "GRANT SELECT ON keystore.wrapping_keys TO ledger_writer, ledger_reader",
    "GRANT INSERT, UPDATE (retired_at) ON keystore.wrapping_keys TO ledger_writer",
)

GRANTS = (
    # For everyone who asks where the schema stands.
    "GRANT SELECT ON alembic_version TO ledger_program, ledger_reader",
    "GRANT USAGE ON SCHEMA ledger, views TO ledger_replayer",
    "GRANT SELECT ON ledger.heads TO ledger_replayer",
    # Its tables are made like those of the views.
    "GRANT SELECT ON ALL TABLES IN SCHEMA views TO ledger_replayer",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
)

# By number, never by an id that somebody chose; free text only where it has the form of a code.
ANALYTICS = {
    "ledgers": """
        SELECT v.ledger_id, v.name, v.created_at, h.position, h.recorded_at
        FROM ledger.ledgers v LEFT JOIN ledger.heads h USING (ledger_id)
    """,
    "accounts": """
        SELECT v.ledger_id, v.account_no, v.account_type, v.currency, v.scale, v.normal_side,
            v.status, json_array_length(v.holders) AS holders, v.limit_minor, v.ceiling_minor,
            CASE WHEN v.code ~ '^[0-9][0-9.-]{0,9}$' THEN v.code END AS code, v.opened_at,
            v.debits_posted_minor, v.credits_posted_minor, v.debits_held_minor,
            v.credits_held_minor,
            CASE v.normal_side WHEN 'debit' THEN v.debits_posted_minor - v.credits_posted_minor
                ELSE v.credits_posted_minor - v.debits_posted_minor END AS balance_minor,
            v.last_position
        FROM views.accounts v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'balances'
    """,
    "statement_lines": """
        SELECT v.ledger_id, v.account_no, v.position, v.line, v.recorded_at, v.value_date,
            v.side, v.amount_minor, v.debits_after_minor, v.credits_after_minor, v.kind
        FROM views.statement_lines v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'statements'
    """,
    "held_lines": """
        SELECT v.ledger_id, v.account_no, v.position, v.recorded_at, v.due_at, v.side,
            v.change_minor, v.debits_held_after_minor, v.credits_held_after_minor
        FROM views.held_lines v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'statements'
    """,
    "trial_balance": """
        SELECT v.ledger_id, v.currency, v.account_type, v.debits_posted_minor,
            v.credits_posted_minor, v.accounts
        FROM views.trial_balance v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'trial_balance'
    """,
    "customers": """
        SELECT v.ledger_id, v.customer_no, v.erased, v.registered_at,
            CASE WHEN v.public->>'segment' ~ '^[a-z][a-z0-9_-]{0,30}$'
                THEN v.public->>'segment' END AS segment,
            CASE WHEN v.public->>'language' ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}$'
                THEN v.public->>'language' END AS language,
            CASE WHEN v.public->>'residence_country' ~ '^[A-Z]{2}$'
                THEN v.public->>'residence_country' END AS residence_country,
            CASE WHEN v.public->>'kyc_status' IN ('pending', 'cleared', 'rejected')
                THEN v.public->>'kyc_status' END AS kyc_status
        FROM views.customers v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'customer_360'
    """,
    "customer_accounts": """
        SELECT v.ledger_id, c.customer_no, a.account_no,
            CASE WHEN v.role ~ '^[a-z][a-z0-9_-]{0,30}$' THEN v.role END AS role, v.since_position
        FROM views.customer_accounts v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'customer_360'
        JOIN views.customers c ON c.ledger_id = v.ledger_id AND c.slot = v.slot
            AND c.customer_id = v.customer_id
        JOIN views.projections b ON b.ledger_id = v.ledger_id AND b.live AND b.name = 'balances'
        JOIN views.accounts a ON a.ledger_id = v.ledger_id AND a.slot = b.slot
            AND a.account_id = v.account_id
    """,
    "risk_flags": """
        SELECT v.ledger_id, v.raised_position, v.account_no,
            CASE WHEN v.rule ~ '^[a-z][a-z0-9_-]{0,30}$' THEN v.rule END AS rule,
            v.currency, v.raised_at, v.value_date, v.status
        FROM views.risk_flags v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'risk_flags'
    """,
    "kept": """
        SELECT v.ledger_id, v.kind, v.position, v.status, v.due_at, v.last_position
        FROM views.kept v
        JOIN views.projections p ON p.ledger_id = v.ledger_id AND p.slot = v.slot
            AND p.live AND p.name = 'kept'
    """,
    "events": """
        SELECT v.ledger_id, v.position, v.recorded_at, v.type, v.version FROM ledger.events v
    """,
}
MEANINGS = {
    "ledgers": "Ledgers of this database, and how long their logs are.",
    "accounts": "Accounts by number, with their sums; minor units are 10 to the power of -scale.",
    "statement_lines": "Every posting: D or C, its amount, and the sums after it.",
    "held_lines": "Every change of what is held on an account.",
    "trial_balance": "Sums by currency and type of account.",
    "customers": "Customers by number: nothing that names one.",
    "customer_accounts": "Which customer, by number, holds which account, by number, as what.",
    "risk_flags": "Flags that the rules raised, without their figures and reasons.",
    "kept": "Holds, orders, approvals and the like: what kind, how they stand, when they are due.",
    "events": "What happened when; not what it was about.",
}


def upgrade() -> None:
    """Create the roles, hand out rights, and make the analysts' views."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for role in ROLES:
        # Where a membership is not told how to be inherited, it is not: see MEMBERSHIPS.
        terms = "NOLOGIN NOINHERIT" if role == "ledger_program" else "NOLOGIN"
        op.execute(
            f"""
            DO $$ BEGIN
                CREATE ROLE {role} {terms};
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END $$
            """
        )
    op.execute(MEMBERSHIPS)
    for statement in (*WRAPPING_KEYS, *GRANTS):
        op.execute(statement)
    op.execute(ON_DATABASE)
    op.execute(ADOPT_REPLAYS)
    op.execute("CREATE SCHEMA analytics")
    for name, query in ANALYTICS.items():
        op.execute(f"CREATE VIEW analytics.{name} WITH (security_barrier) AS {query}")
        op.execute(f"COMMENT ON VIEW analytics.{name} IS '{MEANINGS[name]}'")
    op.execute("GRANT USAGE ON SCHEMA analytics TO ledger_analyst, ledger_reader")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO ledger_analyst, ledger_reader")
