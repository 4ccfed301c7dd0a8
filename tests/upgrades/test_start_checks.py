"""What a program refuses to begin on: a damaged end of a log, another's database, a newer one."""

from functools import partial

import psycopg
import pytest
from tests.imports.conftest import Run
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened

from api import migrations, start_checks
from api.migrations import SchemaError
from api.start_checks import DamagedLogError, ForeignDatabaseError
from ledger_core import log
from ledger_core.database import connect
from projections import runner

EVENTS = 37
# 37 is 32, 4 and 1: nodes of the tree on three levels.
DAMAGES = {
    "a head behind the log": "UPDATE ledger.heads SET position = 36",
    "a head ahead of the log": "UPDATE ledger.heads SET position = 38",
    "the last event gone": "DELETE FROM ledger.events WHERE position = 37",
    "the last two events gone": "DELETE FROM ledger.events WHERE position >= 36",
    "an event gone before the last": "DELETE FROM ledger.events WHERE position = 30",
    "another actor": "UPDATE ledger.events SET actor = 'mallory' WHERE position = 37",
    "another actor before": "UPDATE ledger.events SET actor = 'mallory' WHERE position = 3",
    "another account": (
        "UPDATE ledger.events SET data = replace(data::text, '\"A\"', '\"B\"')::json"
        " WHERE position = 11"
    ),
    "another leaf": "UPDATE ledger.events SET leaf_hash = sha256('') WHERE position = 20",
    "another time of the head": "UPDATE ledger.heads SET recorded_at = now()",
    "another node of the tree": (
        "UPDATE ledger.heads SET frontier = overlay(frontier placing sha256('') from 41)"
    ),
    "a view ahead of the log": (
        "UPDATE views.projections SET position = 38 WHERE name = 'balances' AND live"
    ),
}


@pytest.fixture
def long(world: World) -> World:
    """A log of 37 events, which the views have taken in."""
    world.run(opened("A", key="open"))
    for number in range(1, EVENTS + 1):
        world.run(deposited("A", number, key=f"deposit-{number}"))
        if _position(world) == EVENTS:
            break
    with connect(world.url, "ledger_projector") as connection:
        runner.catch_up(connection, world.ledger_id)
    return world


def test_a_whole_log_may_be_gone_on_with(world: World) -> None:
    """Whatever its length, and however little of it is looked at."""
    _require_whole(world.url)
    for number in range(20):
        world.run(opened(f"A{number}", key=f"open-{number}"))
        _require_whole(world.url)
        _require_whole(world.url, most=1 + number % 5)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_end_is_refused(long: World, superuser_url: str, damage: str) -> None:
    """Nothing is written to it; the message names the ledger and says what to do."""
    _require_whole(long.url)
    with psycopg.connect(superuser_url) as superuser:
        superuser.execute(DAMAGES[damage])
    with pytest.raises(DamagedLogError, match=r"Ledger 'test' is damaged: .*ledger verify") as told:
        _require_whole(long.url)
    assert "mallory" not in str(told.value)


def test_the_command_line_says_so(run: Run, owner_url: str, superuser_url: str) -> None:
    """``load`` writes nothing and ends with one sentence; ``verify`` still looks."""
    line = '{"type": "open_account", "key": "%s", "account_id": "%s", "currency": "EUR"}\n'
    assert run("load", "-", stdin=line % ("one", "A"))[0] == 0
    with psycopg.connect(superuser_url) as superuser:
        superuser.execute("UPDATE ledger.events SET actor = 'mallory'")
    code, printed, problems = run("load", "-", stdin=line % ("two", "B"))
    assert (code, printed) == (1, "")
    assert "event 1 is not what was sealed" in problems
    with psycopg.connect(owner_url) as owner:
        assert owner.execute("SELECT position FROM ledger.heads").fetchone() == (1,)
    assert run("verify")[0] == 1


def test_a_database_keeps_to_its_secret(database_url: str) -> None:
    """The first makes it its own; another is refused until it is adopted."""
    with connect(database_url, "ledger_writer") as connection:
        start_checks.require_own(connection, b"1" * 32)
        start_checks.require_own(connection, b"1" * 32)
        with pytest.raises(ForeignDatabaseError, match="another server secret"):
            start_checks.require_own(connection, b"2" * 32)
        assert start_checks.adopt(connection, b"2" * 32)
        assert not start_checks.adopt(connection, b"2" * 32)
        start_checks.require_own(connection, b"2" * 32)
        with pytest.raises(ForeignDatabaseError):
            start_checks.require_own(connection, b"1" * 32)


def test_the_command_line_adopts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are made with the secret that belongs to the database, or not at all."""
    assert run("migrate")[0] == 0
    assert run("keys", "create", "admin")[0] == 0
    monkeypatch.setenv("LEDGER_SERVER_SECRET", "Mg" * 21 + "M=")
    code, printed, problems = run("keys", "create", "admin")
    assert (code, printed) == (1, "")
    assert "ledger keystore adopt" in problems
    assert run("keystore", "adopt")[0] == 0
    assert run("keys", "create", "admin")[0] == 0


@pytest.mark.parametrize(
    ("stands_at", "works_from", "is_taken"),
    [("9001", "9000", False), ("9001", "0018", True), ("9001", "9001", False)],
)
def test_a_newer_schema(
    owner_url: str, database_url: str, stands_at: str, works_from: str, *, is_taken: bool
) -> None:
    """It is worked on where it says so, else refused in one sentence; never migrated back."""
    with psycopg.connect(owner_url) as owner:
        owner.execute("UPDATE alembic_version SET version_num = %s", (stands_at,))
        owner.execute("UPDATE ledger.compatibility SET works_from = %s", (works_from,))
    attempts = [
        partial(migrations.bring_up, database_url, owner_url),
        partial(migrations.bring_up, database_url, None),
        partial(migrations.upgrade, owner_url),
    ]
    for attempt in attempts:
        if is_taken:
            attempt()
        else:
            with pytest.raises(SchemaError, match="newer version of ledger-core"):
                attempt()
    with psycopg.connect(owner_url) as owner:
        assert owner.execute("SELECT version_num FROM alembic_version").fetchone() == (stands_at,)


def test_a_newer_schema_that_says_nothing(owner_url: str, database_url: str) -> None:
    """Of a version that no longer has the table: refused."""
    with psycopg.connect(owner_url) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '9001'")
        owner.execute("DROP TABLE ledger.compatibility")
    with pytest.raises(SchemaError, match="newer version of ledger-core"):
        migrations.bring_up(database_url, owner_url)


def _position(world: World) -> int:
    """Where the log ends."""
    with connect(world.url, "ledger_reader") as connection:
        return log.read_head(connection, world.ledger_id).position


def _require_whole(url: str, most: int = start_checks.TAIL_EVENTS) -> None:
    """What is asked before anything is written."""
    with connect(url, "ledger_reader") as connection:
        start_checks.require_whole(connection, most)
