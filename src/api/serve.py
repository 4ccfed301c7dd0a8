"""``ledger serve``: the HTTP server, with projector and self-audit as child processes beside it.

Where the program brings its own PostgreSQL, that is started again too if it dies.
"""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvicorn

from api import (
    collector,
    database_tls,
    embedded_postgres,
    logs,
    self_audit_order,
    tls_settings,
    wal_receiver,
)
from api.app import create_app
from api.child import RESTART_S_MAX, Child
from api.clockwork import Clockwork
from api.connections import make_room
from api.notary_rounds import NotaryRounds
from api.protocol import Protocol
from api.runtime import Runtime
from api.settings import Settings
from api.stopping import SHUTDOWN_S, Server, signals_taken
from api.tls_watch import TlsWatch

if TYPE_CHECKING:
    from api.request_traces import RequestTraces

WATCH_INTERVAL_S = 1.0
SWITCH_S = 0.0002
"""How long a thread of ours that is busy keeps the interpreter from another that waits for it.

The writer waits for it after every answer of the database, and the loop before every read of a
socket, since uvloop takes it anew for each: with Python's 5 ms both do little but wait.
"""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
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
    for warning in transport_warnings(runtime.settings, host):
        _log.warning(warning)
    watch = (
        DatabaseWatch(runtime.settings.data_dir, runtime.database_url)
        if runtime.settings.database_url is None
        else None
    )
    projector = Projector(runtime.database_url)
    runtime.is_projected = True
    receiver = wal_receiver.beside(runtime.settings)
    clockwork = Clockwork(runtime, runs_orders=runtime.settings.orders == "auto")
    notary = NotaryRounds(runtime)
    every_s = runtime.settings.self_audit_s
    auditing = None if every_s is None else SelfAuditing(runtime, every_s)
    tls = runtime.settings.tls
    tls_context = None if tls is None else tls_settings.context(tls)
    tls_watch = None if tls is None or tls_context is None else TlsWatch(tls, tls_context)
    traces = _traces(runtime)
    try:
        app = create_app(runtime)
        app.state.context.notary_figures.outlets = notary.outlets
        children: list[Child] = [projector] if auditing is None else [projector, auditing]
        app.state.context.child_figures.children = children
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
            ssl_context_factory=None if tls_context is None else lambda *_: tls_context,
        )
        collector.tune()
        sys.setswitchinterval(SWITCH_S)
        make_room(runtime.settings.limits.connections_max)
        stop = app.state.context.stop
        with signals_taken(stop):
            Server(config, stop, runtime.settings.stop_delay_s).run()
    finally:
        # All of them at once: what each still does takes its time beside the others.
        projector.ask_to_stop()
        if auditing is not None:
            auditing.ask_to_stop()
        clockwork.stop()
        notary.stop()
        if auditing is not None:
            auditing.stop()
        if watch is not None:
            watch.stop()
        if tls_watch is not None:
            tls_watch.stop()
        projector.stop()
        if receiver is not None:
            receiver.stop()
        if traces is not None:
            traces.stop()


def _traces(runtime: Runtime) -> "RequestTraces | None":
    """Who makes and sends the spans of requests, if there are any."""
    if runtime.tracing is None or runtime.settings.traces is None:
        return None
    from api.request_traces import RequestTraces  # noqa: PLC0415 - its library is large

    return RequestTraces(runtime.settings.traces, runtime.tracing, runtime.database_url)


def transport_warnings(settings: Settings, host: str) -> list[str]:
    """What others on the way could read or change, as sentences for the log."""
    found = []
    if settings.tls is None and not settings.proxies.trusted and host not in _LOOPBACK:
        found.append("serving others without TLS: set LEDGER_TLS_CERT, or name a proxy that has it")
    for url in (settings.database_url, settings.migration_url):
        if url is not None and not database_tls.is_verified(url):
            found.append("the database's server is not verified: set LEDGER_DATABASE_CA")
            break
    return found
