"""Totals over accounts are the sums of what each account says, at any moment and value date."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened, transfer
from tests.strategies import START

from ledger_core import database
from ledger_core.account_holders import UnlinkCustomer
from ledger_core.customers import RegisterCustomer
from ledger_core.errors import LedgerNotFound
from ledger_core.holds import CaptureHold, PlaceHold
from projections.balance_queries import Balance, balances
from projections.reading import AsOf, PositionAhead
from projections.total_queries import AccountTotal, TotalFilters, totals

DAY = timedelta(days=1)
TODAY = START.date()


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A branch of receivables, a customer's accounts, holds, and entries on several days."""
    with World(database_url) as world:
        world.run(
            RegisterCustomer(key="c", customer_id="ann", profile={"name": "Ann"}),
            *(
                opened(name, key=name, account_type="asset", code=code, limit=None)
                for name, code in (("R:S1", "1.10"), ("R:S2", "1.20"), ("R%", "2"))
            ),
            opened("ann-1", key="a1", customer_id="ann", limit=None),
            opened("ann-2", key="a2", customer_id="ann", limit=None, currency="JPY"),
            transfer("R:S1", "ann-1", 500, key="1", value_date=TODAY - 5 * DAY),
            transfer("R:S2", "ann-1", 70, key="2", value_date=TODAY + 5 * DAY),
            PlaceHold(
                key="h",
                debit_account_id="ann-1",
                credit_account_id="R:S1",
                amount="30",
                currency="EUR",
                hold_id="hold",
                multi_capture=True,
            ),
            CaptureHold(key="x", hold_id="hold", amount="10"),
            transfer("R:S1", "R%", 5, key="3"),
            UnlinkCustomer(key="u", account_id="ann-1", customer_id="ann", role="owner"),
            deposited("ann-2", 9, key="4", currency="JPY"),
        )
        world.catch_up()
        yield world


@pytest.fixture
def conn(world: World) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    engine = database.engine(world.url, "ledger_reader")
    with engine.connect() as conn:
        yield conn
    engine.dispose()


def _summed(found: list[Balance]) -> dict[str, tuple[int, ...]]:
    """What balances come to, by currency."""
    sums: dict[str, tuple[int, ...]] = {}
    for item in found:
        held = item.held_minor, item.incoming_held_minor
        figures = (
            1,
            item.debits_posted_minor,
            item.credits_posted_minor,
            item.credits_posted_minor - item.debits_posted_minor,
            *(held if item.normal_side == "credit" else held[::-1]),
        )
        known = sums.get(item.currency, (0,) * 6)
        sums[item.currency] = tuple(map(sum, zip(known, figures, strict=True)))
    return sums


def _any(_item: Balance) -> bool:
    """Whatever account it is."""
    return True


def _figures(found: tuple[AccountTotal, ...]) -> dict[str, tuple[int, ...]]:
    """The totals, by currency."""
    return {
        item.currency: (
            item.accounts,
            item.debits_posted_minor,
            item.credits_posted_minor,
            item.net_minor,
            item.debits_held_minor,
            item.credits_held_minor,
        )
        for item in found
    }


def test_totals_are_the_sums_of_the_balances_at_every_moment(
    world: World, conn: sqlalchemy.Connection
) -> None:
    """At each position, alone and together with each value date, for every kind of branch."""
    head = world.stored()[-1].position
    for position in range(head + 1):
        as_of = AsOf(position=position)
        for day in (None, TODAY - 6 * DAY, TODAY - 5 * DAY, TODAY, TODAY + 5 * DAY):
            every = balances(conn, world.ledger_id, as_of=as_of, value_date=day).items
            for filters, chosen in (
                (TotalFilters(), _any),
                (TotalFilters(prefix="R:"), lambda item: item.account_id.startswith("R:")),
                (TotalFilters(prefix="R%"), lambda item: item.account_id == "R%"),
                (TotalFilters(code_prefix="1."), lambda item: (item.code or "")[:2] == "1."),
                (TotalFilters(account_type="asset"), lambda item: item.account_type == "asset"),
                (TotalFilters(currency="JPY"), lambda item: item.currency == "JPY"),
                (
                    TotalFilters(customer_id="ann"),
                    lambda item: "ann" in {holder.customer_id for holder in item.holders},
                ),
            ):
                found = totals(conn, world.ledger_id, as_of=as_of, value_date=day, filters=filters)
                assert found.position == position
                assert _figures(found.totals) == _summed([item for item in every if chosen(item)])


def test_totals_name_a_branch_in_figures(world: World, conn: sqlalchemy.Connection) -> None:
    """The receivables: what customers owe is a debit balance, so net is below zero."""
    (total,) = totals(conn, world.ledger_id, filters=TotalFilters(prefix="R:")).totals
    assert (total.accounts, total.currency, total.scale) == (2, "EUR", 2)
    assert (total.debits_posted_minor, total.credits_posted_minor) == (575, 10)
    assert total.net_minor == -565
    assert (total.debits_held_minor, total.credits_held_minor) == (0, 20)


def test_totals_of_nothing_and_of_moments_that_are_not(
    world: World, conn: sqlalchemy.Connection
) -> None:
    """No account, a position ahead, no such ledger."""
    assert totals(conn, world.ledger_id, filters=TotalFilters(prefix="none")).totals == ()
    with pytest.raises(PositionAhead):
        totals(conn, world.ledger_id, as_of=AsOf(position=10_000))
    with pytest.raises(LedgerNotFound):
        totals(conn, world.ledger_id + 1)
