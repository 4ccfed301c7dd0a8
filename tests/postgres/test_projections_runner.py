"""The runner: one transaction a batch, nothing skipped, nothing twice, whoever else runs."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from tests.postgres.ledger_harness import World
from tests.rules.harness import captured, deposited, held, opened, transfer

from ledger_core.errors import LedgerNotFound, ValidationFailed
from ledger_core.events import UnknownEvent
from ledger_core.log import Connection
from ledger_core.risk_rules import SetRiskRule
from projections import batches, memory, runner
from projections.folding import UnfoldableError
from projections.registry import NAMES
from projections.verification import verify


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A ledger with two accounts and some money; nothing is projected yet."""
    with World(database_url) as world:
        world.run(opened("A", key="a"), opened("B", key="b"), deposited("A", 100_000, key="d"))
        yield world


def _transfers(world: World, count: int, name: str = "t") -> int:
    """Make transfers to and fro; the last position."""
    pairs = [("B", "A") if number % 2 else ("A", "B") for number in range(count)]
    commands = [
        transfer(debit, credit, 1, key=f"{name}{number}")
        for number, (debit, credit) in enumerate(pairs)
    ]
    return world.run(*commands)[-1].position


def _stands(world: World) -> set[int]:
    """The positions at which the projections stand."""
    return {at for at, _ in runner.positions(world.projector, world.ledger_id).values()}


def test_a_batch_moves_all_projections_and_their_positions_together(world: World) -> None:
    """Each position comes with the time of its event."""
    head = _transfers(world, 10)
    assert runner.advance(world.projector, world.ledger_id, limit=3) == 3
    standing = runner.positions(world.projector, world.ledger_id)
    assert standing.keys() == NAMES
    assert set(standing.values()) == {(3, world.stored()[2].recorded_at)}
    assert runner.catch_up(world.projector, world.ledger_id) == head
    assert runner.advance(world.projector, world.ledger_id) == 0
    assert verify(world.projector, world.ledger_id).ok


def test_progress_is_told_up_to_the_goal(world: World) -> None:
    """A goal short of the head is reached, if not passed."""
    told: list[tuple[int, int]] = []
    reached = runner.catch_up(
        world.projector,
        world.ledger_id,
        to_position=2,
        progress=lambda done, goal: told.append((done, goal)),
    )
    assert reached >= 2
    assert told == [(0, 2), (2, 2)]


def test_an_unknown_event_stops_the_projections_where_they_are(
    world: World, superuser_url: str
) -> None:
    """It raises, every time, and no row of the batch is left."""
    world.catch_up()
    before = _stands(world)
    position = _transfers(world, 5)
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute("UPDATE ledger.events SET version = 99 WHERE position = %s", (position,))
        cache = runner.RunnerCache()
        for _ in range(2):
            with pytest.raises(UnknownEvent):
                runner.advance(world.projector, world.ledger_id, cache=cache)
            assert _stands(world) == before
        superuser.execute("UPDATE ledger.events SET version = 1 WHERE position = %s", (position,))
    assert runner.advance(world.projector, world.ledger_id, cache=cache) == 5
    assert verify(world.projector, world.ledger_id).ok


def test_an_event_on_an_account_that_was_never_opened_stops_them(
    world: World, superuser_url: str
) -> None:
    """So does a gap in the positions, also where a whole part is missing."""
    position = _transfers(world, 1)
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(
            "UPDATE ledger.events SET data = replace(data::text, '\"B\"', '\"X\"')::json"
            " WHERE position = %s",
            (position,),
        )
        with pytest.raises(UnfoldableError, match="X was never opened"):
            world.catch_up()
        superuser.execute("DELETE FROM ledger.events WHERE position = 2")
        with pytest.raises(UnfoldableError, match="position 2 was expected"):
            world.catch_up()
        superuser.execute("DELETE FROM ledger.events WHERE position < 3")
        with pytest.raises(UnfoldableError, match="position 1 was expected"):
            runner.advance(world.projector, world.ledger_id, limit=2)
    assert _stands(world) == {0}


def test_two_runners_side_by_side_take_each_event_once(world: World) -> None:
    """They wait for each other, and find out what the other did."""
    head = _transfers(world, 60)
    other = world.connect("ledger_projector")

    def run(connection: Connection) -> int:
        cache, taken = runner.RunnerCache(), 0
        while advanced := runner.advance(connection, world.ledger_id, limit=4, cache=cache):
            taken += advanced
        return taken

    with ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(run, [world.projector, other]))
    assert sum(taken) == head
    assert verify(world.projector, world.ledger_id).ok


