"""The route of risk flags: what the risk rules found, the newest first."""

from datetime import date, datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field

from api.parameters import AsOfQuery, Page
from api.views import Answer, Listing, QueryId, ReaderOf, ViewRoute, moment, plain
from ledger_core.risk_rules import RuleName
from projections.flag_queries import flags


class FlagAnswer(Answer):
    """A flag: the rule, the events and the figures behind it."""

    flag_id: str
    rule: RuleName
    account_id: str
    account_no: int
    currency: str
    raised_position: int
    raised_at: datetime
    value_date: date
    status: str
    reason: str
    figures: dict[str, str]
    positions: list[int]


class FlagsAnswer(Listing):
    """Flags, the newest first."""

    flags: list[FlagAnswer]


class FlagsQuery(AsOfQuery, Page):
    """Which flags, and when."""

    account_id: QueryId | None = None
    customer_id: QueryId | None = Field(default=None, description="On this customer's accounts.")
    rule: RuleName | None = None


async def list_risk_flags(reader: ReaderOf, query: Annotated[FlagsQuery, Query()]) -> FlagsAnswer:
    """The flags raised by then, the newest first."""
    await reader.wait(query)
    place = reader.place("list_risk_flags", query)
    page = await reader.run(
        lambda connection: flags(
            connection,
            reader.ledger_id,
            account_id=query.account_id,
            customer_id=query.customer_id,
            rule=query.rule,
            as_of=moment(query.as_of, query.as_of_position, place),
            after=None if place is None else (int(place.after[0]), str(place.after[1])),
            limit=query.limit,
        )
    )
    return FlagsAnswer(
        flags=[FlagAnswer(**plain(flag)) for flag in page.items],
        next=reader.cursor("list_risk_flags", query, page.position, page.next_after),
        position=page.position,
        recorded_at=page.recorded_at,
    )


VIEWS = (
    ViewRoute(
        path="/v1/risk-flags",
        operation="list_risk_flags",
        endpoint=list_risk_flags,
        summary="Risk flags",
    ),
)
