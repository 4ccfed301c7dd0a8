"""Revaluation: foreign-exchange positions at given rates, exactly, rounded half to even."""

from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import opened

from ledger_core import database
from ledger_core.errors import RateMissing, UnknownCurrency
from ledger_core.exchanges import Exchange
from projections.reading import AsOf
from projections.revaluation_queries import Revaluation, revaluation, value_in_base

_rates = st.decimals("0.000001", "99999", places=6).map(lambda rate: f"{rate:f}")


@given(
    amount_minor=st.integers(-(10**30), 10**30),
    scale=st.integers(0, 6),
    rate=_rates,
    base_scale=st.integers(0, 4),
)
def test_a_value_is_the_nearest_minor_unit(
    amount_minor: int, scale: int, rate: str, base_scale: int
) -> None:
    """Never more than half a unit from the exact value; a half goes to the even one."""
    exact = Fraction(amount_minor, 10**scale) / Fraction(rate) * 10**base_scale
    value_minor = value_in_base(amount_minor, scale, rate, base_scale)
    assert abs(value_minor - exact) <= Fraction(1, 2)
    if abs(value_minor - exact) == Fraction(1, 2):
        assert value_minor % 2 == 0
    assert value_in_base(-amount_minor, scale, rate, base_scale) == -value_minor


@pytest.mark.parametrize(
    ("amount_minor", "scale", "rate", "value_minor"),
    [
        (10_832, 2, "1.0832", 10_000),
        (1, 2, "2", 0),
        (3, 2, "2", 2),
        (5, 2, "2", 2),
        (-3, 2, "2", -2),
        (16_500, 0, "165", 10_000),
        (1_000, 3, "3.3", 30),
    ],
)
def test_values_by_hand(amount_minor: int, scale: int, rate: str, value_minor: int) -> None:
    """Units of the currency for one euro; halves to even; no and three decimals."""
    assert value_in_base(amount_minor, scale, rate, 2) == value_minor


@pytest.fixture
def conn(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    engine = database.engine(database_url, "ledger_reader")
    with engine.connect() as conn:
        yield conn
    engine.dispose()


@pytest.fixture
def world(world: World) -> World:
    """A customer who sold 100.00 EUR for 108.32 USD, and bought 10.00 EUR for 1,650 JPY later."""
    outcomes = world.run(
        *(
            opened(currency, key=currency, currency=currency, limit=None)
            for currency in ("EUR", "USD", "JPY")
        ),
        _exchange("EUR", "USD", "10000", "10832", key="1", value_date=date(2026, 3, 1)),
        _exchange("JPY", "EUR", "1650", "1000", key="2", value_date=date(2026, 3, 9)),
    )
    assert answers(outcomes) == ["recorded"] * 5
    world.catch_up()
    return world


def _exchange(
    currency: str,
    counter_currency: str,
    amount: str,
    counter_amount: str,
    **fields: Any,  # noqa: ANN401 - the command's own
) -> Exchange:
    """An exchange between the customer's accounts, which have the currencies' names."""
    return Exchange(
        debit_account_id=currency,
        credit_account_id=counter_currency,
        amount=amount,
        currency=currency,
        counter_currency=counter_currency,
        counter_amount=counter_amount,
        **fields,
    )


def _positions(found: Revaluation) -> dict[str, tuple[int, int]]:
    """Position and value by currency."""
    return {item.currency: (item.position_minor, item.value_minor) for item in found.positions}


def test_at_the_rates_of_the_exchanges_there_is_no_result(
    world: World, conn: sqlalchemy.Connection
) -> None:
    """Long in what customers sold, short in what they bought; all in euro comes to nothing."""
    found = revaluation(conn, world.ledger_id, "EUR", {"USD": "1.0832", "JPY": "165"})
    assert _positions(found) == {
        "EUR": (9_000, 9_000),
        "USD": (-10_832, -10_000),
        "JPY": (1_650, 1_000),
    }
    assert (found.unrealised_minor, found.scale, found.rounding) == (0, 2, "half_even")


def test_a_dearer_currency_that_the_bank_is_short_in_is_a_loss(
    world: World, conn: sqlalchemy.Connection
) -> None:
    """What it owes in dollars costs more euro; valued in yen, the same in yen."""
    rates = {"USD": "1.04", "JPY": "165"}
    found = revaluation(conn, world.ledger_id, "EUR", rates)
    assert found.unrealised_minor == 9_000 - 10_415 + 1_000 == -415
    in_yen = revaluation(conn, world.ledger_id, "JPY", {"EUR": "0.006", "USD": "0.0065"})
    assert _positions(in_yen) == {
        "EUR": (9_000, 15_000),
        "USD": (-10_832, -16_665),
        "JPY": (1_650, 1_650),
    }


def test_positions_of_the_past_and_by_value_date(world: World, conn: sqlalchemy.Connection) -> None:
    """On either axis of time, and of both together; a position of zero needs no rate."""
    head = world.stored()[-1].position
    first = next(item.position for item in world.stored() if item.command_key == "1")
    rates = {"USD": "1.0832"}
    then = revaluation(conn, world.ledger_id, "EUR", rates, as_of=AsOf(position=first))
    assert _positions(then) == {"EUR": (10_000, 10_000), "USD": (-10_832, -10_000)}
    day = date(2026, 3, 8)
    valued = revaluation(conn, world.ledger_id, "EUR", rates, value_date=day)
    assert _positions(valued) == {"EUR": (10_000, 10_000), "USD": (-10_832, -10_000), "JPY": (0, 0)}
    assert (valued.position, valued.value_date) == (head, day)
    assert valued.positions[1].units_per_base is None
    assert revaluation(conn, world.ledger_id, "EUR", {}, as_of=AsOf(position=1)).positions == ()


def test_a_rate_that_is_needed_is_missed_by_name(world: World, conn: sqlalchemy.Connection) -> None:
    """And the base must be a currency."""
    with pytest.raises(RateMissing) as missing:
        revaluation(conn, world.ledger_id, "EUR", {"USD": "1.0832"})
    assert missing.value.seen == {"currency": "JPY", "position_minor": "1650"}
    with pytest.raises(UnknownCurrency):
        revaluation(conn, world.ledger_id, "XXQ", {"USD": "1.0832"})
