"""The outermost layer of the server: who calls, under which request id, and how it ended.

Everything but health and the documents is answered only to a valid key: the check is here, before
any route is looked for, so that no route can be without it. Every failure becomes a problem
document here, and every request one line of the log, which names the route's template and never
the path, the body or a person.
"""

import asyncio
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec
import psycopg
import sqlalchemy.exc
import structlog

from api import busy, clock, paths, problems
from api.callers import Caller
from api.context import Context
from api.deprecations import Deprecated, Header, Route
from api.exchange import Exchange, Handler
from api.gate import Gate, Presented
from api.problems import (
    DATABASE_READ_ONLY,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
    Kind,
    Problem,
)
from api.proxies import CERTIFICATE
from api.tracing import Answered, Parent, RequestSpan, Tracing, new_span_id, parent_of
from api.wire import App, Message, Receive, Scope, Send
from ledger_core.errors import LedgerBusy, LedgerError

if TYPE_CHECKING:
    from api.direct_views import DirectViews

# Tells whether to start the server anew, and costs nothing: nobody's haste may keep it unanswered.
_ALIVE = "/livez"
PUBLIC_PATHS = frozenset({_ALIVE, "/readyz", "/metrics", "/docs", "/openapi.json"})
UNMATCHED = "(none)"
QUERY_TOO_COSTLY = Kind(
    422, "query_too_costly", "The answer takes longer to find than a read may: ask for less of it."
)

CALLER = "ledger.caller"
TRACE = "ledger.trace"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{8,64}")
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
)

_RETRY = (("Retry-After", str(problems.RETRY_AFTER_S)),)

_log = structlog.get_logger("ledger.http")


class Trace(msgspec.Struct):
    """What is known of a request as it goes along, for its line in the log.

    ``traceparent`` names this server's part in the caller's trace, where there is one; ``span`` is
    there where the request is traced.
    """

    request_id: str
    traceparent: str | None = None
    route: str = UNMATCHED
    code: str | None = None
    status: int = 0
    span: RequestSpan | None = None


class Direct(msgspec.Struct, frozen=True):
    """Requests that need nothing of the framework's routing; ``command_of`` knows every command's.

    ``posts`` are POSTs by path; ``handlers``, by template, need no task of their own either, and
    are told what the path has in the places of its parameters. ``views`` knows the GETs. ``public``
    are the paths of actions that need no credential.
    """

    posts: Mapping[str, App]
    handlers: Mapping[str, Callable[[Mapping[str, str], Exchange], None]]
    views: "DirectViews"
    public: frozenset[str] = frozenset()
    command_of: Callable[[bytes], paths.Address | None] = paths.finder(())


