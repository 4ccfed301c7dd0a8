"""Alarms on PostgreSQL: one fold, whoever makes it and wherever it was broken off."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.strategies import START

from ledger_core.access_log import AccessWriter, NewAccess
from ledger_core.database import Role
from ledger_core.risk_rules import AlarmName, SetRiskRule
from projections import alarms
from projections.alarm_queries import AlarmFilters, ShownAlarm, alarm_of_id, counts
from projections.alarm_queries import alarms as listed
from projections.alarm_rules import Alarm, Watch
from projections.verification import verify

_numbers = count(1)


def _access(
    actor: str = "key:1",
    *subjects: str,
    status: int = 403,
    operation: str = "get_customer",
    reason: str = "",
) -> NewAccess:
    """An access; a denied one, unless it says otherwise."""
    return NewAccess(actor, operation, sorted(set(subjects)), reason, "request", status, 5)


def _append(world: World, *accesses: NewAccess, seconds: int = 0) -> None:
    """Record accesses, so long after the start."""
    at = START + timedelta(seconds=seconds)
    AccessWriter(world.connect()).append(world.ledger_id, at, accesses)


def _stored(world: World) -> list[ShownAlarm]:
    """Every alarm, newest first."""
    return listed(world.connect("ledger_reader"), world.ledger_id, AlarmFilters(), None, 1_000)


def _keep_up(world: World, watch: Watch | None = None) -> tuple[Watch, list[Alarm]]:
    """Fold what there is."""
    return alarms.keep_up(world.projector, world.ledger_id, watch)


def _set(world: World, rule: AlarmName, **parameters: int) -> None:
    """Set a rule, and have the views know it."""
    command = SetRiskRule(key=f"set-{next(_numbers)}", rule=rule, parameters=parameters)
    assert world.run(command)[0].error is None
    world.catch_up()


@pytest.fixture
def denied(world: World) -> World:
    """A ledger in which key:1 was denied 25 reads at one moment."""
    _append(world, *[_access() for _ in range(25)])
    return world


def test_alarms_are_raised_once(denied: World) -> None:
    """Kept with everything they are made of; a second look finds nothing new."""
    watch, raised = _keep_up(denied)
    (alarm,) = raised
    (stored,) = _stored(denied)
    assert (stored.alarm_id, stored.number, stored.actor) == ("alarm_denied_reads_20", 20, "key:1")
    for name in ("rule", "raised_at", "first_number", "first_at", "count", "threshold", "reason"):
        assert getattr(stored, name) == getattr(alarm, name)
    assert (stored.status, stored.acknowledged_by) == ("open", None)
    assert _keep_up(denied, watch)[1] == []
    assert _keep_up(denied, None)[1] == []
    assert alarms.folded(denied.writer, denied.ledger_id) == 25


def test_an_acknowledgement_is_an_access(denied: World) -> None:
    """The first that was answered counts; one that was refused does not."""
    _keep_up(denied)
    subject = "alarm:alarm_denied_reads_20"
    said = {"operation": "acknowledge_alarm"}
    _append(denied, _access("key:1", subject, status=403, **said))
    assert _stored(denied)[0].status == "open"
    _append(denied, _access("key:2", subject, status=200, reason="case 7", **said))
    _append(denied, _access("key:3", subject, status=200, reason="case 8", **said))
    (found,) = _stored(denied)
    assert (found.status, found.acknowledged_by, found.acknowledged_reason) == (
        "acknowledged",
        "key:2",
        "case 7",
    )
    assert found.acknowledged_number == 27
    reader = denied.connect("ledger_reader")
    assert [(item.raised, item.open) for item in counts(reader)] == [(1, 0)]
    assert listed(reader, denied.ledger_id, AlarmFilters(status="open"), None, 9) == []
    for wrong in ("alarm_denied_reads_020", "alarm_denied_reads_21", "alarm_x_20", "", "_", "²"):
        assert alarm_of_id(reader, denied.ledger_id, wrong) is None
    assert alarm_of_id(reader, denied.ledger_id, found.alarm_id) == found


def test_a_rule_counts_from_when_the_fold_knows_it(world: World) -> None:
    """Which was when is kept; what was read before stays judged as it was."""
    _append(world, *[_access() for _ in range(3)])
    watch, _ = _keep_up(world)
    _set(world, "denied_reads", count=3)
    _append(world, _access(), _access())
    watch, raised = _keep_up(world, watch)
    assert raised == []
    _append(world, _access())
    _, raised = _keep_up(world, watch)
    assert [(item.number, item.first_number, item.rule_position) for item in raised] == [(6, 4, 1)]
    (used,) = alarms.rules_used(world.writer, world.ledger_id)
    assert (used.position, used.from_number, used.parameters) == (1, 4, {"count": 3, "minutes": 10})
    assert verify(world.projector, world.ledger_id).ok


_ACTORS = ("key:1", "person:ann")
_drawn = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.sampled_from(_ACTORS),
        st.sampled_from([200, 401, 403, 404]),
        st.lists(st.sampled_from(["ledger", "account:a", "customer:a", "customer:b"]), max_size=2),
    ),
    min_size=1,
    max_size=25,
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=_drawn, who=st.lists(st.sampled_from(["one", "two", "new"]), min_size=25, max_size=25))
def test_whoever_folds_it_is_the_same_fold(
    world: World, drawn: Sequence[tuple[int, str, int, list[str]]], who: list[str]
) -> None:
    """Two processes that take turns, one that begins anew each time, rules set between: one fold.

    What they raised is what the whole log raises, made again from its first access.
    """
    watches: dict[str, Watch | None] = {"one": None, "two": None, "new": None}
    before = alarms.folded(world.writer, world.ledger_id)
    seconds = before * 1_000
    for at, ((pause, actor, status, subjects), name) in enumerate(zip(drawn, who, strict=False)):
        if at % 7 == 0:
            _set(world, "denied_reads", count=2 + (before + at) % 3, minutes=5 + at)
            _set(world, "bulk_reading", customers=1 + at % 2, minutes=3)
        seconds += pause
        _append(world, _access(actor, *subjects, status=status), seconds=seconds)
        watches[name], _ = _keep_up(world, None if name == "new" else watches[name])
    number = alarms.folded(world.writer, world.ledger_id)
    again = [
        alarm for page in alarms.refolded(world.writer, world.ledger_id, number) for alarm in page
    ]
    stored = {item.alarm_id: (item.count, item.first_number) for item in _stored(world)}
    assert stored == {alarm.alarm_id: (alarm.count, alarm.first_number) for alarm in again}


def test_a_rebuild_changes_nothing(denied: World) -> None:
    """Raised anew from the access log: the same rows; and what was lost is there again."""
    _keep_up(denied)
    _append(denied, _access("key:9", "ledger", status=200, operation="export_log"))
    _keep_up(denied)
    before = _stored(denied)
    assert alarms.rebuild(denied.projector, denied.ledger_id) == len(before) >= 2
    assert _stored(denied) == before
    denied.projector.execute("DELETE FROM alarms.raised")
    assert not verify(denied.projector, denied.ledger_id).ok
    alarms.rebuild(denied.projector, denied.ledger_id)
    assert _stored(denied) == before
    assert verify(denied.projector, denied.ledger_id).ok


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alarms.raised SET actor = 'key:2'",
        "UPDATE alarms.raised SET count = count + 1",
        "UPDATE alarms.raised SET threshold = threshold + 1",
        "UPDATE alarms.raised SET reason = 'x'",
        "UPDATE alarms.raised SET raised_at = raised_at + interval '1 s'",
        "UPDATE alarms.raised SET raised_at = 'infinity'",
        "UPDATE alarms.raised SET first_at = first_at - interval '1 s'",
        "UPDATE alarms.raised SET first_number = first_number + 1",
        "UPDATE alarms.raised SET number = number + 1",
        "UPDATE alarms.raised SET rule = 'bulk_reading'",
        "UPDATE alarms.raised SET rule_position = rule_position + 1",
        "UPDATE alarms.folded SET number = number + 1",
        "UPDATE alarms.folded SET number = 1",
        "DELETE FROM alarms.raised",
        "DELETE FROM alarms.rules_used",
        "UPDATE alarms.rules_used SET rule = 'x'",
        "UPDATE alarms.rules_used SET position = position + 1",
        "UPDATE alarms.rules_used SET from_number = 1",
        "UPDATE alarms.rules_used SET enabled = false",
        """UPDATE alarms.rules_used SET parameters = '{"count": 9, "minutes": 10}'""",
        "UPDATE alarms.rules_used SET parameters = '[]'",
    ],
)
def test_a_change_of_any_column_is_found(world: World, superuser_url: str, change: str) -> None:
    """By the verification, whoever made it."""
    _append(world, _access(), _access())
    _keep_up(world)
    _set(world, "denied_reads", count=3)
    _append(world, _access(), _access(), _access())
    _keep_up(world)
    assert verify(world.projector, world.ledger_id).ok
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        assert superuser.execute(change.encode()).rowcount == 1
    verdict = verify(world.projector, world.ledger_id)
    assert {finding.kind for finding in verdict.findings} <= {"alarms", "alarm_rules"}
    assert not verdict.ok


@pytest.mark.parametrize("role", ["ledger_writer", "ledger_reader"])
@pytest.mark.parametrize("table", ["alarms.raised", "alarms.rules_used", "alarms.folded"])
def test_only_projectors_write_alarms(world: World, role: Role, table: str) -> None:
    """And not even they change a rule that was used."""
    connection = world.connect(role)
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET ledger_id = 9"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
    for statement in ("DELETE FROM alarms.rules_used", "UPDATE alarms.raised SET actor = 'x'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            world.projector.execute(statement.encode())
