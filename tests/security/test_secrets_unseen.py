"""Secrets are not to be seen: in no process's title, log, figure, error or session."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from tests.faults.program import Program

from api import embedded_postgres

KEY_ENCRYPTION_KEY = base64.b64encode(b"wrapping key, 32 bytes of a test").decode()
NEXT_KEY = base64.b64encode(b"another wrapping key, of a test.").decode()
SERVER_SECRET = base64.b64encode(b"server secret, 32 bytes, of test").decode()
VAULT_TOKEN = "hvs.token-that-nobody-may-see"
PROFILE = {"name": "Qxunseen Person", "identity_number": "QX99UNSEEN"}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program in a data folder of its own, with secrets in its environment."""
    program = Program(tmp_path / "data")
    program.environment |= {
        "LEDGER_KEY_ENCRYPTION_KEY": f"{KEY_ENCRYPTION_KEY},{NEXT_KEY}",
        "LEDGER_SERVER_SECRET": SERVER_SECRET,
        "LEDGER_VAULT_TOKEN": VAULT_TOKEN,
        "LEDGER_SELF_AUDIT": "1",
    }
    yield program
    embedded_postgres.stop(program.data_dir, mode="immediate")


def _serve(program: Program, output: Path) -> subprocess.Popen[bytes]:
    """Start the server; what it prints is kept."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--port", str(program.port)],
            env=program.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    deadline = 600
    while deadline:
        deadline -= 1
        with suppress(OSError, urllib.error.URLError):
            if _request(program, "/readyz")[0] == 200:
                return process
        assert process.poll() is None, output.read_text()[-2000:]
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    msg = "the server did not become ready"
    raise AssertionError(msg)


def _request(
    program: Program, path: str, key: str | None = None, body: object = None
) -> tuple[int, str]:
    """Status, headers and body of an answer, whatever it is."""
    request = urllib.request.Request(f"http://127.0.0.1:{program.port}{path}")
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
        request.add_header("Idempotency-Key", path)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, str(answer.headers) + answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(error.headers) + error.read().decode()


def _processes(*names: str) -> dict[str, str]:
    """What everybody on this machine sees of every process: its command line and its title."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            for name in names:
                with suppress(OSError):
                    text = (folder / name).read_bytes().decode(errors="replace")
                    found[f"{folder.name}/{name}"] = text
    return found


def _secrets(program: Program, *keys: str) -> list[str]:
    """Every secret, in the forms in which it might be written."""
    stored = json.loads((program.data_dir / "cluster.json").read_text())
    passwords = [str(value) for name, value in stored.items() if name.endswith("password")]
    raw = [base64.b64decode(text) for text in (KEY_ENCRYPTION_KEY, NEXT_KEY, SERVER_SECRET)]
    forms = [text.decode() for text in raw] + [text.hex() for text in raw]
    found = [*passwords, *forms, KEY_ENCRYPTION_KEY, NEXT_KEY, SERVER_SECRET, VAULT_TOKEN]
    found += [key.rpartition("_")[2] for key in keys]
    assert len(passwords) == 4
    return found


def test_no_secret_is_seen_outside(program: Program, tmp_path: Path) -> None:
    """Served, asked, refused, audited, rotated: no text that anybody can see holds a secret."""
    output = tmp_path / "serve.log"
    seen: dict[str, str] = {}
    seen["migrate"] = program.run("migrate")
    key = program.run("keys", "create", "admin").strip()
    server = _serve(program, output)
    try:
        requests = [
            _request(program, "/v1/customers", key, {"customer_id": "c", "profile": PROFILE}),
            _request(program, "/v1/accounts", key, {"account_id": "a", "currency": "EUR"}),
            _request(program, "/v1/accounts/a?min_position=2&wait_s=30", key),
            _request(program, "/v1/accounts/a", key[:-1] + "x"),
            _request(program, "/v1/accounts/a", "nonsense " + SERVER_SECRET),
            _request(program, "/v1/nowhere?key=" + key, key),
            _request(program, "/v1/transfers", key, {"password": VAULT_TOKEN}),
            _request(program, "/metrics"),
            _request(program, "/openapi.json"),
        ]
        assert [status for status, _ in requests] == [201, 201, 200, 401, 401, 404, 422, 200, 200]
        seen |= {f"answer {number}": text for number, (_, text) in enumerate(requests)}
        program.environment["LEDGER_KEY_ENCRYPTION_KEY"] = f"{NEXT_KEY},{KEY_ENCRYPTION_KEY}"
        seen["rewrap"] = program.run("keystore", "rewrap")
        seen["rotate"] = "".join(program.start("keystore", "rotate").communicate()[1].decode())
        seen["verify"] = program.run("verify")
        while "self-audit" not in output.read_text():
            assert server.poll() is None
        # A command of the program while we look: its arguments are seen by everybody, too.
        other = program.start("load", "-")
        seen |= _processes("cmdline", "comm")
        other.communicate()
        url = embedded_postgres.ensure_running(program.data_dir).url(login="superuser")
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT a::text FROM pg_stat_activity a").fetchall()
        seen["sessions"] = "\n".join(str(row[0]) for row in rows)
    finally:
        server.terminate()
        server.wait(60)
    seen["log"] = output.read_text()
    seen["PostgreSQL's log"] = (program.data_dir / "postgresql.log").read_text()
    assert any("api.projector" in text for text in seen.values())
    assert any("api.self_audit_process" in text for text in seen.values())
    assert "ledger_program" in seen["sessions"]
    found = [
        (where, at)
        for at, secret in enumerate(_secrets(program, key))
        for where, text in seen.items()
        if secret in text
    ]
    assert found == []
    assert not [where for where, text in seen.items() if "Qxunseen" in text or "QX99" in text]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_postgresql_inherits_none_of_our_secrets(program: Program) -> None:
    """The server is started with an environment of its own."""
    program.run("migrate")
    pids = {str(program.postmaster())}
    for name, stat in _processes("stat").items():
        fields = stat.rpartition(")")[2].split()
        if len(fields) > 1 and fields[1] in pids:
            pids.add(name.partition("/")[0])
    assert len(pids) > 3
    environments = [Path(f"/proc/{pid}/environ") for pid in pids]
    text = "".join(
        path.read_bytes().decode(errors="replace") for path in environments if path.exists()
    )
    assert "PATH" in text
    assert not [secret for secret in _secrets(program) if secret in text]
