"""The self-audit's process: ``python -m api.self_audit_process``, beside the server.

Reads its order from its standard input (a command line can be seen by everyone) and runs until
that input ends: it ends with the parent, however that dies. It leaves the processor to all others,
and may take so much memory and no more.
"""

import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from datetime import timedelta

import structlog

from api import collector, logs, self_audit_order
from api.self_audit import SelfAuditJob

NICE = 19
MEMORY_BYTES_MAX = 4 << 30
"""Enough for some 5 million accounts."""

_log = structlog.get_logger("ledger.self_audit")


def main() -> None:
    """Run until the parent is gone or asks for an end."""
    logs.configure()
    os.nice(NICE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    # The parent decides when this ends: Ctrl-C reaches the whole terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    order = self_audit_order.decode(sys.stdin.buffer.readline())
    threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    _log.info("self-audit started", pid=os.getpid())
    collector.tune()
    job = SelfAuditJob(order.settings, order.database_url, stop)
    job.run_forever(timedelta(seconds=order.every_s))
    _log.info("self-audit stopped", pid=os.getpid())


def _watch_parent(stop: threading.Event) -> None:
    """Wait for the end of the input: the parent holds the other end as long as it lives."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()


if __name__ == "__main__":
    main()
