"""What a connection may cost before anybody is known: over real sockets, whole and in pieces."""

import json
import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.http.bank import Bank
from tests.http.conftest import settings_of

from api import connections
from api.app import create_app
from api.limit_settings import LimitSettings
from api.protocol import Protocol
from api.runtime import Runtime

_PATIENCE_S = 20


class Served:
    """A bank behind real sockets."""

    def __init__(self, bank: Bank, port: int) -> None:
        """Speak to a server that was started."""
        self.bank = bank
        self.port = port

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_S)

    def head(self, *more: str, path: str = "/v1/period", method: str = "GET") -> bytes:
        """The bytes of a request's head."""
        key = self.bank.keys["reader"]
        lines = [f"{method} {path} HTTP/1.1", "Host: bank", f"Authorization: Bearer {key}", *more]
        return "\r\n".join([*lines, "", ""]).encode()

    def ask(self, *parts: bytes) -> tuple[int, bytes]:
        """The status and body of the answer to a request that is sent in parts."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return _answer(connection)


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    """An answer, read from a connection; status 0 where it was ended without one."""
    text = b""
    while True:
        head, end, rest = text.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if end and length is not None and len(rest) >= int(length[1]):
            return int(head.split()[1]), rest[: int(length[1])]
        received = b""
        with suppress(ConnectionError):
            received = connection.recv(65_536)
        if not received:
            return 0, b""
        text += received


def _is_ended(connection: socket.socket) -> bool:
    """Whether the other end ends the connection, in time."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@contextmanager
def _served(runtime: Runtime, idle_s: int = 5) -> Iterator[Served]:
    """A server in a thread of its own; a connection may be idle for so long."""
    app = create_app(runtime)
    config = uvicorn.Config(
        app,
        port=0,
        http=Protocol,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=idle_s,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with TestClient(create_app(runtime)) as client:
            yield Served(Bank(runtime, client, f"sockets-{port}"), port)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def served(shared_runtime: Runtime) -> Iterator[Served]:
    """A server with the usual limits."""
    with _served(shared_runtime) as found:
        yield found


@pytest.fixture
def limited(database_url: str, tmp_path: Path) -> Iterator[Callable[[LimitSettings], Served]]:
    """A server with limits of its own."""
    with ExitStack() as stack:

        def make(limits: LimitSettings) -> Served:
            """Start it."""
            changed = msgspec.structs.replace(settings_of(database_url, tmp_path), limits=limits)
            runtime = stack.enter_context(Runtime(changed))
            return stack.enter_context(_served(runtime))

        yield make


def _code(body: bytes) -> str:
    """The code of a problem."""
    code: str = json.loads(body)["code"]
    return code


@pytest.mark.parametrize("is_in_pieces", [False, True])
def test_a_head_has_so_many_bytes(served: Served, *, is_in_pieces: bool) -> None:
    """One more is 431, in one header, in many, or in the address; half as many are answered."""
    size = connections.HEAD_BYTES_MAX
    for head, expected in (
        (served.head(f"X-Filler: {'x' * (size // 2)}"), 200),
        (served.head(f"X-Filler: {'x' * size}"), 431),
        (served.head(*[f"X-{at}: {'x' * (size // 50)}" for at in range(60)]), 431),
        (served.head(path="/v1/accounts?prefix=" + "x" * size), 431),
    ):
        parts = [head]
        if is_in_pieces:
            parts = [head[at : at + 9_000] for at in range(0, len(head), 9_000)]
        status, body = served.ask(*parts)
        assert status == expected
        if status == 431:
            assert _code(body) == "request_head_too_large"


def test_a_head_has_so_many_headers(served: Served) -> None:
    """A hundred; one more is refused, on hot routes too."""
    for path in ("/v1/period", "/v1/accounts/a"):
        for count, refused in (
            (connections.HEADERS_MAX - 2, False),
            (connections.HEADERS_MAX, True),
        ):
            status, _ = served.ask(served.head(*[f"X-{at}: y" for at in range(count)], path=path))
            assert (status == 431) is refused, (path, count)


def test_a_head_that_never_ends_is_ended(served: Served) -> None:
    """However much is sent: what is kept of it has a bound."""
    with served.connect() as connection:
        connection.sendall(b"GET /v1/period HTTP/1.1\r\nX-Endless: ")
        with suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"x" * 65_536)
        assert _is_ended(connection)


def test_a_large_body_is_no_large_head(served: Served) -> None:
    """Nor is a second request behind it: each head is counted by itself."""
    body = b'{"commands": [' + b" " * 300_000 + b"]}"
    batch = served.head(
        "Content-Type: application/json", f"Content-Length: {len(body)}",
        path="/v1/batch", method="POST",
    )  # fmt: skip
    with served.connect() as connection:
        connection.sendall(batch + body + served.head(f"X-Filler: {'x' * 9_000}"))
        assert _answer(connection)[0] == 403
        assert _answer(connection)[0] in {200, 0}


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SECRET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/period HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /v1/period HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET /v1/period HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_problem(served: Served, text: bytes) -> None:
    """400 as a problem document that repeats nothing, or no answer; then the connection ends."""
    with served.connect() as connection:
        connection.sendall(text)
        status, body = _answer(connection)
        assert status in {400, 0}
        if status:
            assert _code(body) == "malformed_request"
            assert b"SECRET" not in body
            assert _is_ended(connection)


