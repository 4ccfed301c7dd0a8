"""The short cut of hot routes: over real sockets, the same answers as by the usual way."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.http.bank import Bank
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api import api_keys, clock
from api.app import create_app
from api.context import Context
from api.protocol import BODY_BYTES_MAX, Protocol
from api.remembering import REMEMBERED_S
from api.runtime import Runtime
from ledger_core import access_log
from ledger_core.access_log import StoredAccess
from ledger_core.access_roles import SetRole

if TYPE_CHECKING:
    from fastapi import FastAPI

Headers = tuple[tuple[str, str], ...]

# What differs between two answers to one thing: when, and after how many other events.
_POSITIONS = re.compile(rb'(?<="position":)\d+|(?<="recorded_at":")[^"]+|(?<="etag": ")\d+')
# A header that the program does not look at, sent twice: unusual, and otherwise of no effect.
_UNUSUAL: Headers = (("X-Twice", "1"), ("X-Twice", "2"))
_JSON: Headers = (("Content-Type", "application/json"),)
_TRANSFER = {"debit_account_id": "b", "credit_account_id": "a", "amount": "1", "currency": "EUR"}


class Counting(Protocol):
    """The protocol, and how many requests took which way."""

    short = 0
    usual = 0

    def on_headers_complete(self) -> None:
        """Count the request."""
        super().on_headers_complete()
        if isinstance(self.cycle, RequestResponseCycle):
            Counting.usual += 1
        else:
            Counting.short += 1


class Served:
    """A bank behind real sockets."""

    def __init__(self, bank: Bank, port: int, context: Context) -> None:
        """Speak to a server that was started."""
        self.bank = bank
        self.context = context
        self.port = port

    def connect(self) -> socket.socket:
        """A new connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ask(self, *requests: bytes) -> list[bytes]:
        """The answers to requests that are sent at once on one connection, each as its bytes."""
        with self.connect() as connection:
            connection.sendall(b"".join(requests))
            return _answers(connection, len(requests))

    def text(
        self,
        body: bytes,
        *more: tuple[str, str],
        path: str = "/v1/transfers",
        role: str = "admin",
        length: int | None = None,
    ) -> bytes:
        """The bytes of a request."""
        head = [
            f"POST {path} HTTP/1.1",
            "Host: bank",
            f"Authorization: Bearer {self.bank.keys[role]}",
            "X-Request-Id: the-same-each-time",
            *(f"{name}: {value}" for name, value in more),
            f"Content-Length: {len(body) if length is None else length}",
        ]
        return "\r\n".join([*head, "", ""]).encode() + body


