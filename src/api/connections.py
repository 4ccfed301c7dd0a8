"""A connection that can cost only so much: bounds on its head, its pace, and their number.

What is not yet a whole request belongs to nobody: no key is known, no bucket is asked. So a head
has so many bytes and headers, a request so long to arrive, an answer so long to be taken, and there
are so many connections. Who keeps within them notices nothing of it.
"""

import asyncio
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api import clock
from api.edge import Trace, problem_response
from api.problems import RETRY_AFTER_S, Kind, Problem

if TYPE_CHECKING:
    from api.callers import Caller
    from api.edge import Edge

HEAD_BYTES_MAX = 32_768
"""An address of 8 kB, a token of 8 kB, and twice as much again."""
HEADERS_MAX = 100
CHECK_S = 5.0
HEAD_CHECKS_MAX = 3
"""A head, or the first byte of one, takes 15 to 20 seconds at most."""
BODY_CHECKS_MAX = 24
"""The largest batch, of 16 MB, takes two minutes over a line of 1.1 Mbit/s."""
TAKING_CHECKS_MAX = 12
"""So long nothing of an answer may be taken: a minute."""
# Beside the connections: PostgreSQL's, files, and the sockets of others.
_FILES_BESIDE = 256

MALFORMED_REQUEST = Kind(400, "malformed_request", "That is no request of HTTP/1.1.")
REQUEST_TIMEOUT = Kind(408, "request_timeout", "The request did not arrive as a whole in time.")
HEAD_TOO_LARGE = Kind(
    431, "request_head_too_large", "The address and the headers are larger than a server takes."
)
TOO_MANY_CONNECTIONS = Kind(
    503, "too_many_connections", "The server has as many connections as it takes; try again."
)


class _Refused(Exception):  # noqa: N818 - a refusal, not a failure of the program
    """Ends the parsing of a request that is refused."""


class Bounded(HttpToolsProtocol):
    """One connection, within bounds; who derives tells when a request and its head are there."""

    cycle: Any  # Uvicorn's request under way, or what looks like one; at first there is none.

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Serve a connection of an application that stands behind an edge."""
        super().__init__(config, server_state, app_state, _loop)
        self.edge: Edge = cast("_Application", config.app).edge
        # A request is awaited or under way; its head is; how many bytes of it came before, at least
        # and at most: with the first of them may have come the end of the request before.
        self.is_arriving = True
        self.is_in_head = False
        self.arrival_checks = 0
        self._head_bytes_least = self._head_bytes_most = 0
        self._is_head_large = False
        self._refusal: Kind | None = None
        self._untaken_checks = 0
        self._timer: asyncio.TimerHandle | None = None
        # Since when nothing was asked after an answer; ``None`` while something is.
        self._idle_since_s: float | None = None
        # Nothing here speaks another protocol: a request to change to one is answered as any other.
        self.ws_protocol_class = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # As in uvicorn.
        """Begin, if there is room for one more."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(CHECK_S, self._check)
        if len(self.connections) > self.edge.connections_max:
            self.refuse(TOO_MANY_CONNECTIONS, ("Retry-After", str(RETRY_AFTER_S)))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._idle_since_s = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, as uvicorn does, within bounds."""
        self._idle_since_s = None
        was_in_head = self.is_in_head
        self._is_head_large = self._head_bytes_most + len(data) > HEAD_BYTES_MAX
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.refuse(self._refusal or MALFORMED_REQUEST)
            return
        except httptools.HttpParserUpgrade:
            return
        if self.is_in_head:
            self._head_bytes_most += len(data)
            if was_in_head:
                self._head_bytes_least += len(data)
                if self._head_bytes_least > HEAD_BYTES_MAX:
                    self.refuse(HEAD_TOO_LARGE)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self.is_arriving = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer was given: begin the next request that is there, or to wait for one.

        As uvicorn does, but that it sets and takes back a timer for every request.
        """
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._idle_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_for_request(self.timeout_keep_alive)

    def resume_writing(self) -> None:
        """Something of the answer was taken."""
        self._untaken_checks = 0
        super().resume_writing()

    def note_beginning(self) -> None:
        """A request begins to arrive."""
        self.is_arriving = self.is_in_head = True
        # Of two requests that came together the first may have been answered by now.
        self._idle_since_s = None
        self.arrival_checks = self._head_bytes_least = self._head_bytes_most = 0

    def note_head(self) -> None:
        """The head of a request is there.

        Raises:
            _Refused: it is larger than a server takes.
        """
        self.is_in_head = False
        if len(self.headers) > HEADERS_MAX or (self._is_head_large and self._is_too_large()):
            self._refusal = HEAD_TOO_LARGE
            raise _Refused

    def refuse(self, kind: Kind, *headers: tuple[str, str]) -> None:
        """Answer what is no request yet, and end the connection.

        While an earlier request of the connection is unanswered it only ends: an answer now would
        be taken for that one's.
        """
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        trace = Trace(clock.new_request_id())
        trace.status, body, found = problem_response(trace, Problem(kind, headers=headers))
        added = (b"x-request-id", trace.request_id.encode())
        parts = [STATUS_LINE[trace.status], b"content-length: %d\r\n" % len(body)]
        for name, value in (*found, added, (b"connection", b"close")):
            parts += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join((*parts, b"\r\n", body)))
        self.transport.close()
        caller: Caller | None = None
        self.edge.finish("-", trace, caller, 0.0)

    def _is_too_large(self) -> bool:
        """Whether address and headers have more bytes than a server takes."""
        headers = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.url) + headers > HEAD_BYTES_MAX

    def _check(self) -> None:
        """Look whether the other end still does its part."""
        transport = self.transport
        self._timer = self.loop.call_later(CHECK_S, self._check)
        if self.flow.write_paused or transport.is_closing():
            self._untaken_checks += 1
            if self._untaken_checks > TAKING_CHECKS_MAX:
                transport.abort()
                return
        if not self._is_awaited():
            return
        self.arrival_checks += 1
        is_in_body = self.is_arriving and self.cycle is not None and not self.is_in_head
        if self.arrival_checks > (BODY_CHECKS_MAX if is_in_body else HEAD_CHECKS_MAX):
            if self.is_in_head:
                self.refuse(REQUEST_TIMEOUT)
            else:
                transport.close()

    def _wait_for_request(self, wait_s: float) -> None:
        """Look again after so long."""
        self.timeout_keep_alive_task = self.loop.call_later(wait_s, self._end_of_wait)

    def _end_of_wait(self) -> None:
        """End the connection, if it has been idle for as long as it may be."""
        self.timeout_keep_alive_task = None
        if self._idle_since_s is None:
            return  # The next answer begins to wait anew.
        left_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._wait_for_request(left_s)
        else:
            self.timeout_keep_alive_handler()

    def _is_awaited(self) -> bool:
        """Whether it is the other end's turn, and nothing else watches the time that it takes."""
        if self.is_arriving:
            return not self.flow.read_paused
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self._idle_since_s is None


class _Application(Protocol):
    """An application that stands behind an edge."""

    edge: "Edge"


def make_room(connections_max: int) -> None:
    """Let this process have as many open files as the connections need, if the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + _FILES_BESIDE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
