"""Every read of accounts or customers is recorded before it is answered, whatever route answers.

Stands around the framework and the endpoints of commands, so that a new view is recorded without
anybody thinking of it. A read is a GET by a key, and a dry run: what it answers tells of balances,
and no event does. Actions are recorded as reads are, for no event tells of them either. Commands
are not: the ledger's own log says who sent them; but it does not say who tried and was denied, so
a command that is answered 403 is recorded (on the short way by ``denials``), and so is one that
asked for a reason. Requests without a valid key have read nothing, and belong to no ledger.

Why somebody reads is said by the header ``Ledger-Reason``; where the setting
``LEDGER_REASON_REQUIRED`` or a role asks for one, what would be shown without it is withheld.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

from starlette.routing import BaseRoute

from api import subjects
from api.accesses import Accesses
from api.caching import KEEPING, Keeping
from api.command_routes import WHATEVER
from api.context import Context
from api.edge import CALLER, TRACE, Trace, failure_response
from api.execution import ASKED
from api.problems import Problem
from api.reasons import REQUIRED, reason_of
from api.settings import ReasonRequired
from api.subjects import Shown
from api.wire import App, Message, Receive, Scope, Send
from ledger_core.access_log import NewAccess

if TYPE_CHECKING:
    from api.callers import Caller

NOT_RECORDED = frozenset(
    {
        "get_info",
        "get_period",
        "get_checkpoint",
        "list_checkpoints",
        "get_checkpoint_at",
        "list_checkpoint_keys",
        "get_inclusion_proof",
        "get_consistency_proof",
        "get_tlog_checkpoint",
        "get_tile",
    }
)
"""Operations whose answers tell of no account and no customer: figures, hashes and signatures."""

ABOUT = "ledger.about"
"""Where an action says whom it was about, as subjects of the access log."""

# Whoever must say why they read a customer must say so where accounts show their holders, too.
_PROFILES = "get_customer"
_WITH_HOLDERS = frozenset({"get_account", "list_accounts"})
_REFUSED = 400
DENIED = 403
_METHOD_NOT_ALLOWED = 405
_OK = 200

Headers = Sequence[tuple[bytes, bytes]]
_State = Literal["held", "passing", "withheld"]


class Recorded:
    """ASGI middleware that records reads; stands behind an ``Edge``."""

    def __init__(
        self,
        app: App,
        context: Context,
        routes: Sequence[BaseRoute] = (),
        operation: str | None = None,
    ) -> None:
        """Wrap the framework with its routes, or the endpoint of an operation."""
        self._app = app
        self._accesses = context.accesses
        self._reason_required = context.runtime.settings.reason_required
        self._routes = routes
        self._operation = operation
        self._operations: dict[int, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or CALLER not in scope:
            await self._app(scope, receive, send)
            return
        read = _Read(self, scope, send)
        try:
            await self._app(scope, receive, read.send)
        except Exception as error:
            if not read.is_unanswered:
                raise
            await read.refuse(error)

    def operation_of(self, scope: Scope) -> str | None:
        """The operation that a request was routed to, if there is one."""
        if self._operation is not None:
            return self._operation
        endpoint = id(scope.get("endpoint"))
        if endpoint not in self._operations:
            self._operations = {
                id(getattr(route, "endpoint", None)): str(
                    getattr(route, "operation_id", None) or getattr(route, "name", "")
                )
                for route in self._routes
            }
        return self._operations.get(endpoint)

    @property
    def accesses(self) -> Accesses:
        """Where accesses are recorded."""
        return self._accesses

    @property
    def reason_required(self) -> ReasonRequired:
        """What may be read only with a reason."""
        return self._reason_required


class _Read:
    """A read under way: its answer is held until its access is durable."""

    def __init__(self, around: Recorded, scope: Scope, send: Send) -> None:
        """Nothing is answered yet."""
        self._around = around
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._state: _State = "held"
        self._is_read = _is_read(scope)

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing was sent."""
        return self._state == "held"

    async def send(self, message: Message) -> None:
        """Hold the head of the answer until its body begins; then record, and let both go."""
        if self._state == "passing":
            await self._send(message)
        elif self._state == "withheld":
            return
        elif message["type"] == "http.response.start":
            self._start = message
        elif self._start is None:  # Nothing of an answer yet.
            await self._send(message)
        else:
            refusal = None
            if self._is_read or WHATEVER in self._scope or self._start["status"] == DENIED:
                refusal = await self._record(self._start, message)
            if refusal is None:
                self._state = "passing"
                await self._send(self._start)
                await self._send(message)
            else:
                self._state = "withheld"
                for part in self._refusal(refusal):
                    await self._send(part)

    async def refuse(self, error: Exception) -> None:
        """Answer with the problem behind a failure, recorded as any other answer is."""
        for part in self._refusal(error):
            await self.send(part)

    def _refusal(self, error: Exception) -> tuple[Message, Message]:
        """The whole answer with a problem."""
        status, body, headers = failure_response(self._trace, error)
        headers = [(b"content-length", str(len(body)).encode()), *headers]
        return (
            {"type": "http.response.start", "status": status, "headers": headers},
            {"type": "http.response.body", "body": body},
        )

    async def _record(self, start: Message, body: Message) -> Exception | None:
        """Record the access; the problem to answer with instead, if the answer is withheld."""
        scope, status = self._scope, start["status"]
        operation = self._around.operation_of(scope)
        if operation is None or status == _METHOD_NOT_ALLOWED:
            return None
        if operation in NOT_RECORDED and status != DENIED:
            return None
        reason, withheld = "", None
        try:
            reason = reason_of(scope["headers"])
            if self._is_read and status < _REFUSED and not reason:
                self._require_no_reason(operation)
        except Problem as problem:
            if self._is_read:  # A command was not asked why, or before it was carried out.
                withheld, status = problem, problem.kind.status
        caller: Caller = scope[CALLER]
        shown = _shown(status, start["headers"], body)
        named = subjects.of_address(
            operation, scope.get("path_params", {}), scope.get("query_string", b"")
        ).union(filter(subjects.is_subject, scope.get(ABOUT, ())))
        asked = subjects.of_answered(named, status)
        if asked and shown.subjects == subjects.WHOLE:
            shown = Shown()  # What cannot be looked through is about what was asked for.
        access = NewAccess(
            caller.actor,
            operation,
            subjects.listed(asked, shown.subjects, subjects.of_commands(scope.get(ASKED, ()))),
            reason,
            self._trace.request_id,
            status,
            shown.position,
        )
        try:
            await self._around.accesses.record(caller.ledger_id, access)
        except Exception as error:  # noqa: BLE001 - whatever it is, the read is not answered
            return error
        return withheld

    def _require_no_reason(self, operation: str) -> None:
        """This may be read without a reason.

        Raises:
            Problem: it may not.
        """
        demanded = self._scope[CALLER].authority.reason_for
        required = self._around.reason_required
        keeping: Keeping | None = self._scope.get(KEEPING)
        is_personal = keeping is not None and keeping.keep == "never"
        if operation in demanded:
            raise Problem(REQUIRED)
        if is_personal and operation in _WITH_HOLDERS and _PROFILES in demanded:
            raise Problem(REQUIRED)
        if required == "all" or (required == "customers" and is_personal):
            raise Problem(REQUIRED)

    @property
    def _trace(self) -> Trace:
        """What is known of the request."""
        trace: Trace = self._scope[TRACE]
        return trace


def _is_read(scope: Scope) -> bool:
    """Whether the request reads."""
    if scope["method"] == "POST" and scope["query_string"]:
        return ("dry_run", "true") in parse_qsl(scope["query_string"].decode("latin-1"))
    return bool(scope["method"] == "GET")


def _shown(status: int, headers: Headers, body: Message) -> Shown:
    """What the answer shows; a refusal shows nothing."""
    if status >= _REFUSED:
        return Shown()
    given = dict(headers)
    if status != _OK and not body.get("body"):
        return Shown(position=_number(given.get(b"ledger-position")))
    if body.get("more_body", False):
        return subjects.of_answer(b"", b"")
    return subjects.of_answer(body.get("body", b""), given.get(b"content-type", b""))


def _number(text: bytes | None) -> int | None:
    """A position as a header says it."""
    return None if text is None else int(text)