@pytest.fixture(scope="module")
def served(shared_runtime: Runtime) -> Iterator[Served]:
    """A server in a thread of its own, and a bank with money on account b."""
    app: FastAPI = create_app(shared_runtime)
    config = uvicorn.Config(
        app, port=0, http=Counting, log_config=None, server_header=False, date_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with TestClient(create_app(shared_runtime)) as client:
        bank = Bank(shared_runtime, client, "sockets")
        bank.open("a")
        bank.open("b", 1_000_000)
        yield Served(bank, port, app.state.context)
    server.should_exit = True
    thread.join()


def test_a_denied_command_is_recorded_whichever_way_it_goes(served: Served) -> None:
    """One access, with its status, its reason and whom it was about, durable when it is told."""
    reason = ("Ledger-Reason", "case 7")
    served.bank.runtime.execute(
        served.bank.ledger_id,
        [SetRole(key="c", name="clerk", permissions=("movements.post",), amount_max={"EUR": "5"})],
        "cli",
    )
    served.bank.keys["clerk"] = served.bank.runtime.create_key(
        served.bank.ledger_id, "clerk", "a clerk"
    )
    served.bank.catch_up()
    for role, amount, about in (("reader", "1", []), ("clerk", "6", ["account:a", "account:b"])):
        text = served.text(_body(key=f"denied-{role}", amount=amount), *_JSON, reason, role=role)
        served.ask(text)
        for more in ((), _UNUSUAL):
            way = Counting.short if not more else Counting.usual
            before = len(_accesses(served.bank))
            text = served.text(
                _body(key=f"denied-{role}", amount=amount), *_JSON, reason, *more, role=role
            )
            answer = served.ask(text)[0]
            assert b"403" in answer.split(b"\r\n")[0]
            (access,) = _accesses(served.bank)[before:]
            assert (access.operation, access.status, access.reason) == ("transfer", 403, "case 7")
            assert list(access.subjects) == about
            assert (Counting.short if not more else Counting.usual) == way + 1


def _accesses(bank: Bank) -> list[StoredAccess]:
    """The access log of the bank's ledger."""
    with bank.runtime.connect("ledger_reader") as connection:
        return access_log.read_after(connection, bank.ledger_id, 0)


def _answers(connection: socket.socket, count: int) -> list[bytes]:
    """So many answers, read from a connection."""
    text = b""
    found: list[bytes] = []
    while len(found) < count:
        head, end, rest = text.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if end and length is not None and len(rest) >= int(length[1]):
            found.append(head + end + rest[: int(length[1])])
            text = rest[int(length[1]) :]
            continue
        received = connection.recv(65_536)
        assert received, "the connection was closed"
        text += received
    return found


def _warm(served: Served) -> None:
    """Have the key looked up: only then the short cut is open."""
    served.ask(served.text(b"{}", *_JSON))


def _warm_for(served: Served, role: str) -> None:
    """The same for the key of a role."""
    served.ask(served.text(b"{}", *_JSON, role=role, path="/v1/info"))


def _comparable(answer: bytes) -> bytes:
    """An answer without what differs; its length is right, and differs with the others."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = b"content-length: %d\r\n" % len(body)
    assert length in head
    return _POSITIONS.sub(b"0", answer.replace(length, b""))


def _body(**changes: object) -> bytes:
    """The body of a transfer."""
    return json.dumps(_TRANSFER | changes).encode()


@pytest.mark.parametrize(
    ("body", "headers", "role"),
    [
        (_body(), (*_JSON, ("Idempotency-Key", "one")), "admin"),
        (_body(key="two"), _JSON, "teller"),
        (_body(key="two"), (*_JSON, ("Idempotency-Key", "three")), "admin"),
        (_body(), _JSON, "admin"),
        (_body(key="four", amount="0"), _JSON, "admin"),
        (_body(key="five", amount="99999999999"), _JSON, "admin"),
        (_body(key="six", credit_account_id="none"), _JSON, "admin"),
        (_body(key="seven", description="\u00fc\u20ac\U0001f600"), _JSON, "admin"),
        (_body(key="eight", entry_id="an id/with %"), _JSON, "admin"),
        (_body(key="nine", amount=5), _JSON, "admin"),
        (_body(key="ten", other=5), _JSON, "admin"),
        (b'{"key":"e","key":"f"}', _JSON, "admin"),
        (b"", _JSON, "admin"),
        (b"not json", _JSON, "admin"),
        (b"\xff", _JSON, "admin"),
        (_body(key="eleven"), (("Content-Type", "text/plain"),), "admin"),
        (_body(key="twelve"), (("Content-Type", "application/json; charset=utf-8"),), "admin"),
        (_body(key="thirteen"), (*_JSON, ("Content-Encoding", "gzip")), "admin"),
        (_body(key="fourteen"), (*_JSON, ("If-Match", '"1"')), "admin"),
        (_body(key="fifteen"), _JSON, "reader"),
        (_body(key="sixteen"), (*_JSON, ("Connection", "close")), "admin"),
        (_body(key="seventeen"), (*_JSON, ("traceparent", "garbage")), "admin"),
    ],
)
def test_both_ways_answer_alike(served: Served, body: bytes, headers: Headers, role: str) -> None:
    """Status, headers and body are the same bytes, whichever way the request goes."""
    first = served.ask(served.text(body, *headers, role=role))[0]
    before = Counting.short, Counting.usual
    short = served.ask(served.text(body, *headers, role=role))[0]
    assert (Counting.short, Counting.usual) == (before[0] + 1, before[1])
    usual = served.ask(served.text(body, *headers, *_UNUSUAL, role=role))[0]
    assert (Counting.short, Counting.usual) == (before[0] + 1, before[1] + 1)
    assert _comparable(short) == _comparable(usual)
    recorded = first.startswith(b"HTTP/1.1 201")
    assert (b"idempotency-replayed: true" in short) == recorded
    if recorded:
        assert short == usual


@pytest.mark.parametrize(
    ("path", "body", "headers", "role"),
    [
        ("/v1/accounts/b/freeze", {"blocks": ["debit"], "reason_code": "court"}, (), "admin"),
        ("/v1/accounts/b/freeze", {"account_id": "a", "blocks": ["debit"]}, (), "admin"),
        ("/v1/accounts/b/unfreeze", {"block": "debit"}, (), "reader"),
        ("/v1/accounts/none/limit", {"limit": "5"}, (), "admin"),
        ("/v1/accounts/a%2Fb/limit", {"limit": "5"}, (), "admin"),
        ("/v1/accounts/a/limit", {"limit": "5"}, (("If-Match", '"99"'),), "admin"),
        ("/v1/accounts/a/close", {}, (("If-Match", "garbage"),), "admin"),
        ("/v1/holds/nobody%27s/capture", {}, (), "admin"),
        ("/v1/holds/nobody%C3%28/void", {}, (), "admin"),
        ("/v1/approvals/none/approve", {}, (), "admin"),
    ],
)
def test_both_ways_answer_alike_about_what_the_address_names(
    served: Served, path: str, body: dict[str, object], headers: Headers, role: str
) -> None:
    """Commands whose address names an account, a hold or a request are on the short way, too."""
    served.bank.post("/v1/accounts", {"account_id": "named", "currency": "EUR"})
    _warm_for(served, role)
    text = json.dumps(body | {"key": f"named {path} {body} {role}"}).encode()
    sent = (*_JSON, *headers)
    short_count = Counting.short
    first = served.ask(served.text(text, *sent, path=path, role=role))[0]
    short = served.ask(served.text(text, *sent, path=path, role=role))[0]
    assert Counting.short == short_count + 2
    usual = served.ask(served.text(text, *sent, *_UNUSUAL, path=path, role=role))[0]
    assert Counting.short == short_count + 2
    assert _comparable(short) == _comparable(usual)
    assert first.split()[1] == short.split()[1]


def test_a_denied_command_tells_what_its_address_named(served: Served) -> None:
    """Whichever way it goes: the account; of a hold its id."""
    for path, about in (
        ("/v1/accounts/b/freeze", ["account:b"]),
        ("/v1/holds/h-1/void", ["hold:h-1"]),
    ):
        _warm_for(served, "reader")
        for more in ((), _UNUSUAL):
            before = len(_accesses(served.bank))
            request = served.text(b'{"key":"d"}', *_JSON, *more, path=path, role="reader")
            assert b"403" in served.ask(request)[0].split(b"\r\n")[0]
            (access,) = _accesses(served.bank)[before:]
            assert list(access.subjects) == about


def test_a_hold_is_captured_on_the_short_way(served: Served) -> None:
    """It is resolved once, and the answer names it."""
    hold = {"hold_id": "to-capture", **_TRANSFER}
    assert served.bank.post("/v1/holds", hold).status_code == 201
    _warm(served)
    before = Counting.short
    request = served.text(b'{"key":"capture"}', *_JSON, path="/v1/holds/to-capture/capture")
    answers = [served.ask(request)[0] for _ in range(2)]
    assert Counting.short == before + 2
    assert all(answer.startswith(b"HTTP/1.1 201") for answer in answers)
    assert b'"hold_id":"to-capture"' in answers[0]
    assert b"idempotency-replayed: true" in answers[1]


def test_a_key_that_was_known_lately_is_looked_up_without_leaving_the_short_way(
    served: Served,
) -> None:
    """While it counts the request is answered; once it is revoked, with 401 as on the usual way."""
    key = served.bank.runtime.create_key(served.bank.ledger_id, "admin", "a passing one")
    served.bank.keys["passing"] = key
    _warm_for(served, "passing")
    time.sleep(REMEMBERED_S + 0.05)
    before = Counting.short
    request = served.text(_body(key="lately"), *_JSON, role="passing")
    assert served.ask(request)[0].startswith(b"HTTP/1.1 201")
    assert Counting.short == before + 1
    with served.bank.runtime.connect("ledger_writer") as connection:
        key_id = key.split("_")[2]
        assert api_keys.revoke(connection, served.bank.ledger_id, key_id, clock.now())
    time.sleep(2 * REMEMBERED_S + 0.05)
    refused = served.ask(request)[0]
    assert Counting.short == before + 2
    assert refused.startswith(b"HTTP/1.1 401")
    usual = served.ask(request.replace(b"\r\n\r\n", b"\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n"))[0]
    assert Counting.short == before + 2
    assert refused == usual


def test_a_key_that_was_known_lately_is_refused_where_there_is_no_room(served: Served) -> None:
    """On the short way; a stranger is told nothing but that they are one."""
    _warm(served)
    intake, ledger_id = served.context.intake, served.bank.ledger_id
    time.sleep(REMEMBERED_S + 0.05)
    request = served.text(b"{}", *_JSON, path="/v1/holds/any/capture")
    intake.close(ledger_id, "projections_behind")
    try:
        before = Counting.short
        refused = served.ask(request)[0]
        assert Counting.short == before + 1
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"projections_behind" in refused
        assert served.ask(request.replace(b"Bearer lk_", b"Bearer xx_"))[0].startswith(
            b"HTTP/1.1 401"
        )
    finally:
        intake.open(ledger_id)


def test_what_is_not_plain_goes_the_usual_way(served: Served) -> None:
    """A large body, a chunked one, HTTP/1.0, a query, a route that is not hot: all are answered."""
    _warm(served)
    before = Counting.short
    large = _body(key="large", description=" " * BODY_BYTES_MAX)
    chunk = _body(key="chunked")
    head, _, _ = served.text(b"", *_JSON).partition(b"Content-Length")
    requests = [
        served.text(large, *_JSON),
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk),
        served.text(_body(key="old"), *_JSON).replace(b"HTTP/1.1", b"HTTP/1.0"),
        served.text(_body(key="dry"), *_JSON, path="/v1/transfers?dry_run=true"),
        served.text(b'{"mode":"each","commands":[]}', *_JSON, path="/v1/batch"),
    ]
    statuses = [served.ask(request)[0].split()[1] for request in requests]
    assert statuses == [b"422", b"201", b"201", b"201", b"422"]
    assert Counting.short == before


def test_a_key_that_is_not_known_yet_goes_the_usual_way(served: Served) -> None:
    """The first request of a key waits for the database, and one without a valid key is refused."""
    before = Counting.short
    request = served.text(_body(key="stranger"), *_JSON, role="admin")
    key = served.bank.keys["admin"].encode()
    for other in (key + b"x", b"lk_1_a_b", b""):
        answer = served.ask(request.replace(key, other))[0]
        assert answer.startswith(b"HTTP/1.1 401")
    assert Counting.short == before


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    plain=st.lists(st.booleans(), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 3_000), max_size=6),
)
def test_requests_in_a_row_are_answered_in_order(
    served: Served, plain: list[bool], cuts: list[int]
) -> None:
    """However the bytes arrive, and whichever way each request goes: one answer each, in order."""
    _warm(served)
    requests = [
        served.text(
            _body(key=f"row-{at}"),
            *_JSON,
            ("X-Request-Id", f"row-number-{at}"),
            *(() if is_plain else _UNUSUAL),
        ).replace(b"X-Request-Id: the-same-each-time\r\n", b"")
        for at, is_plain in enumerate(plain)
    ]
    text = b"".join(requests)
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    with served.connect() as connection:
        for start, end in pairwise(edges):
            connection.sendall(text[start:end])
            time.sleep(0.001)
        found = _answers(connection, len(requests))
    for at, answer in enumerate(found):
        assert answer.startswith(b"HTTP/1.1 201")
        assert f"x-request-id: row-number-{at}\r\n".encode() in answer


def test_who_goes_away_stops_nobody(served: Served) -> None:
    """A caller who does not wait for the answer: the command counts, and others are served."""
    _warm(served)
    for number in range(5):
        with served.connect() as connection:
            connection.sendall(served.text(_body(key=f"gone-{number}"), *_JSON))
    with served.connect() as connection:
        connection.sendall(served.text(_body(key="half"), *_JSON)[:-5])
    answers = served.ask(*[served.text(_body(key=f"gone-{number}"), *_JSON) for number in range(5)])
    assert all(answer.startswith(b"HTTP/1.1 201") for answer in answers)


def test_a_connection_can_be_closed_after_an_answer(served: Served) -> None:
    """``Connection: close`` is said again, and done."""
    _warm(served)
    with served.connect() as connection:
        connection.sendall(served.text(_body(key="last"), *_JSON, ("Connection", "close")))
        assert b"\r\nconnection: close\r\n\r\n" in _answers(connection, 1)[0]
        assert connection.recv(1) == b""
