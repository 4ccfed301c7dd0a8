"""Routes of balances: one account or many, now, as of then, by value date."""

from datetime import date, datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field

from api.balance_reads import text_of
from api.parameters import DatedQuery, MetadataQuery, Page
from api.views import (
    Answer,
    Decimal,
    Listing,
    Minor,
    PathId,
    QueryId,
    QueryText,
    Reader,
    ReaderOf,
    Reflecting,
    Thin,
    ViewRoute,
    moment,
    plain,
)
from ledger_core.accounts import AccountStatus, AccountType, BlockEffect, HolderRole
from ledger_core.journal import Side
from ledger_core.money import decimal_text
from projections.balance_queries import Balance, Filters, balance, balances


class BlockAnswer(Answer):
    """A block in force."""

    cause: str
    effect: BlockEffect


class HolderAnswer(Answer):
    """A customer's role on the account."""

    customer_id: str
    role: HolderRole


class BalanceAnswer(Reflecting):
    """An account and its balance; amounts are strings of minor units on the account's normal side.

    With a `value_date`, `posted_minor` counts postings up to the end of that day, and there is no
    `available_minor`.
    """

    account_id: str
    account_no: int
    account_type: AccountType
    currency: str
    scale: int
    normal_side: Side
    status: AccountStatus
    code: str | None
    name: str | None
    metadata: dict[str, str] | None
    opened_at: datetime
    posted_minor: Minor
    posted: Decimal
    debits_posted_minor: Minor
    credits_posted_minor: Minor
    held_minor: Minor
    incoming_held_minor: Minor
    available_minor: Minor | None
    available: Decimal | None
    limit_minor: Minor | None
    ceiling_minor: Minor | None
    groups: list[str]
    blocks: list[BlockAnswer]
    holders: list[HolderAnswer]
    version: int
    value_date: date | None


class BalancesAnswer(Listing):
    """Accounts and their balances, by account id."""

    accounts: list[BalanceAnswer]


class AccountsQuery(DatedQuery, Page, MetadataQuery):
    """Which accounts, and when."""

    prefix: QueryId | None = Field(default=None, description="Account ids that begin so.")
    code: QueryText | None = None
    account_type: AccountType | None = None
    currency: QueryText | None = None
    customer_id: QueryId | None = Field(default=None, description="Accounts of this customer.")


def balance_answer(found: Balance) -> BalanceAnswer:
    """An account's balance as a document."""
    available = found.available_minor
    return BalanceAnswer(
        **plain(found),
        posted=decimal_text(found.posted_minor, found.scale),
        available=None if available is None else decimal_text(available, found.scale),
    )


async def get_balance(
    reader: ReaderOf, account_id: PathId, query: Annotated[DatedQuery, Query()]
) -> BalanceAnswer:
    """The balance of one account, with its terms, blocks and holders."""
    return await read_balance(reader, account_id, query)


async def read_balance(reader: Reader, account_id: str, query: DatedQuery) -> BalanceAnswer:
    """The balance of one account; the account's version is the answer's tag.

    The tag stands for everything of the account. `position` only says how fresh the answer is, and
    a header says it where nothing else has changed.
    """
    return balance_answer(await _found(reader, account_id, query))


async def balance_body(reader: Reader, account_id: str, query: DatedQuery) -> bytes:
    """The same, as it is sent."""
    return text_of(await _found(reader, account_id, query)).body


async def _found(reader: Reader, account_id: str, query: DatedQuery) -> Balance:
    """The balance that a query is about."""
    as_of = moment(query.as_of, query.as_of_position)
    found = await reader.ask(
        query,
        lambda connection: balance(
            connection, reader.ledger_id, account_id, as_of=as_of, value_date=query.value_date
        ),
    )
    reader.keeping.tag = str(found.version)
    reader.keeping.more = ((b"ledger-position", str(found.position).encode()),)
    return found


async def list_accounts(
    reader: ReaderOf, query: Annotated[AccountsQuery, Query()]
) -> BalancesAnswer:
    """The accounts open at that moment, with their balances, by account id.

    All filters hold together; `metadata.<name>=<value>` (exactly that value) up to five times.
    """
    await reader.wait(query)
    place = reader.place("list_accounts", query)
    filters = Filters(
        prefix=query.prefix,
        code=query.code,
        account_type=query.account_type,
        currency=query.currency,
        customer_id=query.customer_id,
        metadata=query.metadata,
    )
    page = await reader.run(
        lambda connection: balances(
            connection,
            reader.ledger_id,
            as_of=moment(query.as_of, query.as_of_position, place),
            value_date=query.value_date,
            filters=filters,
            after=None if place is None else str(place.after[0]),
            limit=query.limit,
        )
    )
    after = None if page.next_after is None else (page.next_after,)
    return BalancesAnswer(
        accounts=[balance_answer(item) for item in page.items],
        next=reader.cursor("list_accounts", query, page.position, after),
        position=page.position,
        recorded_at=page.recorded_at,
    )


VIEWS = (
    ViewRoute(
        path="/v1/accounts",
        operation="list_accounts",
        endpoint=list_accounts,
        summary="Accounts and their balances",
    ),
    ViewRoute(
        path="/v1/accounts/{account_id}/balance",
        operation="get_balance",
        endpoint=get_balance,
        summary="The balance of an account",
        headers=("Ledger-Position",),
        thin=Thin(DatedQuery, balance_body),
    ),
)
