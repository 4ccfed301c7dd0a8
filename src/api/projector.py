"""The projector: a process of its own that keeps the views up with the log.

``python -m api.projector`` reads the database's URL from its standard input (a command line can be
seen by everyone) and runs until that input ends: it ends with the parent, however that dies.
"""

import os
import signal
import sys
import threading

import structlog

from api import alarm_keeper, collector, logs, tile_keeper
from projections import runner

_log = structlog.get_logger("ledger.projector")


def main() -> None:
    """Run until the parent is gone or asks for an end."""
    logs.configure()
    # The parent decides when this ends: Ctrl-C reaches the whole terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    url = sys.stdin.readline().strip()
    threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    _log.info("projector started", pid=os.getpid())
    collector.tune()
    tiles = threading.Thread(target=tile_keeper.run_forever, args=(url, stop), name="tiles")
    tiles.start()
    alarms = threading.Thread(target=alarm_keeper.run_forever, args=(url, stop), name="alarms")
    alarms.start()
    runner.run_forever(url, stop)
    stop.set()
    tiles.join()
    alarms.join()
    _log.info("projector stopped", pid=os.getpid())


def _watch_parent(stop: threading.Event) -> None:
    """Wait for the end of the input: the parent holds the other end as long as it lives."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()


if __name__ == "__main__":
    main()
