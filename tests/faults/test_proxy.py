"""The proxy breaks connections as it says, and only those."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from tests.faults import packets
from tests.faults.proxy import HOST, Proxy

from ledger_core import database

HANGS_S = 30.0
SHORT_S = 0.2


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    """Take connections until the server is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_send_back, args=(connection,), daemon=True).start()


def _send_back(connection: socket.socket) -> None:
    """Send back what comes, until the other side ends."""
    with connection:
        try:
            while data := connection.recv(65_536):
                connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    """A proxy before that server, with two links."""
    found = Proxy(echo, 2)
    yield found
    found.close()


def _connect(proxy: Proxy, link: int = 0) -> socket.socket:
    """A connection by a link."""
    return socket.create_connection((HOST, proxy.ports[link]), HANGS_S)


def _asked(connection: socket.socket, data: bytes) -> bytes:
    """What comes back, up to the end or as much as was sent."""
    connection.sendall(data)
    back = bytearray()
    while len(back) < len(data) and (more := connection.recv(65_536)):
        back += more
    return bytes(back)


def test_everything_comes_through(proxy: Proxy) -> None:
    """A megabyte comes back as it was, and the links are told apart by their ports."""
    data = bytes(range(256)) * 4_096
    with _connect(proxy) as one, _connect(proxy, 1) as two:
        for connection in (one, two):
            sender = threading.Thread(target=connection.sendall, args=(data,))
            sender.start()
            assert _asked(connection, b"")[:0] == b""
            back = bytearray()
            while len(back) < len(data):
                back += connection.recv(65_536)
            sender.join()
            assert bytes(back) == data
        assert proxy.figures() == {"open": 2, "opened": 2, "cut": 0}


def test_a_slow_network_delays(proxy: Proxy) -> None:
    """Each way takes at least the latency, and the bytes their time; then it is quick again."""
    with _connect(proxy) as connection:
        _asked(connection, b"x")
        proxy.slow(0.05, 10_000)
        began = time.monotonic()
        assert len(_asked(connection, bytes(1_000))) == 1_000
        assert time.monotonic() - began >= 2 * (0.05 + 0.1)
        proxy.clean()
        assert _asked(connection, b"again") == b"again"


@pytest.mark.skipif(packets.why_not() is not None, reason="needs a socket filter, as Linux has it")
def test_nothing_comes_out_of_a_black_hole(proxy: Proxy) -> None:
    """On that link nothing arrives and nobody connects; afterwards what was sent arrives."""
    with _connect(proxy) as cut_off, _connect(proxy, 1) as other:
        _asked(cut_off, b"x")
        proxy.black_hole(0)
        assert _asked(other, b"works") == b"works"
        cut_off.sendall(b"late")
        cut_off.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            cut_off.recv(10)
        with pytest.raises(TimeoutError):
            socket.create_connection((HOST, proxy.ports[0]), SHORT_S)
        proxy.clean()
        cut_off.settimeout(HANGS_S)
        assert cut_off.recv(10) == b"late"
        with _connect(proxy) as fresh:
            assert _asked(fresh, b"new") == b"new"


def test_refused_connections(proxy: Proxy) -> None:
    """Nobody connects to that link; who is connected stays so."""
    with _connect(proxy) as before:
        _asked(before, b"x")
        proxy.refuse(0)
        with pytest.raises(ConnectionRefusedError):
            _connect(proxy)
        assert _asked(before, b"stays") == b"stays"
        proxy.clean()
        with _connect(proxy) as after:
            assert _asked(after, b"back") == b"back"


def test_connections_end_as_they_are_told(proxy: Proxy) -> None:
    """Dropped: the end of the stream. Reset: an error."""
    with _connect(proxy) as connection:
        _asked(connection, b"x")
        assert proxy.drop(reset=False) == 1
        assert connection.recv(10) == b""
    with _connect(proxy) as connection:
        _asked(connection, b"x")
        assert proxy.drop(reset=True) == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(10)


@pytest.mark.parametrize("byte", [1, 5, 9])
def test_a_cut_lies_at_its_byte(proxy: Proxy, byte: int) -> None:
    """So many bytes arrive, and no more."""
    with _connect(proxy) as connection:
        _asked(connection, b"x")
        proxy.cut_after(byte, "to_client", reset=False)
        assert _asked(connection, b"123456789.") == b"123456789."[:byte]
        assert proxy.figures()["cut"] == 1


@pytest.mark.parametrize(
    ("when", "is_there"), [("half", False), ("answered", True)], ids=["half", "answered"]
)
def test_a_commit_whose_answer_is_lost(
    owner_url: str, when: Literal["half", "answered"], *, is_there: bool
) -> None:
    """The program is told nothing either way; the commit has happened, or it has not."""
    proxy, url = _before_postgres(owner_url)
    try:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE public.cut_off (n integer)")
            connection.commit()
            connection.execute("INSERT INTO public.cut_off VALUES (1)")
            proxy.cut_at(["COMMIT"], when)
            with pytest.raises(psycopg.OperationalError):
                connection.commit()
    finally:
        proxy.close()
    with psycopg.connect(owner_url) as connection:
        # Whoever was cut off in the middle may still hold the table: this waits for the end of it.
        connection.execute("LOCK TABLE public.cut_off IN ACCESS EXCLUSIVE MODE")
        found = connection.execute("SELECT n FROM public.cut_off").fetchall()
    assert found == ([(1,)] if is_there else [])


@pytest.mark.skipif(packets.why_not() is not None, reason="needs a socket filter, as Linux has it")
def test_a_statement_does_not_wait_for_ever_in_a_black_hole(database_url: str) -> None:
    """What the network swallows is lost for the program once its time is over."""
    proxy, url = _before_postgres(database_url + "&tcp_user_timeout=500&connect_timeout=2")
    try:
        with database.connect(url, "ledger_writer") as connection:
            connection.execute("SELECT 1")
            proxy.black_hole()
            with pytest.raises(database.LOST):
                connection.execute("SELECT 2")
            with pytest.raises(psycopg.OperationalError):
                database.connect(url, "ledger_writer")
    finally:
        proxy.close()


def _before_postgres(url: str) -> tuple[Proxy, str]:
    """A proxy before the tests' PostgreSQL, and the URL that goes through it."""
    place = conninfo_to_dict(url)
    if place.get("host") not in {HOST, "localhost"}:
        pytest.skip("the proxy stands before a PostgreSQL of this machine")
    proxy = Proxy(int(place.get("port") or 5432), 1)
    through = make_url(url).set(port=proxy.ports[0]).render_as_string(hide_password=False)
    return proxy, through
