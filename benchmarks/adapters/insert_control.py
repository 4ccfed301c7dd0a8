"""The control I as an adapter: one durable row a transaction, and nothing that a ledger does."""

from collections.abc import Sequence

from benchmarks.adapters import Statement
from benchmarks.workloads import Command

KIND = "sql"

_DATA = "x" * 200


def prepare(_address: str, _accounts: Sequence[str]) -> dict[str, str]:
    """Nothing: ``controls`` makes the table."""
    return {}


def transfer(command: Command) -> Statement:
    """Insert a row of a transfer's size under the transfer's key."""
    return Statement("INSERT INTO bench_insert VALUES ($1, $2)", (str(command["key"]), _DATA))
