"""A double-entry ledger of fifty lines of SQL: the example of an ``sql`` adapter, and a stand-in.

It does what the common SQL ledgers do: lock both accounts in order, check, write two entries, keep
the balances, once for each key. No events, no log that proves anything, no views.
"""

from collections.abc import Sequence

import psycopg

from benchmarks.adapters import Statement
from benchmarks.workloads import Command

KIND = "sql"

_SCHEMA = """
DROP SCHEMA IF EXISTS plain CASCADE;
CREATE SCHEMA plain;
CREATE TABLE plain.accounts (
    id text PRIMARY KEY, balance bigint NOT NULL DEFAULT 0, minimum bigint NOT NULL,
    CHECK (balance >= minimum)
) WITH (fillfactor = 70);
CREATE TABLE plain.transfers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL UNIQUE,
    debit text NOT NULL, credit text NOT NULL, amount bigint NOT NULL CHECK (amount > 0),
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE plain.entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text NOT NULL,
    transfer bigint NOT NULL, amount bigint NOT NULL, balance bigint NOT NULL
);
CREATE INDEX ON plain.entries (account, id);
CREATE FUNCTION plain.transfer(_key text, _debit text, _credit text, _amount bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    _id bigint;
BEGIN
    PERFORM 1 FROM plain.accounts WHERE id IN (_debit, _credit) ORDER BY id FOR UPDATE;
    INSERT INTO plain.transfers (key, debit, credit, amount)
        VALUES (_key, _debit, _credit, _amount) ON CONFLICT (key) DO NOTHING RETURNING id INTO _id;
    IF _id IS NULL THEN
        RETURN (SELECT id FROM plain.transfers WHERE key = _key);
    END IF;
    WITH moved AS (
        UPDATE plain.accounts
        SET balance = balance + CASE WHEN id = _debit THEN -_amount ELSE _amount END
        WHERE id IN (_debit, _credit) RETURNING id, balance
    )
    INSERT INTO plain.entries (account, transfer, amount, balance)
        SELECT id, _id, CASE WHEN id = _debit THEN -_amount ELSE _amount END, balance FROM moved;
    RETURN _id;
END $$;
CREATE FUNCTION plain.transfers(_keys text[], _debits text[], _credits text[], _amounts bigint[])
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    -- All at first, in order: two batches never wait for each other in a circle.
    PERFORM 1 FROM plain.accounts WHERE id = ANY(_debits || _credits) ORDER BY id FOR UPDATE;
    RETURN (SELECT count(plain.transfer(k, d, c, a))
            FROM unnest(_keys, _debits, _credits, _amounts) AS t (k, d, c, a));
END $$;
"""


def prepare(address: str, accounts: Sequence[str]) -> dict[str, str]:
    """Make the schema anew, with the accounts; their ids are ours."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(_SCHEMA)
        with connection.cursor().copy("COPY plain.accounts (id, minimum) FROM STDIN") as copy:
            for name in accounts:
                copy.write_row((name, -100_000_000_000))
        connection.execute("ANALYZE plain.accounts")
    return {}


def transfer(command: Command) -> Statement:
    """One transfer a transaction."""
    return Statement("SELECT plain.transfer($1, $2, $3, $4::bigint)", _parameters(command))


def batch(commands: Sequence[Command]) -> Statement:
    """Many transfers in one transaction, by one statement."""
    columns = zip(*map(_parameters, commands), strict=True)
    return Statement(
        "SELECT plain.transfers($1::text[], $2::text[], $3::text[], $4::bigint[])",
        [f"{{{','.join(column)}}}" for column in columns],
    )


def balance(account_id: str) -> Statement:
    """One account's balance."""
    return Statement("SELECT balance FROM plain.accounts WHERE id = $1", (account_id,))


def _parameters(command: Command) -> tuple[str, ...]:
    """Key, accounts and amount."""
    names = ("key", "debit_account_id", "credit_account_id", "amount")
    return tuple(str(command[name]) for name in names)
