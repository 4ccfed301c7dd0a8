"""Routes of backdated entries: which there are, and what one changed about the past."""

from datetime import date
from typing import Annotated

from fastapi import Query
from fastapi.responses import Response
from pydantic import Field

from api.parameters import AsOfQuery, Instant, Page
from api.routes.entry_listing import EntriesAnswer, Order, entries_response
from api.views import (
    Answer,
    Decimal,
    Minor,
    PathId,
    QueryId,
    ReaderOf,
    Reflecting,
    ViewRoute,
    moment,
    plain,
)
from ledger_core.journal import Side
from ledger_core.money import decimal_text
from projections.backdating_queries import (
    AccountEffect,
    BackdatedFilters,
    backdated,
    effect,
)
from projections.entry_queries import Walk


class PeriodEndAnswer(Answer):
    """The closing balance by value date of a month's or closed period's last day.

    Without the entry, with it, and, where a closed period moved it, as it would be had it counted
    from its original value date.
    """

    day: date
    before_minor: Minor
    after_minor: Minor
    as_first_dated_minor: Minor | None


class LowestAnswer(Answer):
    """The lowest closing balance by value date of the days changed, and its first day."""

    day: date
    before_minor: Minor
    after_minor: Minor
    is_below_limit_before: bool
    is_below_limit_after: bool


class AccountEffectAnswer(Answer):
    """What the entry changed about an account; amounts are on the account's normal side."""

    account_id: str
    currency: str
    scale: int
    normal_side: Side
    shift_minor: Minor
    shift: Decimal
    limit_minor: Minor | None
    period_ends: list[PeriodEndAnswer]
    period_ends_left_out: int
    lowest: LowestAnswer | None


class EntryEffectAnswer(Reflecting):
    """What an entry changed about the past, as known when it was booked: always the same.

    Each closing balance by value date from `changed_from`, inclusive, to `changed_until`,
    exclusive, by each account's `shift_minor`. Both are null where the entry is not backdated.
    """

    entry_id: str
    booking_date: date
    value_date: date
    original_value_date: date | None
    is_backdated: bool
    changed_from: date | None
    changed_until: date | None
    accounts: list[AccountEffectAnswer]


class EffectQuery(AsOfQuery):
    """As of when the entry must be there."""


class BackdatedQuery(AsOfQuery, Page):
    """Which backdated entries, and when."""

    account_id: QueryId | None = Field(default=None, description="Entries that post to it.")
    recorded_from: Instant | None = Field(default=None, description="Inclusive.")
    recorded_to: Instant | None = Field(default=None, description="Inclusive.")
    order: Order = Field(default="asc", description="By position.")


async def get_entry_effect(
    reader: ReaderOf, entry_id: PathId, query: Annotated[EffectQuery, Query()]
) -> EntryEffectAnswer:
    """What a backdated entry changed: balances by value date, before and after it was known."""
    await reader.wait(query)
    as_of = moment(query.as_of, query.as_of_position)
    found = await reader.run(
        lambda connection: effect(connection, reader.ledger_id, entry_id, as_of=as_of)
    )
    document = plain(found)
    document["accounts"] = [_account(item) for item in found.accounts]
    return EntryEffectAnswer(**document)


async def list_backdated(reader: ReaderOf, query: Annotated[BackdatedQuery, Query()]) -> Response:
    """Entries whose value date lies before their booking date, by position."""
    await reader.wait(query)
    place = reader.place("list_backdated", query)
    filters = BackdatedFilters(
        account_id=query.account_id,
        recorded_from=query.recorded_from,
        recorded_to=query.recorded_to,
    )
    page = await reader.run(
        lambda connection: backdated(
            connection,
            reader.ledger_id,
            as_of=moment(query.as_of, query.as_of_position, place),
            filters=filters,
            walk=Walk(
                after=None if place is None else int(place.after[0]),
                limit=query.limit,
                newest_first=query.order == "desc",
            ),
        )
    )
    after = None if page.next_after is None else (page.next_after,)
    return entries_response(
        reader.caller,
        page.items,
        reader.cursor("list_backdated", query, page.position, after),
        (page.position, page.recorded_at),
    )


def _account(found: AccountEffect) -> AccountEffectAnswer:
    """What the entry changed about an account, as a document."""
    return AccountEffectAnswer(**plain(found), shift=decimal_text(found.shift_minor, found.scale))


VIEWS = (
    ViewRoute(
        path="/v1/entries/{entry_id}/effect",
        operation="get_entry_effect",
        endpoint=get_entry_effect,
        summary="What a backdated entry changed",
        keep="for_ever",
    ),
    ViewRoute(
        path="/v1/backdated",
        operation="list_backdated",
        endpoint=list_backdated,
        summary="Backdated entries",
        answer=EntriesAnswer,
    ),
)
