"""Any history, taken in by any batches, read at any moment: the views say what the log says."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import msgspec
import sqlalchemy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.postgres.moments import histories

from ledger_core import database
from ledger_core.account_terms import OpenAccount
from ledger_core.commands import Command
from ledger_core.customers import RegisterCustomer
from projections import runner
from projections.backdating_queries import backdated
from projections.balance_queries import balances
from projections.customer_queries import customer
from projections.entry_queries import entries
from projections.flag_queries import flags
from projections.reading import AsOf
from projections.statement_queries import statement
from projections.total_queries import totals
from projections.trial_balance_queries import trial_balance
from projections.verification import verify


# A history is short and takes half a second: shrinking it would take minutes.
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(history=st.just([]) | histories, batches=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_what_was_read_then_is_read_as_of_then(
    database_url: str, history: list[list[Command]], batches: list[int]
) -> None:
    """Balances, statements, customers, flags: all as they were, at positions and at times."""
    name = f"history-{_count(database_url)}"
    with World(database_url, name) as world, _engine(database_url) as engine:
        world.run(*_opening())
        world.catch_up()
        read_then: dict[int, Any] = {}
        cache = runner.RunnerCache()
        for number, commands in enumerate(history):
            keyed = [
                msgspec.structs.replace(command, key=f"{number}-{index}")
                for index, command in enumerate(commands)
            ]
            world.run(*keyed)
            world.now += timedelta(days=number)
            turn = number
            while runner.advance(
                world.projector,
                world.ledger_id,
                limit=batches[turn % len(batches)],
                cache=cache,
            ):
                turn += 1
            position = world.catch_up()
            read_then[position] = _everything(engine, world.ledger_id, AsOf())
        for position, everything in read_then.items():
            assert _everything(engine, world.ledger_id, AsOf(position=position)) == everything
            at = everything["balances"].recorded_at
            assert _everything(engine, world.ledger_id, AsOf(recorded_at=at)) == everything
        _agrees_with_the_log(engine, world)
        verdict = verify(world.projector, world.ledger_id)
        assert verdict.ok, verdict.findings
        for projection in runner.PROJECTIONS:
            report = runner.rebuild(world.projector, world.ledger_id, projection.name)
            assert report.differences == ()
        assert verify(world.projector, world.ledger_id).ok


@contextmanager
def _engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    """Connections to read by."""
    engine = database.engine(database_url, "ledger_reader")
    try:
        yield engine
    finally:
        engine.dispose()


def _count(database_url: str) -> int:
    """How many ledgers there are already."""
    with database.connect(database_url, "ledger_reader") as conn:
        row = conn.execute("SELECT count(*) FROM ledger.ledgers").fetchone()
        assert row is not None
        return int(row[0])


def _opening() -> list[Command]:
    """Customers and accounts to begin with."""
    return [
        RegisterCustomer(key="c1", customer_id="c1", profile={"name": "Ann"}),
        OpenAccount(key="A", account_id="A", currency="EUR", customer_id="c1", limit=None),
        OpenAccount(key="B", account_id="B", currency="EUR", limit=None),
        OpenAccount(key="C", account_id="C", currency="EUR", account_type="asset"),
    ]


def _everything(engine: sqlalchemy.Engine, ledger_id: int, as_of: AsOf) -> dict[str, Any]:
    """All answers there are about a moment."""
    day = date(2026, 2, 20)
    with engine.connect() as conn:
        every = balances(conn, ledger_id, as_of=as_of, limit=1_000)
        names = [item.account_id for item in every.items]
        owners = {holder.customer_id for item in every.items for holder in item.holders}
        return {
            "balances": every,
            "valued": balances(conn, ledger_id, as_of=as_of, value_date=day, limit=1_000),
            "trial_balance": trial_balance(conn, ledger_id, as_of=as_of),
            "trial_balance valued": trial_balance(conn, ledger_id, as_of=as_of, value_date=day),
            "statements": [statement(conn, ledger_id, name, as_of=as_of) for name in names],
            "valued statements": [
                statement(conn, ledger_id, name, as_of=as_of, from_date=day, newest_first=True)
                for name in names
            ],
            "customers": [customer(conn, ledger_id, name, as_of=as_of) for name in sorted(owners)],
            "flags": flags(conn, ledger_id, as_of=as_of, limit=1_000),
            "totals": totals(conn, ledger_id, as_of=as_of),
            "valued totals": totals(conn, ledger_id, as_of=as_of, value_date=day),
            "statements by value date": [
                statement(conn, ledger_id, name, as_of=as_of, axis="value_date") for name in names
            ],
            "entries": entries(conn, ledger_id, as_of=as_of),
            "backdated": backdated(conn, ledger_id, as_of=as_of),
        }


def _agrees_with_the_log(engine: sqlalchemy.Engine, world: World) -> None:
    """Balances and statements are those of the log folded; both sides of it are equal."""
    folded = world.folded().accounts
    with engine.connect() as conn:
        shown = balances(conn, world.ledger_id, limit=1_000).items
        assert {item.account_id: item.posted_minor for item in shown} == {
            name: account.posted_minor for name, account in folded.items()
        }
        for total in trial_balance(conn, world.ledger_id).totals:
            assert total.debits_posted_minor == total.credits_posted_minor
            assert total.debit_minor == total.credit_minor
        for name, account in folded.items():
            page = statement(conn, world.ledger_id, name, limit=1_000)
            assert page.closing_minor == account.posted_minor
            if page.lines:
                assert page.lines[-1].balance_minor == account.posted_minor
