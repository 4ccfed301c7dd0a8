"""TLS of the server itself: client certificates, renewal, and what is refused at the start."""

import hashlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import msgspec
import pytest
from tests.http.conftest import settings_of
from tests.security.certificates import Authority, Issued

from api import tls_settings
from api.api_keys import NewKey
from api.proxy_settings import ProxySettings
from api.runtime import Runtime
from api.serve import transport_warnings
from api.surroundings import SettingError
from api.tls_settings import TlsSettings
from api.tls_watch import TlsWatch

_SOON_S = 30.0

PROGRAM = """
import sys
from pathlib import Path
import msgspec
from api import tls_settings
from api.runtime import Runtime
from api.serve import serve
from api.settings import Settings
url, folder, port = sys.argv[1:]
settings = Settings(
    data_dir=Path(folder),
    database_url=url,
    key_encryption_key=b"K" * 32,
    server_secret=b"S" * 32,
    tls=tls_settings.load(),
)
with Runtime(settings) as runtime:
    serve(runtime, "127.0.0.1", int(port))
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs the certificates of servers and clients."""
    return Authority(tmp_path / "authority")


def _until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    ends = time.monotonic() + _SOON_S
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.05)


class TlsServer:
    """A server process that speaks TLS."""

    def __init__(self, port: int, authority: Authority) -> None:
        """Speak to that port, trusting that authority."""
        self._url = f"https://127.0.0.1:{port}"
        self.port = port
        self._authority = authority

    def client(self, shown: Issued | None = None) -> httpx2.Client:
        """A client that shows a certificate, or none."""
        context = ssl.create_default_context(cafile=self._authority.file)
        if shown is not None:
            context.load_cert_chain(shown.file, shown.key_file)
        return httpx2.Client(base_url=self._url, verify=context)

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with self.client() as client:
                return client.get("/readyz").is_success
        except httpx2.TransportError:
            return False


@pytest.fixture
def tls_server(
    runtime: Runtime, authority: Authority, database_url: str, tmp_path: Path
) -> Iterator[TlsServer]:
    """A server with a certificate, which asks clients for theirs and takes those without."""
    server = authority.issue("127.0.0.1")
    runtime.create_ledger("main")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    source = str(Path(__file__).resolve().parents[2] / "src")
    environment = os.environ | {
        "PYTHONPATH": source,
        "LEDGER_TLS_CERT": str(server.file),
        "LEDGER_TLS_KEY": str(server.key_file),
        "LEDGER_TLS_CLIENT_CA": str(authority.file),
        "LEDGER_TLS_CLIENTS": "optional",
    }
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, database_url, str(tmp_path), str(port)],
            env=environment,
            stderr=output,
        )
    found = TlsServer(port, authority)
    try:
        _until(found.is_ready)
        yield found
    finally:
        process.kill()
        process.wait()


def test_a_bound_key_is_compared_with_the_certificate_of_the_connection(
    tls_server: TlsServer, runtime: Runtime, authority: Authority, tmp_path: Path
) -> None:
    """On every request, the short path too; a header of a stranger's shows nothing."""
    ours, other = authority.issue("ours"), authority.issue("other")
    stranger = Authority(tmp_path / "strangers").issue("ours")
    new = NewKey(role="admin", name="bound", certificate_sha256=ours.sha256)
    key = runtime.make_key(runtime.ledger_id("main"), new).text
    headers = {"Authorization": f"Bearer {key}"}
    header = {"Client-Cert": f":{ssl_base64(ours.der)}:"}
    with tls_server.client(ours) as client:
        body = {"account_id": "a", "currency": "EUR", "key": "k"}
        assert client.post("/v1/accounts", json=body, headers=headers).status_code == 201
        for _ in range(3):
            assert client.get("/v1/info", headers=headers).status_code == 200
    for shown in (other, None):
        with tls_server.client(shown) as client:
            assert client.get("/v1/info", headers=headers).status_code == 401
            assert client.get("/v1/info", headers=headers | header).status_code == 401
            assert client.get("/v1/accounts/a/balance", headers=headers).status_code == 401
    with tls_server.client(stranger) as client, pytest.raises(httpx2.TransportError):
        client.get("/v1/info", headers=headers)


