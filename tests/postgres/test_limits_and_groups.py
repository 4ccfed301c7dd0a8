"""Limits on PostgreSQL: on their day though nobody was there, and over groups that two write to."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, transfer, with_field, withdrawn
from tests.strategies import START

from ledger_core import events, snapshots
from ledger_core.account_limits import LimitChangeScheduled, SetLimit
from ledger_core.account_terms import CloseAccount
from ledger_core.accounts import LimitSet
from ledger_core.books import Event
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.group import Group
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.journal import JournalEntryPosted
from ledger_core.ledger import Outcome, Submission
from ledger_core.log import StoredEvent
from ledger_core.period import Period
from ledger_core.periods import ClosePeriod, ReopenPeriod
from projections.verification import verify

TODAY = START.date()
TOMORROW = TODAY + timedelta(days=1)
MIDNIGHT = datetime(2026, 3, 3, tzinfo=UTC)


@pytest.fixture
def family(bank: World) -> World:
    """A and B in a group that may not be overdrawn, each alone without limit; X is another."""
    outcomes = bank.run(
        SetLimit(key="1", account_id="A", limit=None),
        SetLimit(key="2", account_id="B", limit=None),
        opened("X", key="3", limit=None),
        CreateGroup(key="4", group_id="family", name="The Webers", currency="EUR", limit="0"),
        AddToGroup(key="5", group_id="family", account_id="A"),
        AddToGroup(key="6", group_id="family", account_id="B"),
    )
    assert answers(outcomes) == ["recorded"] * 6
    return bank


# Changes of limits that are to come --------------------------------------------------------------


@pytest.mark.parametrize("catches_up", [True, False], ids=["stored", "in the log alone"])
def test_a_limit_comes_into_force_though_the_process_was_down(
    bank: World, *, catches_up: bool
) -> None:
    """The next process records it with its due time before it decides anything else."""
    lower = SetLimit(key="1", account_id="A", limit="-900", effective_date=TOMORROW)
    assert answers(bank.run(lower)) == ["recorded"]
    assert answers(bank.run(withdrawn("A", 1, key="2"))) == ["recorded"]
    bank.main.close()
    if catches_up:
        bank.catch_up()
    bank.now = MIDNIGHT + timedelta(days=3)
    later = bank.ledger()
    (refused,) = bank.run(withdrawn("A", 100, key="3"), ledger=later)
    assert refused.error is not None
    assert refused.error.code == "insufficient_funds"
    assert refused.error.seen["limit_minor"] == "-900"
    (due,) = [
        event
        for event in map(_event, bank.stored())
        if isinstance(event, LimitSet) and event.due_at is not None
    ]
    assert due == LimitSet("A", -900, due_at=MIDNIGHT, keeps_ceiling=True)
    assert answers(bank.run(withdrawn("A", 99, key="4"), ledger=later)) == ["recorded"]
    assert sum(item.type == "LimitSet" for item in bank.stored()) == 1
    _agree(bank)


def test_changes_come_into_force_in_the_order_of_their_days(bank: World) -> None:
    """However many days nobody asked for anything, and whatever was replaced meanwhile."""
    days = [TODAY + timedelta(days=number) for number in (3, 1, 2)]
    outcomes = bank.run(
        *(
            SetLimit(key=f"{day}", account_id="A", limit=f"{day.day}", effective_date=day)
            for day in days
        ),
        SetLimit(key="again", account_id="A", limit="77", effective_date=days[1]),
    )
    assert answers(outcomes) == ["recorded"] * 4
    bank.now = MIDNIGHT + timedelta(days=9)
    assert answers(bank.run(deposited("A", 1, key="later"))) == ["recorded"]
    limits = [event for event in map(_event, bank.stored()) if isinstance(event, LimitSet)]
    assert [(item.limit_minor, item.due_at) for item in limits] == [
        (77, MIDNIGHT),
        (4, MIDNIGHT + timedelta(days=1)),
        (5, MIDNIGHT + timedelta(days=2)),
    ]
    last = bank.stored()[-1]
    assert last.type == "JournalEntryPosted"
    assert last.recorded_at > MIDNIGHT + timedelta(days=9)
    _agree(bank)


def test_one_process_schedules_and_another_lets_it_come(bank: World) -> None:
    """The second took in the change as it followed the log; a retry is the first answer."""
    other = bank.ledger()
    assert answers(bank.run(deposited("A", 1, key="1"), ledger=other)) == ["recorded"]
    change = SetLimit(key="2", account_id="A", limit="50", effective_date=TOMORROW)
    assert answers(bank.run(change)) == ["recorded"]
    assert answers(bank.run(deposited("A", 1, key="3"), ledger=other)) == ["recorded"]
    bank.now = MIDNIGHT
    assert answers(bank.run(withdrawn("A", 1_052, key="4"), ledger=other)) == ["recorded"]
    assert answers(bank.run(withdrawn("A", 1, key="5"))) == ["insufficient_funds"]
    (again,) = bank.run(change)
    assert again.status == "replayed"
    assert isinstance(again.event, LimitChangeScheduled)
    _agree(bank)


# Groups ------------------------------------------------------------------------------------------


def test_two_writers_cannot_spend_the_same_money_of_a_group(family: World) -> None:
    """Each debits another member, at the same time; together they get what is there, no more."""
    writers = [family.main, family.ledger()]
    submissions = [
        [
            Submission((transfer(name, "X", 30, key=f"{name}-{number}"),), "tester")
            for number in range(30)
        ]
        for name in "AB"
    ]
    results: list[list[Outcome]] = [[], []]

    def spend(which: int) -> None:
        """Debit one member again and again."""
        for submission in submissions[which]:
            results[which] += writers[which].execute([submission])[0]

    threads = [threading.Thread(target=spend, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = answers(results[0]) + answers(results[1])
    assert told.count("recorded") == 33
    assert told.count("insufficient_funds") == 27
    assert sum(family.posted("A", "B")) == 10
    assert family.posted("X") == [990]
    _agree(family)


@pytest.mark.parametrize("catches_up", [True, False], ids=["stored", "in the log alone"])
def test_a_member_that_nobody_named_counts(family: World, *, catches_up: bool) -> None:
    """A new process loads the group of an account, and all its members."""
    if catches_up:
        family.catch_up()
    later = family.ledger()
    assert answers(family.run(transfer("B", "X", 1_000, key="7"), ledger=later)) == ["recorded"]
    refused = family.run(transfer("B", "X", 1, key="8"), ledger=later)
    assert answers(refused) == ["insufficient_funds"]
    assert refused[0].error is not None
    assert refused[0].error.seen["group_id"] == "family"


def test_a_group_is_made_filled_and_limited_in_one_batch(bank: World) -> None:
    """Members that no movement names are there once one of them moves money."""
    bank.catch_up()
    later = bank.ledger()
    outcomes = bank.run(
        opened("C", key="1", limit=None),
        CreateGroup(key="2", group_id="g", name="g", currency="EUR", ceiling="1500"),
        AddToGroup(key="3", group_id="g", account_id="A"),
        AddToGroup(key="4", group_id="g", account_id="C"),
        deposited("C", 501, key="5"),
        SetGroupLimit(key="6", group_id="g", limit="0", ceiling="1501"),
        deposited("C", 501, key="7"),
        ledger=later,
    )
    told = answers(outcomes)
    assert told == [*["recorded"] * 4, "limit_exceeded", *["recorded"] * 2]
    family = bank.folded().kept("group", "g")
    assert isinstance(family, Group)
    assert family.members == ("A", "C")
    _agree(bank)


def test_a_refused_batch_leaves_no_member(family: World) -> None:
    """All or nothing holds for groups too, in memory as in the log."""
    outcomes = family.run(
        RemoveFromGroup(key="7", group_id="family", account_id="A"),
        transfer("B", "X", 2_000, key="8"),
        mode="atomic",
    )
    assert answers(outcomes) == ["batch_failed", "insufficient_funds"]
    assert answers(family.run(transfer("B", "X", 900, key="9"))) == ["recorded"]
    _agree(family)


def test_the_id_of_a_group_is_taken_once(family: World) -> None:
    """The same content is the first answer again; other content says what differs."""
    same = CreateGroup(key="7", group_id="family", name="The Webers", currency="EUR", limit="0")
    (again,) = family.run(same)
    assert again.status == "replayed"
    other = CreateGroup(key="8", group_id="family", name="Others", currency="EUR", limit="5")
    (refused,) = family.run(other)
    assert refused.error is not None
    assert refused.error.code == "group_exists"
    assert refused.error.seen["fields"] == ["name", "limit"]


# Periods and identification ----------------------------------------------------------------------


@pytest.mark.parametrize("catches_up", [True, False], ids=["stored", "in the log alone"])
def test_a_period_is_closed_for_every_process(bank: World, *, catches_up: bool) -> None:
    """One that follows the log, and one that begins anew."""
    other = bank.ledger()
    assert answers(bank.run(deposited("A", 1, key="1"), ledger=other)) == ["recorded"]
    january = datetime(2026, 1, 31, tzinfo=UTC).date()
    assert answers(bank.run(ClosePeriod(key="2", through=january))) == ["recorded"]
    late = deposited("A", 1, key="3", value_date=january)
    assert answers(bank.run(late, ledger=other)) == ["period_closed"]
    if catches_up:
        bank.catch_up()
    assert answers(bank.run(late, ledger=bank.ledger())) == ["period_closed"]
    moved = ClosePeriod(key="4", through=january, late_posting="next_open")
    assert answers(bank.run(moved)) == ["recorded"]
    (outcome,) = bank.run(late, ledger=other)
    assert isinstance(outcome.event, JournalEntryPosted)
    assert outcome.event.original_value_date == january
    assert answers(bank.run(late)) == ["replayed"]
    assert answers(bank.run(ReopenPeriod(key="5", after=None))) == ["recorded"]
    state = bank.folded().kept("period", "ledger")
    assert isinstance(state, Period)
    assert state.closed_through is None
    _agree(bank)


def test_every_process_knows_who_is_cleared(world: World) -> None:
    """From the log as another writer wrote it, and from the stored profile."""
    other = world.ledger()
    ann = RegisterCustomer(
        key="1", customer_id="ann", profile={"name": "A", "kyc_status": "pending"}
    )
    assert answers(world.run(ann)) == ["recorded"]
    opening = opened("A", customer_id="ann")
    assert answers(world.run(with_field(opening, "key", "2"), ledger=other)) == ["kyc_not_cleared"]
    cleared = ChangeProfile(
        key="3", customer_id="ann", changes={"kyc_status": "cleared"}, reason="seen"
    )
    assert answers(world.run(cleared)) == ["recorded"]
    world.catch_up()
    assert answers(world.run(with_field(opening, "key", "2"), ledger=other)) == ["recorded"]
    rejected = ChangeProfile(
        key="4", customer_id="ann", changes={"kyc_status": "rejected"}, reason="fraud"
    )
    assert answers(world.run(rejected, ledger=other)) == ["recorded"]
    again = opened("B", key="5", customer_id="ann")
    assert answers(world.run(again)) == ["kyc_not_cleared"]
    world.catch_up()
    assert answers(world.run(again, ledger=world.ledger())) == ["kyc_not_cleared"]
    (stored,) = snapshots.load_customers(world.writer, world.ledger_id, ["ann"])
    assert stored == world.folded().customers["ann"]
    erase = EraseCustomer(key="6", customer_id="ann", reason="asked")
    assert answers(world.run(CloseAccount(key="7", account_id="A"), erase)) == ["recorded"] * 2
    assert answers(world.run(again)) == ["customer_erased"]


def _event(item: StoredEvent) -> Event:
    """The event that is stored."""
    return events.decode(item.type, item.version, item.data)


def _agree(world: World) -> None:
    """Log, views and kept states say the same, and whatever is kept is what the log folds to."""
    world.catch_up()
    verdict = verify(world.projector, world.ledger_id)
    assert verdict.findings == (), verdict.findings
    folded = world.folded().states
    stored = dict(snapshots.load_kept(world.writer, world.ledger_id, folded.keys()))
    assert stored == folded
