"""pgledger, functions in PostgreSQL: install its SQL files in the database that the address names.

It keeps no idempotency keys and its accounts have no limits but "not below zero"; they may be
negative here. Amounts are in minor units. Prepared anew, it adds accounts and keeps those it has.
"""

from collections.abc import Sequence

import psycopg

from benchmarks.adapters import Statement
from benchmarks.workloads import Command

KIND = "sql"


def prepare(address: str, accounts: Sequence[str]) -> dict[str, str]:
    """Open the accounts; its own ids of them."""
    with psycopg.connect(address) as connection:
        rows = connection.execute(
            "SELECT name, (pgledger_create_account(name, 'EUR')).id"
            " FROM unnest(%s::text[]) AS t (name)",
            (list(accounts),),
        )
        return dict(rows.fetchall())


def transfer(command: Command) -> Statement:
    """One transfer a transaction."""
    return Statement(
        "SELECT id FROM pgledger_create_transfer($1, $2, $3::numeric)", _parameters(command)
    )


def batch(commands: Sequence[Command]) -> Statement:
    """Many transfers in one transaction, by one statement, which locks all accounts in order."""
    requests = ",".join(
        f'"({debit},{credit},{amount})"' for debit, credit, amount in map(_parameters, commands)
    )
    return Statement(
        "SELECT count(*) FROM pgledger_create_transfers($1::transfer_request[], NULL)",
        (f"{{{requests}}}",),
    )


def balance(account_id: str) -> Statement:
    """One account's balance."""
    return Statement("SELECT balance FROM pgledger_accounts_view WHERE id = $1", (account_id,))


def _parameters(command: Command) -> tuple[str, str, str]:
    """From, to and amount."""
    return (
        str(command["debit_account_id"]),
        str(command["credit_account_id"]),
        str(command["amount"]),
    )
