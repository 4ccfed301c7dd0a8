"""Backdated entries: what they changed is what the balances by value date say, before and after."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count

import msgspec
import pytest
import sqlalchemy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened, transfer, withdrawn
from tests.strategies import START

from ledger_core import database
from ledger_core.commands import Command
from ledger_core.errors import EntryNotFound, LedgerNotFound
from ledger_core.periods import ClosePeriod
from ledger_core.reversals import ReverseEntry
from projections.backdating_queries import (
    PERIOD_ENDS_MAX,
    BackdatedFilters,
    backdated,
    effect,
    period_ends,
)
from projections.balance_queries import balance
from projections.entry_queries import Walk
from projections.reading import AsOf

_names = count(1)
TODAY = START.date()
DAY = timedelta(days=1)
_days = st.none() | st.integers(-45, 3).map(lambda days: TODAY + timedelta(days))
_accounts = st.sampled_from("AB")
_amounts = st.sampled_from([1, 20, 300])
_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(deposited, _accounts, _amounts, value_date=_days),
    st.builds(withdrawn, _accounts, _amounts, value_date=_days),
    st.builds(transfer, _accounts, _accounts, _amounts, value_date=_days),
)


@contextmanager
def _connection(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    engine = database.engine(database_url, "ledger_reader")
    with engine.connect() as conn:
        yield conn
    engine.dispose()


@pytest.fixture
def conn(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    with _connection(database_url) as conn:
        yield conn


# A history takes half a second: shrinking it would take minutes.
@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(commands=st.lists(_commands, min_size=6, max_size=12))
def test_an_effect_is_the_difference_between_two_readings(
    database_url: str, commands: list[Command]
) -> None:
    """Each day's balance by value date, as known before the entry and with it."""
    with World(database_url, f"effect-{next(_names)}") as world, _connection(database_url) as conn:
        world.run(*(opened(name, key=name, limit="1000") for name in "AB"))
        outcomes = world.run(
            *(
                msgspec.structs.replace(command, key=f"k{number}")
                for number, command in enumerate(commands)
            )
        )
        world.catch_up()
        listed = [item.position for item in backdated(conn, world.ledger_id).items]
        recorded = [item.position for item in outcomes if item.error is None]
        for position in recorded[-4:]:
            found = effect(conn, world.ledger_id, f"jrn_{position}")
            assert found.is_backdated == (found.value_date < found.booking_date)
            assert found.is_backdated == (position in listed)
            for account in found.accounts:
                if account.account_id.startswith("bank:"):
                    continue
                before, after = (
                    {
                        day: balance(
                            conn,
                            world.ledger_id,
                            account.account_id,
                            as_of=AsOf(position=at),
                            value_date=day,
                        ).posted_minor
                        for day in _changed(found.changed_from, found.changed_until)
                    }
                    for at in (position - 1, position)
                )
                assert {after[day] - before[day] for day in before} <= {account.shift_minor}
                ends = {end.day: (end.before_minor, end.after_minor) for end in account.period_ends}
                assert ends == {
                    day: (before[day], after[day])
                    for day in before
                    if (day + DAY).month != day.month
                }
                if account.lowest is None:
                    assert not found.is_backdated
                    continue
                lowest = account.lowest
                expected = min(before, key=lambda day: (before[day], day))
                assert lowest.day == expected
                assert lowest.before_minor == before[expected]
                assert lowest.after_minor == min(after.values())
                assert lowest.is_below_limit_after == (lowest.after_minor < -1_000)
                assert lowest.is_below_limit_before == (lowest.before_minor < -1_000)


def _changed(first: date | None, before: date | None) -> list[date]:
    """The days from one to before another."""
    if first is None or before is None:
        return []
    return [first + timedelta(days) for days in range((before - first).days)]


