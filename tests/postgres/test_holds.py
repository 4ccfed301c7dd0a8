"""Holds on PostgreSQL: expiry whatever was down, retries, writers side by side, and the views."""

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import (
    captured,
    deposited,
    held,
    opened,
    transfer,
    voided,
    with_field,
    withdrawn,
)
from tests.strategies import START

from ledger_core import loading, snapshots
from ledger_core.holds import Hold
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted
from projections import runner
from projections.verification import verify

if TYPE_CHECKING:
    from ledger_core.commands import Command

DUE = START + timedelta(hours=1)
LAGS = pytest.mark.parametrize("caught_up", [False, True], ids=["lagging", "caught-up"])


def _released(world: World, after: int = 0) -> list[str]:
    """The holds that were released after a position, in order."""
    return [event.hold_id for event in world.events(after) if isinstance(event, HoldReleased)]


def _holds(world: World) -> dict[str, Hold]:
    """Every hold, as the log has it."""
    states = world.folded().states
    return {name: state for (kind, name), state in states.items() if kind == "hold"}


# Expiry -----------------------------------------------------------------------------------------


@LAGS
def test_a_hold_expires_while_nothing_runs(bank: World, *, caught_up: bool) -> None:
    """Whoever comes next finds the money free, and the log says when it was freed."""
    bank.run(held("A", "B", 1_000, key="h", expires_at=DUE))
    assert answers(bank.run(withdrawn("A", 1, key="1"))) == ["insufficient_funds"]
    if caught_up:
        bank.catch_up()
    bank.main.close()
    bank.now = DUE + timedelta(days=2)
    outcomes = bank.run(withdrawn("A", 1_000, key="2"), ledger=bank.ledger())
    assert answers(outcomes) == ["recorded"]
    freed, paid = bank.events(6)
    assert freed == HoldReleased("H", "A", "B", 1_000, "EUR", "expired", due_at=DUE)
    assert isinstance(paid, JournalEntryPosted)
    stored = bank.stored()[-2]
    assert (stored.actor, stored.command_key) == ("ledger", None)
    assert stored.recorded_at == outcomes[0].recorded_at


@LAGS
def test_a_hold_expires_to_the_microsecond(bank: World, *, caught_up: bool) -> None:
    """Just before it holds for everybody, at the moment it holds for nobody."""
    bank.run(held("A", "B", 1_000, key="h", expires_at=DUE))
    if caught_up:
        bank.catch_up()
    two = bank.ledger()
    bank.now = DUE - timedelta(seconds=1, microseconds=1)
    assert answers(bank.run(withdrawn("A", 1, key="1"), ledger=two)) == ["insufficient_funds"]
    bank.now = DUE - timedelta(seconds=1)
    assert answers(bank.run(withdrawn("A", 1, key="1"), ledger=two)) == ["recorded"]
    assert answers(bank.run(captured("H", key="c"))) == ["hold_expired"]
    assert _released(bank) == ["H"]


def test_the_clock_alone_makes_holds_expire(bank: World) -> None:
    """A submission of nothing records what is due, once."""
    bank.run(held("A", "B", 10, key="h", timeout_s=60))
    bank.now += timedelta(seconds=60)
    assert bank.run() == []
    assert bank.run(ledger=bank.ledger()) == []
    assert _released(bank) == ["H"]


@pytest.mark.parametrize(("bound", "transactions"), [(1, 10), (3, 4), (1_000, 1)])
@LAGS
def test_many_holds_fall_due_at_once(
    bank: World,
    monkeypatch: pytest.MonkeyPatch,
    bound: int,
    transactions: int,
    *,
    caught_up: bool,
) -> None:
    """More than one transaction takes: all are freed before anything else is decided."""
    monkeypatch.setattr(loading, "DUE_LOADED_MAX", bound)
    names = [f"h{number}" for number in range(10)]
    bank.run(*(held("A", "B", 100, name, key=name, expires_at=DUE) for name in names))
    bank.run(voided("h3", key="v"))
    if caught_up:
        bank.catch_up()
    bank.now = DUE
    two = bank.ledger()
    assert answers(bank.run(withdrawn("A", 1_000, key="all"), ledger=two)) == ["recorded"]
    assert _released(bank) == ["h3", *(name for name in names if name != "h3")]
    assert isinstance(bank.events()[-1], JournalEntryPosted)
    times = {item.recorded_at for item in bank.stored()[15:]}
    assert len(times) == (transactions if caught_up else 1)
    # The views may still show them as open: nobody frees them again.
    for number, ledger in enumerate((two, bank.main, bank.ledger())):
        bank.now += loading.DUE_HORIZON
        outcomes = bank.run(deposited("A", 1, key=f"d{number}"), ledger=ledger)
        assert answers(outcomes) == ["recorded"]
    assert len(_released(bank)) == 10


