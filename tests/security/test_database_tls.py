"""TLS to PostgreSQL: verified to the name, by every process, or refused."""

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.http.conftest import settings_of
from tests.security.certificates import Authority, Issued

from api import migrations
from api import settings as settings_module
from api.database_tls import is_verified, secured
from api.runtime import Runtime

_SOON_S = 30.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs the certificates of servers."""
    return Authority(tmp_path / "authority")


def _until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    ends = time.monotonic() + _SOON_S
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@db.example/l", False),
        ("postgresql://u:p@db.example/l?sslmode=require", False),
        ("postgresql://u:p@db.example/l?sslmode=verify-ca", False),
        ("postgresql://u:p@db.example/l?sslmode=verify-full", True),
        ("postgresql+psycopg://u:p@db.example/l?sslmode=verify-full", True),
        ("postgresql://u:p@10.0.0.1/l", False),
        ("postgresql://u:p@127.0.0.1:5433/l", True),
        ("postgresql://u:p@localhost/l", True),
        ("postgresql:///l", True),
        ("postgresql:///l?host=/run/postgresql", True),
        ("postgresql://u:p@localhost,db.example/l", False),
        ("postgresql://u:p@localhost/l?hostaddr=10.0.0.1", False),
    ],
)
def test_which_connections_to_a_database_nobody_reads_along(url: str, expected: bool) -> None:  # noqa: FBT001 - a row of the table
    """Verified to the name, or on this machine."""
    assert is_verified(url) is expected


def test_a_ca_makes_every_url_verify_to_the_name(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the program and that of migrations; one that asks for less is refused."""
    monkeypatch.setenv("LEDGER_DATABASE_CA", str(authority.file))
    monkeypatch.setenv("LEDGER_DATABASE_URL", "postgresql://u:p%40@db.example/l?connect_timeout=3")
    monkeypatch.setenv("LEDGER_MIGRATION_URL", "postgresql://o:p@db.example/l")
    given = settings_module.load()
    for url in (given.database_url, given.migration_url):
        assert url is not None
        parts = conninfo_to_dict(url)
        assert (parts["sslmode"], parts["sslrootcert"]) == ("verify-full", str(authority.file))
    assert conninfo_to_dict(given.database_url or "")["password"] == "p@"
    for weaker in ("sslmode=require", "sslmode=disable", "sslrootcert=/elsewhere"):
        monkeypatch.setenv("LEDGER_DATABASE_URL", f"postgresql://u:p@db.example/l?{weaker}")
        with pytest.raises(settings_module.SettingsError, match="LEDGER_DATABASE_CA"):
            settings_module.load()


