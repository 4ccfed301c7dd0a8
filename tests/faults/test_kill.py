"""Whatever is killed during a load, loading again leaves every command exactly once."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.program import Program, kill

from ledger_core import database

ACCOUNTS = 200
COMMANDS = 30_000


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program on an empty folder; its PostgreSQL is stopped at the end."""
    data_dir = tmp_path_factory.mktemp("kill")
    running = Program(data_dir)
    yield running
    running.run("stop")


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A file of accounts and transfers among them, some of which must be refused."""
    choose = random.Random(7)
    path = tmp_path / "commands.jsonl"
    with path.open("w") as file:
        for number in range(ACCOUNTS):
            opening = {
                "type": "open_account",
                "key": f"open-{number}",
                "account_id": f"a{number}",
                "currency": "EUR",
                "limit": None,
            }
            file.write(json.dumps(opening) + "\n")
        for number in range(COMMANDS - ACCOUNTS):
            debit, credit = choose.sample(range(ACCOUNTS), 2)
            transfer = {
                "type": "transfer",
                "key": f"transfer-{number}",
                "debit_account_id": f"a{debit}",
                "credit_account_id": f"a{credit}",
                "amount": str(1 + number % 997),
                "currency": "EUR",
            }
            file.write(json.dumps(transfer) + "\n")
    return path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["server", "load", "postgresql"])
def test_every_command_counts_once_after_a_kill(
    program: Program, commands: Path, victim: str
) -> None:
    """After kill -9, restart, load again: nothing is lost or doubled, and everything verifies."""
    program.run("migrate")
    server = program.serve()
    load = program.start("load", str(commands))
    _wait_for_events(program, COMMANDS // 6)
    match victim:
        case "server":
            kill(server)
        case "load":
            kill(load)
        case _:
            os.kill(program.postmaster(), signal.SIGKILL)
    load.communicate(timeout=120)
    if victim != "server":
        kill(server)

    server = program.serve()
    report = program.answer("load", str(commands))
    assert report["refused"] == 0
    assert report["recorded"] + report["replayed"] == COMMANDS
    kill(server)

    _assert_each_once(program, commands)
    verdict = program.answer("verify")
    assert verdict["ok"], verdict["findings"]
    assert verdict["events"] == COMMANDS


def _wait_for_events(program: Program, count: int) -> None:
    """Wait until the log is at least that long."""
    url = program.run("database-url").strip()
    deadline = time.monotonic() + 60
    with database.connect(url, "ledger_reader") as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT position FROM ledger.heads").fetchone()
            if row is not None and row[0] >= count:
                return
            time.sleep(0.01)
    msg = "the load did not get going"
    raise AssertionError(msg)


def _assert_each_once(program: Program, commands: Path) -> None:
    """The log holds each key of the file exactly once, at positions without gaps."""
    url = program.run("database-url").strip()
    with database.connect(url, "ledger_reader") as connection:
        rows = connection.execute(
            "SELECT position, command_key FROM ledger.events ORDER BY position"
        ).fetchall()
    assert [row[0] for row in rows] == list(range(1, COMMANDS + 1))
    with commands.open() as file:
        assert sorted(row[1] for row in rows) == sorted(json.loads(line)["key"] for line in file)
