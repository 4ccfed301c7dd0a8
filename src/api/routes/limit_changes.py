"""The route of limit changes: what limits accounts get, from which day on."""

from datetime import date
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from api.parameters import AsOfQuery, Page
from api.views import Answer, Listing, Minor, QueryId, ReaderOf, ViewRoute, moment, plain
from ledger_core.account_limits import KIND, LimitChange
from projections.kept_queries import kept_items


class LimitChangeAnswer(Answer):
    """A change of an account's limits for a day that was named; `since_position` asked for it.

    With `keeps_ceiling` the ceiling stays what it is on that day, and `ceiling_minor` says nothing.
    """

    account_id: str
    effective_date: date
    status: Literal["scheduled", "in_force"]
    limit_minor: Minor | None
    ceiling_minor: Minor | None
    keeps_ceiling: bool
    reason: str | None
    since_position: int
    last_position: int


class LimitChangesAnswer(Listing):
    """Changes of limits, in the order in which they were first asked for."""

    limit_changes: list[LimitChangeAnswer]


class LimitChangesQuery(AsOfQuery, Page):
    """Which changes, and as of when."""

    account_id: QueryId | None = Field(default=None, description="Only those of this account.")
    status: Literal["scheduled", "in_force"] | None = None


def limit_change_answer(change: LimitChange) -> LimitChangeAnswer:
    """A change as a document."""
    members = plain(change)
    members["since_position"] = members.pop("position")
    return LimitChangeAnswer(**members)


async def list_limit_changes(
    reader: ReaderOf, query: Annotated[LimitChangesQuery, Query()]
) -> LimitChangesAnswer:
    """The changes of limits for which a day was named, as of then."""
    await reader.wait(query)
    place = reader.place("list_limit_changes", query)
    page = await reader.run(
        lambda connection: kept_items(
            connection,
            reader.ledger_id,
            KIND,
            status=query.status,
            tag=None if query.account_id is None else f"account:{query.account_id}",
            as_of=moment(query.as_of, query.as_of_position, place),
            after=None if place is None else (int(place.after[0]), str(place.after[1])),
            limit=query.limit,
        )
    )
    return LimitChangesAnswer(
        limit_changes=[limit_change_answer(state) for _, state in page.items],
        next=reader.cursor("list_limit_changes", query, page.position, page.next_after),
        position=page.position,
        recorded_at=page.recorded_at,
    )


VIEWS = (
    ViewRoute(
        path="/v1/limit-changes",
        operation="list_limit_changes",
        endpoint=list_limit_changes,
        summary="Changes of limits that are to come, or have come",
    ),
)
