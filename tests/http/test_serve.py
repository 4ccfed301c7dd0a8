"""The server as a process: projector beside it, a clean end, and no orphan after kill -9."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from tests.http.bank import Json

from api.runtime import Runtime

PROGRAM = """
import sys
from pathlib import Path
from api.runtime import Runtime
from api.serve import serve
from api.settings import Settings
url, folder, port, stop_delay_s = sys.argv[1:]
settings = Settings(
    data_dir=Path(folder),
    database_url=url,
    key_encryption_key=b"K" * 32,
    server_secret=b"S" * 32,
    stop_delay_s=float(stop_delay_s),
)
with Runtime(settings) as runtime:
    serve(runtime, "127.0.0.1", int(port))
"""


class Server:
    """A server process, and how to speak to it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, key: str, log: Path) -> None:
        """Speak to a process that was started."""
        self.process = process
        self._log = log
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}
        )

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self.client.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def lines(self) -> list[Json]:
        """What server and projector have logged: every line is one JSON object."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def pids(self, event: str) -> list[int]:
        """The process ids of which that event is logged."""
        return [line["pid"] for line in self.lines() if line["event"] == event]

    def projector(self) -> int:
        """The process id of the projector, once it has started."""
        _until(lambda: self.pids("projector started"))
        return self.pids("projector started")[-1]

    def post(self, path: str, body: Json, key: str) -> httpx2.Response:
        """Post a command."""
        return self.client.post(path, json=body, headers={"Idempotency-Key": key})


@pytest.fixture
def server(runtime: Runtime, tmp_path: Path) -> Iterator[Server]:
    """A server on a port of its own."""
    with _serving(runtime, tmp_path) as server:
        yield server


@contextmanager
def _serving(runtime: Runtime, folder: Path, *, stop_delay_s: float = 0) -> Iterator[Server]:
    """A server on a port of its own, which serves on for so long when it is told to stop."""
    folder.mkdir(exist_ok=True)
    key = runtime.create_key(runtime.create_ledger("test"), "admin", "test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    source = str(Path(__file__).resolve().parents[2] / "src")
    arguments = (runtime.database_url, str(folder), str(port), str(stop_delay_s))
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            env=os.environ | {"PYTHONPATH": source},
            stderr=output,
        )
    server = Server(process, port, key, folder / "log")
    try:
        _until(server.is_ready, 90)
        yield server
    finally:
        process.kill()
        process.wait()
        server.client.close()


def _until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_what_is_posted_is_seen_and_a_signal_ends_all(server: Server) -> None:
    """Commands in, views out over a real socket; at a signal both processes end cleanly."""
    server.post("/v1/accounts", {"account_id": "a", "currency": "EUR"}, "k1")
    body = {"account_id": "a", "amount": "5", "currency": "EUR"}
    position = server.post("/v1/deposits", body, "k2").json()["position"]
    path = f"/v1/accounts/a/balance?min_position={position}&wait_s=20"
    answer = server.client.get(path, timeout=30)
    assert answer.json()["posted_minor"] == "5"
    projector = server.projector()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    _until(lambda: server.pids("projector stopped") == [projector])
    assert "/v1/deposits" in [line.get("route") for line in server.lines()]
    assert {line["level"] for line in server.lines()} == {"info"}


class Asker(threading.Thread):
    """A client that deposits again and again, and keeps what it was told.

    ``reset`` are those whose connection was new and ended without an answer, ``in_doubt`` those
    where that happened on one which had answered before and had not said that it would close.
    """

    def __init__(self, server: Server, name: str) -> None:
        """Begin."""
        super().__init__(daemon=True)
        self._server = server
        self._name = name
        self.told: dict[str, tuple[int, Json, str]] = {}
        self.in_doubt: list[str] = []
        self.reset: list[str] = []
        self.is_refused = False
        self.start()

    def run(self) -> None:
        """Ask until the server takes no connection any more."""
        headers = dict(self._server.client.headers)
        is_new = True
        with httpx2.Client(base_url=self._server.client.base_url, headers=headers) as client:
            for number in range(20_000):
                key = f"{self._name}-{number}"
                body = {"account_id": "a", "amount": "1", "currency": "EUR"}
                try:
                    answer = client.post(
                        "/v1/deposits", json=body, headers={"Idempotency-Key": key}, timeout=30
                    )
                except httpx2.ConnectError:
                    self.is_refused = True
                    return
                except httpx2.TransportError:
                    (self.reset if is_new else self.in_doubt).append(key)
                    is_new = True
                    continue
                closing = answer.headers.get("connection", "")
                is_new = closing == "close"
                self.told[key] = (answer.status_code, answer.json(), closing)


def test_a_stop_under_load_answers_what_was_sent(server: Server, runtime: Runtime) -> None:
    """Each request has its answer, or its connection was refused; what was promised is there."""
    server.post("/v1/accounts", {"account_id": "a", "currency": "EUR"}, "k1")
    askers = [Asker(server, f"c{number}") for number in range(8)]
    _until(lambda: all(len(asker.told) > 20 for asker in askers))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    for asker in askers:
        asker.join(30)
        assert asker.is_refused
    told = {key: item for asker in askers for key, item in asker.told.items()}
    late = {key: item for key, item in told.items() if item[0] != 201}
    assert {(status, body["code"], closing) for status, body, closing in late.values()} <= {
        (503, "stopping", "close")
    }
    assert not [key for asker in askers for key in asker.in_doubt]
    # In the very moment in which the port closes (docs/overload.md); nothing of it is recorded.
    assert max(len(asker.reset) for asker in askers) <= 1
    with runtime.connect("ledger_reader") as connection:
        rows = connection.execute(
            "SELECT command_key, position FROM ledger.events WHERE type = 'JournalEntryPosted'"
        ).fetchall()
    recorded: dict[str, int] = dict(rows)
    assert recorded == {
        key: body["position"] for key, (status, body, _) in told.items() if status == 201
    }
    assert {line["level"] for line in server.lines()} <= {"info", "warning"}


def test_a_stop_says_so_first_and_serves_on_for_those_who_have_not_noticed(
    runtime: Runtime, tmp_path: Path
) -> None:
    """With a delay: not ready at once, commands still taken; then the end, with exit code 0."""
    with _serving(runtime, tmp_path, stop_delay_s=3.0) as server:
        server.process.send_signal(signal.SIGTERM)
        _until(lambda: server.client.get("/readyz").status_code == 503)
        assert server.client.get("/readyz").json()["code"] == "stopping"
        body = {"account_id": "a", "currency": "EUR"}
        assert server.post("/v1/accounts", body, "k1").status_code == 201
        assert server.process.wait(30) == 0


def test_a_second_signal_does_not_wait_and_a_third_ends_at_once(
    runtime: Runtime, tmp_path: Path
) -> None:
    """However long the delay was to be."""
    with _serving(runtime, tmp_path, stop_delay_s=200.0) as server:
        server.process.send_signal(signal.SIGTERM)
        _until(lambda: server.client.get("/readyz").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) in {0, 1}
    with _serving(runtime, tmp_path / "again", stop_delay_s=200.0) as server:
        for _ in range(3):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert server.process.wait(30) in {0, 1}


def test_the_projector_ends_with_a_killed_server(server: Server) -> None:
    """After kill -9 nothing goes on writing views."""
    projector = server.projector()
    server.process.kill()
    server.process.wait()
    _until(lambda: server.pids("projector stopped") == [projector])


def test_a_dead_projector_is_started_again(server: Server) -> None:
    """The views go on after their process was killed."""
    projector = server.projector()
    os.kill(projector, signal.SIGKILL)
    server.post("/v1/accounts", {"account_id": "a", "currency": "EUR"}, "k1")
    answer = server.client.get("/v1/accounts/a?min_position=1&wait_s=20", timeout=30)
    assert answer.status_code == 200
    _until(lambda: server.projector() != projector)  # Its line is written a moment later.


def test_a_large_body_is_refused_over_a_real_socket(server: Server) -> None:
    """The refusal arrives although the client is still sending, and the connection is usable."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = server.client.post("/v1/transfers", content=b"x" * 10_000_000, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert server.client.get("/v1/info").status_code == 200


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_an_idle_server_does_nothing(server: Server) -> None:
    """Server and projector together take next to no processor time while nobody asks."""
    pids = (server.process.pid, server.projector())

    def spent_s() -> float:
        """Processor seconds of both so far."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats)
        return ticks / os.sysconf("SC_CLK_TCK")

    time.sleep(1)
    before_s = spent_s()
    time.sleep(2)
    assert spent_s() - before_s < 0.4
