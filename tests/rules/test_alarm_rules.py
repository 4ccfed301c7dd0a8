"""The rules over the access log: what raises an alarm, what does not, and that it is exactly so."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rules.harness import given as given_books

from ledger_core.errors import ValidationFailed
from ledger_core.risk_rules import (
    ALARMS,
    DEFAULTS,
    AlarmName,
    RiskRuleSet,
    RuleName,
    SetRiskRule,
)
from projections.alarm_rules import EVERYBODY, FIGURES, Alarm, RuleUsed, Seen, Watch, is_off
from projections.risk_rules import DEFAULT_RULES

# A Wednesday at noon.
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WIDE = {"opens_hour": 0, "closes_hour": 24, "weekend_is_off": 0}


def _seen(
    number: int,
    minute: float = 0,
    *subjects: str,
    actor: str = "key:1",
    status: int = 200,
    operation: str = "get_customer",
) -> Seen:
    """An access so many minutes after noon."""
    at = NOON + timedelta(minutes=minute)
    return Seen(number, at, actor, operation, subjects, status)


def _fold(accesses: Sequence[Seen], *used: RuleUsed) -> list[Alarm]:
    """The alarms of accesses, under rules that were set before the first."""
    watch = Watch()
    for item in used:
        watch.set(item)
    return [alarm for access in accesses for alarm in watch.take(access)]


def _rule(rule: AlarmName, *, enabled: bool = True, **parameters: int) -> RuleUsed:
    """A rule set before the first access."""
    return RuleUsed(rule, 1, 1, parameters, enabled)


def _told(alarms: Sequence[Alarm]) -> list[tuple[str, str, int]]:
    """Rule, actor and access of alarms."""
    return [(alarm.rule, alarm.actor, alarm.number) for alarm in alarms]


def test_the_rules_of_accesses_are_risk_rules_with_parameters_of_their_own() -> None:
    """Each has defaults, and the movements' rules are the others."""
    assert set(ALARMS) < set(get_args(RuleName)) == set(DEFAULTS)
    assert set(DEFAULT_RULES) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("rule", "parameters", "field"),
    [
        ("denied_reads", {"count": 0}, "parameters.count"),
        ("denied_reads", {"count": 100_001}, "parameters.count"),
        ("denied_reads", {"minutes": 1_441}, "parameters.minutes"),
        ("denied_reads", {"customers": 5}, "parameters"),
        ("bulk_reading", {"customers": 0}, "parameters.customers"),
        ("off_hours_access", {"opens_hour": 24}, "parameters.opens_hour"),
        ("off_hours_access", {"closes_hour": 0}, "parameters.closes_hour"),
        ("off_hours_access", {"weekend_is_off": 2}, "parameters.weekend_is_off"),
    ],
)
def test_parameters_have_ranges(rule: AlarmName, parameters: dict[str, int], field: str) -> None:
    """What could never be, or would count for ever, is refused by name."""
    given_books().when(SetRiskRule(rule=rule, parameters=parameters)).then_refuses(
        ValidationFailed, field=field
    )


def test_the_ends_of_the_ranges_are_taken() -> None:
    """Midnight to midnight, and no weekend."""
    given_books().when(SetRiskRule(rule="off_hours_access", parameters=WIDE)).then(
        RiskRuleSet("off_hours_access", WIDE)
    )


def test_many_denied_reads_of_one_actor_are_an_alarm() -> None:
    """At the count and not before; 403 and 404 together; of others nothing counts."""
    rule = _rule("denied_reads", count=3, minutes=10)
    accesses = [
        _seen(1, 0, "customer:a", status=403),
        _seen(2, 1, "customer:b", status=404, actor="key:2"),
        _seen(3, 2, "customer:b", status=404),
        _seen(4, 3, "customer:c", status=422),
        _seen(5, 4, "account:c", status=403),
    ]
    (alarm,) = _fold(accesses, rule)
    assert (alarm.alarm_id, alarm.actor) == ("alarm_denied_reads_5", "key:1")
    assert (alarm.count, alarm.threshold, alarm.first_number) == (3, 3, 1)
    assert (alarm.first_at, alarm.raised_at) == (accesses[0].at, accesses[4].at)
    assert alarm.reason == (
        "3 requests within 10 minutes for what is not theirs or not there; the threshold is 3."
    )


def test_searches_that_find_nobody_count_as_denied() -> None:
    """Who tries out values learns who is no customer; a search that finds somebody is none."""
    rule = _rule("denied_reads", count=3, minutes=10)
    missed = [_seen(at, at, operation="search_customers") for at in range(1, 4)]
    assert _told(_fold(missed, rule)) == [("denied_reads", "key:1", 3)]
    found = [_seen(at, at, "customer:a", operation="search_customers") for at in range(1, 4)]
    assert _fold(found, rule) == []


