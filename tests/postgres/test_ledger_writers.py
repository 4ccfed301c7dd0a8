"""Writers side by side on PostgreSQL: what each sees, how they share, what they remember."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, transfer, withdrawn

from ledger_core import loading as loading_module
from ledger_core import writer as writer_module
from ledger_core.account_limits import SetLimit
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.errors import LedgerBusy, LedgerNotFound
from ledger_core.journal import JournalEntryPosted
from ledger_core.ledger import Ledger, Outcome, Submission
from ledger_core.writer import Writer

# Writers side by side ---------------------------------------------------------------------------


def test_two_writers_see_each_others_events(bank: World) -> None:
    """Balances, blocks, limits, units and customers cross from one writer to the other."""
    one, two = bank.main, bank.ledger()
    for turn in range(10):
        assert answers(bank.run(transfer("A", "B", 100, key=f"t{turn}"), ledger=two)) == [
            "recorded"
        ]
        one, two = two, one
    assert answers(bank.run(transfer("A", "B", 1, key="over"), ledger=one)) == [
        "insufficient_funds"
    ]
    bank.run(FreezeAccount(key="f", account_id="B", cause="court", effect="debit"), ledger=one)
    assert answers(bank.run(transfer("B", "A", 1, key="b1"), ledger=two)) == ["account_blocked"]
    bank.run(UnfreezeAccount(key="u", account_id="B", cause="court"), ledger=two)
    assert answers(bank.run(transfer("B", "A", 1, key="b2"), ledger=one)) == ["recorded"]
    bank.run(RegisterCustomer(key="c", customer_id="c", profile={"name": "Ann"}), ledger=one)
    assert answers(bank.run(opened("C", key="o", customer_id="c"), ledger=two)) == ["recorded"]
    bank.run(EraseCustomer(key="e", customer_id="c", reason="asked"), ledger=two)
    assert answers(bank.run(opened("D", key="o2", customer_id="c"), ledger=one)) == [
        "customer_erased"
    ]


@pytest.mark.parametrize("caught_up", [False, True], ids=["from-the-log", "from-the-snapshots"])
def test_a_restarted_writer_knows_everything(bank: World, *, caught_up: bool) -> None:
    """With or without stored snapshots, and with events after them, the state is the log's."""
    bank.run(
        transfer("A", "B", 250, key="1"),
        FreezeAccount(key="2", account_id="B", cause="court", effect="debit"),
        SetLimit(key="3", account_id="A", limit="50"),
    )
    if caught_up:
        assert bank.catch_up() == 7
    bank.run(transfer("A", "B", 250, key="4"))
    outcomes = bank.run(
        transfer("B", "A", 1, key="5"),
        transfer("A", "B", 551, key="6"),
        transfer("A", "B", 550, key="7"),
        ledger=bank.ledger(),
    )
    assert answers(outcomes) == ["account_blocked", "insufficient_funds", "recorded"]


def test_a_hot_account_is_never_overdrawn(bank: World) -> None:
    """Four writers draw on one account: as much goes out as was there, every refusal recorded."""
    attempts = 40

    def draw(number: int) -> int:
        """Withdraw again and again; how often it was allowed."""
        ledger = bank.ledger()
        return sum(
            answers(bank.run(withdrawn("A", 10, key=f"w{number}-{turn}"), ledger=ledger))[0]
            == "recorded"
            for turn in range(attempts)
        )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(draw, range(4))) == 100
    assert bank.posted("A") == [0]
    assert [event.position for event in bank.stored()] == list(range(1, 165))


