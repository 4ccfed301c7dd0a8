"""``ledger serve``: the HTTP server, with projector and self-audit as child processes beside it.

Where the program brings its own PostgreSQL, that is started again too if it dies.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog
import uvicorn

from api import collector, embedded_postgres, logs, self_audit_order
from api.app import create_app
from api.child import RESTART_S_MAX, Child
from api.clockwork import Clockwork
from api.notary_rounds import NotaryRounds
from api.protocol import Protocol
from api.runtime import Runtime

# Requests under way when the server is told to stop get this long.
SHUTDOWN_S = 20
WATCH_INTERVAL_S = 1.0
# The self-audit's process begins so long after the server, or sooner if audits are more frequent.
FIRST_AUDIT_S = 60.0

_log = structlog.get_logger("ledger.serve")


class Projector(Child):
    """The child process that keeps the views up."""

    def __init__(self, database_url: str) -> None:
        """Start it."""
        super().__init__("projector", "api.projector", database_url.encode() + b"\n")


class SelfAuditing(Child):
    """The child process that audits the ledgers, started a while after the server."""

    def __init__(self, runtime: Runtime, every_s: float) -> None:
        """Start it later: a start of the server stays quick, and a short run has none."""
        order = self_audit_order.Order(runtime.database_url, every_s, runtime.settings)
        super().__init__(
            "self-audit",
            "api.self_audit_process",
            self_audit_order.encode(order),
            after_s=min(FIRST_AUDIT_S, every_s),
        )


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
    notary = NotaryRounds(runtime)
    every_s = runtime.settings.self_audit_s
    auditing = None if every_s is None else SelfAuditing(runtime, every_s)
    try:
        app = create_app(runtime)
        app.state.context.notary_figures.outlets = notary.outlets
        config = uvicorn.Config(
            app,
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
        notary.stop()
        if auditing is not None:
            auditing.stop()
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
