"""What an account's activity tells of a movement: whatever raises a flag is looked at."""

from collections import deque
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from ledger_core.accounts import Account, AccountOpened, opened
from ledger_core.journal import Posting
from ledger_core.risk_rules import WINDOW_MOVEMENTS
from projections.folding import Batch
from projections.memory import (
    EARLIER_DAYS_MAX,
    Activity,
    Memory,
    Movement,
    Rule,
    Window,
    new_deposits,
)
from projections.risk_activity import calm, is_calm, suspected
from projections.risk_flags import raise_flags
from projections.risk_rules import DEFAULT_RULES, Flag, Thresholds, detect

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = NOON.date()
TERMS = opened(AccountOpened("liability", "EUR", 0, "A"), 1, NOON - timedelta(days=10)).terms
RULES: Mapping[str, Rule] = {
    **DEFAULT_RULES,
    "large_movement": Rule({"amount": 90}),
    "structuring": Rule({"amount": 50, "margin_percent": 20, "count": 3, "days": 3}),
    "rapid_in_and_out": Rule({"amount": 30, "share_percent": 80, "days": 2}),
    "dormant_account_woken": Rule({"amount": 5, "days": 4}),
    "velocity": Rule({"count": 3, "days": 2}),
}
LIMITS = Thresholds.of(RULES, 0)

Booked = tuple[int, int, bool, int]
"""Days from today, amount, whether it came in, and how many of the kind follow each other."""

runs = st.lists(
    st.tuples(
        st.integers(-9, 3),
        st.sampled_from([1, 4, 10, 30, 45, 95]),
        st.booleans(),
        st.sampled_from([1, 1, 1, 2, WINDOW_MOVEMENTS]),
    ),
    max_size=12,
)


def _movements(booked: list[Booked]) -> list[Movement]:
    """The movements, one after another."""
    return [
        Movement(position, TODAY + timedelta(days), is_incoming, amount_minor, "deposit")
        for position, (days, amount_minor, is_incoming, _) in enumerate(
            (run for run in booked for _ in range(run[3])), start=1
        )
    ]


@given(runs)
@example([(0, 30, True, 1), (0, 1, True, WINDOW_MOVEMENTS), (0, 30, False, 1)])
@example([(days, 10, False, 1) for days in (0, -1, -2, -3, -4, -3, -4, -3)])
def test_no_movement_that_raises_a_flag_is_passed_over(booked: list[Booked]) -> None:
    """Whatever was booked before, on whatever value dates, and however much of it."""
    activity, recent = Activity(), deque[Movement](maxlen=WINDOW_MOVEMENTS)
    deposits: list[Movement] = []
    for movement in _movements(booked):
        named = suspected(
            LIMITS,
            TERMS,
            activity,
            movement.value_date,
            movement.amount_minor,
            movement.is_incoming,
        )
        flags = detect(LIMITS, TERMS, recent, movement, NOON, (), deposits)
        assert {flag.rule for flag in flags} <= set(named)
        if LIMITS.is_just_below(movement):
            deposits.append(movement)
        recent.append(movement)
        activity.add(movement.value_date, movement.amount_minor, movement.is_incoming)


def _lines(movements: list[Movement]) -> Batch:
    """The movements as a batch of the account's lines; no rule looks at the sums after them."""
    batch = Batch(movements[0].position, movements[-1].position, NOON)
    for item in movements:
        side = TERMS.normal_side if item.is_incoming else "debit"
        posting = Posting("A", side, item.amount_minor, TERMS.currency)
        after = Account(TERMS, 1, 1, 0, 0, item.position, item.position)
        batch.lines.append((after, posting, item.position, 0, NOON, item.value_date, item.kind))
    return batch


@given(runs, st.integers(1, 60))
@example([(0, 4, True, 3), (0, 4, False, 5), (0, 30, True, 1), (0, 30, False, 2)], 4)
@example([(0, 30, True, 1), (0, 1, False, 250), (0, 30, True, 1), (0, 30, False, 1)], 50)
@example([(-1, 10, True, 100), (0, 1, True, 99), (0, 4, False, 100), (0, 45, False, 1)], 60)
@example([(0, 1, False, 1), (0, 30, True, 1), (0, 30, False, 1)], 1)
@example([(0, 1, False, 141), (0, 30, True, 1), (0, 1, True, 60), (0, 30, False, 4)], 10)
def test_flags_are_those_of_looking_at_every_movement(booked: list[Booked], at_once: int) -> None:
    """However many movements are taken in at once: what was calm raised nothing."""
    movements = _movements(booked)
    memory = Memory(is_complete=True, rules=dict(RULES))
    found: dict[str, Flag] = {}
    for first in range(0, len(movements), at_once):
        found |= raise_flags(memory, _lines(movements[first : first + at_once]))
    recent, deposits = deque[Movement](maxlen=WINDOW_MOVEMENTS), new_deposits()
    expected: dict[str, Flag] = {}
    for movement in movements:
        for flag in detect(LIMITS, TERMS, recent, movement, NOON, expected, deposits):
            expected[flag.flag_id] = flag
        if LIMITS.is_just_below(movement):
            deposits.append(movement)
        recent.append(movement)
    assert found == expected


