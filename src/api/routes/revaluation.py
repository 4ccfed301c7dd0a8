"""The route of the revaluation: foreign-exchange positions in one currency, at given rates."""

from datetime import date
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, Field

from api.parameters import DatedQuery
from api.views import (
    Answer,
    Decimal,
    Minor,
    QueryText,
    ReaderOf,
    Reflecting,
    ViewRoute,
    moment,
    plain,
)
from ledger_core.errors import ValidationFailed
from ledger_core.money import decimal_text
from ledger_core.rounding import RoundingName, rate_from_text
from projections.revaluation_queries import ValuedPosition, revaluation

RATES_MAX = 500
"""More than there are currencies."""
_RULE = "CUR:RATE,CUR:RATE with each currency once: units of it for one unit of the base"


def _rates(text: str) -> str:
    """The rates, if they are of the form that they must have."""
    rates_of(text)
    return text


def rates_of(text: str) -> dict[str, str]:
    """Rates by currency, as they were given."""
    rates: dict[str, str] = {}
    parts = text.split(",") if text else []
    for part in parts:
        currency, _, rate = part.rpartition(":")
        try:
            rate_from_text(rate, field="rates")
        except ValidationFailed as error:
            raise ValueError(f"{_RULE}; a rate is {error.rule}") from None
        rates[currency] = rate
    if "" in rates or len(rates) != len(parts) or len(parts) > RATES_MAX:
        raise ValueError(_RULE)
    return rates


class PositionAnswer(Answer):
    """A position: above zero the bank is long in the currency, below zero it is short."""

    account_id: str
    currency: str
    scale: int
    position_minor: Minor
    units_per_base: str | None
    value_minor: Minor
    value: Decimal


class RevaluationAnswer(Reflecting):
    """Every position valued in the base currency; `unrealised_minor` is their sum.

    Above zero, closing all positions at these rates would be a gain. Each value is rounded once,
    half to even, to minor units of the base.
    """

    base: str
    scale: int
    rounding: RoundingName
    positions: list[PositionAnswer]
    unrealised_minor: Minor
    unrealised: Decimal
    value_date: date | None


class RevaluationQuery(DatedQuery):
    """In which currency, at which rates, and when."""

    base: QueryText = Field(description="The currency to value in.")
    rates: Annotated[str, AfterValidator(_rates)] = Field(
        default="",
        description=(
            "Units of each currency for one unit of the base, such as `USD:1.0832,GBP:0.8511`"
            " with base EUR: 1 EUR = 1.0832 USD. Needed for every currency with a position."
        ),
    )


async def get_revaluation(
    reader: ReaderOf, query: Annotated[RevaluationQuery, Query()]
) -> RevaluationAnswer:
    """The positions `bank:position:<CUR>` valued in one currency, and the unrealised result."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: revaluation(
            connection,
            reader.ledger_id,
            query.base,
            rates_of(query.rates),
            as_of=moment(query.as_of, query.as_of_position),
            value_date=query.value_date,
        )
    )
    document = plain(found)
    document["positions"] = [_position(item, found.scale) for item in found.positions]
    return RevaluationAnswer(
        **document, unrealised=decimal_text(found.unrealised_minor, found.scale)
    )


def _position(found: ValuedPosition, base_scale: int) -> PositionAnswer:
    """A valued position as a document."""
    return PositionAnswer(**plain(found), value=decimal_text(found.value_minor, base_scale))


VIEWS = (
    ViewRoute(
        path="/v1/reports/revaluation",
        operation="get_revaluation",
        endpoint=get_revaluation,
        summary="Foreign-exchange positions, valued",
    ),
)
