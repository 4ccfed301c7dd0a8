"""Many at once: threads through one writer, and through two, on the same accounts and holds.

What is checked is the log: at no position is an account beyond its limit or a hold exceeded, and
every answer that anybody was given stands in it exactly once.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import captured, deposited, held, transfer, voided, withdrawn

from ledger_core import events
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.holds import Hold
from ledger_core.journal import HoldReleased, JournalEntryPosted
from ledger_core.ledger import Outcome, Submission
from ledger_core.reversals import ReverseEntry
from ledger_core.writer import Writer
from projections.verification import verify

THREADS = 64
WAIT_S = 60

Answered = list[tuple[Command, Outcome]]


@contextmanager
def writers(world: World, count: int) -> Iterator[list[Writer]]:
    """So many writers on one ledger, each with a connection of its own, as processes have."""
    made = []
    for number in range(count):
        ledger = world.ledger()
        made.append(Writer(ledger.execute, ledger.close, f"test-{number}"))
    try:
        yield made
    finally:
        for writer in made:
            writer.stop()


def at_once(writing: Sequence[Writer], works: Sequence[Sequence[Command]]) -> Answered:
    """Each work by a thread of its own, its commands one after another; all begin together."""
    answered: Answered = []
    failures: list[BaseException] = []
    begin = threading.Barrier(len(works))

    def work(number: int, commands: Sequence[Command]) -> None:
        """Send every command, and note what was answered."""
        writer = writing[number % len(writing)]
        try:
            begin.wait(WAIT_S)
            for command in commands:
                submission = Submission((command,), f"key:{number}")
                [outcome] = writer.submit(submission).result(WAIT_S)
                answered.append((command, outcome))
        except BaseException as error:  # noqa: BLE001 - the test fails by it, not the thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not failures, failures[0]
    assert len(answered) == sum(len(commands) for commands in works)
    return answered


def never_beyond(world: World, check: Callable[[Books], None]) -> Books:
    """Fold the log, checking after each event; positions without a gap, time never backwards."""
    books = Books()
    for position, item in enumerate(world.stored(), start=1):
        assert item.position == position
        assert item.recorded_at >= books.recorded_at
        books.recorded_at = item.recorded_at
        books.record(events.decode(item.type, item.version, item.data))
        check(books)
    return books


def within_limits(books: Books) -> None:
    """No account has less available than nothing, and no hold gave more than it had."""
    for account in books.accounts.values():
        assert account.available_minor is None or account.available_minor >= 0
    for state in books.states.values():
        if isinstance(state, Hold):
            assert state.captured_minor + state.freed_minor <= state.amount_minor


def each_answer_once(world: World, answered: Answered) -> None:
    """What was recorded stands under its key where the answer said; what was refused does not."""
    stored = world.stored()
    keys = Counter(item.command_key for item in stored if item.command_key is not None)
    assert set(keys.values()) == {1}
    for command, outcome in answered:
        if outcome.error is None:
            assert stored[outcome.position - 1].command_key == command.key
        else:
            assert command.key not in keys
    refused = Counter(item.actor for item in stored if item.type == "CommandRefused")
    assert sum(refused.values()) == sum(outcome.error is not None for _, outcome in answered)


@pytest.mark.parametrize("count", [1, 2], ids=["one-writer", "two-writers"])
def test_a_hot_account_with_a_limit_and_holds(bank: World, count: int) -> None:
    """Sixty-four threads draw on one account in every way, and give a little back."""
    works: list[list[Command]] = []
    for number in range(THREADS):
        name = f"h{number}"
        works.append(
            [
                withdrawn("A", 9, key=f"w{number}"),
                held("A", "B", 11, name, key=f"p{number}", multi_capture=number % 2 == 0),
                captured(name, 5, key=f"c{number}"),
                transfer("A", "B", 3, key=f"t{number}"),
                voided(name, key=f"v{number}"),
                deposited("A", 1, key=f"d{number}"),
            ]
        )
    with writers(bank, count) as writing:
        answered = at_once(writing, works)
    books = never_beyond(bank, within_limits)
    each_answer_once(bank, answered)
    said = Counter(
        (type(command).__name__, "recorded" if outcome.error is None else outcome.error.code)
        for command, outcome in answered
    )
    # 1,000 were there, and each thread was to take 9 + 5 + 3 - 1 for good: in whatever order they
    # went, it was not enough for all.
    assert said["Deposit", "recorded"] == THREADS
    drawing = ("Withdraw", "PlaceHold", "Transfer")
    assert sum(said[name, "insufficient_funds"] for name in drawing) > 0
    account = books.accounts["A"]
    assert account.debits_held_minor == books.accounts["B"].credits_held_minor == 0
    moved = {"Withdraw": 9, "CaptureHold": 5, "Transfer": 3, "Deposit": -1}
    assert account.posted_minor == 1_000 - sum(
        amount * said[name, "recorded"] for name, amount in moved.items()
    )
    assert verify(bank.projector, bank.ledger_id).ok


@pytest.mark.parametrize("count", [1, 2], ids=["one-writer", "two-writers"])
def test_no_update_is_lost(bank: World, count: int) -> None:
    """Every one of many small transfers in both directions counts exactly once."""
    works = [
        [transfer(debit, credit, 1, key=f"{number}-{turn}") for turn in range(4)]
        for number in range(THREADS)
        for debit, credit in [("A", "B") if number % 2 else ("B", "A")]
    ]
    bank.run(transfer("A", "B", 500, key="half"))
    with writers(bank, count) as writing:
        answered = at_once(writing, works)
    assert {outcome.status for _, outcome in answered} == {"recorded"}
    books = never_beyond(bank, within_limits)
    each_answer_once(bank, answered)
    assert [books.accounts[name].posted_minor for name in "AB"] == [500, 500]
    assert [books.accounts[name].version for name in "AB"] == [2 + 1 + 4 * THREADS, 2 + 4 * THREADS]


@pytest.mark.parametrize("count", [1, 2], ids=["one-writer", "two-writers"])
def test_the_same_command_from_everywhere_counts_once(bank: World, count: int) -> None:
    """Thirty-two retries at once: one is the first, the others get its answer."""
    works = [[transfer("A", "B", 100, key="same")] for _ in range(32)]
    with writers(bank, count) as writing:
        answered = at_once(writing, works)
    assert Counter(outcome.status for _, outcome in answered) == {"recorded": 1, "replayed": 31}
    assert len({(outcome.position, outcome.recorded_at) for _, outcome in answered}) == 1
    assert bank.posted("A", "B") == [900, 100]


@pytest.mark.parametrize("count", [1, 2], ids=["one-writer", "two-writers"])
def test_ten_reversals_of_one_entry(bank: World, count: int) -> None:
    """Exactly one wins; the others are told that it is reversed, and by whom does not matter."""
    bank.run(transfer("A", "B", 100, key="t", entry_id="e"))
    works = [[ReverseEntry(key=f"r{number}", reverses="e")] for number in range(10)]
    with writers(bank, count) as writing:
        answered = at_once(writing, works)
    assert sorted(answers([outcome for _, outcome in answered])) == [
        *["already_reversed"] * 9,
        "recorded",
    ]
    each_answer_once(bank, answered)
    assert bank.posted("A", "B") == [1_000, 0]


@pytest.mark.parametrize("count", [1, 2], ids=["one-writer", "two-writers"])
def test_ten_captures_of_a_hold_that_is_captured_once(bank: World, count: int) -> None:
    """Exactly one wins, and what it left over is free."""
    bank.run(held("A", "B", 100, key="h"))
    works = [[captured("H", 10, key=f"c{number}")] for number in range(10)]
    with writers(bank, count) as writing:
        answered = at_once(writing, works)
    assert sorted(answers([outcome for _, outcome in answered])) == [
        *["hold_already_captured"] * 9,
        "recorded",
    ]
    books = never_beyond(bank, within_limits)
    each_answer_once(bank, answered)
    assert [books.accounts[name].posted_minor for name in "AB"] == [990, 10]
    assert books.accounts["A"].debits_held_minor == 0


@pytest.mark.parametrize("count", [1, 2], ids=["one-writer", "two-writers"])
def test_ten_captures_of_a_hold_that_allows_several(bank: World, count: int) -> None:
    """As many as fit, and never more than the hold; the rest stays held."""
    bank.run(held("A", "B", 100, key="h", multi_capture=True))
    works = [[captured("H", 30, key=f"c{number}")] for number in range(10)]
    with writers(bank, count) as writing:
        answered = at_once(writing, works)
    assert sorted(answers([outcome for _, outcome in answered])) == [
        *["exceeds_hold"] * 7,
        *["recorded"] * 3,
    ]
    books = never_beyond(bank, within_limits)
    each_answer_once(bank, answered)
    assert [books.accounts[name].posted_minor for name in "AB"] == [910, 90]
    assert [books.accounts["A"].debits_held_minor, books.accounts["B"].credits_held_minor] == [
        10,
        10,
    ]


@pytest.mark.parametrize("count", [1, 2], ids=["one-writer", "two-writers"])
def test_captures_voids_and_expiry_race(bank: World, count: int) -> None:
    """Every hold resolves once, whoever comes first; the world's clock moves with every reading."""
    names = [f"h{number}" for number in range(20)]
    bank.run(*(held("A", "B", 10, name, key=name, timeout_s=30) for name in names))
    works: list[list[Command]] = [
        [
            (captured if (number + turn) % 2 else voided)(name, key=f"{name}-{number}")
            for turn, name in enumerate(names)
        ]
        for number in range(8)
    ]
    with writers(bank, count) as writing:
        answered = at_once(writing, works)
    never_beyond(bank, within_limits)
    each_answer_once(bank, answered)
    resolved = Counter(
        event.hold_id
        for event in bank.events()
        if isinstance(event, HoldReleased)
        or (isinstance(event, JournalEntryPosted) and event.hold_id is not None)
    )
    assert resolved == dict.fromkeys(names, 1)
    assert verify(bank.projector, bank.ledger_id).ok