def test_a_backdated_withdrawal_shows_that_the_account_was_below_its_limit(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """Limits judge the balance as it stands; the effect says what the days before were."""
    march = date(2026, 2, 27)
    position = bank.run(withdrawn("A", 400, key="w", value_date=march, entry_id="late"))[0].position
    bank.catch_up()
    found = effect(conn, bank.ledger_id, "late")
    assert (found.changed_from, found.changed_until) == (march, TODAY)
    assert (found.position, found.original_value_date) == (position, None)
    account = next(item for item in found.accounts if item.account_id == "A")
    assert (account.shift_minor, account.limit_minor) == (-400, 0)
    (end,) = account.period_ends
    assert (end.day, end.before_minor, end.after_minor) == (date(2026, 2, 28), 0, -400)
    assert end.as_first_dated_minor is None
    assert account.lowest is not None
    assert (account.lowest.day, account.lowest.after_minor) == (march, -400)
    assert (account.lowest.is_below_limit_before, account.lowest.is_below_limit_after) == (
        False,
        True,
    )


def test_an_entry_that_a_closed_period_moved_says_what_it_left_as_it_was(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """The closed days stay; the days after are changed; what they would be is told."""
    day = date(2026, 2, 17)
    bank.run(
        deposited("B", 7, key="d", value_date=date(2026, 1, 5)),
        ClosePeriod(key="c", through=day, late_posting="next_open"),
    )
    moved = bank.run(deposited("B", 100, key="m", value_date=date(2026, 1, 20)))[0]
    plain = bank.run(deposited("B", 1, key="p", value_date=date(2026, 2, 18)))[0]
    bank.catch_up()
    found = effect(conn, bank.ledger_id, f"jrn_{moved.position}")
    assert (found.value_date, found.original_value_date) == (day + DAY, date(2026, 1, 20))
    assert (found.changed_from, found.changed_until) == (day + DAY, TODAY)
    account = next(item for item in found.accounts if item.account_id == "B")
    assert [
        (end.day, end.before_minor, end.after_minor, end.as_first_dated_minor)
        for end in account.period_ends
    ] == [
        (date(2026, 1, 31), 7, 7, 107),
        (day, 7, 7, 107),
        (date(2026, 2, 28), 7, 107, 107),
    ]
    assert account.lowest is not None
    assert (account.lowest.day, account.lowest.before_minor) == (day + DAY, 7)
    unmoved = effect(conn, bank.ledger_id, f"jrn_{plain.position}")
    ends = [end for item in unmoved.accounts for end in item.period_ends]
    assert {(end.day, end.as_first_dated_minor) for end in ends} == {(date(2026, 2, 28), None)}


def test_an_effect_never_changes_afterwards(bank: World, conn: sqlalchemy.Connection) -> None:
    """It is told as of the entry's own position, even once it was reversed."""
    entry = bank.run(deposited("A", 5, key="d", value_date=TODAY - 40 * DAY))[0]
    bank.catch_up()
    then = effect(conn, bank.ledger_id, f"jrn_{entry.position}")
    bank.run(
        deposited("A", 9, key="e", value_date=TODAY - 50 * DAY),
        ReverseEntry(key="r", reverses=f"jrn_{entry.position}"),
    )
    bank.catch_up()
    conn.rollback()
    assert effect(conn, bank.ledger_id, f"jrn_{entry.position}") == then


def test_what_is_not_backdated_changed_no_day(bank: World, conn: sqlalchemy.Connection) -> None:
    """Booked on its value date, or before it."""
    today, later = bank.run(
        deposited("A", 5, key="d"), deposited("A", 5, key="e", value_date=TODAY + 40 * DAY)
    )
    bank.catch_up()
    for outcome in (today, later):
        found = effect(conn, bank.ledger_id, f"jrn_{outcome.position}")
        assert (found.is_backdated, found.changed_from, found.changed_until) == (False, None, None)
        assert {(item.period_ends, item.lowest) for item in found.accounts} == {((), None)}
        assert {item.shift_minor for item in found.accounts} == {5}


def test_only_entries_have_an_effect(bank: World, conn: sqlalchemy.Connection) -> None:
    """Another event's position, a position that is not there, and another ledger."""
    bank.run(deposited("A", 5, key="d", entry_id="mine"))
    bank.catch_up()
    for entry_id in ("jrn_1", "jrn_5", "jrn_99", "nothing", "jrn_0"):
        with pytest.raises(EntryNotFound):
            effect(conn, bank.ledger_id, entry_id)
    with pytest.raises(LedgerNotFound):
        effect(conn, bank.ledger_id + 1, "mine")


def test_backdated_entries_are_listed_by_account_and_time(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """Each once, however many of its lines are backdated; both ends of the time are inclusive."""
    first = bank.run(transfer("A", "B", 5, key="1", value_date=TODAY - DAY))[0]
    bank.run(transfer("A", "B", 5, key="2"), deposited("A", 1, key="3", value_date=TODAY + DAY))
    second = bank.run(deposited("A", 5, key="4", value_date=TODAY - 9 * DAY))[0]
    bank.catch_up()

    def found(walk: Walk | None = None, **wanted: object) -> list[int]:
        page = backdated(
            conn,
            bank.ledger_id,
            filters=BackdatedFilters(**wanted),  # type: ignore[arg-type]
            walk=walk or Walk(),
        )
        return [item.position for item in page.items]

    both = [first.position, second.position]
    assert found() == both
    assert found(Walk(newest_first=True)) == both[::-1]
    assert found(Walk(limit=1)) == both[:1]
    assert found(Walk(after=first.position)) == both[1:]
    assert found(account_id="B") == both[:1]
    assert found(account_id="nobody") == []
    assert found(recorded_from=second.recorded_at) == both[1:]
    assert found(recorded_to=first.recorded_at) == both[:1]
    just_before = first.recorded_at - timedelta(microseconds=1)
    assert found(recorded_to=just_before) == []
    assert found(recorded_from=just_before) == both
    assert found(recorded_from=datetime(1, 1, 1, tzinfo=UTC)) == both


def test_period_ends_are_the_last_days_of_months() -> None:
    """From the first day, inclusive, to before the last; leap years and turns of years too."""
    assert period_ends(date(2024, 1, 31), date(2024, 3, 31)) == [
        date(2024, 1, 31),
        date(2024, 2, 29),
    ]
    assert period_ends(date(2025, 12, 5), date(2026, 1, 1)) == [date(2025, 12, 31)]
    assert period_ends(date(2025, 12, 5), date(2025, 12, 31)) == []
    assert period_ends(date(2026, 2, 1), date(2025, 2, 1)) == []
    assert period_ends(date(9999, 11, 5), date.max) == [date(9999, 11, 30)]
    closed = [date(2026, 1, 4), date(2026, 1, 5), date(2026, 1, 31), date(2026, 2, 5)]
    assert period_ends(date(2026, 1, 5), date(2026, 2, 5), closed) == closed[1:3]


def test_of_many_period_ends_the_newest_are_shown(bank: World, conn: sqlalchemy.Connection) -> None:
    """Those left out are counted."""
    entry = bank.run(deposited("A", 5, key="d", value_date=date(1990, 6, 15)))[0]
    bank.catch_up()
    account = effect(conn, bank.ledger_id, f"jrn_{entry.position}").accounts[0]
    months = 12 * (TODAY.year - 1990) + TODAY.month - 6
    assert len(account.period_ends) == PERIOD_ENDS_MAX
    assert account.period_ends[-1].day == date(2026, 2, 28)
    assert account.period_ends_left_out == months - PERIOD_ENDS_MAX
