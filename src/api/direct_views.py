"""The views that are read most often: their GETs need nothing of the framework's routing.

They are one account as it stands now, its balance at any moment, and its statement. Whatever else
there is, and a request that is not understood or not allowed, goes on to the framework's route of
the same address, which answers the others with the very same bytes.
"""

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from api.balance_reads import BalanceText, Found
from api.caching import KEEPING, NOT_MODIFIED, OK, Keeping, has_already, tagged
from api.context import Context
from api.edge import CALLER, TRACE, Trace
from api.exchange import Exchange, Handler, Headers
from api.paths import path_id
from api.problems import Problem
from api.reasons import reason_of
from api.recording import Recorded
from api.roles import is_allowed
from api.routes import VIEWS, accounts, balances, statements
from api.subjects import listed
from api.views import Reader, Thin, ViewRoute
from api.wire import App, Message, Receive, Scope, Send
from ledger_core.access_log import NewAccess
from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_id

if TYPE_CHECKING:
    from api.callers import Caller

_ACCOUNT = "/v1/accounts/{account_id}"
_ADDRESS = re.compile(r"/v1/accounts/([^/?#]+)(/balance|/statement)?")
_STATEMENT = "/statement"
_JSON = (b"content-type", b"application/json")
# Where a request's scope keeps what is asked, once that is understood.
_UNDERSTOOD = "ledger.understood"


class BalanceView:
    """Answers for an account as it stands now, with or without a task of its own."""

    def __init__(self, context: Context, view: ViewRoute, otherwise: App) -> None:
        """Stand before the framework's route of that view."""
        self._balances = context.balances
        self._is_reason_required = context.runtime.settings.reason_required == "all"
        self._view = view
        self._otherwise = _Tasks(otherwise)

    @property
    def path(self) -> str:
        """The template of its address."""
        return self._view.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the balance, or hand the request on."""
        caller: Caller = scope[CALLER]
        account_id = _account_id(scope["path"])
        text = None
        if account_id is not None and not scope["query_string"] and self._is_open_to(caller):
            reason = self._reason(scope["headers"])
            if reason is not None:
                asked = scope["headers"]
                access = partial(self._access, account_id, caller, reason, scope[TRACE], asked)
                text = await self._balances.read(caller.ledger_id, account_id, access)
        if text is None:
            await self._otherwise.app(scope, receive, send)
            return
        scope[TRACE].route = self._view.path
        for message in self._messages(text, scope["headers"]):
            await send(message)

    def handle(self, path: str, exchange: Exchange) -> None:
        """The same for a request to nothing but the path.

        Raises:
            LedgerBusy: too many wait already.
        """
        exchange.trace.route = self._view.path
        account_id, caller = _account_id(path), exchange.caller
        tell = partial(self._tell, path, exchange)
        reason = self._reason(exchange.headers)
        if account_id is not None and reason is not None and self._is_open_to(caller):
            access = partial(
                self._access, account_id, caller, reason, exchange.trace, exchange.headers
            )
            self._balances.ask(caller.ledger_id, account_id, access, tell)
        else:
            tell(None)

    def _tell(self, path: str, exchange: Exchange, found: Found) -> None:
        """Answer with what was found; the framework answers where nothing was."""
        if isinstance(found, BalanceText):
            start, body = self._messages(found, exchange.headers)
            exchange.answer(start["status"], body["body"], _without_length(start["headers"]))
        elif found is None:
            self._otherwise.answer(path, b"", exchange)
        else:
            exchange.fail(found)

    def _reason(self, headers: Headers) -> str | None:
        """Why the caller reads; ``None`` where that is to be refused."""
        try:
            reason = reason_of(headers)
        except Problem:
            return None
        return None if self._is_reason_required and not reason else reason

    def _access(  # noqa: PLR0913, PLR0917 - what is known of a read, and its answer
        self,
        account_id: str,
        caller: "Caller",
        reason: str,
        trace: Trace,
        asked: Headers,
        text: BalanceText,
    ) -> NewAccess:
        """The access that a balance as an answer amounts to."""
        subjects: tuple[str, ...] = (f"account:{account_id}",)
        if text.customers:
            subjects = listed(subjects, [f"customer:{found}" for found in text.customers])
        status = NOT_MODIFIED if has_already(text.version, asked) else OK
        return NewAccess(
            caller.actor,
            self._view.operation,
            subjects,
            reason,
            trace.request_id,
            status,
            text.position,
        )

    def _is_open_to(self, caller: "Caller") -> bool:
        """Whether the caller's role may read the view."""
        return is_allowed(caller, self._view.operation)

    def _messages(self, text: BalanceText, asked: Headers) -> tuple[Message, Message]:
        """The whole answer, as ASGI has it."""
        position = (b"ledger-position", str(text.position).encode())
        keeping = Keeping(self._view.keep, str(text.version), (position,))
        return _messages(text.body, keeping, asked)


