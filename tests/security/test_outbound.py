"""Addresses that a setting names are asked; what they lead to inside is not (SSRF).

Servers of the tests listen on this machine, whose network the tests name: whoever does not name it
is refused by the same program.
"""

import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security.certificates import Authority

from api import outbound, posting
from api.outbound import Address, OutboundError, is_ordinary, is_public, require_address
from api.posting import PostError
from api.surroundings import Network

HERE: tuple[Network, ...] = ("127.0.0.0/8",)

Respond = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(respond: Respond, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server on this machine that answers GETs by a function."""

    class Handler(BaseHTTPRequestHandler):
        """Answers GETs, and logs nothing."""

        def do_GET(self) -> None:
            """Answer as the function does."""
            respond(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # Clients that hang up.
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answering(body: bytes, status: int = 200, **headers: str) -> Respond:
    """Answers with that body."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1"),
        *("ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
        *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1"),
    ],
)
def test_no_address_within_is_public(address: str) -> None:
    """This machine, its network, the cloud's metadata, and IPv6 ways around to them."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """IPv4 and IPv6."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("fe80::1", "::", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"),
    ],
)
def test_a_checkpoint_is_sent_to_no_address_that_nobody_means(address: str) -> None:
    """The cloud's metadata above all: not even where a setting names it (SSRF of webhooks)."""
    assert not is_ordinary(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(PostError, match="network that may not be asked"):
        posting.post(f"https://{host}/latest/meta-data/", b"note", "text/plain")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "fc00::1", "1.1.1.1"])
def test_a_checkpoint_may_be_sent_within_the_house(address: str) -> None:
    """Where to is a setting of who runs the server."""
    assert is_ordinary(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_as_public_as_the_one_that_it_maps(
    address: ipaddress.IPv4Address,
) -> None:
    """IPv6 is no way around a rule for IPv4."""
    assert is_public(f"::ffff:{address}") == is_public(str(address))


@pytest.mark.parametrize(
    "url",
    [
        *("http://login.bank.example/keys", "ftp://bank.example/", "file:///etc/passwd"),
        *("gopher://bank.example/", "//bank.example/keys", "bank.example/keys", "", "https://"),
        *("https://user@bank.example/", "https://user:secret@bank.example/", "https:///keys"),
        *("https://bank.example/#keys", "https://bank.example:99999/", "https://bank.example:0/"),
        *(
            "https://bank.example/a b",
            "https://bank.example\\@127.0.0.1/",
            "https://b\u00e4nk.example",
        ),
        *("http://localhost/keys", "http://10.0.0.1/keys", "https://[::1", "https://a\n.example"),
    ],
)
def test_an_address_that_is_not_plain_https_is_refused(url: str) -> None:
    """Whatever networks are named: other schemes, users, tricks of parsers."""
    with pytest.raises(OutboundError):
        require_address(url, (*HERE, "10.0.0.0/8"))


def test_http_is_for_this_machine_alone_and_only_where_that_is_named() -> None:
    """A loopback address in a network that a setting names."""
    assert require_address("http://127.0.0.1:8080/keys", HERE)
    with pytest.raises(OutboundError):
        require_address("http://127.0.0.1:8080/keys", ())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "2130706433", "127.1", "0177.0.0.1"]
)
def test_this_machine_is_not_asked_by_any_of_its_names(host: str) -> None:
    """Names and numbers that the resolver makes a loopback address of; nothing is connected to."""
    asked: list[str] = []
    with serving(lambda handler: asked.append(handler.path)) as port, pytest.raises(OutboundError):
        outbound.get(Address(f"https://{host}:{port}/"), 1_000)
    assert asked == []


def test_a_named_network_is_asked() -> None:
    """And answers."""
    with serving(answering(b'{"keys":[]}')) as port:
        assert outbound.get(Address(f"http://127.0.0.1:{port}/a?b=c", HERE), 100) == b'{"keys":[]}'


@pytest.mark.parametrize("status", [201, 204, 301, 302, 303, 307, 308, 401, 404, 500])
def test_a_redirect_is_not_followed_and_a_failure_is_none_of_ours(status: int) -> None:
    """One request, wherever it is sent on to."""
    asked: list[str] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        answering(b"" if status == 204 else b"x", status, Location="/elsewhere")(handler)

    with serving(respond) as port, pytest.raises(OutboundError, match=str(status)):
        outbound.get(Address(f"http://127.0.0.1:{port}/", HERE), 100)
    assert asked == ["/"]


def test_too_large_an_answer_is_given_up() -> None:
    """With the length said before, and without."""

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(10_000):
            handler.wfile.write(b"x" * 1_000)

    for respond in (answering(b"x" * 101), endless):
        with serving(respond) as port, pytest.raises(OutboundError, match="too much"):
            outbound.get(Address(f"http://127.0.0.1:{port}/", HERE), 100)


def test_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps nobody waiting for good, in head or body."""
    monkeypatch.setattr(outbound, "WHOLE_S", 0.5)
    ended = threading.Event()

    def in_body(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        in_head(handler)

    def in_head(handler: BaseHTTPRequestHandler) -> None:
        while not ended.wait(0.05):
            handler.wfile.write(b"H")
            handler.wfile.flush()

    for respond in (in_head, in_body):
        with serving(respond) as port:
            with pytest.raises(OutboundError):
                outbound.get(Address(f"http://127.0.0.1:{port}/", HERE), 1_000_000)
            ended.set()
        ended.clear()


def test_a_port_that_nobody_listens_on_is_an_answer_too() -> None:
    """It says so, and not where."""
    with serving(answering(b"")) as port:
        pass
    with pytest.raises(OutboundError, match="does not answer") as failure:
        outbound.get(Address(f"http://127.0.0.1:{port}/", HERE), 100)
    assert str(port) not in str(failure.value)


def test_a_certificate_is_of_the_name_and_of_an_authority_that_is_trusted(tmp_path: Path) -> None:
    """TLS to an address that was looked up before still checks the name."""
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    right = authority.server_context("localhost")
    with serving(answering(b"{}"), right) as port:
        found = outbound.get(Address(f"https://localhost:{port}/", HERE_AND_6, authority.file), 10)
        assert found == b"{}"
        for refused in (
            Address(f"https://127.0.0.1:{port}/", HERE_AND_6, authority.file),
            Address(f"https://localhost:{port}/", HERE_AND_6, other.file),
            Address(f"https://localhost:{port}/", HERE_AND_6),
        ):
            with pytest.raises(OutboundError, match="SSLCertVerificationError"):
                outbound.get(refused, 10)


HERE_AND_6: tuple[Network, ...] = (*HERE, "::1/128")
