"""The server as a process: projector beside it, a clean end, and no orphan after kill -9."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
url, folder, port = sys.argv[1:]
settings = Settings(
    data_dir=Path(folder),
    database_url=url,
    key_encryption_key=b"K" * 32,
    server_secret=b"S" * 32,
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
def server(runtime: Runtime, database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A server on a port of its own."""
    key = runtime.create_key(runtime.create_ledger("test"), "admin", "test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    source = str(Path(__file__).resolve().parents[2] / "src")
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, database_url, str(tmp_path), str(port)],
            env=os.environ | {"PYTHONPATH": source},
            stderr=output,
        )
    server = Server(process, port, key, tmp_path / "log")
    try:
        _until(server.is_ready)
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
    answer = server.client.get(f"/v1/accounts/a/balance?min_position={position}&wait_s=20")
    assert answer.json()["posted_minor"] == "5"
    projector = server.projector()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    _until(lambda: server.pids("projector stopped") == [projector])
    assert "/v1/deposits" in [line.get("route") for line in server.lines()]
    assert {line["level"] for line in server.lines()} == {"info"}


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