def test_the_server_speaks_no_old_tls_and_no_plain_http(tls_server: TlsServer) -> None:
    """TLS 1.2 is the least; a plain request gets no answer in HTTP."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", tls_server.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(plain)
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://127.0.0.1:{tls_server.port}/livez")


def ssl_base64(der: bytes) -> str:
    """A certificate in base64, without its frame."""
    return "".join(ssl.DER_cert_to_PEM_cert(der).splitlines()[1:-1])


def _settings(issued: Issued, **others: object) -> TlsSettings:
    """Settings of a server with that certificate."""
    given = TlsSettings(certificate=issued.file, key=issued.key_file)
    return msgspec.structs.replace(given, **others)


def _peer(context: ssl.SSLContext, authority: Authority) -> bytes:
    """The hash of the certificate that a server shows to who connects now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            """Shake hands once."""
            connection, _ = listening.accept()
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

        thread = threading.Thread(target=accept)
        thread.start()
        client = ssl.create_default_context(cafile=authority.file)
        with (
            socket.create_connection(listening.getsockname()) as plain,
            client.wrap_socket(plain, server_hostname="127.0.0.1") as connected,
        ):
            der = connected.getpeercert(binary_form=True) or b""
        thread.join()
    return hashlib.sha256(der).digest()


def test_a_renewed_certificate_is_taken_without_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    """Once both files are there; a certificate without its key changes nothing meanwhile."""
    first, second = authority.issue("127.0.0.1"), None
    given = _settings(first)
    context = tls_settings.context(given)
    watch = TlsWatch(given, context, interval_s=0.05)
    try:
        assert _peer(context, authority) == first.sha256
        second = Authority(tmp_path / "elsewhere").issue("127.0.0.1")
        renewed = authority.issue("renewed")
        key = first.key_file.read_bytes()
        first.file.write_bytes(second.file.read_bytes())  # Not of this key.
        time.sleep(0.3)
        assert _peer(context, authority) == first.sha256
        first.file.write_bytes(renewed.file.read_bytes())
        first.key_file.write_bytes(renewed.key_file.read_bytes())
        assert key != renewed.key_file.read_bytes()
        _until(lambda: _leaf(context) == renewed.sha256)
    finally:
        watch.stop()