@pytest.mark.parametrize(("most", "packed_most"), [(0, 0), (0, 100), (10, 0)])
def test_what_a_runner_forgets_it_reads_back(
    world: World, monkeypatch: pytest.MonkeyPatch, most: int, packed_most: int
) -> None:
    """Accounts, activities, movements and flags: bounded memory changes no view."""
    for bound in ("ACCOUNTS_MAX", "ACTIVITIES_MAX", "MOVEMENTS_MAX", "RAISED_MAX", "STATES_MAX"):
        monkeypatch.setattr(memory, bound, most)
    monkeypatch.setattr(memory, "PACKED_MAX", packed_most)
    world.run(SetRiskRule(key="v", rule="velocity", parameters={"count": 7}))
    head = _transfers(world, 60)
    cache = runner.RunnerCache()
    while runner.advance(world.projector, world.ledger_id, limit=7, cache=cache):
        pass
    assert _stands(world) == {head}
    assert world.count("SELECT count(*) FROM views.risk_flags WHERE rule = 'velocity'") == 2
    assert verify(world.projector, world.ledger_id).ok


@pytest.mark.parametrize(("characters", "batches_min"), [(10**6, 1), (1_000, 2), (1, 60)])
def test_a_batch_is_taken_in_by_parts_and_bounded_by_its_size(
    world: World, monkeypatch: pytest.MonkeyPatch, characters: int, batches_min: int
) -> None:
    """However it is cut, the views are the same; an account that several parts change, too."""
    world.catch_up()
    monkeypatch.setattr(batches, "PART_EVENTS_MAX", 7)
    monkeypatch.setattr(batches, "PART_CHARACTERS", characters)
    monkeypatch.setattr(batches, "BATCH_CHARACTERS_MAX", 8 * characters)
    monkeypatch.setattr(memory, "ACTIVITIES_MAX", 0)
    _transfers(world, 30)
    world.run(held("A", "B", 7, "H", key="h"), captured("H", key="c"))
    head = _transfers(world, 30, "later")
    cache = runner.RunnerCache()
    steps = [runner.advance(world.projector, world.ledger_id, limit=2, cache=cache)]
    while step := runner.advance(world.projector, world.ledger_id, cache=cache):
        steps.append(step)
    assert (steps[0], sum(steps), _stands(world)) == (2, 62, {head})
    assert batches_min <= len(steps) - 1 <= 2 * batches_min
    assert verify(world.projector, world.ledger_id).ok


def test_projections_are_rebuilt_together(world: World) -> None:
    """From one reading; each is compared, each swapped, and what differed is repaired."""
    _transfers(world, 40)
    world.run(held("A", "B", 7, "H", key="h"))
    head = world.catch_up()
    world.projector.execute("UPDATE views.statement_lines SET kind = 'deposit' WHERE position = 9")
    told: list[int] = []
    names = sorted(NAMES)
    reports = runner.rebuild_all(
        world.projector, world.ledger_id, names, lambda done, _: told.append(done)
    )
    assert [(report.name, report.events, report.swapped) for report in reports] == [
        (name, head, True) for name in names
    ]
    wrong = {report.name: report.differing_rows for report in reports if report.differing_rows}
    assert wrong == {"statements": 2}
    assert told == [head]
    assert world.count("SELECT count(*) FROM views.projections WHERE live AND slot = 1") == 7
    assert world.count("SELECT count(*) FROM views.accounts WHERE slot = 0") == 0
    _transfers(world, 3, "after")
    world.catch_up()
    assert verify(world.projector, world.ledger_id).ok


def test_projections_at_two_positions_are_rebuilt_each_to_its_own(world: World) -> None:
    """Two readings then; none is brought further than it stood."""
    head = _transfers(world, 12)
    world.catch_up()
    behind = next(item for item in runner.PROJECTIONS if item.name == "trial_balance")
    world.projector.execute(f"DELETE FROM {behind.tables[0].fullname}".encode())
    world.projector.execute("DELETE FROM views.projections WHERE name = 'trial_balance'")
    runner.ensure_registered(world.projector, world.ledger_id)
    runner.advance(world.projector, world.ledger_id, limit=7)
    reports = runner.rebuild_all(world.projector, world.ledger_id, sorted(NAMES))
    assert {report.name: report.events for report in reports} == {
        **dict.fromkeys(NAMES, head),
        "trial_balance": 7,
    }
    assert not any(report.differing_rows for report in reports)
    world.catch_up()
    assert verify(world.projector, world.ledger_id).ok


def test_a_projection_that_is_behind_catches_up_from_the_log(world: World) -> None:
    """One that is new, and one that was left half way, while the others are at the head."""
    head = _transfers(world, 12)
    world.catch_up()
    for name in sorted(NAMES):
        projection = next(item for item in runner.PROJECTIONS if item.name == name)
        for table in projection.tables:
            world.projector.execute(f"DELETE FROM {table.fullname}".encode())
        world.projector.execute("DELETE FROM views.projections WHERE name = %s", (name,))
        runner.ensure_registered(world.projector, world.ledger_id)
        assert runner.advance(world.projector, world.ledger_id, limit=7) == 7
        assert _stands(world) == {7, head}
        assert world.catch_up() == head
        assert verify(world.projector, world.ledger_id).ok


