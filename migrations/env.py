"""Run the migrations, one transaction each, one upgrade at a time.

Forward only and hand-written: no model is compared and nothing is generated. The caller gives the
database as the attribute ``database_url`` of the Alembic configuration (see ``api.migrations``).
"""

from alembic import context
from sqlalchemy import create_engine, pool, text

LOCK_TIMEOUT = "10s"
"""A migration that cannot get its lock fails, rather than queue every reader behind it."""
UPGRADE_LOCK = 0x6C6564676572
"""Advisory lock of a running upgrade ("ledger" in ASCII); ends with the connection."""


def run() -> None:
    """Upgrade the database that the configuration names."""
    engine = create_engine(
        context.config.attributes["database_url"],
        poolclass=pool.NullPool,
        connect_args={"application_name": "ledger migrate"},
    )
    with engine.connect() as conn:
        # Waits as long as the upgrade before us takes, so it comes before the lock timeout.
        conn.execute(text("SELECT pg_advisory_lock(:key)"), {"key": UPGRADE_LOCK})
        conn.execute(
            text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": LOCK_TIMEOUT}
        )
        conn.commit()
        context.configure(connection=conn, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


run()
