"""Alarms on PostgreSQL: the access log folded under the rules of the ledger, access by access.

A fold of its own beside the views': what it reads is not the ledger's log but that of its accesses.
Several processes may keep it up at once; whoever has the row of ``alarms.folded`` goes on, and the
others only count along. Which rules counted from which access on is kept in ``alarms.rules_used``,
so that the fold can be made again, for a rebuild or to compare (``alarm_verification``).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import LiteralString

import msgspec

from ledger_core import access_log
from ledger_core.log import Connection
from ledger_core.risk_rules import ALARMS
from projections.alarm_rules import Alarm, RuleUsed, Seen, Watch

PAGE_ACCESSES = 5_000

# What is only about accounts, and was answered, is of no interest to any rule: most accesses are.
_PAGE: LiteralString = """
    SELECT number, at, actor, operation, subjects, status FROM audit.accesses
    WHERE ledger_id = %s AND number > %s AND number <= %s
    AND (status >= 400 OR operation = 'search_customers' OR EXISTS (
        SELECT FROM unnest(subjects) AS s WHERE s NOT LIKE 'account:%%'
        AND s NOT LIKE 'entry:%%' AND s NOT LIKE 'hold:%%' AND s NOT LIKE 'event:%%'
    ))
    ORDER BY number
"""
# As the ledger's own projection has them by now.
_RULES: LiteralString = """
    SELECT r.rule, r.position, r.parameters, r.enabled FROM views.risk_rules r
    JOIN views.projections p ON p.ledger_id = r.ledger_id AND p.slot = r.slot
    WHERE p.ledger_id = %s AND p.name = 'risk_flags' AND p.live AND r.rule = ANY(%s)
    ORDER BY r.position
