"""Routes of the alarms: what the rules over the access log found, and who has seen to it.

To acknowledge an alarm is an action that changes nothing but the access log: that it stands there,
with who did it and why, is the acknowledgement.
"""

import asyncio
from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import Query
from pydantic import Field

from api import parameters
from api.actions import ActionRoute, Done, Request
from api.parameters import WAIT_S_DEFAULT, WAIT_S_MAX, Instant, Page, Position
from api.problems import NOT_FOUND, Kind, Problem
from api.reasons import require_given
from api.views import Answer, PathId, QueryText, Reader, ReaderOf, ViewRoute
from api.waiting import POLL_S_MAX
from ledger_core.risk_rules import AlarmName
from projections import alarm_queries, alarms
from projections.alarm_queries import AlarmFilters, AlarmStatus, ShownAlarm
from projections.reading import page_size

OWN_ALARM = Kind(
    403, "own_alarm", "The alarm is about your own credential: somebody else has to see to it."
)


class AlarmAnswer(Answer):
    """An alarm: which rule counted what of whom, and whether somebody has seen to it."""

    alarm_id: str = Field(examples=["alarm_bulk_reading_57"])
    rule: AlarmName
    actor: str = Field(description="Who: `key:…`, `person:…`, `cli:…`; `*`: all together.")
    number: int = Field(description="The access that raised it: its number in the access log.")
    raised_at: datetime
    first_number: int = Field(description="The oldest access that was counted.")
    first_at: datetime
    count: int = Field(description="How many were counted when it was raised.")
    threshold: int = Field(description="How many are enough.")
    rule_position: int = Field(description="The event that set the rule; 0: its defaults.")
    reason: str = Field(description="The same as a sentence.")
    status: AlarmStatus
    acknowledged_number: int | None = Field(description="The access that says so.")
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledged_reason: str | None = Field(description="As `Ledger-Reason` said then.")


class AlarmsAnswer(Answer):
    """Alarms, the newest first."""

    alarms: list[AlarmAnswer]
    next: str = Field(description="The cursor of the next page; empty at the end.")
    number: int = Field(description="The accesses up to this number have been judged.")


class FreshAlarms(parameters.Query):
    """How fresh the answer must be."""

    min_number: Position | None = Field(
        default=None, description="Wait until the access of this number has been judged."
    )
    wait_s: float = Field(
        default=WAIT_S_DEFAULT, ge=0, le=WAIT_S_MAX, description="How long to wait, in seconds."
    )


class AlarmsQuery(FreshAlarms, Page):
    """Which alarms."""

    rule: AlarmName | None = None
    actor: QueryText | None = Field(default=None, description="About this actor.")
    status: AlarmStatus | None = None
    since: Instant | None = Field(default=None, description="Raised then or later.")


class AcknowledgedAlarm(msgspec.Struct, frozen=True):
    """Say that you have seen to an alarm, and in `Ledger-Reason` what you found.

    The first acknowledgement counts; `acknowledged_by` says whose that is. An alarm about your own
    credential is not yours to acknowledge.
    """

    alarm_id: str
    status: AlarmStatus
    acknowledged_by: str


async def list_alarms(reader: ReaderOf, query: Annotated[AlarmsQuery, Query()]) -> AlarmsAnswer:
    """The alarms that the rules over the access log raised, newest first; all filters together."""
    place = reader.place("list_alarms", query)
    size = page_size(query.limit)
    filters = AlarmFilters(query.rule, query.actor, query.status, query.since)
    after = None if place is None else (int(place.after[0]), str(place.after[1]))
    number = await _judged(reader, query)
    found = await reader.context.reads.ask(
        lambda connection: alarm_queries.alarms(
            connection, reader.ledger_id, filters, after, size + 1
        )
    )
    shown = found[:size]
    last = (shown[-1].number, shown[-1].rule) if len(found) > size else None
    position = number if place is None else place.position
    return AlarmsAnswer(
        alarms=[_answer(item) for item in shown],
        next=reader.cursor("list_alarms", query, position, last),
        number=position,
    )


async def get_alarm(
    reader: ReaderOf, alarm_id: PathId, query: Annotated[FreshAlarms, Query()]
) -> AlarmAnswer:
    """One alarm."""
    await _judged(reader, query)
    found = await reader.context.reads.ask(
        lambda connection: alarm_queries.alarm_of_id(connection, reader.ledger_id, alarm_id)
    )
    if found is None:
        raise Problem(NOT_FOUND)
    return _answer(found)


async def acknowledge(request: Request, _body: None) -> Done:
    """Have it in the access log that the caller has seen to an alarm.

    Raises:
        Problem: no reason is given; no such alarm; or it is about the caller.
    """
    caller, alarm_id = request.known, request.path["alarm_id"]
    request.about(f"alarm:{alarm_id}")
    require_given(request.headers)
    found = await request.context.reads.ask(
        lambda connection: alarm_queries.alarm_of_id(connection, caller.ledger_id, alarm_id)
    )
    if found is None:
        raise Problem(NOT_FOUND)
    if found.actor == caller.actor:
        raise Problem(OWN_ALARM)
    by = found.acknowledged_by or caller.actor
    return Done(AcknowledgedAlarm(found.alarm_id, "acknowledged", by))


async def _judged(reader: Reader, query: FreshAlarms) -> int:
    """The access up to which alarms were raised, once that is the one waited for, or in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + query.wait_s
    while True:
        number = await reader.context.reads.ask(
            lambda connection: alarms.folded(connection, reader.ledger_id)
        )
        left_s = end - loop.time()
        if query.min_number is None or number >= query.min_number or left_s <= 0:
            return number
        await asyncio.sleep(min(POLL_S_MAX, left_s))


def _answer(item: ShownAlarm) -> AlarmAnswer:
    """An alarm as a document."""
    return AlarmAnswer(**msgspec.structs.asdict(item))


VIEWS = (
    ViewRoute(
        path="/v1/alarms",
        operation="list_alarms",
        endpoint=list_alarms,
        summary="Alarms of the rules over the access log",
        keep="never",
    ),
    ViewRoute(
        path="/v1/alarms/{alarm_id}",
        operation="get_alarm",
        endpoint=get_alarm,
        summary="One alarm",
        keep="never",
    ),
)
ACTIONS = (
    ActionRoute(
        path="/v1/alarms/{alarm_id}/acknowledgement",
        operation="acknowledge_alarm",
        body=None,
        answer=AcknowledgedAlarm,
        act=acknowledge,
        summary="Acknowledge an alarm",
        tag="security",
    ),
)
