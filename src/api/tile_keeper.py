"""The job that keeps the tiles of every log up with it, beside the projector in its process.

The process that signs and answers reads what lacks from the leaves themselves, so nothing waits
for this; it keeps the right edge of a log short.
"""

import threading

import psycopg
import structlog

from ledger_core import database, tiles
from ledger_core.log import Connection
from ledger_core.tiles import LogName, TreeDamagedError

POLL_S = 0.5
RETRY_S_MAX = 30.0

_log = structlog.get_logger("ledger.tiles")


def run_forever(url: str, stop: threading.Event) -> None:
    """Keep tiles up to date until told to stop, whatever goes wrong; after a failure ever later."""
    retry_s = POLL_S
    while not stop.is_set():
        try:
            with database.connect(url, "ledger_projector") as connection:
                known: dict[tuple[int, LogName], int] = {}
                while not stop.is_set():
                    keep_up(connection, known)
                    retry_s = POLL_S
                    stop.wait(POLL_S)
        except (psycopg.Error, TreeDamagedError) as error:
            retry_s = min(2 * retry_s, RETRY_S_MAX)
            reason = str(error) if isinstance(error, TreeDamagedError) else type(error).__name__
            _log.warning("tiles wait", reason=reason, retry_s=retry_s)
            stop.wait(retry_s)


def keep_up(connection: Connection, known: dict[tuple[int, LogName], int]) -> None:
    """Compute the tiles that were filled; ``known``: how many full ones each log had.

    Raises:
        TreeDamagedError: the leaves of a log have a gap; the other logs were served.
    """
    damaged: TreeDamagedError | None = None
    for log in tiles.logs(connection):
        for ledger_id, size in tiles.heads(connection, log).items():
            if known.get((ledger_id, log)) == size // tiles.TILE:
                continue
            try:
                while tiles.extend(connection, ledger_id, log, size):
                    pass
            except TreeDamagedError as error:
                damaged = error
                continue
            known[ledger_id, log] = size // tiles.TILE
    if damaged is not None:
        raise damaged
