"""``ledger serve``: the HTTP server, with the projector as a child process beside it.

Where the program brings its own PostgreSQL, that is started again too if it dies.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog
import uvicorn

from api import collector, embedded_postgres, logs
from api.app import create_app
from api.clockwork import Clockwork
from api.protocol import Protocol
from api.runtime import Runtime

RESTART_S_MIN = 0.5
RESTART_S_MAX = 30.0
# A projector that ran this long was not failing at its start: begin waiting anew.
STEADY_S = 60.0
# Requests under way when the server is told to stop get this long.
SHUTDOWN_S = 20
WATCH_INTERVAL_S = 1.0

_log = structlog.get_logger("ledger.serve")


class Projector:
    """The child process that keeps the views up; started again, ever more slowly, if it dies."""

    def __init__(self, database_url: str) -> None:
        """Start it, and a thread that watches it."""
        self._database_url = database_url
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="projector", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process now running."""
        return self._process.pid

    def stop(self) -> None:
        """End the process: its input ends, and it finishes the batch it is at."""
        self._stopping.set()
        self._end_input(self._process)
        self._thread.join()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the process, which ends when this one does: it reads from us."""
        process = subprocess.Popen(
            [sys.executable, "-m", "api.projector"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.write(self._database_url.encode() + b"\n")
        process.stdin.flush()
        return process

    def _watch(self) -> None:
        """Wait for the process; start it again unless it was to stop."""
        delay_s = RESTART_S_MIN
        while True:
            steady = self._wait(STEADY_S)
            if steady:
                delay_s = RESTART_S_MIN
                self._wait(None)
            if self._stopping.is_set():
                return
            _log.error("projector died", code=self._process.returncode, restart_s=delay_s)
            self._end_input(self._process)
            if self._stopping.wait(delay_s):
                return
            delay_s = min(2 * delay_s, RESTART_S_MAX)
            self._process = self._start()
            if self._stopping.is_set():
                self._end_input(self._process)

    def _wait(self, timeout_s: float | None) -> bool:
        """Wait for the process to end; whether it still runs."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return True
        return False

    @staticmethod
    def _end_input(process: subprocess.Popen[bytes]) -> None:
        """Close our end of the process's input."""
        if process.stdin is not None:
            process.stdin.close()


class DatabaseWatch:
    """A thread that starts the embedded PostgreSQL again if it dies, unless it was stopped."""

    def __init__(self, data_dir: Path, database_url: str) -> None:
        """Watch from now on; ``database_url`` is where everybody here expects the server."""
        self._data_dir = data_dir
        self._database_url = database_url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="database-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; a start under way is not waited for, and goes on without us."""
        self._stopping.set()
        self._thread.join(WATCH_INTERVAL_S)

    def _watch(self) -> None:
        """Look every second; after a failure ever more rarely."""
        delay_s = WATCH_INTERVAL_S
        while not self._stopping.wait(delay_s):
            try:
                cluster = embedded_postgres.restart_if_died(self._data_dir)
            except embedded_postgres.EmbeddedPostgresError as error:
                delay_s = min(2 * delay_s, RESTART_S_MAX)
                reason = str(error)
                _log.error("database cannot be started", reason=reason, retry_s=delay_s)
                continue
            delay_s = WATCH_INTERVAL_S
            if cluster is None:
                continue
            if cluster.url() == self._database_url:
                _log.error("database died and was started again")
            else:
                _log.error("database moved to another port: start ledger serve again")


def serve(runtime: Runtime, host: str, port: int) -> None:
    """Serve until a signal asks for an end; the caller closes the runtime, which drains writers."""
    logs.configure()
    watch = (
        DatabaseWatch(runtime.settings.data_dir, runtime.database_url)
        if runtime.settings.database_url is None
        else None
    )
    projector = Projector(runtime.database_url)
    clockwork = Clockwork(runtime, runs_orders=runtime.settings.orders == "auto")
    try:
        config = uvicorn.Config(
            create_app(runtime),
            host=host,
            port=port,
            http=Protocol,
            proxy_headers=False,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        collector.tune()
        with _signals_taken():
            uvicorn.Server(config).run()
    finally:
        clockwork.stop()
        if watch is not None:
            watch.stop()
        projector.stop()


@contextmanager
def _signals_taken() -> Iterator[None]:
    """Keep a signal from ending the process while the server is still letting go.

    uvicorn stops at a signal and then sends it to the process once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(name, _ignore) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing: the server has stopped because of this signal."""
