"""Questions about alarms: which were raised, by rule and actor, and who acknowledged them.

That an alarm was acknowledged is an access, and is looked up in the access log itself: it counts as
soon as it is there, and stays.
"""

from datetime import datetime
from typing import Literal, LiteralString

import msgspec

from ledger_core.log import Connection

ACKNOWLEDGE = "acknowledge_alarm"
"""The operation by which somebody says in the access log that they have seen to an alarm."""

AlarmStatus = Literal["open", "acknowledged"]
AlarmKey = tuple[int, str]

_ACKNOWLEDGED: LiteralString = """
    SELECT a.number, a.at, a.actor, a.reason FROM audit.access_subjects s
    JOIN audit.accesses a ON a.ledger_id = s.ledger_id AND a.number = s.number
    WHERE s.ledger_id = r.ledger_id AND s.subject = 'alarm:alarm_' || r.rule || '_' || r.number
    AND a.operation = 'acknowledge_alarm' AND a.status = 200
    ORDER BY s.number LIMIT 1
"""
_ALARMS: LiteralString = f"""
    SELECT 'alarm_' || r.rule || '_' || r.number, r.rule, r.actor, r.number, r.raised_at,
        r.first_number, r.first_at, r.count, r.threshold, r.rule_position, r.reason,
        CASE WHEN k.number IS NULL THEN 'open' ELSE 'acknowledged' END,
        k.number, k.at, k.actor, k.reason
    FROM alarms.raised r LEFT JOIN LATERAL ({_ACKNOWLEDGED}) k ON true
    WHERE r.ledger_id = %(ledger)s
"""  # noqa: S608 - our own text


class AlarmFilters(msgspec.Struct, frozen=True):
    """Which alarms are asked for; all hold together. ``since`` is inclusive."""

    rule: str | None = None
    actor: str | None = None
    status: AlarmStatus | None = None
    since: datetime | None = None


class ShownAlarm(msgspec.Struct, frozen=True):
    """An alarm as it stands, with who acknowledged it first, in which access and why."""

    alarm_id: str
    rule: str
    actor: str
    number: int
    raised_at: datetime
    first_number: int
    first_at: datetime
    count: int
    threshold: int
    rule_position: int
    reason: str
    status: AlarmStatus
    acknowledged_number: int | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledged_reason: str | None


class AlarmCount(msgspec.Struct, frozen=True):
    """How many alarms a rule raised in a ledger, and how many nobody has acknowledged."""

    ledger_id: int
    rule: str
    raised: int
    open: int


def alarms(
    connection: Connection,
    ledger_id: int,
    filters: AlarmFilters,
    after: AlarmKey | None,
    limit: int,
) -> list[ShownAlarm]:
    """The newest alarms that meet the filters, newest first, beginning after ``after``."""
    query: LiteralString = _ALARMS
    if filters.rule is not None:
        query += " AND r.rule = %(rule)s"
    if filters.actor is not None:
        query += " AND r.actor = %(actor)s"
    if filters.since is not None:
        query += " AND r.raised_at >= %(since)s"
    if filters.status == "open":
        query += " AND k.number IS NULL"
    elif filters.status == "acknowledged":
        query += " AND k.number IS NOT NULL"
    if after is not None:
        query += " AND (r.number, r.rule) < (%(number)s, %(after)s)"
    number, after_rule = after or (None, None)
    rows = connection.execute(
        query + " ORDER BY r.number DESC, r.rule DESC LIMIT %(limit)s",
        {
            "ledger": ledger_id,
            "rule": filters.rule,
            "actor": filters.actor,
            "since": filters.since,
            "number": number,
            "after": after_rule,
            "limit": limit,
        },
    )
    return [ShownAlarm(*row) for row in rows]


def alarm_of_id(connection: Connection, ledger_id: int, alarm_id: str) -> ShownAlarm | None:
    """The alarm of that id, if there is one."""
    rule, _, number = alarm_id.removeprefix("alarm_").rpartition("_")
    if not (number.isascii() and number.isdigit() and len(number) <= 18):  # noqa: PLR2004 - a bigint
        return None
    row = connection.execute(
        _ALARMS + " AND r.number = %(number)s AND r.rule = %(rule)s",
        {"ledger": ledger_id, "number": int(number), "rule": rule},
    ).fetchone()
    found = None if row is None else ShownAlarm(*row)
    # One alarm has one id: leading zeros are another's, which does not exist.
    return found if found is not None and found.alarm_id == alarm_id else None


def counts(connection: Connection) -> list[AlarmCount]:
    """How many alarms of every ledger there are, by rule."""
    rows = connection.execute(
        "SELECT r.ledger_id, r.rule, count(*), count(*) FILTER (WHERE NOT EXISTS ("  # noqa: S608 - our own text
        f"{_ACKNOWLEDGED})) FROM alarms.raised r GROUP BY r.ledger_id, r.rule"
        " ORDER BY r.ledger_id, r.rule"
    )
    return [AlarmCount(*row) for row in rows]
