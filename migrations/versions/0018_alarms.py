"""Alarms: what the rules over the access log raised, and which thresholds counted from when on.

``alarms.rules_used`` is only added to. ``alarms.raised`` and ``alarms.folded`` are a fold of the
access log under these rules, and may be rebuilt from it: only the projectors' role writes them.
That an alarm was acknowledged is an access itself, and stands nowhere else.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create schema and tables."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE SCHEMA alarms")
    op.execute(
        """
        CREATE TABLE alarms.folded (
            ledger_id integer PRIMARY KEY,
            number bigint NOT NULL CHECK (number >= 0)
        ) WITH (fillfactor = 10)
        """
    )
    op.execute(
        """
        CREATE TABLE alarms.rules_used (
            ledger_id integer NOT NULL,
            rule text NOT NULL,
            position bigint NOT NULL CHECK (position > 0),
            from_number bigint NOT NULL CHECK (from_number > 0),
            parameters json NOT NULL,
            enabled boolean NOT NULL,
            PRIMARY KEY (ledger_id, rule, position)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE alarms.raised (
            ledger_id integer NOT NULL,
            number bigint NOT NULL CHECK (number > 0),
            rule text NOT NULL,
            actor text NOT NULL,
            raised_at timestamptz NOT NULL,
            first_number bigint NOT NULL CHECK (first_number BETWEEN 1 AND number),
            first_at timestamptz NOT NULL CHECK (first_at <= raised_at),
            count bigint NOT NULL CHECK (count > 0),
            threshold bigint NOT NULL CHECK (threshold > 0),
            rule_position bigint NOT NULL CHECK (rule_position >= 0),
            reason text NOT NULL,
            PRIMARY KEY (ledger_id, number, rule)
        )
        """
    )
    op.execute("CREATE INDEX raised_actor ON alarms.raised (ledger_id, rule, actor, number)")
    op.execute("GRANT USAGE ON SCHEMA alarms TO ledger_writer, ledger_projector, ledger_reader")
    tables = "alarms.folded, alarms.rules_used, alarms.raised"
    op.execute(f"GRANT SELECT ON {tables} TO ledger_writer, ledger_projector, ledger_reader")
    op.execute(f"GRANT INSERT ON {tables} TO ledger_projector")
    op.execute("GRANT UPDATE (number) ON alarms.folded TO ledger_projector")
    op.execute("GRANT DELETE ON alarms.raised TO ledger_projector")