def test_what_lies_too_far_back_does_not_count() -> None:
    """Ten minutes later is too late, a moment less is not."""
    rule = _rule("denied_reads", count=2, minutes=10)
    for minute, expected in ((10, []), (9.99, [("denied_reads", "key:1", 2)])):
        accesses = [_seen(1, 0, status=403), _seen(2, minute, status=403)]
        assert _told(_fold(accesses, rule)) == expected


def test_while_it_goes_on_there_is_one_alarm_in_so_many_minutes() -> None:
    """A denied read a minute for half an hour: three alarms, ten minutes apart."""
    rule = _rule("denied_reads", count=2, minutes=10)
    alarms = _fold([_seen(at, at, status=403) for at in range(1, 31)], rule)
    assert [alarm.number for alarm in alarms] == [2, 12, 22]


def test_bulk_reading_counts_customers_and_not_requests() -> None:
    """The same one again and again is nobody new; a page counts everybody on it."""
    rule = _rule("bulk_reading", customers=3, minutes=60)
    again = [_seen(at, at, "customer:a", "account:1") for at in range(1, 10)]
    assert _fold(again, rule, RuleUsed("off_hours_access", 1, 1, WIDE, enabled=True)) == []
    page = _seen(10, 10, "customer:a", "customer:b", "customer:c", "customer:d")
    (alarm,) = _fold([*again, page], rule, RuleUsed("off_hours_access", 1, 1, WIDE, enabled=True))
    assert (alarm.rule, alarm.count, alarm.number) == ("bulk_reading", 4, 10)
    refused = _seen(10, 10, "customer:b", "customer:c", status=403)
    assert _fold([*again, refused], rule) == []


def test_the_ledger_as_a_whole_is_an_alarm_unless_it_is_figures() -> None:
    """An export is; a trial balance is not."""
    assert _told(_fold([_seen(1, 0, "ledger", operation="export_log")])) == [
        ("ledger_reading", "key:1", 1)
    ]
    for operation in FIGURES:
        assert _fold([_seen(1, 0, "ledger", operation=operation)]) == []


def test_failed_log_ins_are_counted_of_each_and_of_all() -> None:
    """Five of one; or many of many, whoever they pretend to be."""
    accesses = [_seen(at, at / 10, actor="person:ann", status=401) for at in range(1, 6)]
    assert _told(_fold(accesses)) == [("failed_log_ins", "person:ann", 5)]
    spread = [_seen(at, at / 100, actor=f"person:{at}", status=401) for at in range(1, 101)]
    assert _told(_fold(spread)) == [("log_in_guessing", EVERYBODY, 100)]


@pytest.mark.parametrize(
    ("hour", "day", "expected"),
    [(4, 4, True), (5, 4, False), (20, 4, False), (21, 4, True), (12, 7, True), (12, 8, True)],
)
def test_off_hours_are_outside_the_day_and_at_the_weekend(
    hour: int, day: int, *, expected: bool
) -> None:
    """5 to 21 o'clock UTC, Monday to Friday: the closing hour is off, the opening one is not."""
    at = datetime(2026, 3, day, hour, 30, tzinfo=UTC)
    assert is_off(at, DEFAULTS["off_hours_access"]) is expected


def test_hours_may_go_on_over_midnight() -> None:
    """A bank whose day in UTC begins at 22 o'clock and ends at 7."""
    hours = {"opens_hour": 22, "closes_hour": 7, "weekend_is_off": 0}
    on = [hour for hour in range(24) if not is_off(NOON.replace(hour=hour), hours)]
    assert on == [0, 1, 2, 3, 4, 5, 6, 22, 23]


def test_off_hours_only_what_is_sensitive_counts() -> None:
    """Customers, keys, persons and the ledger as a whole; not an account, nor what was refused."""
    night = 12 * 60
    for subject, expected in (
        ("customer:a", True),
        ("key:9", True),
        ("person:ann", True),
        ("role:teller", True),
        ("ledger", True),
        ("account:a", False),
        ("entry:e", False),
    ):
        alarms = _fold([_seen(1, night, subject, operation="x")])
        assert ("off_hours_access" in {alarm.rule for alarm in alarms}) is expected, subject
    assert _fold([_seen(1, night, "customer:a", status=403)]) == []


