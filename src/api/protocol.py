"""HTTP/1.1 as uvicorn speaks it, with a short cut for the hot routes.

A plain request to one of them costs uvicorn, its task and ASGI's messages more than the command
itself. Here it is parsed by the same parser, handed to its handler and answered by one write.
Anything unusual about a request - its key was not seen a moment ago, a header is there twice, its
body is chunked or large, another answer of the connection is under way - leads the usual way,
which gives the same answers.
"""

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.caching import NOT_MODIFIED
from api.connections import Bounded
from api.edge import failure_response, trace_of
from api.exchange import Handler, Headers
from api.problems import RETRY_AFTER_S
from api.proxies import CERTIFICATE
from api.rate_limits import too_many
from api.stopping import STOPPING

if TYPE_CHECKING:
    from api.callers import Caller
    from api.edge import Trace
    from api.wire import Scope

# Larger bodies are none of the hot routes' business.
BODY_BYTES_MAX = 65_536

_OF_THE_END = frozenset({b"/livez", b"/readyz", b"/metrics"})
"""What is answered to the end: it tells of that."""
_METHODS = frozenset({"GET", "POST"})
# Whatever these say, the usual way knows what to do.
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"ledger-receipt"})


class Protocol(Bounded):
    """One connection."""

    cycle: Any  # Uvicorn's, or a _Short, which has all that uvicorn looks at.

    def on_message_begin(self) -> None:
        """Begin a request; what only ASGI needs is made when the request turns out to go there."""
        self.note_beginning()
        self.is_turned_away = False
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Take the short cut, if it is open to this request."""
        self.note_head()
        if self.edge.stop.is_refusing and self._is_late():
            self.is_turned_away = True
            return
        short = self._short()
        if short is not None:
            self.cycle = short
            return
        url, headers, is_expecting = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        if self.scheme == "https":
            cast("Scope", self.scope)[CERTIFICATE] = _certificate_of(self.transport)
        self.url, self.expect_100_continue = url, is_expecting
        self.headers.extend(headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self.is_turned_away:
            return
        if type(self.cycle) is _Short:
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        if self.is_turned_away:
            self.is_arriving = False
            self.refuse(STOPPING, ("Retry-After", str(RETRY_AFTER_S)))
        elif type(self.cycle) is _Short:
            self.is_arriving = False
            self.cycle.begin()
        else:
            super().on_message_complete()

    def _is_late(self) -> bool:
        """Whether the request came after the end had begun, and does not ask for that."""
        is_free = self.cycle is None or self.cycle.response_complete
        return is_free and self.url.partition(b"?")[0] not in _OF_THE_END

    def _short(self) -> "_Short | None":
        """The request, if it is a plain one to a hot route."""
        method = self.parser.get_method().decode()
        if method not in _METHODS:
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        headers = dict(self.headers)
        if (
            len(headers) != len(self.headers)
            or not _UNUSUAL.isdisjoint(headers)
            or int(headers.get(b"content-length", 0)) > BODY_BYTES_MAX
            or self.parser.get_http_version() != "1.1"
            or self.flow.write_paused
        ):
            return None
        edge, authorization = self.edge, headers.get(b"authorization", b"")
        caller = edge.ring.remembered(authorization)
        known = caller or edge.ring.known_lately(authorization)
        if known is None:
            return None
        refusing = edge.refusing(method, self.url, known)
        handler = refusing or edge.handler_of(method, self.url)
        if handler is None:
            return None
        short = _Short(self, handler, method, known)
        short.is_unproven = caller is None and refusing is None
        return short


def _certificate_of(transport: asyncio.Transport) -> bytes | None:
    """The SHA-256 of the certificate that the client showed, which its authority signed."""
    connection = transport.get_extra_info("ssl_object")
    der = None if connection is None else connection.getpeercert(binary_form=True)
    return hashlib.sha256(der).digest() if der else None


class _Ignored:
    """The event for which nobody waits."""

    def set(self) -> None:
        """Do nothing."""


_IGNORED = _Ignored()


class _Short:
    """A request on the short cut; to uvicorn it looks like one of its own."""

    __slots__ = (
        "_handler",
        "_protocol",
        "begun_at_s",
        "body",
        "caller",
        "disconnected",
        "headers",
        "is_unproven",
        "keep_alive",
        "message_event",
        "method",
        "response_complete",
        "trace",
    )

    def __init__(self, protocol: Protocol, handler: Handler, method: str, caller: "Caller") -> None:
        """Begin, with the head of the request."""
        self._protocol = protocol
        # The caller's key was valid lately, and is yet to be looked up again.
        self.is_unproven = False
        self._handler = handler
        self.begun_at_s = protocol.loop.time()
        self.method = method
        self.caller = caller
        self.headers = protocol.headers
        self.trace: Trace = trace_of(self.headers, protocol.edge.tracing)
        self.body = b""
        self.keep_alive = protocol.parser.should_keep_alive()
        self.disconnected = False
        self.response_complete = False
        self.message_event = _IGNORED

    def begin(self) -> None:
        """Have it handled, once it is known who calls."""
        if self.is_unproven:
            protocol = self._protocol
            protocol.edge.admit_again(protocol.client, self, self._begin)
        else:
            self._begin(self.caller)

    def _begin(self, caller: "Caller") -> None:
        """Have it handled, unless its caller asks too often."""
        self.caller = caller
        try:
            wait_s = self._protocol.edge.wait_s(self.caller, self.begun_at_s)
            if wait_s:
                raise too_many(wait_s)  # noqa: TRY301 - answered below, as every failure
            self._handler(self)
        except Exception as error:  # noqa: BLE001 - every failure is answered
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Answer with the problem behind a failure."""
        if not self.response_complete:
            self.answer(*failure_response(self.trace, error))

    def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send the whole answer, in one write."""
        protocol, trace = self._protocol, self.trace
        trace.status = status
        parts = [STATUS_LINE[status]]
        if status != NOT_MODIFIED:  # There it would be the length of what was not sent again.
            parts.append(b"content-length: %d\r\n" % len(body))
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in protocol.edge.added(self.method, trace):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        parts.append(body)
        self.response_complete = True
        if not self.disconnected:
            protocol.transport.write(b"".join(parts))
            if not self.keep_alive:
                protocol.transport.close()
        protocol.edge.finish(
            self.method, trace, self.caller, protocol.loop.time() - self.begun_at_s
        )
        protocol.on_response_complete()
