"""Routes of account groups: make them, set their limits, join accounts, read their totals."""

from datetime import date
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from api.command_routes import CommandRoute
from api.parameters import AsOfQuery, DatedQuery, Page
from api.views import (
    Answer,
    Listing,
    Minor,
    PathId,
    QueryId,
    ReaderOf,
    Reflecting,
    ViewRoute,
    moment,
    plain,
)
from ledger_core.accounts import GroupMemberAdded, GroupMemberRemoved
from ledger_core.group import KIND, Group, GroupCreated, GroupLimitSet
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.journal import Side
from projections.group_queries import group_totals
from projections.kept_queries import kept_items


class GroupAnswer(Answer):
    """A group: its total counts on `side`; `since_position` is where it was made."""

    group_id: str
    name: str
    currency: str
    side: Side
    status: Literal["open"]
    limit_minor: Minor | None
    ceiling_minor: Minor | None
    members: list[str]
    since_position: int
    last_position: int


class MemberAnswer(Answer):
    """What one account adds to the totals, on the group's side."""

    account_id: str
    posted_minor: Minor
    outgoing_held_minor: Minor
    incoming_held_minor: Minor


class GroupTotalsAnswer(Reflecting):
    """A group, its members and what they come to together, as strings of minor units."""

    group: GroupAnswer
    posted_minor: Minor
    outgoing_held_minor: Minor
    incoming_held_minor: Minor
    available_minor: Minor | None = Field(
        description="What the total may still fall by; null where the group has no limit."
    )
    members: list[MemberAnswer]
    value_date: date | None


class GroupsAnswer(Listing):
    """Groups, in the order in which they were made."""

    groups: list[GroupAnswer]


class GroupQuery(DatedQuery):
    """As of when, and by which value date."""


class GroupsQuery(AsOfQuery, Page):
    """Which groups, and as of when."""

    account_id: QueryId | None = Field(default=None, description="Only those of this account.")


def group_answer(group: Group) -> GroupAnswer:
    """A group as a document."""
    members = plain(group)
    members["since_position"] = members.pop("position")
    return GroupAnswer(**members)


async def get_group(
    reader: ReaderOf, group_id: PathId, query: Annotated[GroupQuery, Query()]
) -> GroupTotalsAnswer:
    """A group with its members and totals, as of then."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: group_totals(
            connection,
            reader.ledger_id,
            group_id,
            as_of=moment(query.as_of, query.as_of_position),
            value_date=query.value_date,
        )
    )
    totals = plain(found.totals)
    available_minor = found.available_minor
    return GroupTotalsAnswer(
        **totals,
        group=group_answer(found.group),
        available_minor=None if available_minor is None else str(available_minor),
        members=[MemberAnswer(**plain(member)) for member in found.members],
        value_date=found.value_date,
        position=found.position,
        recorded_at=found.recorded_at,
    )


async def list_groups(reader: ReaderOf, query: Annotated[GroupsQuery, Query()]) -> GroupsAnswer:
    """The groups, or those of an account, as of then."""
    await reader.wait(query)
    place = reader.place("list_groups", query)
    page = await reader.run(
        lambda connection: kept_items(
            connection,
            reader.ledger_id,
            KIND,
            tag=None if query.account_id is None else f"account:{query.account_id}",
            as_of=moment(query.as_of, query.as_of_position, place),
            after=None if place is None else (int(place.after[0]), str(place.after[1])),
            limit=query.limit,
        )
    )
    return GroupsAnswer(
        groups=[group_answer(state) for _, state in page.items],
        next=reader.cursor("list_groups", query, page.position, page.next_after),
        position=page.position,
        recorded_at=page.recorded_at,
    )


COMMANDS = (
    CommandRoute(
        path="/v1/groups",
        command=CreateGroup,
        event=GroupCreated,
        summary="Make a group of accounts with limits over their total",
        example={"group_id": "webers", "name": "The Webers", "currency": "EUR", "limit": "0"},
    ),
    CommandRoute(
        path="/v1/groups/{group_id}/limit",
        command=SetGroupLimit,
        event=GroupLimitSet,
        path_field="group_id",
        summary="Set how low and how high a group's total may go",
        example={"limit": "50000", "ceiling": "10000000", "reason": "Agreed with the family"},
    ),
    CommandRoute(
        path="/v1/groups/{group_id}/members",
        command=AddToGroup,
        event=GroupMemberAdded,
        path_field="group_id",
        summary="Join an account to a group",
        example={"account_id": "anna-current"},
    ),
    CommandRoute(
        path="/v1/groups/{group_id}/members/remove",
        command=RemoveFromGroup,
        event=GroupMemberRemoved,
        path_field="group_id",
        summary="Take an account out of a group",
        example={"account_id": "ben-current", "reason": "Moved out"},
    ),
)
VIEWS = (
    ViewRoute(
        path="/v1/groups",
        operation="list_groups",
        endpoint=list_groups,
        summary="Account groups",
    ),
    ViewRoute(
        path="/v1/groups/{group_id}",
        operation="get_group",
        endpoint=get_group,
        summary="A group with its members and totals",
    ),
)