def test_a_busy_account_is_calm_once_its_flags_are_raised_or_out_of_reach() -> None:
    """Of thousands of movements a day, some in a hundred are looked at."""
    activity, looked_at = Activity(), 0
    raised = {f"flag_velocity_{TERMS.account_no}_{TODAY}"}
    limits = Thresholds.of({**RULES, "rapid_in_and_out": DEFAULT_RULES["rapid_in_and_out"]}, 0)
    for _ in range(1_000):
        activity.add(TODAY, 4, is_incoming=True)
        if not is_calm(activity):
            looked_at += 1
            calm(limits, TERMS, activity, raised)
        activity.add(TODAY, 4, is_incoming=False)
    assert activity.in_minor > limits.rapid_minor
    assert looked_at < 20


@given(runs, st.integers(-9, 3), st.integers(0, 5))
def test_sums_of_days_are_exact_or_not_told(booked: list[Booked], last: int, days: int) -> None:
    """Days that were forgotten make no sum; few days are never forgotten."""
    activity = Activity()
    for movement in _movements(booked):
        activity.add(movement.value_date, movement.amount_minor, movement.is_incoming)
    first, until = TODAY + timedelta(last - days), TODAY + timedelta(last)
    found = activity.within(first, until)
    seen = [item for item in _movements(booked) if first <= item.value_date <= until]
    if found is None:
        assert len({item.value_date for item in _movements(booked)}) > EARLIER_DAYS_MAX + 1
        return
    assert found == (
        sum(not item.is_incoming for item in seen),
        sum(item.amount_minor for item in seen if item.is_incoming),
        sum(item.amount_minor for item in seen if not item.is_incoming),
    )


@given(runs, st.integers(-9, 3), st.integers(0, 5))
def test_what_is_read_back_by_days_tells_the_same(
    booked: list[Booked], last: int, days: int
) -> None:
    """As if every movement had been taken in by itself, as far as either tells."""
    one_by_one = Activity()
    by_day: dict[date, list[Movement]] = {}
    for movement in _movements(booked):
        one_by_one.add(movement.value_date, movement.amount_minor, movement.is_incoming)
        seen = by_day.pop(movement.value_date, [])
        by_day[movement.value_date] = [*seen, movement]  # The newest movement's day is the last.
    read_back = Activity.of(
        [
            (
                day,
                len(seen),
                (
                    sum(not item.is_incoming for item in seen),
                    sum(item.amount_minor for item in seen if item.is_incoming),
                    sum(item.amount_minor for item in seen if not item.is_incoming),
                ),
            )
            for day, seen in by_day.items()
        ]
    )
    assert (read_back.booked, read_back.day) == (one_by_one.booked, one_by_one.day)
    first, until = TODAY + timedelta(last - days), TODAY + timedelta(last)
    found = read_back.within(first, until), one_by_one.within(first, until)
    assert None in found or found[0] == found[1]
    if len(by_day) <= EARLIER_DAYS_MAX + 1:
        assert found[0] is not None


def test_a_small_movement_of_a_quiet_account_is_not_looked_at() -> None:
    """That is nearly all: in, out, today or backdated."""
    activity = Activity()
    activity.add(TODAY, 4, is_incoming=True)
    for value_date in (TODAY, TODAY - timedelta(30), date.min):
        for is_incoming in (True, False):
            assert suspected(LIMITS, TERMS, activity, value_date, 4, is_incoming) == []


@given(runs)
def test_a_window_knows_what_came_in_by_it(booked: list[Booked]) -> None:
    """Of its movements alone: those that left it count no more."""
    window, deposits = Window(), new_deposits()
    for movement in _movements(booked):
        window.append(movement)
        deposits.append(movement)
    assert window.movements == deposits
    assert window.incoming_minor == sum(
        movement.amount_minor for movement in window.movements if movement.is_incoming
    )
