"""The receiver: a process that fetches the write-ahead log into the folder of backups, at once.

``python -m api.wal_receiver`` reads its order from standard input and runs until that input ends:
it ends with the server that started it. PostgreSQL's ``pg_receivewal`` does the work; each flush is
acknowledged to the server, which keeps the rest. Where several servers run, one of them receives
and the others wait. Before the first ``ledger backup`` there is nothing to receive.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import psycopg
import structlog

from api import backup_settings, backups, embedded_postgres, logs, postgres_programs
from api.backup_store import Store
from api.child import Child
from api.embedded_postgres import Cluster, Login
from api.settings import Settings

RETRY_S_MIN = 1.0
RETRY_S_MAX = 30.0
ELSEWHERE_S = 5.0
"""How often it is looked whether the one who receives for all has ended."""
END_S = 10.0

_log = structlog.get_logger("ledger.backup")


class Order(msgspec.Struct, frozen=True):
    """Whose log is received, and where to."""

    data_dir: str
    port: int
    passwords: dict[Login, str]
    folder: str

    def __repr__(self) -> str:
        """Say where it goes, and no secret."""
        return f"Order(folder={self.folder!r})"


def encode(cluster: Cluster, folder: Path) -> bytes:
    """The line that the process reads."""
    order = Order(str(cluster.data_dir), cluster.port, dict(cluster.passwords), str(folder))
    return msgspec.json.encode(order) + b"\n"


class Receiver:
    """Receives until told to end, whatever goes wrong meanwhile."""

    def __init__(self, order: Order) -> None:
        """Nothing is received yet."""
        self._cluster = Cluster(Path(order.data_dir), order.port, order.passwords)
        self._store = Store(Path(order.folder))
        self._stopping = threading.Event()
        self._lock = threading.RLock()  # A signal's handler may find us with it.
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End: what was fetched is on the disk."""
        self._stopping.set()
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGINT)

    def run(self) -> None:
        """Receive; after a failure again, ever later."""
        pause_s = RETRY_S_MIN
        said: str | None = None
        while not self._stopping.is_set():
            problem, is_elsewhere = self._received()
            if problem is None or is_elsewhere:
                pause_s = ELSEWHERE_S if is_elsewhere else RETRY_S_MIN
                said = None
            else:
                if problem != said:
                    _log.error("write-ahead log not received", reason=problem)
                said, pause_s = problem, min(2 * pause_s, RETRY_S_MAX)
            self._stopping.wait(pause_s)

    def _received(self) -> tuple[str | None, bool]:
        """Receive as long as it goes; why it ended, and whether somebody else receives."""
        try:
            series = backups.current_series(self._cluster, self._store)
        except psycopg.Error:
            return None, False  # The server is away: it is looked for again in a moment.
        if series is None:
            return "there is no series to go on with: run `ledger backup`", False
        with self._lock:
            if self._stopping.is_set():
                return None, False
            self._process = subprocess.Popen(  # noqa: S603 - a binary of PostgreSQL
                [
                    postgres_programs.packaged_binaries() / "pg_receivewal",
                    *backups.receiving(self._cluster, self._store, series),
                ],
                env=postgres_programs.client_environment(self._cluster.passwords["superuser"]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        _, said = self._process.communicate()
        with self._lock:
            self._process = None
        text = said.decode(errors="replace").strip()
        is_gone = "could not connect" in text or "connection to server" in text
        if not text or is_gone or self._stopping.is_set():
            return None, False
        return text.splitlines()[-1], "is active for PID" in text


def main() -> None:
    """Run until the parent is gone or asks for an end."""
    logs.configure()
    # The parent decides when this ends: Ctrl-C reaches the whole terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    receiver = Receiver(msgspec.json.decode(sys.stdin.buffer.readline(), type=Order))
    signal.signal(signal.SIGTERM, lambda *_: receiver.stop())
    threading.Thread(target=_watch_parent, args=(receiver,), daemon=True).start()
    _log.info("receiver started", pid=os.getpid())
    receiver.run()


def _watch_parent(receiver: Receiver) -> None:
    """Wait for the end of the input: the parent holds the other end as long as it lives."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    receiver.stop()


def beside(settings: Settings) -> Child | None:
    """The process, started beside a server that has a folder of backups; else ``None``."""
    folder = backup_settings.folder()
    if folder is None:
        return None
    if settings.database_url is not None:
        _log.warning("LEDGER_BACKUP_DIR is for the embedded PostgreSQL, and does nothing here")
        return None
    cluster = embedded_postgres.ensure_running(settings.data_dir)
    return Child("receiver", "api.wal_receiver", encode(cluster, folder))


if __name__ == "__main__":
    main()
