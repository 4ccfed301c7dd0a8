"""Revaluation: what the bank's foreign-exchange positions are worth in one currency, today's rates.

Every exchange goes through the position accounts ``bank:position:<CUR>``: what a customer pays in
one currency is credited to that currency's account, what the customer gets is debited to the
other's. So the credit balance of a position account is what the bank is long in that currency, and
a debit balance what it is short. Valued at one moment's rates, the positions of all currencies add
up to what the bank would gain or lose by closing them: the unrealised result. Nothing is booked.
"""

from collections.abc import Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import Final

import msgspec
import sqlalchemy
from sqlalchemy import select

from ledger_core.errors import RateMissing, ValidationFailed
from ledger_core.money import scale_of
from ledger_core.rounding import RoundingName, rate_from_text, rounded
from projections.balance_queries import Balance, Filters, balances
from projections.balances import units
from projections.history import PROJECTIONS_READ
from projections.reading import NOW, PAGE_ITEMS_MAX, AsOf, Reading, resolve

POSITION_PREFIX = "bank:position:"
ROUNDING: Final = "half_even"
"""Each value is rounded once, to the nearest minor unit of the base, halves to the even one."""


class ValuedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """What the bank is long (or, below zero, short) in a currency, and its value in the base.

    ``units_per_base`` is the rate as it was given, ``None`` where none was needed: for the base
    itself, and for a position of zero.
    """

    account_id: str
    currency: str
    scale: int
    position_minor: int
    units_per_base: str | None
    value_minor: int


class Revaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Every position valued in the base currency; their sum is the unrealised result."""

    base: str
    scale: int
    rounding: RoundingName
    positions: tuple[ValuedPosition, ...]
    unrealised_minor: int
    position: int
    recorded_at: datetime | None
    value_date: date | None


def revaluation(  # noqa: PLR0913 - of what, at which rates, when
    conn: sqlalchemy.Connection,
    ledger_id: int,
    base: str,
    units_per_base: Mapping[str, str],
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
) -> Revaluation:
    """The positions at a moment, valued in ``base``.

    ``units_per_base`` says how many units of a currency one unit of the base is worth, as decimal
    texts above zero: 1 EUR = 1.0832 USD is ``{"USD": "1.0832"}`` with base EUR.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        UnknownCurrency: the base is no currency and no registered unit.
        ValidationFailed: a rate of the base itself other than 1.
        RateMissing: a currency in which there is a position has no rate.
        ValidationFailed: a rate that is needed is none.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    scale = scale_of(base, _units(conn, ledger_id, reading))
    if base in units_per_base and rate_from_text(units_per_base[base], field="rates") != 1:
        raise ValidationFailed("rates", "1 for the base itself, or none for it")
    positions = tuple(
        _valued(found, base, scale, units_per_base)
        for found in _positions(conn, ledger_id, AsOf(reading.position), value_date)
    )
    return Revaluation(
        base=base,
        scale=scale,
        rounding=ROUNDING,
        positions=positions,
        unrealised_minor=sum(item.value_minor for item in positions),
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
    )


def value_in_base(amount_minor: int, scale: int, units_per_base: str, base_scale: int) -> int:
    """An amount of a currency in minor units of the base, rounded half to even."""
    rate = rate_from_text(units_per_base, field="rates")
    exact = Fraction(abs(amount_minor), 10**scale) / rate * int(10**base_scale)
    value_minor = rounded(exact, ROUNDING)
    return value_minor if amount_minor >= 0 else -value_minor


def _valued(
    found: Balance, base: str, scale: int, units_per_base: Mapping[str, str]
) -> ValuedPosition:
    """A position account's balance in the base currency.

    Raises:
        RateMissing: the account's currency has a position, but no rate.
    """
    position_minor = found.credits_posted_minor - found.debits_posted_minor
    rate = None
    if found.currency == base:
        value_minor = position_minor
    elif position_minor == 0:
        value_minor = 0
    else:
        rate = units_per_base.get(found.currency)
        if rate is None:
            raise RateMissing(currency=found.currency, position_minor=str(position_minor))
        value_minor = value_in_base(position_minor, found.scale, rate, scale)
    return ValuedPosition(
        account_id=found.account_id,
        currency=found.currency,
        scale=found.scale,
        position_minor=position_minor,
        units_per_base=rate,
        value_minor=value_minor,
    )


def _positions(
    conn: sqlalchemy.Connection, ledger_id: int, as_of: AsOf, value_date: date | None
) -> list[Balance]:
    """The position accounts' balances, by currency."""
    found: list[Balance] = []
    after: str | None = None
    while True:
        page = balances(
            conn,
            ledger_id,
            as_of=as_of,
            value_date=value_date,
            filters=Filters(prefix=POSITION_PREFIX),
            after=after,
            limit=PAGE_ITEMS_MAX,
        )
        found += page.items
        after = page.next_after
        if after is None:
            return found


def _units(conn: sqlalchemy.Connection, ledger_id: int, reading: Reading) -> dict[str, int]:
    """The units registered by then, each with its scale."""
    rows = conn.execute(
        select(units.c.code, units.c.scale).where(
            units.c.ledger_id == ledger_id,
            units.c.slot == reading.slots["balances"],
            units.c.position <= reading.position,
        )
    )
    return {row.code: row.scale for row in rows}
