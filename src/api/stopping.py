"""The end of a server: nothing more is taken, what was taken is answered, and it ends in time.

At the first signal readiness goes down. Requests are still served for as long as a balancer takes
to notice, if the operator says so. Then no connection is accepted; what is under way is answered,
its connection closed with the answer; a request that still comes on an open connection is turned
away (503, ``Retry-After``), since a closed connection would leave its sender in doubt. A second
signal does not wait for answers, and a third, like the last deadline, ends the process at once:
nothing was acknowledged that is not durable, and the children end with their parent.
"""

import asyncio
import atexit
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import RETRY_AFTER_S, Kind, Problem

# Requests under way when the server is told to stop get this long; the rest of the time is for what
# is done after them.
SHUTDOWN_S = 15
# Open connections without a request under way are kept this long: who sends often gets to read that
# the server stops, and opens the next connection elsewhere.
LINGER_S = 1.0
# All of it, beside the time for the balancer: what is asked of a process by most who start one.
STOP_S = 28.0
HURRIED_S = 5.0
ENDED_HARD = 1
_LOOK_S = 0.05

STOPPING = Kind(503, "stopping", "This server is stopping: ask another one, or try again.")

_log = structlog.get_logger("ledger.serve")


def turned_away() -> Problem:
    """The refusal of a request that came too late."""
    return Problem(STOPPING, headers=(("Retry-After", str(RETRY_AFTER_S)),))


class Stop:
    """How far the end of a server is; begun by a signal, in the main thread."""

    def __init__(self) -> None:
        """It goes on."""
        self.is_begun = False
        self.is_refusing = False
        self.is_hurried = False
        self._end_at_s = 0.0

    def begin(self, delay_s: float) -> None:
        """Begin the end; hurry it where it had begun; end at once where that is not enough."""
        if self.is_hurried:
            _end_hard("stopped at once")
        if self.is_begun:
            self.is_hurried = True
            self._end_at_s = min(self._end_at_s, time.monotonic() + HURRIED_S)
            return
        self.is_begun = True
        self._end_at_s = time.monotonic() + delay_s + STOP_S
        threading.Thread(target=self._watch, name="stop", daemon=True).start()

    def _watch(self) -> None:
        """End the process if it takes too long."""
        while time.monotonic() < self._end_at_s:
            time.sleep(_LOOK_S)
        _end_hard("stopping took too long")


def _end_hard(reason: str) -> None:
    """End the process as it is."""
    _log.error(reason)
    os._exit(ENDED_HARD)


class Server(uvicorn.Server):
    """Uvicorn's server, with an end of our own."""

    def __init__(self, config: uvicorn.Config, stop: Stop, delay_s: float) -> None:
        """Serve; once told to stop, go on for ``delay_s``."""
        super().__init__(config)
        self._stop = stop
        self._delay_s = delay_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, or hurry; the signal is not sent to the process again afterwards."""
        del sig, frame
        self._stop.begin(self._delay_s)
        self.force_exit = self._stop.is_hurried
        self.should_exit = True

    async def main_loop(self) -> None:
        """Serve until it is time to stop, and for those who have not noticed yet."""
        await super().main_loop()
        _log.info("stopping", delay_s=self._delay_s)
        end_at_s = time.monotonic() + self._delay_s
        while time.monotonic() < end_at_s and not self.force_exit:  # noqa: ASYNC110 - signals set it
            await asyncio.sleep(_LOOK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no connection, answer what is under way, turn away what comes, and end."""
        self._stop.is_begun = self._stop.is_refusing = True
        # What the system had accepted for us is taken in first: closing would reset it.
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        await asyncio.sleep(0)
        connections = self.server_state.connections
        for connection in list(connections):
            if isinstance(connection, HttpToolsProtocol) and _is_busy(connection):
                connection.shutdown()
        end_at_s = time.monotonic() + LINGER_S
        while self._is_lingering(end_at_s):  # noqa: ASYNC110 - uvicorn alone knows who is left
            await asyncio.sleep(_LOOK_S)
        await super().shutdown(sockets)

    def _is_lingering(self, end_at_s: float) -> bool:
        """Whether some connection is open, and is to stay so for a moment."""
        is_time = time.monotonic() < end_at_s and not self.force_exit
        return is_time and bool(self.server_state.connections)


def _is_busy(connection: HttpToolsProtocol) -> bool:
    """Whether a request of the connection is under way."""
    cycle: Any = connection.cycle  # At first there is none, whatever its type says.
    return cycle is not None and not cycle.response_complete


@contextmanager
def signals_taken(stop: Stop) -> Iterator[None]:
    """Have a signal that comes while the server still lets go hurry the end, not break it off.

    Once the end has begun that stays so: the caller drains the writers afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def take(_number: int, _frame: FrameType | None) -> None:
        """Begin the end, or hurry it."""
        stop.begin(0.0)

    before = {name: signal.signal(name, take) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if stop.is_begun:
            atexit.register(_ignore_signals)
        else:
            for name, handler in before.items():
                signal.signal(name, handler)


def _ignore_signals() -> None:
    """Have the process end with its own exit code; Python's end makes such signals deadly again."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
