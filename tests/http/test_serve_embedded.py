"""The server on its own PostgreSQL: started again when it dies, left alone when it was stopped."""

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

from api import embedded_postgres
from api.serve import WATCH_INTERVAL_S

PROGRAM = """
import sys
from pathlib import Path
from api.runtime import Runtime
from api.serve import serve
from api.settings import Settings
folder, port = sys.argv[1:]
settings = Settings(
    data_dir=Path(folder),
    database_url=None,
    key_encryption_key=b"K" * 32,
    server_secret=b"S" * 32,
)
with Runtime(settings) as runtime:
    serve(runtime, "127.0.0.1", int(port))
"""
GENTLE = {"shared_buffers": "16MB"}


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Folder of a cluster of the test's own, stopped afterwards."""
    folder = tmp_path / "data"
    yield folder
    embedded_postgres.stop(folder, mode="immediate")


@pytest.fixture
def is_ready(data_dir: Path, tmp_path: Path) -> Iterator[Callable[[], bool]]:
    """A server process on that cluster: whether it answers that it is ready."""
    embedded_postgres.ensure_running(data_dir, settings=GENTLE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    source = str(Path(__file__).resolve().parents[2] / "src")
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(data_dir), str(port)],
            env=os.environ | {"PYTHONPATH": source},
            stderr=output,
        )
    client = httpx2.Client(base_url=f"http://127.0.0.1:{port}")

    def answers() -> bool:
        """Ask once."""
        try:
            return client.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    try:
        _until(answers)
        yield answers
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        client.close()


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_a_killed_database_comes_back_and_a_stopped_one_does_not(
    is_ready: Callable[[], bool], data_dir: Path
) -> None:
    """After kill -9 of the postmaster the server is ready again; after a stop it stays down."""
    pid_file = data_dir / "postgresql" / "postmaster.pid"
    killed = int(pid_file.read_text().split()[0])
    os.kill(killed, signal.SIGKILL)
    _until(lambda: not is_ready())
    _until(is_ready)
    assert int(pid_file.read_text().split()[0]) != killed
    assert embedded_postgres.stop(data_dir) is True
    time.sleep(3 * WATCH_INTERVAL_S)
    assert not is_ready()
    assert embedded_postgres.stop(data_dir) is False
    embedded_postgres.ensure_running(data_dir, settings=GENTLE)
    _until(is_ready)
