"""The route of totals: what a branch of the chart, a type or a customer comes to, by currency."""

from datetime import date
from typing import Annotated

from fastapi import Query
from pydantic import Field

from api.parameters import DatedQuery
from api.views import (
    Answer,
    Decimal,
    Minor,
    QueryId,
    QueryText,
    ReaderOf,
    Reflecting,
    ViewRoute,
    moment,
    plain,
)
from ledger_core.accounts import AccountType
from ledger_core.money import decimal_text
from projections.total_queries import TotalFilters, totals


class TotalAnswer(Answer):
    """What the accounts in one currency come to; `net_minor` is credits less debits."""

    currency: str
    scale: int
    accounts: int
    debits_posted_minor: Minor
    credits_posted_minor: Minor
    net_minor: Minor
    net: Decimal
    debits_held_minor: Minor
    credits_held_minor: Minor


class AccountTotalsAnswer(Reflecting):
    """The totals, by currency; held sums are those at the position, whatever the value date."""

    value_date: date | None
    totals: list[TotalAnswer]


class TotalsQuery(DatedQuery):
    """Which accounts to sum up, and when."""

    prefix: QueryId | None = Field(default=None, description="Account ids that begin so.")
    code_prefix: QueryText | None = Field(default=None, description="Codes that begin so.")
    account_type: AccountType | None = None
    currency: QueryText | None = None
    customer_id: QueryId | None = Field(default=None, description="Accounts of this customer.")


async def get_totals(
    reader: ReaderOf, query: Annotated[TotalsQuery, Query()]
) -> AccountTotalsAnswer:
    """Sums per currency over all accounts that the filters match; without any, over all."""
    await reader.wait(query)
    filters = TotalFilters(
        prefix=query.prefix,
        code_prefix=query.code_prefix,
        account_type=query.account_type,
        currency=query.currency,
        customer_id=query.customer_id,
    )
    found = await reader.run(
        lambda connection: totals(
            connection,
            reader.ledger_id,
            as_of=moment(query.as_of, query.as_of_position),
            value_date=query.value_date,
            filters=filters,
        )
    )
    return AccountTotalsAnswer(
        value_date=found.value_date,
        totals=[
            TotalAnswer(**plain(item), net=decimal_text(item.net_minor, item.scale))
            for item in found.totals
        ],
        position=found.position,
        recorded_at=found.recorded_at,
    )


VIEWS = (
    ViewRoute(
        path="/v1/accounts/totals",
        operation="get_totals",
        endpoint=get_totals,
        summary="Totals over accounts",
    ),
)