class Edge:
    """ASGI middleware: authenticates, catches, counts and logs."""

    def __init__(
        self,
        app: App,
        context: Context,
        direct: Direct,
        deprecated: Mapping[Route, Deprecated],
    ) -> None:
        """Wrap an ASGI application."""
        self._app = app
        self._context = context
        self._direct = direct
        self._deprecated = {route: item.headers() for route, item in deprecated.items()}
        self._limits = context.rate_limits
        self.ring = context.key_ring
        self._gate = Gate(context.key_ring, context.rate_limits, context.failed_keys)
        self.tracing = context.runtime.tracing
        self.wait_s = self._limits.wait_s
        self.connections_max = context.runtime.settings.limits.connections_max
        self._busy = busy.Lines()
        self.stop = context.stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        # Routes are matched on the path as it was sent: an encoded slash is part of an id.
        path = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace")
        scope["path"] = path
        trace = trace_of(scope["headers"], None if path in PUBLIC_PATHS else self.tracing)
        scope[TRACE] = trace
        proxies = self._context.proxies
        scope[CERTIFICATE] = proxies.certificate(scope)
        scope["client"] = proxies.client(scope.get("client"), scope["headers"])
        app = self._direct_app(scope, path) or self._app

        async def send_traced(message: Message) -> None:
            """Note the status and add what every answer says."""
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                _note_template(scope)
                added = self.added(scope["method"], trace)
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            if path not in PUBLIC_PATHS and path not in self._direct.public:
                await self._admit(scope, begun_at)
            elif path != _ALIVE:
                self._limits.require_public(client_of(scope), begun_at)
            await app(scope, receive, send_traced)
        except Exception as error:  # noqa: BLE001 - every failure is answered, and logged safely
            await _answer_failure(trace, error, send_traced)
        finally:
            _note_template(scope)
            self.finish(scope["method"], trace, scope.get(CALLER), loop.time() - begun_at)

    async def _admit(self, scope: Scope, now_s: float) -> None:
        """Find out who calls, and note it in the scope.

        Raises:
            Problem: nobody who is known, or somebody who asks too often.
        """
        trace: Trace = scope[TRACE]
        presented = Presented(
            scope["headers"], client_of(scope), trace.request_id, scope[CERTIFICATE]
        )
        scope[CALLER] = caller = await self._gate.caller(presented, now_s)
        self._limits.require(caller, now_s)

    def admit_again(
        self,
        peer: tuple[str, int] | None,
        exchange: Exchange,
        begin: Callable[[Caller], None],
    ) -> None:
        """Look the key of a request up again, which was valid lately; then it begins, or fails."""
        client = client_name(self._context.proxies.client(peer, exchange.headers))
        presented = Presented(exchange.headers, client, exchange.trace.request_id)
        self._gate.admit_again(presented, begin, exchange.fail)

    def _direct_app(self, scope: Scope, path: str) -> App | None:
        """The application that answers a request without the framework, if one does."""
        if scope["method"] == "POST":
            return self._direct.posts.get(path)
        if scope["method"] == "GET":
            return self._direct.views(path, scope.get("query_string", b""))
        return None

    def handler_of(self, method: str, url: bytes) -> Handler | None:
        """The handler of a hot route; a command's for a request to nothing but its path."""
        if method == "POST":
            address = self._direct.command_of(url)
            if address is None:
                return None
            template, parameters = address
            return partial(self._direct.handlers[template], parameters)
        return self._direct.views.handler(url) if method == "GET" else None

    def refusing(self, method: str, url: bytes, caller: Caller) -> Handler | None:
        """The handler of a command or a balance that would be refused now, if it would be.

        It costs a tenth of the usual way: in an overload that is what most requests come to.
        """
        if method == "GET":
            if not self._context.balances.room.is_full:
                return None
            path = self._direct.views.balance_of(url)
            return None if path is None else partial(busy.refuse, path, busy.QUEUE_FULL)
        if method != "POST":
            return None
        reason = self._context.intake.refusal(caller.ledger_id)
        if reason is None:
            return None
        address = self._direct.command_of(url.partition(b"?")[0])
        return None if address is None else partial(busy.refuse, address[0], reason)

    def added(self, method: str, trace: Trace) -> list[Header]:
        """The headers that every answer has."""
        added: list[Header] = [(b"x-request-id", trace.request_id.encode())]
        if trace.traceparent is not None:
            added.append((b"traceparent", trace.traceparent.encode()))
        if self._deprecated:
            added.extend(self._deprecated.get((method, trace.route), ()))
        return added

    def finish(self, method: str, trace: Trace, caller: Caller | None, seconds: float) -> None:
        """Count the request and write its line."""
        metrics = self._context.metrics
        method = method if trace.route != UNMATCHED else "-"
        metrics.answered(method, trace.route, trace.status, seconds)
        if trace.code is not None:
            metrics.refused(trace.code)
        log = _log
        if trace.span is not None:
            self._note(trace, trace.span, method, caller)
            log = _log.bind(**ids_of(trace))
        if trace.code == LedgerBusy.code and self._busy.is_one_too_many():
            return
        log.info(
            "request",
            request_id=trace.request_id,
            traceparent=trace.traceparent,
            method=method,
            route=trace.route,
            status=trace.status,
            code=trace.code,
            ms=round(seconds * 1_000, 2),
            key_id=None if caller is None else caller.key_id,
            ledger_id=None if caller is None else caller.ledger_id,
        )

    def _note(self, trace: Trace, span: RequestSpan, method: str, caller: Caller | None) -> None:
        """Have the request's span made."""
        if self.tracing is not None:
            ledger_id = None if caller is None else caller.ledger_id
            now_ns = clock.now_ns()
            self.tracing.note(
                Answered(span, method, trace.route, trace.status, trace.code, ledger_id, now_ns)
            )


