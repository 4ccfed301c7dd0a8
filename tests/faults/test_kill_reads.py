"""Whatever is killed while people read, the access of every answer about a customer is there."""

import json
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from tests.faults.program import Program, kill

from ledger_core import database

READERS = 6
ENOUGH = 150
REQUEST_S = 5.0


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program on an empty folder; its PostgreSQL is stopped at the end."""
    running = Program(tmp_path_factory.mktemp("kill-reads"))
    yield running
    running.run("stop")


class _Readers:
    """Threads that read the same addresses, and what each request that was answered was called."""

    def __init__(self, program: Program, key: str, paths: list[str]) -> None:
        """Begin to read, each one thing after the other, until the first failure after enough."""
        self.answered: set[str] = set()
        self.has_enough = threading.Event()
        self._address = f"http://127.0.0.1:{program.port}"
        self._key = key
        self._threads = [
            threading.Thread(target=self._read, args=(name, paths)) for name in range(READERS)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until nobody reads any more."""
        for thread in self._threads:
            thread.join()

    def _read(self, name: int, paths: list[str]) -> None:
        """Read until that fails: the server, or what it needs, was killed."""
        number = 0
        while True:
            number += 1
            request_id = f"reader-{name}-{number:06}"
            request = urllib.request.Request(
                self._address + paths[number % len(paths)],
                headers={"Authorization": f"Bearer {self._key}", "X-Request-Id": request_id},
            )
            try:
                with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
                    answer.read()
            except OSError:
                return
            self.answered.add(request_id)
            if len(self.answered) >= ENOUGH:
                self.has_enough.set()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", ["server", "postgresql"])
def test_no_answer_without_its_access(program: Program, victim: str) -> None:
    """After kill -9: every answer that came has its access, and the log is whole."""
    program.run("migrate")
    key = program.run("keys", "create", "admin").strip()
    server = program.serve()
    post = _Poster(program, key)
    post("/v1/accounts", {"account_id": "a", "currency": "EUR"})
    post("/v1/customers", {"customer_id": "c", "profile": {"name": "Ann"}})
    position = post("/v1/accounts/a/holders", {"customer_id": "c", "role": "owner"})
    post.wait_for(position)
    # The account has a holder: the short way, too, records before it answers.
    paths = ["/v1/accounts/a", "/v1/customers/c", "/v1/accounts/a/balance", "/v1/customers"]
    readers = _Readers(program, key, paths)
    assert readers.has_enough.wait(90)
    if victim == "server":
        kill(server)
    else:
        os.kill(program.postmaster(), signal.SIGKILL)
    readers.join()
    if victim != "server":
        kill(server)

    url = program.run("database-url").strip()
    with database.connect(url, "ledger_reader") as connection:
        rows = connection.execute("SELECT request_id FROM audit.accesses").fetchall()
    recorded = {row[0] for row in rows}
    assert len(readers.answered) >= ENOUGH
    assert readers.answered <= recorded
    verdict = program.answer("verify")
    assert (verdict["ok"], verdict["accesses"]) == (True, len(rows))


class _Poster:
    """Posts commands to a server."""

    def __init__(self, program: Program, key: str) -> None:
        """With that key."""
        self._address = f"http://127.0.0.1:{program.port}"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __call__(self, path: str, body: dict[str, object]) -> int:
        """Post a command; the position of its event."""
        request = urllib.request.Request(
            self._address + path,
            data=json.dumps(body).encode(),
            headers={**self._headers, "Idempotency-Key": path},
        )
        with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
            position: int = json.loads(answer.read())["position"]
            return position

    def wait_for(self, position: int) -> None:
        """Wait until the views have that position."""
        request = urllib.request.Request(
            f"{self._address}/v1/info?min_position={position}&wait_s=30", headers=self._headers
        )
        with urllib.request.urlopen(request, timeout=40):
            pass
