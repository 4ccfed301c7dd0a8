"""The drill: backup under load, more load, everything lost but the backup; then back."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.backup.clients import ACCOUNTS, Clients, accounts
from tests.backup.pair import wait_for
from tests.faults.program import Program, kill

from api.backup_store import Store

pytestmark = pytest.mark.xdist_group("backup")

ENOUGH = 60


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program on the embedded server, with a folder of backups and checkpoints elsewhere."""
    program = Program(tmp_path_factory.mktemp("drill") / "data")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    program.environment["LEDGER_BACKUP_DIR"] = str(elsewhere / "backups")
    program.environment["LEDGER_CHECKPOINT_FILE"] = str(elsewhere / "kept.txt")
    yield program
    program.run("stop")


def _is_received(url: str) -> bool:
    """Whether the receiver has all of the log that there is."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT active AND restart_lsn >= pg_current_wal_flush_lsn() FROM pg_replication_slots"
        ).fetchone()
    return row is not None and bool(row[0])


def _net(program: Program) -> dict[str, int]:
    """Debits minus credits of each account, in minor units."""
    return {
        item["account_id"]: int(item["debits_posted_minor"]) - int(item["credits_posted_minor"])
        for item in program.answer("balances")["balances"]
    }


@pytest.mark.timeout(240)
def test_everything_acknowledged_comes_back(program: Program, tmp_path: Path) -> None:
    """The disk is gone; what was received, and keys and checkpoints kept apart, are enough."""
    lines = tmp_path / "accounts.jsonl"
    lines.write_text(accounts())
    program.run("load", str(lines))
    key = program.run("keys", "create", "admin").strip()
    server = program.serve()
    clients = Clients(program.port, key)
    wait_for(lambda: len(clients.acknowledged) >= ENOUGH, "payments before")
    made = program.answer("backup")
    soon = len(clients.acknowledged) + ENOUGH
    wait_for(lambda: len(clients.acknowledged) >= soon, "payments after")
    clients.stop()
    position = max(clients.acknowledged.values())
    url = program.run("database-url", "--login", "superuser").strip()
    wait_for(lambda: _is_received(url), "the log is received")
    notes = Path(program.environment["LEDGER_CHECKPOINT_FILE"])
    wait_for(lambda: f"\n{position}\n" in notes.read_text(), "the checkpoint is published")
    keys = tmp_path / "kept-keys"
    shutil.copytree(program.data_dir / "keys", keys)
    kill(server)
    os.kill(program.postmaster(), signal.SIGKILL)
    shutil.rmtree(program.data_dir, ignore_errors=True)

    assert "whole" in program.run("backup", "verify")
    restored = tmp_path / "new"
    report = program.answer("restore", "--into", str(restored), "--keys", str(keys))
    assert report["backup"] == made["name"]
    assert report["ledgers"][0]["position"] == position
    program.data_dir = restored
    program.environment["LEDGER_DATA_DIR"] = str(restored)
    verdict = program.answer("verify", "--checkpoint", str(notes))
    assert (verdict["ok"], verdict["findings"]) == (True, [])
    assert verdict["checkpoint"]["agreed_size"] == position
    assert _net(program) == _expected(clients)

    # It goes on where it was, and into a series of its own.
    again = program.answer("backup")
    assert again["series"] != made["series"]
    program.run("backup", "prune", "--keep-days", "0")
    store = Store(Path(program.environment["LEDGER_BACKUP_DIR"]))
    assert [record.name for record in store.records()] == [again["name"]]
    assert store.series() == [again["series"]]
    report = program.answer("restore", "--into", str(tmp_path / "third"), "--keys", str(keys))
    assert report["ledgers"][0]["position"] == position
    assert report["damage"] == []


def _expected(clients: Clients) -> dict[str, int]:
    """What the payments come to that were acknowledged."""
    net = {f"a{number}": 0 for number in range(ACCOUNTS)}
    for key in clients.acknowledged:
        _, client, number = key.split("-")
        amount, place = 1 + int(number) % 97, int(client) + int(number)
        net[f"a{place % ACCOUNTS}"] += amount
        net[f"a{(place + 1) % ACCOUNTS}"] -= amount
    return net


def test_without_a_folder_it_is_said_how_to_name_one(program: Program) -> None:
    """And a managed server has its own way."""
    del program.environment["LEDGER_BACKUP_DIR"]
    for command in (("backup",), ("backup", "list"), ("restore", "--into", "nowhere")):
        process = program.start(*command)
        _, told = process.communicate(timeout=60)
        assert (process.returncode, told.count(b"\n")) == (1, 1)
        assert b"LEDGER_BACKUP_DIR" in told
