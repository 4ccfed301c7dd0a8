"""The route of differences: what changed from one moment to another."""

from datetime import datetime
from typing import Annotated, Self

import msgspec
from fastapi import Query
from fastapi.responses import Response
from pydantic import Field, model_validator

from api import answers
from api.parameters import AsOfQuery, Day, Fresh, Instant, Page, Position
from api.views import ReaderOf, ViewRoute
from projections.diffed_states import KINDS, Kind
from projections.diffing import Between, Change, diff
from projections.reading import AsOf


class DiffQuery(Fresh, Page):
    """From which moment to which, and what of it."""

    from_as_of: Instant | None = Field(
        default=None, description="The first moment, as it was known then: a recorded time."
    )
    from_position: Position | None = Field(
        default=None, description="The first moment: after this position."
    )
    to_as_of: Instant | None = Field(
        default=None, description="The second moment; without it and `to_position`, now."
    )
    to_position: Position | None = Field(
        default=None, description="The second moment: after this position."
    )
    kind: Kind | None = Field(default=None, description="Only changes of this kind.")
    value_date: Day | None = Field(
        default=None, description="Compare accounts by what counts up to the end of this day."
    )

    @model_validator(mode="after")
    def _two_moments(self) -> Self:
        """Each moment is a time or a position."""
        if (self.from_as_of is None) == (self.from_position is None):
            raise ValueError("from_as_of or from_position, and not both")
        if self.to_as_of is not None and self.to_position is not None:
            raise ValueError("to_as_of or to_position, not both")
        return self


class DiffAnswer(msgspec.Struct, frozen=True):
    """Changes by kind and id: a page may be short, even empty, and `next` lead on.

    `position` and `recorded_at` are those of the second moment.
    """

    from_position: int
    from_recorded_at: datetime | None
    changes: tuple[Change, ...]
    next: str
    position: int
    recorded_at: datetime | None


async def get_diff(reader: ReaderOf, query: Annotated[DiffQuery, Query()]) -> Response:
    """What appeared, changed or vanished from one moment to another, field by field.

    Of accounts, customers, flags, holds, limits and whatever else is kept by id. Personal fields
    are named, not shown. The second moment may come before the first: then it is told backwards.
    """
    for as_of in (query.from_as_of, query.to_as_of):
        await reader.wait(
            AsOfQuery(
                as_of=as_of,
                as_of_position=query.to_position if as_of is None else None,
                min_position=query.min_position,
                wait_s=query.wait_s,
            )
        )
    place = reader.place("get_diff", query)
    to_position = query.to_position if place is None else place.position
    between = Between(
        begin=AsOf(query.from_position, query.from_as_of),
        end=AsOf(to_position, query.to_as_of),
        kinds=KINDS if query.kind is None else (query.kind,),
        value_date=query.value_date,
    )
    found = await reader.run(
        lambda connection: diff(
            connection,
            reader.ledger_id,
            between,
            after=None if place is None else str(place.after[0]),
            limit=query.limit,
        )
    )
    after = None if found.next_after is None else (found.next_after,)
    answer = DiffAnswer(
        found.from_position,
        found.from_recorded_at,
        found.changes,
        reader.cursor("get_diff", query, found.to_position, after),
        found.to_position,
        found.to_recorded_at,
    )
    return Response(answers.encode(answer), media_type="application/json")


VIEWS = (
    ViewRoute(
        path="/v1/diff",
        operation="get_diff",
        endpoint=get_diff,
        summary="What changed between two moments",
        answer=DiffAnswer,
    ),
)