def test_no_client_is_refused_while_a_certificate_is_renewed(
    authority: Authority, tmp_path: Path
) -> None:
    """Each handshake has a certificate and its key, of the old or of the new pair."""
    pairs = [authority.issue("127.0.0.1"), Authority(tmp_path / "elsewhere").issue("127.0.0.1")]
    served = tmp_path / "served"
    served.mkdir()
    given = TlsSettings(certificate=served / "cert", key=served / "key")

    def serve(issued: Issued) -> None:
        """Put a pair where the server looks for it."""
        given.certificate.write_bytes(issued.file.read_bytes())
        given.key.write_bytes(issued.key_file.read_bytes())

    serve(pairs[0])
    context = tls_settings.context(given)
    watch = TlsWatch(given, context, interval_s=0.001)
    try:
        for renewal in range(1, 6):
            serve(pairs[renewal % 2])
            shown = set()
            while pairs[renewal % 2].sha256 not in shown:
                shown.add(_leaf(context))
            assert shown <= {issued.sha256 for issued in pairs}
    finally:
        watch.stop()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_clients_certificate_is_asked_for_after_a_renewal_too(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Of our authority, as before: what was renewed is the server's certificate alone."""
    first, renewed = authority.issue("127.0.0.1"), authority.issue("renewed")
    ours = authority.issue("client")
    stranger = Authority(tmp_path / "strangers").issue("client")
    given = _settings(first, client_ca=authority.file)
    context = tls_settings.context(given)
    watch = TlsWatch(given, context, interval_s=0.01)
    try:
        first.file.write_bytes(renewed.file.read_bytes())
        first.key_file.write_bytes(renewed.key_file.read_bytes())
        _until(lambda: _shown(context, version, ours)[0] == renewed.sha256)
        assert _shown(context, version, ours) == (renewed.sha256, ours.sha256)
        for shown in (stranger, None):
            with pytest.raises(ssl.SSLError):
                _shown(context, version, shown)
    finally:
        watch.stop()


def _leaf(context: ssl.SSLContext) -> bytes:
    """The hash of the certificate that a context shows, whoever it is of."""
    return _shown(context, ssl.TLSVersion.TLSv1_3, None)[0]


def _shown(
    context: ssl.SSLContext, version: ssl.TLSVersion, shown: Issued | None
) -> tuple[bytes, bytes]:
    """The hashes of the certificates that server and client show each other."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    client_context.maximum_version = version
    if shown is not None:
        client_context.load_cert_chain(shown.file, shown.key_file)
    client = client_context.wrap_bio(incoming, outgoing)
    server = context.wrap_bio(outgoing, incoming, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    found = [side.getpeercert(binary_form=True) or b"" for side in (client, server)]
    return hashlib.sha256(found[0]).digest(), hashlib.sha256(found[1]).digest()


def test_the_settings_of_tls_are_checked_at_the_start(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a pair, a key of another certificate, a key with a password, words that are none."""
    ours, other = authority.issue("ours"), authority.issue("other")
    monkeypatch.setenv("LEDGER_TLS_CERT", str(ours.file))
    with pytest.raises(SettingError, match="together"):
        tls_settings.load()
    monkeypatch.setenv("LEDGER_TLS_KEY", str(other.key_file))
    with pytest.raises(SettingError, match="its key"):
        tls_settings.load()
    monkeypatch.setenv("LEDGER_TLS_KEY", str(tmp_path / "nothing"))
    with pytest.raises(SettingError, match="LEDGER_TLS_KEY must name a file"):
        tls_settings.load()
    monkeypatch.setenv("LEDGER_TLS_KEY", str(ours.key_file))
    assert tls_settings.load() == _settings(ours)
    monkeypatch.setenv("LEDGER_TLS_CLIENT_CA", str(ours.key_file))
    with pytest.raises(SettingError, match="LEDGER_TLS_CLIENT_CA"):
        tls_settings.load()
    monkeypatch.setenv("LEDGER_TLS_CLIENT_CA", str(authority.file))
    found = tls_settings.load()
    assert found is not None
    assert tls_settings.context(found).verify_mode is ssl.CERT_REQUIRED
    monkeypatch.setenv("LEDGER_TLS_MINIMUM", "1.1")
    with pytest.raises(SettingError, match=r"1\.2 or 1\.3"):
        tls_settings.load()
    monkeypatch.setenv("LEDGER_TLS_MINIMUM", "1.3")
    strict = tls_settings.load()
    assert strict is not None
    assert tls_settings.context(strict).minimum_version is ssl.TLSVersion.TLSv1_3


def test_serving_others_in_clear_is_spoken_of(authority: Authority, tmp_path: Path) -> None:
    """A warning where others could read along; none on this machine, by TLS or behind a proxy."""
    plain = settings_of("postgresql://u@db.example/l", tmp_path)
    assert len(transport_warnings(plain, "0.0.0.0")) == 2
    here = msgspec.structs.replace(plain, database_url="postgresql://u@127.0.0.1/l")
    assert transport_warnings(here, "127.0.0.1") == []
    assert len(transport_warnings(here, "0.0.0.0")) == 1
    given = _settings(authority.issue("x"))
    assert transport_warnings(msgspec.structs.replace(here, tls=given), "0.0.0.0") == []
    trusting = ProxySettings(("10.0.0.0/8",))
    assert transport_warnings(msgspec.structs.replace(here, proxies=trusting), "0.0.0.0") == []
