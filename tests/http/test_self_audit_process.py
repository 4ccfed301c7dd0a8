"""The self-audit beside a server: a process of the lowest priority that ends with its parent."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.http.bank import Json

from api import self_audits
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
    self_audit_s=1,
)
with Runtime(settings) as runtime:
    serve(runtime, "127.0.0.1", int(port))
"""


class Server:
    """A server process and what it logs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Watch a process that was started."""
        self.process = process
        self._log = log

    def lines(self, event: str) -> list[Json]:
        """What was logged of that event, by the server and its children."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def server(runtime: Runtime, database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A server that audits its one ledger every second."""
    runtime.create_ledger("test")
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
    try:
        yield Server(process, tmp_path / "log")
    finally:
        process.kill()
        process.wait()


def _until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_it_audits_at_the_lowest_priority_and_ends_with_the_server(
    server: Server, runtime: Runtime
) -> None:
    """Results are stored and signed; after kill -9 of the server nothing goes on."""
    ledger_id = runtime.ledger_id("test")
    _until(lambda: server.lines("self-audit found nothing"))
    pid = server.lines("self-audit started")[0]["pid"]
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    with runtime.connect("ledger_reader") as reader:
        found = self_audits.latest(reader, ledger_id)
    assert found is not None
    assert found.note.startswith("ledger-audit/1\n")
    server.process.kill()
    server.process.wait()
    _until(lambda: server.lines("self-audit stopped"))


def test_damage_is_told_by_a_running_server(
    server: Server, runtime: Runtime, superuser_url: str
) -> None:
    """What somebody changes in the database is in the log at the next audit."""
    _until(lambda: server.lines("self-audit found nothing"))
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute("INSERT INTO views.units VALUES (1, 0, 'FAKE', 2, NULL, 1)")
        superuser.execute("INSERT INTO views.units VALUES (1, 1, 'FAKE', 2, NULL, 1)")
    _until(lambda: server.lines("SELF-AUDIT FINDS THE LEDGER DAMAGED"))
    assert server.lines("self-audit finding")[0]["kind"] == "units"
    with runtime.connect("ledger_reader") as reader:
        found = self_audits.latest(reader, runtime.ledger_id("test"))
    assert found is not None
    assert found.findings_count == 1