class AskedView:
    """Answers whatever a view of an account may be asked."""

    def __init__(self, context: Context, view: ViewRoute, thin: Thin[Any], otherwise: App) -> None:
        """Stand before the framework's route of that view."""
        self._context = context
        self._view = view
        self._thin = thin
        self._otherwise = otherwise
        self._recorded = Recorded(self._answer, context, operation=view.operation)
        self._tasks = _Tasks(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand the request on."""
        caller: Caller = scope[CALLER]
        account_id = _account_id(scope["path"])
        parameters = _parameters(scope["query_string"])
        query = None
        if account_id is not None and parameters is not None:
            query = self._understood(caller, parameters)
        if account_id is None or parameters is None or query is None:
            await self._otherwise(scope, receive, send)
            return
        scope[TRACE].route = self._view.path
        reader = Reader(self._context, caller, self._view.keeping(parameters))
        understood = {_UNDERSTOOD: (reader, account_id, query), KEEPING: reader.keeping}
        await self._recorded(
            {**scope, **understood, "path_params": {"account_id": account_id}}, receive, send
        )

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer what was understood."""
        reader, account_id, query = scope[_UNDERSTOOD]
        body = await self._thin.body(reader, account_id, query)
        for message in _messages(body, reader.keeping, scope["headers"]):
            await send(message)

    def handle(self, path: str, query: bytes, exchange: Exchange) -> None:
        """The same for a request that is no more than its address."""
        exchange.trace.route = self._view.path
        self._tasks.answer(path, query, exchange)

    def _understood(self, caller: "Caller", parameters: Mapping[str, str]) -> Any:  # noqa: ANN401 - of the view's own type
        """What is asked, if it is well formed and the caller may ask it."""
        if not is_allowed(caller, self._view.operation):
            return None
        try:
            return self._thin.query.model_validate(parameters)
        except ValidationError:
            return None


class _Tasks:
    """Has an ASGI application answer exchanges, each in a task of its own."""

    def __init__(self, app: App) -> None:
        """Nobody waits yet."""
        self.app = app
        self._tasks: set[asyncio.Future[None]] = set()

    def answer(self, path: str, query: bytes, exchange: Exchange) -> None:
        """Have the application answer, soon."""
        task = asyncio.ensure_future(self._answer(path, query, exchange))
        # The loop itself holds its tasks but weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, path: str, query: bytes, exchange: Exchange) -> None:
        """Let the application speak ASGI."""
        sent: list[Message] = []

        async def receive() -> Message:
            """The request has no body."""
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            """Keep the answer until it is whole."""
            sent.append(message)

        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": query,
            "root_path": "",
            "headers": exchange.headers,
            CALLER: exchange.caller,
            TRACE: exchange.trace,
        }
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - every failure is answered
            exchange.fail(error)
            return
        body = b"".join(message.get("body", b"") for message in sent[1:])
        exchange.answer(sent[0]["status"], body, _without_length(sent[0]["headers"]))


class DirectViews:
    """How to find the thin application behind a path; ``None``: the framework answers."""

    def __init__(self, context: Context, otherwise: App) -> None:
        """Stand before the framework, which takes whatever a thin application does not take."""
        views = (*accounts.VIEWS, *balances.VIEWS, *statements.VIEWS)
        by_end = {
            view.path.removeprefix(_ACCOUNT): view
            for view in views
            if view.path.startswith(_ACCOUNT)
        }
        self._plain = {
            end: BalanceView(context, view, otherwise)
            for end, view in by_end.items()
            if end != _STATEMENT
        }
        self._asked = {
            end: AskedView(context, view, view.thin, otherwise)
            for end, view in by_end.items()
            if view.thin is not None
        }
        # An address that is written out is not an account of that name.
        self._others = {view.path for view in VIEWS if "{" not in view.path}

    def __call__(self, path: str, query: bytes) -> App | None:
        """The application that answers for an account, if the path is one's."""
        end = self._end(path)
        if end is None:
            return None
        return (None if query else self._plain.get(end)) or self._asked.get(end)

    def handler(self, url: bytes) -> Handler | None:
        """The same for a request that is no more than its address, without its messages."""
        if not url.isascii() or b"#" in url:
            return None
        address, _, query = url.partition(b"?")
        path = address.decode()
        end = self._end(path)
        if end is None:
            return None
        plain, asked = self._plain.get(end), self._asked.get(end)
        if plain is not None and not query:
            return partial(plain.handle, path)
        return None if asked is None else partial(asked.handle, path, query)

    def balance_of(self, url: bytes) -> str | None:
        """The template of the view of an account as it stands now that is asked for, if one is."""
        end = self._end(url.decode()) if url.isascii() else None
        view = None if end is None else self._plain.get(end)
        return None if view is None else view.path

    def _end(self, path: str) -> str | None:
        """What of an account the path names, if it is one's."""
        matched = _ADDRESS.fullmatch(path)
        if matched is None or path in self._others:
            return None
        return matched[2] or ""


def find(context: Context, otherwise: App) -> DirectViews:
    """The thin applications that stand before the framework, ``otherwise``."""
    return DirectViews(context, otherwise)


def _account_id(path: str) -> str | None:
    """The id that the address of an account names, if it is one."""
    address = _ADDRESS.fullmatch(path)
    if address is None:
        return None
    account_id = path_id(address[1])
    try:
        require_id(account_id, field="account_id")
    except ValidationFailed:
        return None
    return account_id


def _parameters(query: bytes) -> dict[str, str] | None:
    """The parameters of a query, as the framework reads them, if each is given once."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    parameters = dict(pairs)
    return parameters if len(parameters) == len(pairs) else None


def _messages(body: bytes, keeping: Keeping, asked: Headers) -> tuple[Message, Message]:
    """A whole answer, as ASGI has it."""
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": 200, "headers": [length, _JSON]}
    return tagged(start, {"type": "http.response.body", "body": body}, keeping, asked)


def _without_length(headers: Headers) -> Headers:
    """The headers of an answer but for the length of its body, which an exchange says itself."""
    return [header for header in headers if header[0] != b"content-length"]