@contextmanager
def _tls_front(url: str, context: ssl.SSLContext) -> Iterator[str]:
    """PostgreSQL behind an end of TLS, as managed services have it; the URL to it.

    The binaries that the tests bring along are built without TLS. What answers libpq's request for
    TLS here, and checks nothing itself, hands every byte on to the server.
    """
    parts = conninfo_to_dict(url)
    behind = (str(parts["host"]), int(str(parts["port"])))

    def carry(source: socket.socket, target: socket.socket) -> None:
        """Hand bytes on until there are no more."""
        with suppress(OSError, ValueError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                socket.socket.shutdown(end, socket.SHUT_RDWR)

    def serve(plain: socket.socket) -> None:
        """Serve one connection: https://www.postgresql.org/docs/current/protocol-flow.html."""
        with suppress(OSError), plain, socket.create_connection(behind) as server:
            if plain.recv(8) != b"\x00\x00\x00\x08\x04\xd2\x16\x2f":  # SSLRequest
                return
            plain.sendall(b"S")
            with context.wrap_socket(plain, server_side=True) as secured_socket:
                secured_socket.settimeout(None)
                back = threading.Thread(target=carry, args=(server, secured_socket), daemon=True)
                back.start()
                carry(secured_socket, server)
                back.join()

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            """Take connections until the listener is closed."""
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(plain,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        query = f"?host=localhost&hostaddr=127.0.0.1&port={port}"
        yield f"postgresql://{parts['user']}:{parts['password']}@/{parts['dbname']}{query}"
        socket.socket.shutdown(listening, socket.SHUT_RDWR)
    thread.join()


def test_a_program_over_verified_tls_works_and_no_other_server_is_taken(
    database_url: str, owner_url: str, authority: Authority, tmp_path: Path
) -> None:
    """The name and the authority are checked before a password is sent; everything then works."""
    stranger = Authority(tmp_path / "stranger")
    with _tls_front(database_url, authority.server_context("localhost")) as url:
        right = secured(url, authority.file)
        with Runtime(settings_of(right, tmp_path)) as opened:
            ledger_id = opened.create_ledger("over-tls")
            assert opened.create_key(ledger_id, "reader", "x").startswith("lk_")
        migrations.upgrade(owner_url)
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(secured(url, stranger.file))
    with (
        _tls_front(database_url, authority.server_context("elsewhere.example")) as url,
        pytest.raises(psycopg.OperationalError, match="does not match host name"),
    ):
        psycopg.connect(secured(url, authority.file))
    expired = authority.issue("localhost", until=datetime(2021, 1, 1, tzinfo=UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(expired.file, expired.key_file)
    with (
        _tls_front(database_url, context) as url,
        pytest.raises(psycopg.OperationalError, match="certificate verify failed"),
    ):
        psycopg.connect(secured(url, authority.file))


def test_a_server_that_speaks_no_tls_is_refused(database_url: str, authority: Authority) -> None:
    """The embedded one: what asks for verified TLS does not go on without."""
    with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
        psycopg.connect(secured(database_url, authority.file))


@contextmanager
def _installed_server(issued: Issued) -> Iterator[str]:
    """A PostgreSQL of the system, with TLS and nothing else; its URL without parameters."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = shutil.which("initdb")
    if not found and path is None:
        pytest.skip("no PostgreSQL with TLS is installed on this machine")
    binaries = (found[-1] if found else Path(str(path)).resolve()).parent
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    # Not in pytest's own folder, which no other user may enter: the server is not root's.
    folder = Path(tempfile.mkdtemp(prefix="ledger-tls-"))
    folder.chmod(0o711)
    data = folder / "data"
    data.mkdir()
    for source, name in ((issued.file, "server.crt"), (issued.key_file, "server.key")):
        shutil.copy(source, folder / name)
        (folder / name).chmod(0o600)
        shutil.chown(folder / name, user.pw_uid, user.pw_gid)
    shutil.chown(data, user.pw_uid, user.pw_gid)
    owner = (user.pw_uid, user.pw_gid) if os.geteuid() == 0 else (None, None)
    (folder / "password").write_text("secret")
    (folder / "password").chmod(0o644)
    subprocess.run(
        [str(binaries / "initdb"), "-D", str(data), "-U", "boss", "-A", "scram-sha-256",
         "--pwfile", str(folder / "password"), "-E", "UTF8", "--no-locale", "--no-sync"],
        check=True, capture_output=True, cwd=data, user=owner[0], group=owner[1],
    )  # fmt: skip
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    options = {
        "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "",
        "ssl": "on", "ssl_cert_file": str(folder / "server.crt"),
        "ssl_key_file": str(folder / "server.key"), "ssl_min_protocol_version": "TLSv1.2",
        "fsync": "off",
    }  # fmt: skip
    settings = [f"-c{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        [str(binaries / "postgres"), "-D", str(data), *settings],
        cwd=data,
        stderr=subprocess.DEVNULL,
        user=owner[0],
        group=owner[1],
    )
    try:
        _until(lambda: _answers(port))
        yield f"postgresql://boss:secret@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _answers(port: int) -> bool:
    """Whether somebody listens there who speaks TLS by now."""
    try:
        psycopg.connect(
            f"postgresql://boss:secret@127.0.0.1:{port}/postgres?sslmode=require"
        ).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.timeout(240)
def test_the_program_runs_on_a_real_postgresql_over_verified_tls(
    authority: Authority, tmp_path: Path
) -> None:
    """Migrations, projector, reads and writes: all of it encrypted, as the server itself says."""
    other = Authority(tmp_path / "other")
    with _installed_server(authority.issue("127.0.0.1")) as url:
        right = secured(url, authority.file)
        with Runtime(settings_of(right, tmp_path)) as opened:
            opened.create_ledger("main")
            with opened.connect("ledger_reader"), psycopg.connect(right) as connection:
                row = connection.execute(
                    "SELECT bool_and(ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity"
                    " USING (pid) WHERE backend_type = 'client backend'"
                ).fetchone()
        assert row is not None
        assert row[0] is True
        assert row[1] >= 2
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(secured(url, other.file))
        with pytest.raises(psycopg.OperationalError, match="no encryption"):
            psycopg.connect(f"{url}?sslmode=disable")
        named = url.replace("127.0.0.1", "localhost")
        with pytest.raises(psycopg.OperationalError, match="does not match host name"):
            psycopg.connect(secured(named, authority.file))
