"""The route that lists journal entries, by what they say and where they stand."""

from datetime import datetime
from typing import Annotated, Literal, Self

import msgspec
from fastapi import Query
from fastapi.responses import Response
from pydantic import Field, model_validator

from api import answers
from api.callers import Caller
from api.parameters import AsOfQuery, Day, MetadataQuery, Page, Position
from api.routes.entries import EntryDocument, as_shown, entry_document
from api.views import QueryId, QueryText, ReaderOf, ViewRoute, moment
from ledger_core.journal import EntryKind, Side
from projections.entry_queries import (
    EntryFilters,
    ListedEntry,
    Walk,
    entries,
)

Order = Literal["asc", "desc"]


class EntriesQuery(AsOfQuery, Page, MetadataQuery):
    """Which entries, and when."""

    account_id: QueryId | None = Field(default=None, description="Entries that post to it.")
    side: Side | None = Field(default=None, description="The side of `account_id` posted to.")
    kind: EntryKind | None = None
    code: QueryText | None = None
    reference: QueryText | None = None
    from_position: Position | None = Field(default=None, description="Inclusive.")
    to_position: Position | None = Field(default=None, description="Inclusive.")
    value_date_from: Day | None = Field(default=None, description="Inclusive.")
    value_date_to: Day | None = Field(default=None, description="Inclusive.")
    order: Order = Field(default="asc", description="By position.")

    @model_validator(mode="after")
    def _of_an_account(self) -> Self:
        """A side is one of an account."""
        if self.side is not None and self.account_id is None:
            raise ValueError("side with account_id only")
        return self


class EntriesAnswer(msgspec.Struct, frozen=True):
    """A page of entries; it may be shorter than `limit`, even empty, and `next` lead on."""

    entries: tuple[EntryDocument, ...]
    next: str
    position: int
    recorded_at: datetime | None


async def list_entries(reader: ReaderOf, query: Annotated[EntriesQuery, Query()]) -> Response:
    """Journal entries by position, each as `GET /v1/entries/{entry_id}` shows it.

    All filters hold together: account, side, kind, code, reference, `metadata.<name>=<value>`
    (exactly that value, up to five), positions and value dates. One request looks at no more than
    20,000 entries: a page may be short, or empty, and still have a `next`.
    """
    await reader.wait(query)
    place = reader.place("list_entries", query)
    filters = EntryFilters(
        account_id=query.account_id,
        side=query.side,
        kind=query.kind,
        code=query.code,
        reference=query.reference,
        metadata=query.metadata,
        from_position=query.from_position,
        to_position=query.to_position,
        value_date_from=query.value_date_from,
        value_date_to=query.value_date_to,
    )
    page = await reader.run(
        lambda connection: entries(
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
        reader.cursor("list_entries", query, page.position, after),
        (page.position, page.recorded_at),
    )


def entries_response(
    caller: Caller,
    found: tuple[ListedEntry, ...],
    cursor: str,
    reflects: tuple[int, datetime | None],
) -> Response:
    """A page of entries as a response, as the caller may see them."""
    documents = tuple(
        as_shown(
            entry_document(item.entry, item.position, item.recorded_at, item.reversed_position),
            caller,
        )
        for item in found
    )
    return Response(
        answers.encode(EntriesAnswer(documents, cursor, *reflects)), media_type="application/json"
    )


VIEWS = (
    ViewRoute(
        path="/v1/entries",
        operation="list_entries",
        endpoint=list_entries,
        summary="Journal entries",
        answer=EntriesAnswer,
    ),
)