def test_group_commit_answers_everybody(bank: World) -> None:
    """Many threads through one writer: each gets its own answer, in few transactions."""
    transactions: list[int] = []

    def execute(submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Count the transactions."""
        transactions.append(len(submissions))
        return bank.main.execute(submissions)

    writer = Writer(execute, bank.main.close, "test")
    futures = [
        writer.submit(Submission((transfer("A", "B", number, key=f"t{number}"),), "a"))
        for number in range(1, 101)
    ]
    outcomes = [future.result(20)[0] for future in futures]
    writer.stop()
    paid = 0
    for number, outcome in enumerate(outcomes, start=1):
        fits = paid + number <= 1_000
        paid += number if fits else 0
        assert outcome.status == ("recorded" if fits else "refused")
        if isinstance(outcome.event, JournalEntryPosted):
            assert outcome.event.postings[0].amount_minor == number
    assert bank.posted("A", "B") == [1_000 - paid, paid]
    assert sum(transactions) == 100
    assert len(transactions) < 100


def test_one_that_cannot_be_carried_out_does_not_fail_the_others(bank: World) -> None:
    """What fails without a refusal fails alone: those that waited with it are carried out."""
    is_busy, go_on = threading.Event(), threading.Event()

    def execute(submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Fail where anything is asked for on behalf of the devil."""
        is_busy.set()
        assert go_on.wait(20)
        outcomes = bank.main.execute([item for item in submissions if item.actor != "devil"])
        if len(outcomes) < len(submissions):
            msg = "nothing of this is durable"
            raise RuntimeError(msg)
        return outcomes

    writer = Writer(execute, bank.main.close, "test")
    first = writer.submit(Submission((transfer("A", "B", 1, key="1"),), "a"))
    assert is_busy.wait(20)
    waiting = [
        writer.submit(Submission((transfer("A", "B", 2, key=f"w{number}"),), actor))
        for number, actor in enumerate(["a", "devil", "b"])
    ]
    go_on.set()
    assert answers(first.result(20)) == ["recorded"]
    # Here the failure came after the commit: then the second attempt is a repetition.
    assert answers(waiting[0].result(20)) == ["replayed"]
    assert answers(waiting[2].result(20)) == ["replayed"]
    with pytest.raises(RuntimeError):
        waiting[1].result(20)
    writer.stop()
    assert bank.posted("B") == [5]


def test_who_gives_up_waiting_does_not_stop_the_writer(bank: World) -> None:
    """A cancelled submission is not carried out, and the others are."""
    is_busy, go_on = threading.Event(), threading.Event()

    def execute(submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Wait for the test, then carry out."""
        is_busy.set()
        assert go_on.wait(20)
        return bank.main.execute(submissions)

    writer = Writer(execute, bank.main.close, "test")
    first = writer.submit(Submission((transfer("A", "B", 1, key="1"),), "a"))
    assert is_busy.wait(20)
    given_up = writer.submit(Submission((transfer("A", "B", 2, key="2"),), "a"))
    assert given_up.cancel()
    assert not first.cancel()
    go_on.set()
    assert answers(first.result(20)) == ["recorded"]
    last = writer.submit(Submission((transfer("A", "B", 4, key="3"),), "a"))
    assert answers(last.result(20)) == ["recorded"]
    writer.stop()
    assert bank.posted("B") == [5]


def test_a_full_queue_refuses_at_once(bank: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what does not fit is refused, what was taken is carried out."""
    monkeypatch.setattr(writer_module, "QUEUE_COMMANDS_MAX", 3)
    is_busy, go_on = threading.Event(), threading.Event()

    def execute(submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Wait for the test, then carry out."""
        is_busy.set()
        assert go_on.wait(20)
        return bank.main.execute(submissions)

    writer = Writer(execute, bank.main.close, "test")
    futures = [writer.submit(Submission((transfer("A", "B", 1, key="1"),), "a"))]
    assert is_busy.wait(20)
    futures.extend(
        writer.submit(Submission((transfer("A", "B", 1, key=key),), "a")) for key in "234"
    )
    assert writer.commands_waiting == 3
    with pytest.raises(LedgerBusy) as refusal:
        writer.submit(Submission((transfer("A", "B", 1, key="5"),), "a"))
    assert refusal.value.seen == {"reason": "queue_full"}
    go_on.set()
    assert [answers(future.result(20)) for future in futures] == [["recorded"]] * 4
    writer.stop()
    with pytest.raises(LedgerBusy):
        writer.submit(Submission((transfer("A", "B", 1, key="5"),), "a"))
    assert bank.posted("B") == [4]


def test_submissions_that_came_together_are_one_transaction(
    bank: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit into the queue hears so itself; a writer that stops takes nothing."""
    monkeypatch.setattr(writer_module, "QUEUE_COMMANDS_MAX", 3)
    transactions: list[int] = []

    def execute(submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Count the transactions."""
        transactions.append(len(submissions))
        return bank.main.execute(submissions)

    writer = Writer(execute, bank.main.close, "test")
    items: list[tuple[Submission, Future[list[Outcome]]]] = [
        (Submission((transfer("A", "B", 1, key=key),), "a"), Future()) for key in "12345"
    ]
    writer.submit_all(items)
    assert [answers(future.result(20)) for _, future in items[:3]] == [["recorded"]] * 3
    for _, future in items[3:]:
        with pytest.raises(LedgerBusy) as refusal:
            future.result(20)
        assert refusal.value.seen == {"reason": "queue_full"}
    writer.stop()
    with pytest.raises(LedgerBusy):
        writer.submit_all(items)
    assert transactions == [3]
    assert bank.posted("B") == [3]


def test_the_writer_waits_a_moment_for_half_of_those_it_answered(
    bank: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After four answers two are a transaction; one is after that moment, or at the end."""
    monkeypatch.setattr(writer_module, "GATHER_S", 60)
    transactions: list[int] = []

    def execute(submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Count the transactions."""
        transactions.append(len(submissions))
        return bank.main.execute(submissions)

    writer = Writer(execute, bank.main.close, "test")

    def items(*keys: str) -> list[tuple[Submission, Future[list[Outcome]]]]:
        """One transfer a key."""
        return [(Submission((transfer("A", "B", 1, key=key),), "a"), Future()) for key in keys]

    four, one, other, last = items(*"1234"), items("5"), items("6"), items("7")
    writer.submit_all(four)
    assert answers(four[-1][1].result(20)) == ["recorded"]
    writer.submit_all(one)
    writer.submit_all(other)
    assert answers(one[0][1].result(20)) == answers(other[0][1].result(20)) == ["recorded"]
    writer.submit_all(last)
    writer.stop()
    assert answers(last[0][1].result(0)) == ["recorded"]
    assert transactions == [4, 2, 1]


def test_a_ledger_that_is_not_there_is_said_to_be_missing(world: World) -> None:
    """Nothing is created by naming it."""
    ledger = Ledger(world.connect, 99, world.clock, world.vault)
    with pytest.raises(LedgerNotFound):
        ledger.execute([Submission((opened("A", key="k"),), "a")])


# Time and memory --------------------------------------------------------------------------------


def test_recorded_at_never_runs_backwards(bank: World) -> None:
    """A clock that was set back stops time instead."""
    for step in (timedelta(days=-3), timedelta(seconds=0), timedelta(days=1)):
        bank.now += step
        bank.run(transfer("A", "B", 1, key=f"t{step}"), ledger=bank.ledger())
    times = [event.recorded_at for event in bank.stored()]
    assert times == sorted(times)
    assert times[-3] == times[-4]


@pytest.mark.parametrize("packed_max", [0, 3, 100])
@pytest.mark.parametrize("caught_up_every", [1, 3, 1_000])
def test_what_was_forgotten_is_loaded_again(
    bank: World, monkeypatch: pytest.MonkeyPatch, caught_up_every: int, packed_max: int
) -> None:
    """With room for a few accounts only, answers stay right while projectors keep up or not."""
    monkeypatch.setattr(loading_module, "ACCOUNTS_CACHED_MAX", 8)
    monkeypatch.setattr(loading_module, "ACCOUNTS_PACKED_MAX", packed_max)
    two = bank.ledger()
    names = [f"N{number}" for number in range(12)]
    for number, name in enumerate(names):
        ledger = bank.main if number % 2 else two
        outcomes = bank.run(
            opened(name, key=f"open-{name}"),
            transfer("A", name, 10, key=f"give-{name}"),
            ledger=ledger,
        )
        assert answers(outcomes) == ["recorded"] * 2
        if number % caught_up_every == 0:
            bank.catch_up()
    for number, name in enumerate(names):
        ledger = two if number % 2 else bank.main
        outcomes = bank.run(
            withdrawn(name, 11, key=f"over-{name}"),
            withdrawn(name, 10, key=f"out-{name}"),
            ledger=ledger,
        )
        assert answers(outcomes) == ["insufficient_funds", "recorded"]
    assert bank.posted("A", *names) == [1_000 - 12 * 10] + [0] * 12


def test_a_packed_account_is_the_same_account(bank: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its terms, and whether or not its sums fit into 64 bits."""
    monkeypatch.setattr(loading_module, "ACCOUNTS_CACHED_MAX", 4)
    bank.run(
        RegisterCustomer(key="r", customer_id="c", profile={"name": "Ann"}),
        opened("full", key="f", customer_id="c", name="N", code="k", metadata={"m": "v"}),
        FreezeAccount(key="z", account_id="full", cause="court", effect="debit"),
        opened("rich", key="o", limit=None),
        deposited("rich", 10**35, key="d"),
    )
    before = dict(bank.folded().accounts)
    bank.catch_up()
    for number in range(12):
        bank.run(opened(f"N{number}", key=f"open-{number}"))
        bank.catch_up()
    books = bank.main._books  # noqa: SLF001 - where they are is the question
    assert "full" in books.packed
    assert "rich" not in books.packed
    bank.run(deposited("full", 1, key="one"), deposited("rich", 1, key="two"))
    for name in ("full", "rich"):
        assert books.accounts[name] == bank.folded().accounts[name]
        assert books.accounts[name].terms == before[name].terms


def test_forgotten_customers_are_loaded_again(bank: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Customers take no more room than they may, and who was erased stays so."""
    monkeypatch.setattr(loading_module, "CUSTOMERS_CACHED_MAX", 4)
    monkeypatch.setattr(loading_module, "ACCOUNTS_CACHED_MAX", 4)
    for number in range(12):
        name = f"c{number}"
        bank.run(
            RegisterCustomer(key=f"r{name}", customer_id=name, profile={"name": "Ann"}),
            EraseCustomer(key=f"e{name}", customer_id=name, reason="asked"),
        )
        bank.catch_up()
    books = bank.main._books  # noqa: SLF001 - how much is remembered is the question
    assert len(books.customers) <= 5
    for number in range(12):
        change = ChangeProfile(
            key="p", customer_id=f"c{number}", changes={"phone": "1"}, reason="x"
        )
        assert answers(bank.run(change)) == ["customer_erased"]


def test_memory_is_bounded_when_projectors_are_too_far_behind(
    bank: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger says that it is busy rather than forget what is stored nowhere."""
    monkeypatch.setattr(loading_module, "ACCOUNTS_CACHED_MAX", 4)
    said = [answer for number in range(12) for answer in _open_or_busy(bank, number)]
    assert said[0] == "recorded"
    assert said[-1] == "ledger_busy"
    bank.catch_up()
    assert answers(bank.run(opened("late", key="late"))) == ["recorded"]


def _open_or_busy(world: World, number: int) -> list[str]:
    """Open one more account, or say why not."""
    try:
        return answers(world.run(opened(f"N{number}", key=f"open-{number}")))
    except LedgerBusy as busy:
        return [busy.code]
