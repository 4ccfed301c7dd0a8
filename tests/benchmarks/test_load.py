"""The load generator counts what it ought to: whole answers, statuses, times, nothing twice."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.connections import BrokenConnectionError, answer_status

from benchmarks import load

HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Other: 1\r\n\r\n"
ADAPTER = """
from benchmarks.adapters import Call
KIND = "http"
def prepare(address, accounts): return {}
def credentials(address): return {"X-Key": "k"}
def transfer(command): return Call("POST", "/t", b"T" * 40, {"Idempotency-Key": command["key"]})
def batch(commands): return Call("POST", "/b", b"B" * 3_000_000)
def balance(account_id): return Call("GET", "/" + account_id)
"""


class TinyServer:
    """Answers every request after reading all of it, in pieces; notes what it was sent."""

    def __init__(self, answer: bytes) -> None:
        """Listen."""
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.requests: list[tuple[bytes, int]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()

    def _accept(self) -> None:
        """Serve each connection in a thread of its own."""
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """Read a request, answer it in two pieces, until the other side closes."""
        with connection, connection.makefile("rb") as stream:
            while head := stream.readline():
                length = 0
                key = b""
                while (line := stream.readline()) != b"\r\n":
                    if line.startswith(b"Content-Length:"):
                        length = int(line[15:])
                    if line.startswith(b"Idempotency-Key:"):
                        key = line[17:].strip()
                body = stream.read(length)
                self.requests.append((key or head, len(body)))
                connection.sendall(self._answer[:30])
                connection.sendall(self._answer[30:])


@pytest.fixture
def server() -> Iterator[TinyServer]:
    """A server whose answers are good."""
    server = TinyServer(HEAD + b"12345")
    yield server
    server.close()


def plan_of(folder: Path, server: TinyServer, what: load.What, connections: int) -> load.Plan:
    """A short plan."""
    adapter = folder / "adapter.py"
    adapter.write_text(ADAPTER)
    return load.Plan(
        adapter=str(adapter),
        address=f"http://127.0.0.1:{server.port}",
        connections=connections,
        seconds=0.2,
        warm_up_s=0.05,
        accounts=100,
        batch_size=3,
        what=what,
        paths=["/one", "/two"],
    )


def test_every_request_is_answered_once(tmp_path: Path, server: TinyServer) -> None:
    """Statuses count every answer; the rate those of the time measured; no key is sent twice."""
    result = load.run(plan_of(tmp_path, server, "transfer", 5))
    keys = [key for key, _ in server.requests]
    assert result.statuses == {"201": len(keys)}
    assert len(set(keys)) == len(keys)
    assert 0 < result.requests <= len(keys)
    assert result.rate == result.requests / result.elapsed
    assert sum(result.histogram.values()) == result.requests
    assert 0 < result.percentiles["50"] <= result.percentiles["99"] <= result.percentiles["100"]


def test_large_requests_go_out_whole(tmp_path: Path, server: TinyServer) -> None:
    """A request that the socket does not take at once is sent to its end."""
    result = load.run(plan_of(tmp_path, server, "batch", 2))
    assert {size for _, size in server.requests} == {3_000_000}
    assert result.statuses == {"201": len(server.requests)}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("balance", b"GET /acct-"),
        ("call", b"GET /one"),
    ],
)
def test_reads(tmp_path: Path, server: TinyServer, what: load.What, expected: bytes) -> None:
    """Reads go through what they are told to read."""
    load.run(plan_of(tmp_path, server, what, 2))
    assert any(head.startswith(expected) for head, _ in server.requests)


def test_a_server_that_closes_fails_the_run(tmp_path: Path) -> None:
    """A connection that is closed, or an answer that is none, is no measurement."""
    server = TinyServer(b"SSH-2.0-somebody else's server\r\n\r\n")
    with pytest.raises(RuntimeError, match="load generator"):
        load.run(plan_of(tmp_path, server, "transfer", 1))
    server.close()


@pytest.mark.parametrize("cut", range(len(HEAD) + 5))
def test_an_answer_is_complete_only_whole(cut: int) -> None:
    """However an answer is cut, its status is known only when all of it is there."""
    whole = HEAD + b"12345"
    assert answer_status(whole[:cut]) == 0
    assert answer_status(whole) == 201


def test_chunked_answers_and_too_much() -> None:
    """Chunked answers end with their last chunk; more than an answer is a fault."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    assert answer_status(chunked) == 0
    assert answer_status(chunked + b"0\r\n\r\n") == 200
    with pytest.raises(BrokenConnectionError):
        answer_status(HEAD + b"123456")


def test_percentiles_and_classes() -> None:
    """Percentiles are of the sorted times; each time is counted in the class it falls into."""
    times = [index / 1_000 for index in range(1, 101)]
    result = load.summary(times, {201: 120}, 2.0, 0.0012)
    assert result.rate == 50
    assert result.ms("50") == pytest.approx(51)
    assert result.ms("100") == pytest.approx(100)
    assert result.client_cpu_us == pytest.approx(10)
    for time_s in times:
        bound = float(load.class_of(time_s))
        assert bound * 0.999 <= 1_000 * time_s < bound * 10 ** (1.01 / load.HISTOGRAM_STEPS)