@pytest.mark.parametrize("bound", [1, 3, 4, 5])
def test_many_holds_that_are_due_soon_stop_nobody(
    bank: World, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    """Only what is due has to be freed; the others expire one by one in their order."""
    monkeypatch.setattr(loading, "DUE_LOADED_MAX", bound)
    names = [f"h{number}" for number in range(8)]
    for number, name in enumerate(names):
        expires_at = DUE + timedelta(minutes=number // 2)
        bank.run(held("A", "B", 10, name, key=name, expires_at=expires_at))
    bank.catch_up()
    two = bank.ledger()
    for minute in range(-1, 5):
        bank.now = DUE + timedelta(minutes=minute)
        bank.run(ledger=two)
        assert _released(bank) == names[: max(0, 2 * (minute + 1))]


def test_states_that_were_forgotten_fall_due(bank: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for a few states only, every hold expires at its time all the same."""
    monkeypatch.setattr(loading, "STATES_CACHED_MAX", 4)
    names = [f"h{number:02}" for number in range(20)]
    for number, name in enumerate(names):
        expires_at = DUE + timedelta(minutes=5 * number)
        bank.run(held("A", "B", 10, name, key=name, expires_at=expires_at))
        bank.catch_up()
    books = bank.main._books  # noqa: SLF001 - how much is remembered is the question
    assert len(books.states) <= 5
    for number in range(len(names)):
        bank.now = DUE + timedelta(minutes=5 * number)
        bank.run()
        assert _released(bank) == names[: number + 1]
        if number % 3 == 0:
            bank.catch_up()


def test_the_clock_may_go_back(bank: World) -> None:
    """Time in the log does not; a hold's time is counted from there."""
    first = bank.run(held("A", "B", 10, key="h", timeout_s=600))[0]
    bank.now -= timedelta(days=1)
    again = bank.run(held("A", "B", 10, "I", key="i", timeout_s=600))[0]
    assert again.recorded_at == first.recorded_at
    assert [hold.expires_at for hold in _holds(bank).values()] == [
        first.recorded_at + timedelta(seconds=600)
    ] * 2
    assert _released(bank) == []


# Retries and identities -------------------------------------------------------------------------


@LAGS
def test_every_command_on_a_hold_can_be_retried(bank: World, *, caught_up: bool) -> None:
    """The first answer, from whatever writer and however much later; then never a second effect."""
    bank.run(held("A", "B", 50, "J", key="j"), held("A", "B", 50, "K", key="k"))
    commands: list[Command] = [
        held("A", "B", 100, key="place", timeout_s=3_600, multi_capture=True, reference="r"),
        held("A", "B", 5_000, None, key="balance", balancing="debit"),
        held("B", "A", 5_000, "L", key="nothing", balancing="debit"),
        captured("H", 40, key="part", entry_id="e"),
        captured("H", key="rest"),
        captured("J", 0, key="none"),
        voided("K", key="void", reason="asked"),
    ]
    first = bank.run(*commands)
    assert answers(first) == ["recorded"] * 7
    bank.now += timedelta(days=7)
    if caught_up:
        bank.catch_up()
    count = len(bank.stored())
    for ledger in (bank.main, bank.ledger()):
        again = bank.run(*commands, ledger=ledger)
        assert answers(again) == ["replayed"] * len(commands)
        assert [(item.position, item.event) for item in again] == [
            (item.position, item.event) for item in first
        ]
        others = [with_field(command, "amount", "7") for command in commands]
        assert answers(bank.run(*others, ledger=ledger)) == ["idempotency_conflict"] * len(others)
    assert len(bank.stored()) == count


@LAGS
def test_a_hold_s_own_id_is_an_identity(bank: World, *, caught_up: bool) -> None:
    """The same hold under another key is the first answer; another one is refused."""
    first = bank.run(held("A", "B", 100, key="1", timeout_s=60))[0]
    if caught_up:
        bank.catch_up()
    bank.now += timedelta(hours=1)
    for number, ledger in enumerate((bank.main, bank.ledger())):
        again, other, entry = bank.run(
            held("A", "B", 100, key=f"a{number}", timeout_s=60),
            held("A", "B", 101, key=f"b{number}", timeout_s=61),
            transfer("A", "B", 1, key=f"c{number}", entry_id="H"),
            ledger=ledger,
        )
        assert (again.status, again.position) == ("replayed", first.position)
        assert answers([other, entry]) == ["hold_exists", "entry_exists"]
        assert other.error is not None
        assert other.error.seen["position"] == first.position
        assert other.error.seen["fields"] == ["amount", "timeout_s"]


def test_names_are_shared_with_entries(bank: World) -> None:
    """Ids and references, whichever came first, in whichever transaction."""
    bank.run(transfer("A", "B", 1, key="1", entry_id="X", reference="x"))
    bank.run(held("A", "B", 1, "Y", key="2", reference="y"))
    for ledger in (bank.main, bank.ledger()):
        outcomes = bank.run(
            held("A", "B", 1, "X", key="3"),
            held("A", "B", 1, "Z", key="4", reference="x"),
            held("A", "B", 1, "Z", key="5", reference="y"),
            transfer("A", "B", 1, key="6", reference="y"),
            captured("Y", key="7", reference="x"),
            captured("Y", key="8", entry_id="X"),
            captured("X", key="9"),
            voided("jrn_5", key="10"),
            captured("jrn_4", key="11"),
            ledger=ledger,
        )
        assert answers(outcomes) == [
            "entry_exists",
            "reference_conflict",
            "reference_conflict",
            "reference_conflict",
            "reference_conflict",
            "entry_exists",
            "not_a_hold",
            "hold_not_found",  # Its entry has the id X.
            "not_a_hold",
        ]


# Many commands, many writers --------------------------------------------------------------------


def test_a_whole_life_in_one_batch(bank: World) -> None:
    """Each item sees what the items before it did to the hold, though nothing is stored yet."""
    batch: list[Command] = [
        held("A", "B", 600, key="1", multi_capture=True),
        withdrawn("A", 401, key="2"),
        captured("H", 200, key="3"),
        withdrawn("B", 200, key="4"),
        voided("H", key="5"),
        captured("H", key="6"),
        withdrawn("A", 800, key="7"),
    ]
    assert answers(bank.run(*batch)) == [
        "recorded",
        "insufficient_funds",
        "recorded",
        "recorded",
        "recorded",
        "hold_already_voided",
        "recorded",
    ]
    assert bank.posted("A", "B") == [0, 0]


def test_a_failed_atomic_batch_leaves_no_hold(bank: World) -> None:
    """Neither the hold nor its due time, and what it resolved is open again."""
    bank.run(held("A", "B", 100, "I", key="i", timeout_s=600))
    outcomes = bank.run(
        held("A", "B", 100, key="1", timeout_s=60),
        voided("I", key="2"),
        captured("nothing", key="3"),
        mode="atomic",
    )
    assert answers(outcomes) == ["batch_failed", "batch_failed", "hold_not_found"]
    assert len(bank.stored()) == 5
    bank.now += timedelta(seconds=120)
    assert answers(bank.run(captured("H", key="4"))) == ["hold_not_found"]
    bank.now += timedelta(seconds=600)
    assert answers(bank.run(captured("I", key="5"))) == ["hold_expired"]


def test_a_dry_run_answers_and_records_nothing(bank: World) -> None:
    """As if it were done: the same words and positions, and afterwards nothing was."""
    batch: list[Command] = [
        held("A", "B", 600, key="1", timeout_s=60),
        captured("H", 200, key="2"),
        voided("H", key="3"),
        withdrawn("A", 800, key="4", entry_id="e"),
    ]
    tried = bank.run(*batch, dry_run=True)
    assert len(bank.stored()) == 4
    bank.now += timedelta(seconds=120)
    bank.run()
    assert len(bank.stored()) == 4
    done = bank.run(*batch, ledger=bank.ledger())
    assert answers(tried) == answers(done)
    assert answers(done) == ["recorded", "recorded", "hold_already_captured", "recorded"]
    assert [item.position for item in tried[:2]] == [item.position for item in done[:2]]


def test_holds_cross_from_one_writer_to_the_other(bank: World) -> None:
    """Placed by one, captured in part by the other, voided by the first; with views at any age."""
    writers = [bank.main, bank.ledger()]
    for limit in range(6):
        name, (one, two) = f"h{limit}", writers
        bank.run(held("A", "B", 60, name, key=f"p{limit}", multi_capture=True), ledger=one)
        runner.advance(bank.projector, bank.ledger_id, limit=limit + 1)
        assert answers(bank.run(captured(name, 61, key="over"), ledger=two)) == ["exceeds_hold"]
        bank.run(captured(name, 20, key=f"c{limit}"), ledger=two)
        assert answers(bank.run(captured(name, 41, key="over"), ledger=one)) == ["exceeds_hold"]
        writers[1].close()
        assert answers(bank.run(voided(name, key=f"v{limit}"), ledger=one)) == ["recorded"]
        assert answers(bank.run(voided(name, key="again"), ledger=two)) == ["hold_already_voided"]
        writers.reverse()
    assert bank.posted("A", "B") == [1_000 - 6 * 20, 6 * 20]
    assert verify(bank.projector, bank.ledger_id).ok


# Views ------------------------------------------------------------------------------------------


def test_the_views_hold_what_the_log_says(bank: World) -> None:
    """Every hold as its row, every change of what is held as a line on both accounts."""
    bank.run(opened("C", key="c"))
    bank.run(
        held("A", "B", 60, key="1", timeout_s=600, multi_capture=True),
        captured("H", 20, key="2"),
        held("A", "C", 30, "I", key="3"),
        captured("I", 10, key="4"),
        held("C", "A", 10, "J", key="5"),
        voided("J", key="6"),
    )
    bank.now = DUE
    bank.run()
    position = bank.catch_up()
    stored = snapshots.load_kept(
        bank.writer, bank.ledger_id, [("hold", name) for name in ("H", "I", "J")]
    )
    assert dict(stored) == {("hold", name): hold for name, hold in _holds(bank).items()}
    rows = bank.writer.execute(
        "SELECT kept_id, status, due_at, tags, position, last_position FROM views.kept"
        " WHERE ledger_id = %s AND kind = 'hold' ORDER BY kept_id",
        (bank.ledger_id,),
    ).fetchall()
    assert rows == [
        ("H", "expired", None, ["account:A", "account:B"], 6, position),
        ("I", "captured", None, ["account:A", "account:C"], 8, 9),
        ("J", "voided", None, ["account:C", "account:A"], 10, 11),
    ]
    lines = bank.writer.execute(
        "SELECT position, side, change_minor, debits_held_after_minor, credits_held_after_minor,"
        " due_at IS NULL FROM views.held_lines JOIN views.accounts USING (ledger_id, account_no)"
        " WHERE ledger_id = %s AND account_id = 'A' ORDER BY position",
        (bank.ledger_id,),
    ).fetchall()
    assert [tuple(row) for row in lines] == [
        (6, "D", 60, 60, 0, True),
        (7, "D", -20, 40, 0, True),
        (8, "D", 30, 70, 0, True),
        (9, "D", -30, 40, 0, True),
        (10, "C", 10, 40, 10, True),
        (11, "C", -10, 40, 0, True),
        (12, "D", -40, 0, 0, False),
    ]


@pytest.mark.parametrize("name", ["kept", "balances", "statements"])
def test_a_rebuild_of_holds_changes_nothing(bank: World, name: str) -> None:
    """The rebuilt rows are the live ones, open holds and resolved ones alike."""
    bank.run(
        held("A", "B", 60, key="1", timeout_s=600),
        held("A", "B", 60, "I", key="2"),
        captured("I", 20, key="3"),
    )
    bank.catch_up()
    assert not runner.rebuild(bank.projector, bank.ledger_id, name).differences
    bank.now = DUE
    assert answers(bank.run(captured("H", key="4"), ledger=bank.ledger())) == ["hold_expired"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("kept SET state = replace(state::text, '\"open\"', '\"voided\"')::json", "kept"),
        ("kept SET due_at = due_at + interval '1 day'", "kept"),
        ("accounts SET debits_held_minor = 0", "accounts"),
        ("held_lines SET change_minor = change_minor + 1", "held_lines"),
    ],
)
def test_a_changed_hold_is_found(bank: World, superuser_url: str, change: str, kind: str) -> None:
    """Verification names the view that was tampered with."""
    bank.run(held("A", "B", 60, key="1", timeout_s=600))
    bank.catch_up()
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        assert superuser.execute(f"UPDATE views.{change}".encode()).rowcount
    verdict = verify(bank.projector, bank.ledger_id)
    assert {finding.kind for finding in verdict.findings} == {kind}


def test_the_log_says_who_placed_what(bank: World) -> None:
    """A hold placed is found by its accounts, its id, its code and its metadata."""
    bank.run(held("A", "B", 60, key="1", code="rent", metadata={"n": "v"}), actor="key:ann")
    [stored] = bank.stored()[4:]
    assert (stored.type, stored.actor, stored.command_key) == ("HoldPlaced", "key:ann", "1")
    assert set(stored.tags) == {"account:A", "account:B", "hold:H", "code:rent", "metadata:n=v"}
    assert isinstance(bank.events(4)[0], HoldPlaced)