def test_a_rule_can_be_switched_off_and_begins_anew_when_it_is_set() -> None:
    """What was counted under the rule of before does not count."""
    denied = [_seen(at, 0, status=403) for at in range(1, 60)]
    assert _fold(denied, _rule("denied_reads", enabled=False)) == []
    watch = Watch()
    watch.set(RuleUsed("denied_reads", 5, 1, {"count": 3}, enabled=True))
    assert [alarm for access in denied[:2] for alarm in watch.take(access)] == []
    watch.set(RuleUsed("denied_reads", 6, 3, {"count": 2}, enabled=True))
    assert watch.take(denied[2]) == []
    (alarm,) = watch.take(denied[3])
    assert (alarm.rule_position, alarm.first_number, alarm.threshold) == (6, 3, 2)


_accesses = st.lists(
    st.tuples(
        st.integers(0, 400),  # Seconds since the one before.
        st.sampled_from(["key:1", "key:2", "person:ann"]),
        st.sampled_from([200, 200, 200, 304, 401, 403, 404, 422]),
        st.lists(
            st.sampled_from(["ledger", "account:a", "customer:a", "customer:b", "customer:c"]),
            max_size=3,
            unique=True,
        ),
        st.sampled_from(["get_customer", "get_trial_balance"]),
    ),
    max_size=60,
)
_small: dict[AlarmName, dict[str, int]] = {
    "off_hours_access": {"count": 2, "minutes": 7, "opens_hour": 5, "closes_hour": 13},
    "denied_reads": {"count": 3, "minutes": 9},
    "bulk_reading": {"customers": 2, "minutes": 5},
    "ledger_reading": {"count": 1, "minutes": 4},
    "failed_log_ins": {"count": 2, "minutes": 3},
    "log_in_guessing": {"count": 3, "minutes": 6},
}


def _made(drawn: Sequence[tuple[int, str, int, list[str], str]]) -> list[Seen]:
    """Accesses, one after the other."""
    found, at = [], NOON
    for number, (seconds, actor, status, subjects, operation) in enumerate(drawn, 1):
        at += timedelta(seconds=seconds)
        found.append(Seen(number, at, actor, operation, subjects, status))
    return found


def _items(rule: AlarmName, access: Seen) -> list[tuple[str, object]]:
    """What a rule counts of an access: about whom, and what; said as the documentation says it."""
    shown = access.status < 400
    is_all = "ledger" in access.subjects and access.operation not in FIGURES
    customers = [name for name in access.subjects if name.startswith("customer:")]
    by_rule: dict[AlarmName, list[object]] = {
        "denied_reads": [access.number] if access.status in {403, 404} else [],
        "failed_log_ins": [access.number] if access.status == 401 else [],
        "log_in_guessing": [access.number] if access.status == 401 else [],
        "ledger_reading": [access.number] if shown and is_all else [],
        "bulk_reading": list(customers) if shown else [],
        "off_hours_access": (
            [access.number] if shown and (is_all or customers) and access.at.hour >= 13 else []
        ),
    }
    whom = EVERYBODY if rule == "log_in_guessing" else access.actor
    return [(whom, item) for item in by_rule[rule]]


def _by_definition(accesses: Sequence[Seen]) -> set[tuple[str, str, int, int]]:
    """The alarms, looked for anew at every access: rule, actor, number, count."""
    found: set[tuple[str, str, int, int]] = set()
    raised: dict[tuple[str, str], datetime] = {}
    for end, access in enumerate(accesses, 1):
        for rule, parameters in _small.items():
            for whom in {name for name, _ in _items(rule, access)}:
                since = access.at - timedelta(minutes=parameters["minutes"])
                counted = {
                    item
                    for other in accesses[:end]
                    if other.at > since
                    for name, item in _items(rule, other)
                    if name == whom
                }
                enough = parameters.get("customers", parameters.get("count", 0))
                last = raised.get((rule, whom))
                if len(counted) >= enough and (last is None or last <= since):
                    raised[rule, whom] = access.at
                    found.add((rule, whom, access.number, enough))
    return found


@settings(max_examples=300)
@given(drawn=_accesses)
def test_alarms_are_those_of_the_definition(
    drawn: list[tuple[int, str, int, list[str], str]],
) -> None:
    """Whatever is read in whatever order: no alarm is missing, and none is too many."""
    used = [
        RuleUsed(rule, 1, 1, {**DEFAULTS[rule], **parameters}, enabled=True)
        for rule, parameters in _small.items()
    ]
    accesses = _made(drawn)
    alarms = _fold(accesses, *used)
    assert {
        (alarm.rule, alarm.actor, alarm.number, alarm.threshold) for alarm in alarms
    } == _by_definition(accesses)
    assert all(alarm.count >= alarm.threshold for alarm in alarms)
    assert len({alarm.alarm_id for alarm in alarms}) == len(alarms)