"""
_COLUMNS: LiteralString = (
    "number, rule, actor, raised_at, first_number, first_at, count, threshold, rule_position,"
    " reason"
)
_PARAMETERS = msgspec.json.Decoder(dict[str, int])


def heads(connection: Connection) -> dict[int, int]:
    """The last access of every ledger that was read."""
    rows = connection.execute("SELECT ledger_id, number FROM audit.access_heads WHERE number > 0")
    return {int(row[0]): int(row[1]) for row in rows}


def keep_up(
    connection: Connection, ledger_id: int, watch: Watch | None
) -> tuple[Watch, list[Alarm]]:
    """Fold what was read since, in the projectors' role: the counts, and the alarms that are new.

    ``watch`` are the counts of the last time, if there are any.
    """
    raised: list[Alarm] = []
    while True:
        with connection.transaction():
            number = _lock(connection, ledger_id)
            head = access_log.read_head(connection, ledger_id).number
            if watch is None or watch.number > number:
                watch = _resumed(connection, ledger_id, number)
            elif watch.number < number:
                _count_along(connection, ledger_id, watch, number)
            if head <= number:
                return watch, raised
            for used in _new_rules(connection, ledger_id, watch, number + 1):
                _insert_rule(connection, ledger_id, used)
                watch.set(used)
            to = min(head, number + PAGE_ACCESSES)
            alarms = list(_fold(connection, ledger_id, watch, to, ()))
            _insert(connection, ledger_id, alarms)
            connection.execute(
                "UPDATE alarms.folded SET number = %s WHERE ledger_id = %s", (to, ledger_id)
            )
        raised += alarms


def rebuild(connection: Connection, ledger_id: int) -> int:
    """Raise every alarm anew, from the access log and the rules used; how many there are.

    In one transaction: whoever looks meanwhile sees the alarms of before.
    """
    with connection.transaction():
        number = _lock(connection, ledger_id)
        connection.execute("DELETE FROM alarms.raised WHERE ledger_id = %s", (ledger_id,))
        count = 0
        for alarms in refolded(connection, ledger_id, number):
            _insert(connection, ledger_id, alarms)
            count += len(alarms)
    return count


def refolded(connection: Connection, ledger_id: int, last: int) -> Iterator[list[Alarm]]:
    """The alarms of the whole access log up to a number, in pages of accesses."""
    watch, used = Watch(), rules_used(connection, ledger_id)
    while watch.number < last:
        to = min(last, watch.number + PAGE_ACCESSES)
        yield list(_fold(connection, ledger_id, watch, to, used))


def folded(connection: Connection, ledger_id: int) -> int:
    """The access up to which alarms were raised."""
    row = connection.execute(
        "SELECT number FROM alarms.folded WHERE ledger_id = %s", (ledger_id,)
    ).fetchone()
    return 0 if row is None else int(row[0])


def rules_used(connection: Connection, ledger_id: int) -> list[RuleUsed]:
    """The rules that were set, in the order in which they began to count."""
    rows = connection.execute(
        "SELECT rule, position, from_number, parameters, enabled FROM alarms.rules_used"
        " WHERE ledger_id = %s ORDER BY from_number, position",
        (ledger_id,),
    )
    return [
        RuleUsed(rule, position, from_number, _PARAMETERS.decode(parameters), enabled)
        for rule, position, from_number, parameters, enabled in rows
    ]


def _lock(connection: Connection, ledger_id: int) -> int:
    """The access up to which alarms were raised; nobody else raises any in this transaction."""
    statement: LiteralString = "SELECT number FROM alarms.folded WHERE ledger_id = %s FOR UPDATE"
    row = connection.execute(statement, (ledger_id,)).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO alarms.folded (ledger_id, number) VALUES (%s, 0) ON CONFLICT DO NOTHING",
            (ledger_id,),
        )
        row = connection.execute(statement, (ledger_id,)).fetchone()
    return 0 if row is None else int(row[0])


def _resumed(connection: Connection, ledger_id: int, number: int) -> Watch:
    """The counts after an access, from no more of the log than the rules look back on."""
    used = rules_used(connection, ledger_id)
    watch = Watch(number)
    for item in used:
        watch.set(item)
    at = _time_of(connection, ledger_id, number)
    if at is None:
        return watch
    since = at - watch.longest
    first = access_log.first_since(connection, ledger_id, since, number)
    watch = Watch(first - 1)
    for item in used:
        if item.from_number < first:
            watch.set(item)
    _count_along(connection, ledger_id, watch, number)
    return watch


def _count_along(connection: Connection, ledger_id: int, watch: Watch, number: int) -> None:
    """Count what another process has folded, up to an access; its alarms are known already."""
    begun = watch.number
    used = [item for item in rules_used(connection, ledger_id) if item.from_number > begun]
    for _ in _fold(connection, ledger_id, watch, number, used):
        pass
    at = _time_of(connection, ledger_id, number)
    if at is None:
        return
    # What is counted here may begin in the midst of things: it counts what was raised then.
    watch.forget_raised()
    since = {item.rule: item.from_number for item in rules_used(connection, ledger_id)}
    rows = connection.execute(
        "SELECT rule, actor, max(raised_at), max(number) FROM alarms.raised"
        " WHERE ledger_id = %s AND number <= %s AND number >= %s GROUP BY rule, actor",
        (
            ledger_id,
            number,
            access_log.first_since(connection, ledger_id, at - watch.longest, number),
        ),
    )
    for rule, actor, raised_at, last in rows.fetchall():
        if last >= since.get(rule, 0):
            watch.note_raised(rule, actor, raised_at)


def _fold(
    connection: Connection, ledger_id: int, watch: Watch, to: int, used: Iterable[RuleUsed]
) -> Iterator[Alarm]:
    """Count the accesses up to ``to``, setting rules where they were: the alarms."""
    waiting = [item for item in used if item.from_number > watch.number]
    begun = watch.number
    while begun < to:
        end = min(to, begun + PAGE_ACCESSES)
        rows = connection.execute(_PAGE, (ledger_id, begun, end)).fetchall()
        for row in rows:
            access = Seen(*row)
            while waiting and waiting[0].from_number <= access.number:
                watch.set(waiting.pop(0))
            yield from watch.take(access)
        while waiting and waiting[0].from_number <= end:
            watch.set(waiting.pop(0))
        begun = end
    watch.number = max(watch.number, to)


def _new_rules(
    connection: Connection, ledger_id: int, watch: Watch, from_number: int
) -> list[RuleUsed]:
    """The rules that were set since, which count from that access on."""
    rows = connection.execute(_RULES, (ledger_id, list(ALARMS))).fetchall()
    return [
        RuleUsed(rule, position, from_number, _PARAMETERS.decode(parameters), enabled)
        for rule, position, parameters, enabled in rows
        if position > watch.position_of(rule)
    ]


def _time_of(connection: Connection, ledger_id: int, number: int) -> datetime | None:
    """When an access was recorded."""
    row = connection.execute(
        "SELECT at FROM audit.accesses WHERE ledger_id = %s AND number = %s", (ledger_id, number)
    ).fetchone()
    return None if row is None else row[0]


def _insert_rule(connection: Connection, ledger_id: int, used: RuleUsed) -> None:
    """Keep from which access on a rule counts."""
    connection.execute(
        "INSERT INTO alarms.rules_used"
        " (ledger_id, rule, position, from_number, parameters, enabled)"
        " VALUES (%s, %s, %s, %s, %s::json, %s)",
        (
            ledger_id,
            used.rule,
            used.position,
            used.from_number,
            msgspec.json.encode(used.parameters, order="sorted").decode(),
            used.enabled,
        ),
    )


def _insert(connection: Connection, ledger_id: int, alarms: Iterable[Alarm]) -> None:
    """Keep alarms."""
    rows = [(ledger_id, *msgspec.structs.astuple(alarm)) for alarm in alarms]
    if rows:
        connection.cursor().executemany(
            f"INSERT INTO alarms.raised (ledger_id, {_COLUMNS})"  # noqa: S608 - our own columns
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )
