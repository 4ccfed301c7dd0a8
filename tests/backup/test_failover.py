"""Two PostgreSQL servers: the primary is killed under load, and the standby takes its place."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.backup.clients import Clients, accounts, post
from tests.backup.pair import Pair, wait_for
from tests.faults.program import Program, kill

from api.settings import SettingsError, load

pytestmark = pytest.mark.xdist_group("failover")

ENOUGH = 60


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A primary and a standby."""
    both = Pair(tmp_path_factory.mktemp("pair"))
    yield both
    both.close()


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, pair: Pair) -> Program:
    """The program on both, with accounts."""
    program = Program(tmp_path_factory.mktemp("failover"))
    program.environment["LEDGER_DATABASE_URL"] = pair.url()
    program.environment["LEDGER_MIGRATION_URL"] = pair.url("owner")
    program.environment["LEDGER_CHECKPOINT_FILE"] = str(tmp_path / "kept.txt")
    lines = tmp_path / "accounts.jsonl"
    lines.write_text(accounts())
    program.run("load", str(lines))
    return program


def _ready(program: Program) -> dict[str, Any]:
    """What the server says of itself; nothing while it is not there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{program.port}/readyz", timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        found = json.loads(error.read())
    except OSError:
        found = {}
    return found


@contextmanager
def _serving(program: Program) -> Iterator[None]:
    """The server, killed at the end."""
    server = program.serve()
    try:
        yield
    finally:
        kill(server)


def _log(pair: Pair) -> dict[str, int]:
    """The positions of what clients sent, by key, in the log of the new primary."""
    rows = pair.ask(
        pair.standby,
        "SELECT command_key, position FROM ledger.events WHERE command_key LIKE 'client-%'",
    )
    assert len({key for key, _ in rows}) == len(rows)
    return dict(rows)


@pytest.mark.timeout(240)
def test_nothing_acknowledged_is_lost_with_a_synchronous_standby(
    pair: Pair, program: Program, tmp_path: Path
) -> None:
    """The server finds the new primary by itself; what was unknown is resolved by key."""
    key = program.run("keys", "create", "admin").strip()
    pair.follow("on")
    with _serving(program):
        clients = Clients(program.port, key)
        wait_for(lambda: len(clients.acknowledged) >= ENOUGH, "payments before")
        pair.kill_primary()
        wait_for(lambda: clients.retried > 0, "callers notice")
        before = dict(clients.acknowledged)
        pair.promote()
        wait_for(lambda: len(clients.acknowledged) >= len(before) + ENOUGH, "payments after")
        clients.stop()
        assert _log(pair) == clients.acknowledged
        assert before.items() <= clients.acknowledged.items()
        last, notes = max(clients.acknowledged.values()), tmp_path / "kept.txt"
        wait_for(lambda: f"\n{last}\n" in notes.read_text(), "the notary signs on")
    verdict = program.answer("verify", "--checkpoint", str(notes))
    assert (verdict["ok"], verdict["findings"]) == (True, [])
    assert verdict["checkpoint"]["agreed_size"] == last


@pytest.mark.timeout(240)
def test_a_tail_that_the_standby_did_not_have_is_noticed(
    pair: Pair, program: Program, tmp_path: Path
) -> None:
    """Asynchronously, acknowledged events can be lost: nobody goes on as if nothing were."""
    key = program.run("keys", "create", "admin").strip()
    pair.follow(None)
    with _serving(program):
        address = f"http://127.0.0.1:{program.port}/v1/transfers"
        payment = {
            "debit_account_id": "a0",
            "credit_account_id": "a1",
            "amount": "5",
            "currency": "EUR",
        }
        shared = post(address, key, "client-shared", payment)
        end = f"SELECT position FROM ledger.heads WHERE position >= {shared}"
        wait_for(lambda: bool(pair.ask(pair.standby, end)), "the standby has it")
        pair.stop_standby()
        lost = post(address, key, "client-lost", payment)
        notes = tmp_path / "kept.txt"
        wait_for(lambda: f"\n{lost}\n" in notes.read_text(), "the checkpoint is published")
        pair.kill_primary()
        pair.start_standby()
        pair.promote()

        def refusal() -> str:
            """What the writer answers to another payment."""
            with pytest.raises((urllib.error.HTTPError, OSError)) as caught:
                post(address, key, "client-next", payment)
            error = caught.value
            return error.read().decode() if isinstance(error, urllib.error.HTTPError) else ""

        wait_for(lambda: "log_not_continued" in refusal(), "the writer stops")
        wait_for(lambda: _ready(program).get("notary") == "stopped", "the notary stops")
        assert _log(pair) == {"client-shared": shared}
        verdict = program.answer("verify", "--checkpoint", str(notes), code=1)
        assert verdict["findings"] == []
        assert verdict["checkpoint"]["log_size"] == shared
        assert (verdict["checkpoint"]["lost_from"], verdict["checkpoint"]["lost_to"]) == (
            shared + 1,
            lost,
        )


@pytest.mark.parametrize("form", ["{0}:5432,{1}:5433/bank", "/bank?host={0},{1}&port=5432,5433"])
def test_a_url_may_name_several_hosts(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """In both forms that libpq has."""
    url = "postgresql://app:p%40ss@" + form.format("db1", "db2")
    monkeypatch.setenv("LEDGER_DATABASE_URL", url)
    assert load().database_url == url
    monkeypatch.setenv("LEDGER_DATABASE_URL", url.replace("5433", "70000"))
    with pytest.raises(SettingsError, match="LEDGER_DATABASE_URL must have the form"):
        load()
