"""Actions: requests that change or look up something outside the books.

Keys, people, sessions, searches: nothing of them is an event of the ledger, but each is recorded in
the access log, with whom it was about, as every read is. An action is a line of data, like a
command's route; one endpoint serves them all. What it does is a function of the request and its
body; work that blocks goes through ``context.reads.off_loop``.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from api.callers import Caller
from api.command_routes import WHATEVER
from api.context import Context
from api.edge import CALLER, TRACE, Trace, respond
from api.problems import FieldError, malformed
from api.reasons import reason_of, require_reasoned
from api.recording import ABOUT
from api.roles import require_allowed
from api.wire import SINGLE_BYTES_MAX, Receive, Scope, Send, decode, read_body, require_json

Headers = list[tuple[bytes, bytes]]


class Request(msgspec.Struct, frozen=True):
    """What an action is told: who asks, in which words, about what.

    ``caller`` is ``None`` for public actions (logging in). ``path`` holds the ids in the address.
    ``client`` is the address and port of the other end, where that is known.
    """

    context: Context
    caller: Caller | None
    path: dict[str, str]
    trace: Trace
    headers: Headers
    client: tuple[str, int] | None
    scope: Scope

    @property
    def known(self) -> Caller:
        """The caller of an action that is not public."""
        if self.caller is None:
            msg = "a public action has no caller"
            raise RuntimeError(msg)
        return self.caller

    def about(self, *subjects: str) -> None:
        """Say whom the action is about (``customer:…``, ``key:…``, ``person:…``)."""
        self.scope[ABOUT] = (*self.scope.get(ABOUT, ()), *subjects)


class Done(msgspec.Struct, frozen=True):
    """What came of an action: the answer's body, and headers beside its type."""

    answer: Any
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status: int | None = None


class ActionRoute(msgspec.Struct, frozen=True, kw_only=True):
    """An action's address, the types of its body and answer, and what it does.

    ``body`` ``None``: it takes none. ``public``: answered without a credential. ``refusals`` are
    statuses beside the usual ones.
    """

    path: str
    operation: str
    body: type[msgspec.Struct] | None
    answer: type[msgspec.Struct]
    act: Callable[[Request, Any], Awaitable[Done]]
    summary: str
    example: dict[str, object] | None = None
    status: int = 200
    public: bool = False
    tag: str = "security"
    refusals: tuple[int, ...] = ()
    method: str = "POST"


_ENCODER = msgspec.json.Encoder()
_JSON = (b"content-type", b"application/json")
_PRIVATE = (b"cache-control", b"no-store")


class ActionEndpoint:
    """Takes one kind of action: an ASGI application of its own."""

    def __init__(self, context: Context, route: ActionRoute) -> None:
        """Prepare the decoder."""
        self._context = context
        self._route = route
        self._decoder: msgspec.json.Decoder[Any] | None = (
            None if route.body is None else msgspec.json.Decoder(route.body)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out the action and answer."""
        trace: Trace = scope[TRACE]
        trace.route = self._route.path
        caller: Caller | None = scope.get(CALLER)
        scope[WHATEVER] = True
        if caller is not None and not self._route.public:
            require_allowed(caller, self._route.operation)
            require_reasoned(caller, self._route.operation, scope["headers"])
        reason_of(scope["headers"])  # What cannot be recorded is refused before anything is done.
        if scope["query_string"]:
            raise malformed(FieldError("no parameters"))
        text = await read_body(receive, SINGLE_BYTES_MAX)
        body = None
        if self._decoder is not None:
            require_json(scope["headers"])
            body = decode(self._decoder, text)
        elif text:
            raise malformed(FieldError("no body"))
        path = {
            name: unquote(value, errors="surrogateescape")
            for name, value in scope.get("path_params", {}).items()
        }
        request = Request(
            self._context, caller, path, trace, scope["headers"], scope.get("client"), scope
        )
        done = await self._route.act(request, body)
        status = self._route.status if done.status is None else done.status
        headers = [_JSON, _PRIVATE, *done.headers]
        await respond(send, status, _ENCODER.encode(done.answer), headers)
