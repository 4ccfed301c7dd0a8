"""The program as a user runs it: processes of its own, in a data folder of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

STARTUP_S = 120.0


class Program:
    """``ledger …`` commands on one data folder, and the server on a free port."""

    def __init__(self, data_dir: Path) -> None:
        """Nothing is started."""
        self.data_dir = data_dir
        self.port = free_port()
        # Not LEDGER_DATABASE_URL: these tests kill the server they run on.
        kept = {name: value for name, value in os.environ.items() if name != "LEDGER_DATABASE_URL"}
        self.environment = {**kept, "LEDGER_DATA_DIR": str(data_dir)}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "api.cli", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end, which must be that exit code; what it printed."""
        process = self.start(*arguments)
        printed, problems = process.communicate(timeout=STARTUP_S)
        assert process.returncode == code, problems.decode()[-2000:]
        return printed.decode()

    def answer(self, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON
        """Run a command with ``--json``; what it answered."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it is ready."""
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--port", str(self.port)],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + STARTUP_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return process
            except (OSError, urllib.error.URLError):
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        msg = "the server did not become ready"
        raise AssertionError(msg)

    def postmaster(self) -> int:
        """The process id of the embedded PostgreSQL's main process."""
        pid_file = next(self.data_dir.glob("**/postmaster.pid"))
        return int(pid_file.read_text().splitlines()[0])


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process as the power going out would, and collect it."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
