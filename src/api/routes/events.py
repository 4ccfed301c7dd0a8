"""Routes of the log itself: every event as it is stored, for auditors and for other systems.

Personal data stays sealed: what is given out is what was hashed.
"""

from datetime import datetime
from typing import Annotated

import msgspec
import sqlalchemy
from fastapi import Path, Query
from fastapi.responses import Response
from pydantic import Field

from api.parameters import LIMIT_DEFAULT, AsOfQuery, Fresh, Limit, Position
from api.problems import NOT_FOUND, Problem
from api.sql import driver_connection
from api.views import QueryText, Reader, ReaderOf, ViewRoute, moment
from ledger_core import log
from ledger_core.log import StoredEvent
from projections.reading import NOW, resolve
from projections.tag_queries import positions_tagged


class EventsQuery(AsOfQuery):
    """Which events, and as of when."""

    after: Position = Field(default=0, description="Events after this position.")
    limit: Limit = LIMIT_DEFAULT
    tag: QueryText | None = Field(
        default=None,
        description="Only events about this: `account:anna`, `hold:h1`, `refusal:account_blocked`.",
    )


class EventAnswer(msgspec.Struct, frozen=True):
    """An event as it stands in the log; ``data`` is its exact JSON text, amounts as integers."""

    position: int
    recorded_at: datetime
    type: str
    version: int
    tags: tuple[str, ...]
    command_key: str | None
    actor: str
    data: msgspec.Raw
    leaf_hash: str


class EventsAnswer(msgspec.Struct, frozen=True):
    """Events in order; go on ``after`` the last of them.

    ``position`` is the log's head, or the last position of the moment asked about.
    """

    events: tuple[EventAnswer, ...]
    position: int
    next_after: int | None


def event_answer(event: StoredEvent) -> EventAnswer:
    """A stored event as a document."""
    return EventAnswer(
        event.position,
        event.recorded_at,
        event.type,
        event.version,
        tuple(event.tags),
        event.command_key,
        event.actor,
        msgspec.Raw(event.data),
        event.leaf_hash.hex(),
    )


async def list_events(reader: ReaderOf, query: Annotated[EventsQuery, Query()]) -> Response:
    """The log's events after a position, as they are stored."""
    await reader.wait(query)
    tag = query.tag
    if tag is not None:
        return _json(await reader.run(lambda connection: _tagged(connection, reader, query, tag)))
    return _json(await reader.run(lambda connection: _untagged(connection, reader, query)))


def _untagged(
    connection: sqlalchemy.Connection, reader: Reader, query: EventsQuery
) -> EventsAnswer:
    """The events after a position, up to the moment asked about."""
    raw = driver_connection(connection)
    last = _last(connection, reader, query)
    if last is None:
        last = log.read_head(raw, reader.ledger_id).position
    count = min(query.limit, max(0, last - query.after))
    found = log.read_events(raw, reader.ledger_id, query.after, count) if count else []
    reached = found[-1].position if found else query.after
    return EventsAnswer(
        tuple(event_answer(event) for event in found), last, reached if reached < last else None
    )


def _last(connection: sqlalchemy.Connection, reader: Reader, query: EventsQuery) -> int | None:
    """The last position of the moment asked about; ``None`` where none is.

    Raises:
        PositionAhead: it is not there yet.
    """
    as_of = moment(query.as_of, query.as_of_position)
    if as_of == NOW:
        return None
    return resolve(connection, reader.ledger_id, as_of, "event_tags").position


def _tagged(
    connection: sqlalchemy.Connection, reader: Reader, query: EventsQuery, tag: str
) -> EventsAnswer:
    """The events that carry a tag; without a moment asked about, as far as the tag index is."""
    positions, reached = positions_tagged(
        connection,
        reader.ledger_id,
        tag,
        query.after,
        query.limit + 1,
        _last(connection, reader, query),
    )
    shown = positions[: query.limit]
    found = log.events_at(driver_connection(connection), reader.ledger_id, shown)
    return EventsAnswer(
        tuple(event_answer(event) for event in found),
        reached,
        shown[-1] if len(positions) > query.limit else None,
    )


async def get_event(
    reader: ReaderOf, position: Annotated[Position, Path()], query: Annotated[Fresh, Query()]
) -> Response:
    """One event, as it is stored."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: log.read_events(
            driver_connection(connection), reader.ledger_id, position - 1, 1
        )
    )
    if not found or found[0].position != position:
        raise Problem(NOT_FOUND)
    return _json(event_answer(found[0]))


def _json(answer: msgspec.Struct) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(answer), media_type="application/json")


VIEWS = (
    ViewRoute(
        path="/v1/events",
        operation="list_events",
        endpoint=list_events,
        summary="Events after a position",
        answer=EventsAnswer,
    ),
    ViewRoute(
        path="/v1/events/{position}",
        operation="get_event",
        endpoint=get_event,
        summary="One event",
        keep="for_ever",
        answer=EventAnswer,
    ),
)