class Catching:
    """ASGI middleware within the framework: answers failures before its own layers see them."""

    def __init__(self, app: App) -> None:
        """Wrap an ASGI application that stands behind an ``Edge``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            await _answer_failure(scope[TRACE], error, send)


async def respond(
    send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> None:
    """Send a whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


def problem_response(
    trace: Trace, error: Problem | LedgerError
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of a refusal, noted in the trace."""
    if type(error) is LedgerBusy and error.seen.keys() <= busy.REASON:
        trace.code = error.code
        return busy.answer_of(str(error.seen.get("reason", "")), trace.request_id)
    document = problems.body_of(error)
    trace.code = document.code
    body = problems.encode(msgspec.structs.replace(document, request_id=trace.request_id))
    headers = [(b"content-type", problems.CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
    headers += [
        (name.lower().encode(), value.encode()) for name, value in problems.headers_of(error)
    ]
    return document.status, body, headers


async def _answer_failure(trace: Trace, error: Exception, send: Send) -> None:
    """Answer a failed request with its problem, unless its answer has begun."""
    if trace.status:
        _log_failure(trace, error)
        return
    await respond(send, *failure_response(trace, error))


def failure_response(
    trace: Trace, error: BaseException
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of the answer to a failed request, noted in the trace."""
    if _is_too_costly(error):
        error = Problem(QUERY_TOO_COSTLY)
    elif isinstance(getattr(error, "orig", error), psycopg.errors.ReadOnlySqlTransaction):
        error = Problem(DATABASE_READ_ONLY, headers=_RETRY)
    elif isinstance(error, _UNAVAILABLE):
        error = Problem(DATABASE_UNAVAILABLE, headers=_RETRY)
    elif not isinstance(error, Problem | LedgerError):
        _log_failure(trace, error)
        error = Problem(INTERNAL_ERROR)
    return problem_response(trace, error)


def _is_too_costly(error: BaseException) -> bool:
    """Whether the database gave up a statement that took too long."""
    return isinstance(getattr(error, "orig", error), psycopg.errors.QueryCanceled)


def client_of(scope: Scope) -> str:
    """The address of the other end; empty where it is not known."""
    return client_name(scope.get("client"))


def client_name(client: tuple[str, int] | None) -> str:
    """The address alone; empty where there is none."""
    return "" if client is None else str(client[0])


def _log_failure(trace: Trace, error: BaseException) -> None:
    """Log an unexpected failure by its type and place; its message may hold what was sent."""
    _log.error(
        "failure",
        request_id=trace.request_id,
        error_type=type(error).__name__,
        frames=frames_of(error.__traceback__),
        **ids_of(trace),
    )


def frames_of(trace: TracebackType | None) -> list[str]:
    """Where a failure happened, without any value: file, line and function of each frame."""
    return [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
    ]


def _note_template(scope: Scope) -> None:
    """Note the route's template, whichever way the request went."""
    trace: Trace = scope[TRACE]
    route = scope.get("route")
    if trace.route == UNMATCHED and route is not None:
        trace.route = route.path


def trace_of(headers: Sequence[tuple[bytes, bytes]], tracing: Tracing | None = None) -> Trace:
    """The caller's request id where it is a sane one, else a new one; and the caller's trace."""
    request_id, parents = None, []
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value) is not None:
            request_id = request_id or value.decode()
        elif name == b"traceparent":
            parents.append(value)
    parent = parent_of(parents) if parents else None
    if tracing is not None:
        span = tracing.begin(parent, headers)
        if span is not None:
            return Trace(request_id or clock.new_request_id(), span.traceparent, span=span)
    traceparent = None if parent is None else _traceparent(parent)
    return Trace(request_id or clock.new_request_id(), traceparent)


def ids_of(trace: Trace) -> dict[str, str]:
    """What leads from a line of the log to the request's trace, where there is one."""
    if trace.span is None:
        return {}
    return {"trace_id": trace.span.trace_id, "span_id": trace.span.span_id}


def _traceparent(parent: Parent) -> str:
    """This server's part in a trace that is not recorded here, in version 00."""
    return f"00-{parent.trace_id}-{new_span_id()}-{parent.is_sampled:02x}"
