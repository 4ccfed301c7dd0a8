"""The route of one account: its balance, and on request the customers who hold it."""

from typing import Annotated, Literal

import sqlalchemy
from fastapi import Query
from pydantic import Field

from api.parameters import DatedQuery
from api.roles import require_allowed
from api.routes.balances import BalanceAnswer, balance_answer, read_balance
from api.routes.customer_360 import CustomerAnswer, customer_answers
from api.views import PathId, ReaderOf, ViewRoute, moment
from projections.balance_queries import Balance
from projections.customer_queries import account_with_holders


class AccountQuery(DatedQuery):
    """When, and what to show beside the account."""

    expand: Literal["holders"] | None = Field(
        default=None, description="`holders`: the customers who hold it, too, in `customers`."
    )


class ExpandedAccountAnswer(BalanceAnswer):
    """An account, its balance, and the customers who hold it."""

    customers: list[CustomerAnswer]


async def get_account(
    reader: ReaderOf, account_id: PathId, query: Annotated[AccountQuery, Query()]
) -> BalanceAnswer | ExpandedAccountAnswer:
    """One account: balance, terms, blocks and holders; its `ETag` is the account's version."""
    if query.expand is None:
        return await read_balance(reader, account_id, query)
    require_allowed(reader.caller, "get_customer")
    reader.keeping.keep = "never"
    await reader.wait(query)
    as_of = moment(query.as_of, query.as_of_position)

    def read(connection: sqlalchemy.Connection) -> tuple[Balance, list[CustomerAnswer]]:
        """The account and its holders with their profiles."""
        found, profiles = account_with_holders(
            connection, reader.ledger_id, account_id, as_of=as_of, value_date=query.value_date
        )
        return found, customer_answers(reader, connection, profiles)

    found, customers = await reader.run(read)
    return ExpandedAccountAnswer(**dict(balance_answer(found)), customers=customers)


VIEWS = (
    ViewRoute(
        path="/v1/accounts/{account_id}",
        operation="get_account",
        endpoint=get_account,
        summary="An account and its balance",
        headers=("Ledger-Position",),
    ),
)
