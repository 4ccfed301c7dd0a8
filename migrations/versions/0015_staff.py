"""Staff: who they are to the ledger, by what they prove it, and where they are logged in.

No secret stands here in clear: passwords are argon2id hashes of keyed hashes, secrets of one-time
codes are sealed under a subject's key (0002), tokens and recovery codes are keyed hashes. Names of
``attempts`` are keyed hashes as well: they may be of nobody. The schema is made by 0002.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; the reader's role sees no password and no secret."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_people()
    _create_sessions()
    _grant()


def _create_people() -> None:
    """Persons, and by what they prove that it is them."""
    op.execute(
        """
        CREATE TABLE keystore.staff (
            ledger_id integer NOT NULL,
            person_id text NOT NULL CHECK (person_id ~ '^[A-Za-z0-9._:@|-]{1,100}$'),
            roles text[] NOT NULL,
            permissions text[] NOT NULL,
            password_hash text NOT NULL,
            password_expires_at timestamptz,
            subject text,
            totp text CHECK (totp IS NULL OR subject IS NOT NULL),
            totp_proposed text CHECK (totp_proposed IS NULL OR subject IS NOT NULL),
            totp_step bigint,
            created_at timestamptz NOT NULL,
            created_by text NOT NULL,
            disabled_at timestamptz,
            PRIMARY KEY (ledger_id, person_id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE keystore.staff_recovery_codes (
            ledger_id integer NOT NULL,
            person_id text NOT NULL,
            code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
            PRIMARY KEY (ledger_id, person_id, code_hash)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE keystore.staff_passkeys (
            ledger_id integer NOT NULL,
            passkey_id text NOT NULL,
            person_id text NOT NULL,
            credential_id bytea NOT NULL,
            public_key bytea NOT NULL,
            sign_count bigint NOT NULL CHECK (sign_count >= 0),
            name text NOT NULL,
            created_at timestamptz NOT NULL,
            last_used_at timestamptz,
            PRIMARY KEY (ledger_id, passkey_id)
        )
        """
    )
    op.execute(
        "CREATE INDEX staff_passkeys_person ON keystore.staff_passkeys (ledger_id, person_id)"
    )


def _create_sessions() -> None:
    """Sessions, challenges that were used up, and attempts that failed."""
    op.execute(
        """
        CREATE TABLE keystore.sessions (
            ledger_id integer NOT NULL,
            session_id text NOT NULL,
            secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
            person_id text NOT NULL,
            created_at timestamptz NOT NULL,
            last_seen_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            second_factor_at timestamptz,
            ended_at timestamptz,
            PRIMARY KEY (ledger_id, session_id)
        )
        """
    )
    op.execute("CREATE INDEX sessions_person ON keystore.sessions (ledger_id, person_id)")
    op.execute(
        """
        CREATE TABLE keystore.used_challenges (
            ledger_id integer NOT NULL,
            nonce bytea NOT NULL,
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (ledger_id, nonce)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE keystore.attempts (
            ledger_id integer NOT NULL,
            kind text NOT NULL CHECK (kind IN ('person', 'code', 'client')),
            name_hash bytea NOT NULL CHECK (octet_length(name_hash) = 32),
            failures integer NOT NULL CHECK (failures >= 0),
            last_at timestamptz NOT NULL,
            locked_until timestamptz,
            PRIMARY KEY (ledger_id, kind, name_hash)
        )
        """
    )


def _grant() -> None:
    """Give each role what it needs."""
    op.execute(
        "GRANT SELECT (ledger_id, person_id, roles, permissions, password_expires_at, created_at,"
        " created_by, disabled_at) ON keystore.staff TO ledger_reader"
    )
    op.execute(
        "GRANT SELECT (ledger_id, passkey_id, person_id, name, created_at, last_used_at)"
        " ON keystore.staff_passkeys TO ledger_reader"
    )
    op.execute("GRANT SELECT ON keystore.sessions, keystore.attempts TO ledger_reader")
    op.execute(
        "GRANT SELECT, INSERT ON keystore.staff, keystore.staff_recovery_codes,"
        " keystore.staff_passkeys, keystore.sessions, keystore.used_challenges, keystore.attempts"
        " TO ledger_writer"
    )
    op.execute(
        "GRANT UPDATE (roles, permissions, password_hash, password_expires_at, subject, totp,"
        " totp_proposed, totp_step, disabled_at) ON keystore.staff TO ledger_writer"
    )
    op.execute(
        "GRANT UPDATE (sign_count, last_used_at) ON keystore.staff_passkeys TO ledger_writer"
    )
    op.execute(
        "GRANT UPDATE (last_seen_at, second_factor_at, ended_at) ON keystore.sessions"
        " TO ledger_writer"
    )
    op.execute(
        "GRANT UPDATE (failures, last_at, locked_until) ON keystore.attempts TO ledger_writer"
    )
    op.execute(
        "GRANT DELETE ON keystore.staff_recovery_codes, keystore.staff_passkeys,"
        " keystore.sessions, keystore.used_challenges, keystore.attempts TO ledger_writer"
    )