def test_a_rebuild_repairs_a_damaged_view_and_says_what_was_wrong(world: World) -> None:
    """The swapped version is right; the damaged one is gone."""
    _transfers(world, 4)
    world.catch_up()
    world.projector.execute("UPDATE views.accounts SET limit_minor = 7 WHERE account_id = 'B'")
    world.projector.execute("DELETE FROM views.accounts WHERE account_id = 'A'")
    told: list[int] = []
    report = runner.rebuild(
        world.projector, world.ledger_id, "balances", lambda done, _: told.append(done)
    )
    assert (report.name, report.events, report.swapped) == ("balances", 8, True)
    assert report.differing_rows == len(report.differences) == 2
    missing, wrong = report.differences
    assert (missing.table, missing.live) == ("accounts", None)
    assert '"limit_minor" : 7' in (wrong.live or "")
    assert str(wrong).startswith("accounts: live {")
    assert told == [8]
    assert verify(world.projector, world.ledger_id).ok
    assert world.count("SELECT count(*) FROM views.accounts") == 3
    assert world.count("SELECT count(*) FROM views.projections") == len(NAMES)
    again = runner.rebuild(world.projector, world.ledger_id, "balances")
    assert again.differences == ()


def test_a_rebuild_that_was_broken_off_begins_again(world: World) -> None:
    """What it left behind is no part of the next one."""
    head = _transfers(world, 4)
    world.catch_up()
    world.projector.execute(
        "INSERT INTO views.projections VALUES (%s, 'trial_balance', 1, 3, NULL, false)",
        (world.ledger_id,),
    )
    world.projector.execute(
        "INSERT INTO views.trial_balance VALUES (%s, 1, 'EUR', 'asset', 1, 2, 3)",
        (world.ledger_id,),
    )
    report = runner.rebuild(world.projector, world.ledger_id, "trial_balance")
    assert (report.events, report.differences) == (head, ())
    assert verify(world.projector, world.ledger_id).ok


def test_all_projections_can_be_rebuilt_while_the_ledger_is_written(world: World) -> None:
    """The live ones go on meanwhile, and nothing is lost or counted twice."""
    stop = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        following = pool.submit(runner.run_forever, world.url, stop)
        writing = pool.submit(
            lambda: [_transfers(world, 20, f"w{number}-") for number in range(20)]
        )
        try:
            for name in sorted(NAMES):
                report = runner.rebuild(world.projector, world.ledger_id, name)
                assert report.differences == (), name
            writing.result()
        finally:
            stop.set()
        following.result()
    assert verify(world.projector, world.ledger_id).ok


def test_run_forever_follows_every_ledger_and_survives_a_lost_connection(
    world: World, superuser_url: str
) -> None:
    """Ledgers made meanwhile are followed too; it ends when it is told to."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(superuser_url, autocommit=True) as boss:
        following = pool.submit(runner.run_forever, world.url, stop)
        try:
            _await(world, _transfers(world, 3))
            boss.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> %s"
                " AND datname = current_database() AND pid NOT IN (%s, %s)",
                (boss.info.backend_pid, *_pids(world)),
            )
            with World(world.url, "second") as second:
                _await(second, second.run(opened("Z", key="z"))[0].position)
            _await(world, _transfers(world, 3, "after"))
        finally:
            stop.set()
        following.result()
    assert verify(world.projector, world.ledger_id).ok


def _pids(world: World) -> tuple[int, int]:
    """The server processes that the test itself needs."""
    world.main.close()
    return world.writer.info.backend_pid, world.projector.info.backend_pid


def _await(world: World, position: int) -> None:
    """Wait until every projection has reached a position, for as long as a test may take."""
    waiting = threading.Event()
    while min(_stands(world)) < position:
        waiting.wait(0.01)


def test_what_does_not_exist_is_refused(world: World) -> None:
    """An unknown ledger is not registered, an unknown projection not rebuilt."""
    with pytest.raises(LedgerNotFound):
        runner.catch_up(world.projector, world.ledger_id + 1)
    with pytest.raises(ValidationFailed):
        runner.rebuild(world.projector, world.ledger_id, "nonsense")
    assert world.count("SELECT count(*) FROM views.projections") == len(NAMES)


def test_only_the_projector_writes_views_and_it_writes_nothing_else(world: World) -> None:
    """The grants of the migration."""
    world.catch_up()
    for connection in (world.connect("ledger_reader"), world.connect("ledger_writer")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE views.accounts SET debits_posted_minor = 0")
    for statement in (
        b"UPDATE ledger.heads SET position = 1",
        b"INSERT INTO ledger.events SELECT * FROM ledger.events",
        b"TRUNCATE views.accounts",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            world.projector.execute(statement)
