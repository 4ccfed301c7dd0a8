"""The projector: a process of its own that keeps the views up with the log.

``python -m api.projector`` reads the database's URL from its standard input (a command line can be
seen by everyone) and runs until that input ends: it ends with the parent, however that dies.
"""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import structlog

from api import alarm_keeper, collector, logs, tile_keeper, trace_settings
from api.surroundings import SettingError
from projections import runner

if TYPE_CHECKING:
    from api.projection_traces import ProjectionTraces

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
    traces = _traces(url)
    try:
        runner.run_forever(url, stop, watch=traces)
    finally:
        # Whatever went wrong: the process ends, and its parent starts another. The threads alone
        # would keep it alive, and to the parent it would look as if it worked.
        stop.set()
        if traces is not None:
            traces.stop()
        tiles.join()
        alarms.join()
    _log.info("projector stopped", pid=os.getpid())


def _traces(url: str) -> "ProjectionTraces | None":
    """Who tells the traces of requests how they went on here, if there are traces."""
    try:
        settings = trace_settings.load()
    except SettingError as error:  # The server, which has the same settings, does not start.
        _log.warning("no traces", reason=str(error))
        return None
    if settings is None:
        return None
    from api.projection_traces import ProjectionTraces  # noqa: PLC0415 - its library is large

    return ProjectionTraces(settings, url)


def _watch_parent(stop: threading.Event) -> None:
    """Wait for the end of the input: the parent holds the other end as long as it lives."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()


if __name__ == "__main__":
    main()
