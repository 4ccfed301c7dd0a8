"""Alarms against the access log: the same accesses under the same rules raise the same alarms.

And each rule that was used is as an event of the ledger set it.
"""

from typing import LiteralString

import msgspec

from ledger_core.log import Connection
from ledger_core.risk_rules import ALARMS, DEFAULTS
from projections import alarms
from projections.alarm_rules import Alarm
from projections.findings import Findings

_KIND = "alarms"
_STORED: LiteralString = """
    SELECT number, rule, actor,
        CASE WHEN raised_at BETWEEN '0001-01-02' AND '9999-12-30' THEN raised_at END,
        first_number,
        CASE WHEN first_at BETWEEN '0001-01-02' AND '9999-12-30' THEN first_at END,
        count, threshold, rule_position, reason
    FROM alarms.raised WHERE ledger_id = %s ORDER BY number, rule
"""
_RULES: LiteralString = """
    SELECT u.rule, u.position, u.parameters::text, u.enabled::text,
        e.data ->> 'rule', e.data ->> 'parameters', coalesce(e.data ->> 'enabled', 'true')
    FROM alarms.rules_used u LEFT JOIN ledger.events e
        ON e.ledger_id = u.ledger_id AND e.position = u.position AND e.type = 'RiskRuleSet'
    WHERE u.ledger_id = %s ORDER BY u.position
"""
_DECODER = msgspec.json.Decoder(dict[str, int])


def check(connection: Connection, ledger_id: int, findings: Findings) -> int:
    """Compare a ledger's alarms, in the snapshot of the connection's transaction; their number.

    With rules or accesses that are not what they should be there is nothing to compare with: where
    something was found before this, nothing is.
    """
    if findings.count:
        return 0
    for rule, position, *rest in connection.execute(_RULES, (ledger_id,)).fetchall():
        if not _is_as_set(rule, *rest):
            what = f"rule {rule} was not used as event {position} set it"
            findings.add("alarm_rules", what, position=position)
    if findings.count:
        return 0
    head = _head(connection, ledger_id)
    number = alarms.folded(connection, ledger_id)
    if number > head:
        findings.add(_KIND, "alarms were raised beyond the access log", head, number)
    expected = {
        alarm.alarm_id: alarm
        for page in alarms.refolded(connection, ledger_id, min(number, head))
        for alarm in page
    }
    found = {
        alarm.alarm_id: alarm
        for alarm in (Alarm(*row) for row in connection.execute(_STORED, (ledger_id,)))
    }
    for alarm_id in dict.fromkeys((*expected, *found)):
        one, other = expected.get(alarm_id), found.get(alarm_id)
        if one != other:
            findings.add(_KIND, f"alarm {alarm_id}", _text(one), _text(other))
    return len(found)


def _is_as_set(  # noqa: PLR0913, PLR0917 - the columns on both sides
    rule: str,
    used: str,
    is_enabled: str,
    set_rule: str | None,
    set_parameters: str | None,
    is_set_enabled: str,
) -> bool:
    """Whether a rule was used as its event says, with the defaults of what that does not name."""
    if rule not in ALARMS or rule != set_rule or is_enabled != is_set_enabled:
        return False
    try:
        parameters = _DECODER.decode(used)
        named = _DECODER.decode(set_parameters or "")
    except msgspec.MsgspecError:
        return False
    return parameters == {**DEFAULTS[rule], **named}


def _head(connection: Connection, ledger_id: int) -> int:
    """The last access there is."""
    row = connection.execute(
        "SELECT coalesce(max(number), 0) FROM audit.accesses WHERE ledger_id = %s", (ledger_id,)
    ).fetchone()
    return 0 if row is None else int(row[0])


def _text(alarm: Alarm | None) -> str | None:
    """An alarm for a message."""
    return None if alarm is None else msgspec.json.encode(alarm).decode()