def test_a_request_to_speak_another_protocol_is_answered_as_any_other(served: Served) -> None:
    """Nothing is upgraded."""
    status, _ = served.ask(served.head("Connection: Upgrade", "Upgrade: websocket"))
    assert status == 200


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.binary(max_size=200), cut=st.integers(0, 200))
def test_whatever_is_sent_the_server_goes_on(served: Served, text: bytes, cut: int) -> None:
    """Any bytes, in two parts, after a head or as one: the next request is answered."""
    for begin in (b"", b"GET /", b"POST /v1/batch HTTP/1.1\r\n"):
        with served.connect() as connection, suppress(ConnectionError):
            connection.sendall(begin + text[:cut])
            connection.sendall(text[cut:] + b"\r\n\r\n\r\n")
    assert served.ask(served.head())[0] == 200


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, shared_runtime: Runtime) -> Iterator[Served]:
    """A server that looks often whether the other end does its part."""
    monkeypatch.setattr(connections, "CHECK_S", 0.02)
    monkeypatch.setattr(connections, "TAKING_CHECKS_MAX", 20)
    with _served(shared_runtime) as found:
        yield found


def test_who_sends_nothing_or_half_a_request_is_not_waited_for(quick: Served) -> None:
    """Nothing at all, half a head, blank lines, half a body: the connection is ended."""
    half = quick.head("Content-Type: application/json", "Content-Length: 100", method="POST")
    for text, status in (
        (b"", 0),
        (b"\r\n", 0),
        (b"GET /v1/per", 408),
        (quick.head()[:-2], 408),
        (half + b"{", 0),
    ):
        with quick.connect() as connection:
            connection.sendall(text)
            found, body = _answer(connection)
            # A body that breaks off is what the route makes of it, or nothing.
            assert found == status or (text.startswith(half) and found >= 400), text
            if found == 408:
                assert _code(body) == "request_timeout"
            assert _is_ended(connection)


def test_blank_lines_after_an_answer_keep_no_connection(quick: Served) -> None:
    """They are no request, and nothing else would end it."""
    with quick.connect() as connection:
        connection.sendall(quick.head())
        assert _answer(connection)[0] == 200
        connection.sendall(b"\r\n")
        assert _is_ended(connection)


def test_who_is_idle_for_too_long_is_ended(shared_runtime: Runtime) -> None:
    """As long as requests come the connection stays, whichever way each of them goes."""
    with _served(shared_runtime, idle_s=2) as served, served.connect() as connection:
        for number in range(10):
            path = "/v1/period" if number % 2 else "/v1/accounts/nobody/balance"
            connection.sendall(served.head(path=path))
            assert _answer(connection)[0] in {200, 404}
            time.sleep(0.3)
        begun_at = time.monotonic()
        assert _is_ended(connection)
        assert time.monotonic() - begun_at > 1


def test_who_waits_for_an_answer_is_not_idle(shared_runtime: Runtime) -> None:
    """Also where the request came together with one that was answered at once."""
    waiting = "/v1/accounts/nobody/balance?min_position=999999&wait_s=3"
    with _served(shared_runtime, idle_s=1) as served, served.connect() as connection:
        # A command that cannot be read is answered in the moment in which it is there, once its key
        # is known.
        unread = served.head("Content-Length: 0", path="/v1/transfers", method="POST")
        keys = served.bank.keys
        unread = unread.replace(keys["reader"].encode(), keys["admin"].encode())
        connection.sendall(unread)
        assert _answer(connection)[0] >= 400
        connection.sendall(unread + served.head(path=waiting))
        assert _answer(connection)[0] >= 400
        status, body = _answer(connection)
        assert (status, _code(body)) == (409, "position_ahead")


def test_who_takes_no_answer_is_not_waited_for(quick: Served) -> None:
    """A long answer that nobody reads is given up, and others are served meanwhile."""
    large = quick.head(path="/openapi.json") * 40
    with quick.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(large)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            assert quick.ask(quick.head())[0] == 200
            try:
                connection.sendall(b"x")
            except ConnectionError:
                return
            time.sleep(0.05)
        pytest.fail("the connection was never ended")


def test_a_server_takes_so_many_connections(
    limited: Callable[[LimitSettings], Served],
) -> None:
    """The next is told to come back; when one ends, there is room again."""
    served = limited(LimitSettings(connections_max=2))
    with served.connect() as first, served.connect() as second:
        for connection in (first, second):
            connection.sendall(served.head())
            assert _answer(connection)[0] == 200
        status, body = served.ask()
        assert (status, _code(body)) == (503, "too_many_connections")
    deadline = time.monotonic() + _PATIENCE_S
    while (status := served.ask(served.head())[0]) != 200:
        assert time.monotonic() < deadline, status


def test_rates_hold_on_the_short_way_too(limited: Callable[[LimitSettings], Served]) -> None:
    """A hot route refuses with the same document as all others, and counts nothing twice."""
    served = limited(LimitSettings(rate_per_s=0.5))
    served.bank.open("a")
    served.bank.catch_up()
    answers = [served.ask(served.head(path="/v1/accounts/a")) for _ in range(5)]
    statuses = [status for status, _ in answers]
    assert statuses[0] == 200
    assert 429 in statuses
    refused = dict(answers)[429]
    assert _code(refused) == "too_many_requests"


def test_the_process_makes_room_for_its_connections() -> None:
    """As far as the system allows, and never less than there was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections.make_room(100)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= before[0]
    connections.make_room(10**9)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (soft, hard) == (hard, before[1]) or hard == resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
