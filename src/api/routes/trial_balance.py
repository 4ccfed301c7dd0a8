"""The route of the trial balance: every account on its side, and totals that must be equal."""

from datetime import date
from typing import Annotated

from fastapi import Query

from api.parameters import DatedQuery
from api.views import Answer, Minor, ReaderOf, Reflecting, ViewRoute, moment, plain
from ledger_core.accounts import AccountType
from projections.trial_balance_queries import trial_balance


class RowAnswer(Answer):
    """One account: its balance stands on one side, the other is 0."""

    account_id: str
    account_type: AccountType
    code: str | None
    name: str | None
    currency: str
    scale: int
    debits_posted_minor: Minor
    credits_posted_minor: Minor
    debit_minor: Minor
    credit_minor: Minor


class TotalsAnswer(Answer):
    """Totals of one currency: of everything posted, and of the balances on each side."""

    currency: str
    scale: int
    debits_posted_minor: Minor
    credits_posted_minor: Minor
    debit_minor: Minor
    credit_minor: Minor
    accounts: int


class TrialBalanceAnswer(Reflecting):
    """All accounts by currency, code and id, and the totals of each currency."""

    value_date: date | None
    rows: list[RowAnswer]
    totals: list[TotalsAnswer]


async def get_trial_balance(
    reader: ReaderOf, query: Annotated[DatedQuery, Query()]
) -> TrialBalanceAnswer:
    """The trial balance at a moment; with a value date, of what counts by the end of that day."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: trial_balance(
            connection,
            reader.ledger_id,
            as_of=moment(query.as_of, query.as_of_position),
            value_date=query.value_date,
        )
    )
    return TrialBalanceAnswer(**plain(found))


VIEWS = (
    ViewRoute(
        path="/v1/trial-balance",
        operation="get_trial_balance",
        endpoint=get_trial_balance,
        summary="The trial balance",
    ),
)
