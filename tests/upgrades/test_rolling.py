"""From the version before to this one without a pause: side by side, then the new one alone."""

import io
import json
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import databases
from tests.upgrades.conftest import EmptyDatabase
from tests.upgrades.keep import LOGS, ROOT

from ledger_core.database import connect
from projections.verification import verify

BEFORE = "0.5.0"
STARTUP_S = 100.0
CLIENTS = 3
ENOUGH = 40


class _Side:
    """One version of the program on the database that both share."""

    def __init__(self, source: Path, owner_url: str, data_dir: Path) -> None:
        """Nothing is started."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self._data_dir = data_dir
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(source / "src"),
            "LEDGER_DATA_DIR": str(data_dir),
            "LEDGER_DATABASE_URL": databases.program_of(owner_url),
            "LEDGER_MIGRATION_URL": owner_url,
        }

    def run(self, *arguments: str) -> str:
        """Run a command of the program; what it printed."""
        return subprocess.run(
            [sys.executable, "-m", "api.cli", *arguments],
            env=self._environment,
            cwd=self._data_dir,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """A server that is ready; killed if it was not stopped by then."""
        with (self._data_dir / f"{self.port}.log").open("wb") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "api.cli", "serve", "--port", str(self.port)],
                env=self._environment,
                cwd=self._data_dir,
                stdout=told,
                stderr=told,
            )
        try:
            self._wait(process)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the server is ready."""
        deadline = time.monotonic() + STARTUP_S
        while time.monotonic() < deadline:
            assert process.poll() is None, (self._data_dir / f"{self.port}.log").read_text()
            try:
                with urllib.request.urlopen(self.address + "/readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        pytest.fail("the server did not become ready")


class _Clients:
    """Threads that send transfers to whichever servers there are, each until it is answered."""

    def __init__(self, key: str, servers: list[str]) -> None:
        """Begin; ``servers`` may be changed meanwhile."""
        self.servers = servers
        self.recorded: dict[str, int] = {}
        self.wrong: list[tuple[int, bytes]] = []
        self._key = key
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more; whatever was begun is answered first."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self) -> None:
        """Wait until quite some more were answered."""
        goal = len(self.recorded) + ENOUGH
        deadline = time.monotonic() + STARTUP_S
        while len(self.recorded) < goal:
            assert time.monotonic() < deadline, f"stuck at {len(self.recorded)}: {self.wrong}"
            time.sleep(0.02)

    def _send_all(self, client: int) -> None:
        """One transfer after the other."""
        number = 0
        while not self._stopping.is_set():
            number += 1
            key = f"client-{client}-{number}"
            self.recorded[key] = self._send(key, number)

    def _send(self, key: str, number: int) -> int:
        """Send it until it is answered, by one server or another; its position."""
        body = json.dumps(
            {
                "debit_account_id": f"a{number % 2}",
                "credit_account_id": f"a{1 - number % 2}",
                "amount": "1",
                "currency": "EUR",
            }
        ).encode()
        for attempt in range(10_000):
            try:
                return int(post(self.servers[attempt % len(self.servers)], self._key, key, body))
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    self.wrong.append((error.code, error.read()))
                    raise
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(key)


def post(address: str, api_key: str, key: str, body: bytes, path: str = "/v1/transfers") -> int:
    """Post a command; the position of its event."""
    request = urllib.request.Request(
        address + path,
        data=body,
        headers={
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        told: dict[str, Any] = json.loads(answer.read())
    return int(told["position"])


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The source of the version before, out of this repository's history."""
    commit = json.loads((LOGS / BEFORE / "kept.json").read_text())["commit"]
    made = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "src", "migrations"],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"this checkout has no history: {commit} ({BEFORE}) is not there")
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.timeout(400)
def test_servers_are_replaced_one_by_one(
    empty_database: EmptyDatabase, before: Path, tmp_path: Path
) -> None:
    """Old, old and new (which migrates under load), new: nothing is lost, doubled or refused."""
    old = _Side(before, empty_database.url, tmp_path)
    new = _Side(ROOT, empty_database.url, tmp_path)
    old.run("migrate")
    api_key = old.run("keys", "create", "admin").splitlines()[0]
    with old.serving() as old_server:
        for name in ("a0", "a1"):
            body = json.dumps({"account_id": name, "currency": "EUR", "limit": None}).encode()
            post(old.address, api_key, f"open-{name}", body, "/v1/accounts")
        clients = _Clients(api_key, [old.address])
        try:
            clients.wait_for_more()
            assert _schema(empty_database.url) == "0018"
            with new.serving() as new_server:
                assert _schema(empty_database.url) > "0018"
                clients.wait_for_more()
                clients.servers = [old.address, new.address]
                clients.wait_for_more()
                clients.servers = [new.address, old.address]
                clients.wait_for_more()
                old_server.send_signal(signal.SIGTERM)
                assert old_server.wait(STARTUP_S) == 0
                clients.wait_for_more()
                clients.servers = [new.address]
                clients.wait_for_more()
                clients.stop()
                new_server.send_signal(signal.SIGTERM)
                assert new_server.wait(STARTUP_S) == 0
        finally:
            clients.stop()
    assert not clients.wrong
    with connect(databases.program_of(empty_database.url), "ledger_projector") as connection:
        rows = connection.execute(
            "SELECT command_key, position FROM ledger.events WHERE type = 'JournalEntryPosted'"
        ).fetchall()
        verdict = verify(connection, 1)
    assert dict(rows) == clients.recorded
    assert len(rows) == len(clients.recorded)
    assert verdict.ok, verdict.findings


def _schema(url: str) -> str:
    """The revision that the database stands at."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert row is not None
    return str(row[0])
