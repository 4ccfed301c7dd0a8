"""Everything that the views say about a moment, read from the live views or from a replay."""

from datetime import date, timedelta
from typing import Any

import msgspec
import sqlalchemy
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.rules.machine_commands import commands as any_commands
from tests.strategies import START

from ledger_core.account_terms import OpenAccount
from ledger_core.blocks import FreezeAccount
from ledger_core.commands import Command
from ledger_core.customers import RegisterCustomer
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.kept import KEEPERS
from ledger_core.transfers import Transfer
from projections.backdating_queries import backdated
from projections.balance_queries import balances
from projections.customer_queries import customer, customers
from projections.entry_queries import entries
from projections.flag_queries import flags
from projections.group_queries import group_totals
from projections.kept_queries import kept_items
from projections.reading import AsOf
from projections.statement_queries import statement
from projections.total_queries import totals
from projections.trial_balance_queries import trial_balance

DAY = date(2026, 2, 20)
"""A value date before the made-up banks open."""

_amounts = st.sampled_from(["1", "700", "95000", "99000", "1000000"])
_days = st.none() | st.integers(-40, 5).map(lambda days: START.date() + timedelta(days))
_accounts = st.sampled_from("ABCD")
_EUR = st.just("EUR")
_dated: st.SearchStrategy[Command] = st.one_of(
    st.builds(Deposit, account_id=_accounts, amount=_amounts, value_date=_days, currency=_EUR),
    st.builds(Withdraw, account_id=_accounts, amount=_amounts, value_date=_days, currency=_EUR),
    st.builds(
        Transfer,
        debit_account_id=_accounts,
        credit_account_id=_accounts,
        amount=_amounts,
        value_date=_days,
        currency=_EUR,
    ),
)
histories = st.lists(
    st.lists(any_commands | _dated, min_size=1, max_size=12), min_size=1, max_size=5
)
"""Batches of commands of all kinds, with days between them; many of them are refused."""


def lived(world: World, history: list[list[Command]]) -> int:
    """Have a ledger live through a history, after some accounts were opened; its last position."""
    world.run(
        RegisterCustomer(key="c1", customer_id="c1", profile={"name": "Ann", "segment": "retail"}),
        OpenAccount(key="A", account_id="A", currency="EUR", customer_id="c1", limit=None),
        OpenAccount(key="B", account_id="B", currency="EUR", limit="500"),
        OpenAccount(key="C", account_id="C", currency="EUR", account_type="asset"),
        FreezeAccount(key="freeze", account_id="B", cause="court", effect="debit"),
    )
    for number, commands in enumerate(history):
        world.now += timedelta(days=number)
        keyed = [
            msgspec.structs.replace(command, key=f"{number}-{index}")
            for index, command in enumerate(commands)
        ]
        world.run(*keyed)
    return world.catch_up()


def everything(conn: sqlalchemy.Connection, ledger_id: int, as_of: AsOf) -> dict[str, Any]:
    """All answers there are about a moment."""
    every = balances(conn, ledger_id, as_of=as_of, limit=1_000)
    names = [item.account_id for item in every.items]
    people = customers(conn, ledger_id, as_of=as_of, limit=1_000)
    groups = kept_items(conn, ledger_id, "group", as_of=as_of, limit=1_000)
    return {
        "balances": every,
        "valued": balances(conn, ledger_id, as_of=as_of, value_date=DAY, limit=1_000),
        "trial balance": trial_balance(conn, ledger_id, as_of=as_of),
        "valued trial balance": trial_balance(conn, ledger_id, as_of=as_of, value_date=DAY),
        "statements": [statement(conn, ledger_id, name, as_of=as_of) for name in names],
        "valued statements": [
            statement(conn, ledger_id, name, as_of=as_of, value_date=DAY, axis="value_date")
            for name in names
        ],
        "customers": people,
        "customers 360": [
            customer(conn, ledger_id, item.customer_id, as_of=as_of) for item in people.items
        ],
        "flags": flags(conn, ledger_id, as_of=as_of, limit=1_000),
        "totals": totals(conn, ledger_id, as_of=as_of, value_date=DAY),
        "entries": entries(conn, ledger_id, as_of=as_of),
        "backdated": backdated(conn, ledger_id, as_of=as_of),
        "groups": [group_totals(conn, ledger_id, name, as_of=as_of) for name, _ in groups.items],
        "kept": {
            kind: kept_items(conn, ledger_id, kind, as_of=as_of, limit=1_000) for kind in KEEPERS
        },
    }
