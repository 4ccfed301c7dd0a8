"""Routes that close and reopen periods, and say what is closed."""

from datetime import date
from typing import Annotated, Literal

from fastapi import Query

from api.command_routes import CommandRoute
from api.parameters import AsOfQuery
from api.views import ReaderOf, Reflecting, ViewRoute, moment
from ledger_core.period import KIND, LatePosting, Period, PeriodClosed, PeriodReopened
from ledger_core.periods import ClosePeriod, ReopenPeriod
from projections.kept_queries import kept_items


class PeriodAnswer(Reflecting):
    """Up to which value date, inclusive, the books are closed; null means that no day is."""

    status: Literal["open", "closed"]
    closed_through: date | None
    late_posting: LatePosting


class PeriodQuery(AsOfQuery):
    """As of when."""


async def get_period(reader: ReaderOf, query: Annotated[PeriodQuery, Query()]) -> PeriodAnswer:
    """What is closed, and what becomes of entries dated in it."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: kept_items(
            connection,
            reader.ledger_id,
            KIND,
            as_of=moment(query.as_of, query.as_of_position),
            limit=1,
        )
    )
    state: Period | None = next((state for _, state in found.items), None)
    return PeriodAnswer(
        status="open" if state is None else state.status,
        closed_through=None if state is None else state.closed_through,
        late_posting="refuse" if state is None else state.late_posting,
        position=found.position,
        recorded_at=found.recorded_at,
    )


COMMANDS = (
    CommandRoute(
        path="/v1/period/close",
        command=ClosePeriod,
        event=PeriodClosed,
        summary="Close the books through a day that is over",
        example={"through": "2026-01-31", "late_posting": "next_open", "reason": "Month's end"},
    ),
    CommandRoute(
        path="/v1/period/reopen",
        command=ReopenPeriod,
        event=PeriodReopened,
        summary="Open the days after a day again",
        example={"after": "2025-12-31", "reason": "Late invoice"},
    ),
)
VIEWS = (
    ViewRoute(
        path="/v1/period",
        operation="get_period",
        endpoint=get_period,
        summary="The closed period",
    ),
)
