"""The routes of single commands: a command's own type decodes the body, and little else happens.

This is the hot path. A route is a line of data; one endpoint serves them all.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import msgspec

from api import answers, receipts
from api.callers import Caller
from api.context import Context, marked, submission_of
from api.denials import Attempt, Denials
from api.edge import CALLER, TRACE, failure_response, problem_response, respond
from api.exchange import Exchange
from api.execution import ASKED, FOR_REAL, Sent, execution_of, sent_of
from api.intake import Result
from api.paths import path_id
from api.problems import KEY_MISMATCH, KEY_REQUIRED, FieldError, Problem, malformed
from api.reasons import require_given
from api.roles import LOOKED_INTO, asks_why, require_allowed, require_may_send
from api.wire import SINGLE_BYTES_MAX, Receive, Scope, Send, decode, read_body, require_json
from ledger_core.approvals import ApprovalRequested
from ledger_core.commands import Command
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Outcome

Headers = list[tuple[bytes, bytes]]

_JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
_REPLAYED: tuple[bytes, bytes] = (b"idempotency-replayed", b"true")
DRY_RUN: tuple[bytes, bytes] = (b"dry-run", b"true")
_DENIED = 403
WHATEVER = "ledger.recorded_whatever"
"""Set in the scope of a request that is recorded however it is answered, though it reads not."""


class CommandRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command is posted, and the event that answers it, or one of ``other_events``.

    ``path_field`` is the command's field that the address names.
    """

    path: str
    command: type[msgspec.Struct]
    event: type[msgspec.Struct]
    summary: str
    example: dict[str, object]
    path_field: str | None = None
    other_events: tuple[type[msgspec.Struct], ...] = ()

    @property
    def operation(self) -> str:
        """The command's name, under which roles and documents know the route."""
        return operation_of(self.command)


class CommandEndpoint:
    """Takes one kind of command: an ASGI application of its own, with nothing in between."""

    def __init__(self, context: Context, route: CommandRoute, denials: Denials) -> None:
        """Prepare the decoder."""
        self._context = context
        self._denials = denials
        # Bound once: a request needs no method of its own.
        self._told = self._tell
        self._route = route
        self._operation = route.operation
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body_type(route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out the command and answer with its event."""
        trace = scope[TRACE]
        trace.route = self._route.path
        caller: Caller = scope[CALLER]
        self._require_room(caller)
        sent = self._admit(caller, scope["headers"])
        is_proven = receipts.is_asked(scope["headers"])
        execution, query = FOR_REAL, scope["query_string"]
        if query or sent.if_match is not None:
            execution = execution_of(query, sent.if_match, self._route.path_field)
        body = await read_body(receive, SINGLE_BYTES_MAX)
        command = self._command(caller, body, sent.key, scope.get("path_params", {}))
        scope[ASKED] = (command,)
        if asks_why(caller, command):
            require_given(scope["headers"])
            scope[WHATEVER] = True
        outcomes = await self._context.submit(
            caller, [command], execution=execution, span=trace.span
        )
        outcome = outcomes[0]
        if outcome.error is None:
            status, answer, more = _answer(outcome)
            if is_proven:
                position = None if execution.dry_run or outcome.event is None else outcome.position
                answer = await receipts.attached(self._context, caller.ledger_id, position, answer)
        elif execution.dry_run:
            status, answer, more = problem_response(trace, outcome.error)
        else:
            raise outcome.error
        if execution.dry_run:
            more.append(DRY_RUN)
        await respond(send, status, answer, more)

    def handle(self, path_params: Mapping[str, str], exchange: Exchange) -> None:
        """The same for a request to nothing but the path, without a task of its own.

        Raises:
            LedgerBusy: it would not be answered in time.
            Problem: the request is refused.
        """
        exchange.trace.route = self._route.path
        caller = exchange.caller
        self._require_room(caller)
        try:
            sent = self._admit(caller, exchange.headers)
            execution = FOR_REAL
            if sent.if_match is not None:
                execution = execution_of(b"", sent.if_match, self._route.path_field)
            command = self._command(caller, exchange.body, sent.key, path_params)
            if caller.authority.reason_for_commands and asks_why(caller, command):
                require_given(exchange.headers)
        except Problem as problem:
            if problem.kind.status != _DENIED:
                raise
            answer = failure_response(exchange.trace, problem)
            about = Attempt(self._operation, path_params)
            self._denials.answer_late(exchange, about, answer)
            return
        submission = submission_of(caller, [command], execution=execution)
        if exchange.trace.span is not None:
            submission = marked(submission, exchange.trace.span)
        then = partial(self._told, exchange, command, path_params)
        self._context.intake.submit(caller.ledger_id, submission, then)

    def _require_room(self, caller: Caller) -> None:
        """A command would be taken now: else it costs no more than this.

        Raises:
            LedgerBusy: it would not.
        """
        reason = self._context.intake.refusal(caller.ledger_id)
        if reason is not None:
            raise LedgerBusy(reason=reason)

    def _admit(self, caller: Caller, headers: Headers) -> Sent:
        """What the headers of a request say that may send the command.

        Raises:
            Problem: it may not, or the headers are malformed.
        """
        require_allowed(caller, self._operation)
        require_json(headers)
        return sent_of(headers)

    def _tell(
        self,
        exchange: Exchange,
        command: Command,
        path_params: Mapping[str, str],
        result: Result,
    ) -> None:
        """Answer with the outcome of the exchange's command."""
        if isinstance(result, BaseException):
            answer = failure_response(exchange.trace, result)
        elif (error := result[0].error) is not None:
            answer = failure_response(exchange.trace, error)
        else:
            answer = _answer(result[0])
        caller = exchange.caller
        is_reasoned = caller.authority.reason_for_commands and asks_why(caller, command)
        if is_reasoned or answer[0] == _DENIED:
            about = Attempt(self._operation, path_params, (command,))
            self._denials.answer_late(exchange, about, answer)
        else:
            exchange.answer(*answer)

    def _command(
        self, caller: Caller, text: bytes, header_key: str | None, path_params: Mapping[str, str]
    ) -> Command:
        """The command behind a body, with what header and address add to it.

        Raises:
            Problem: the body is malformed; no idempotency key; body and address or header disagree;
                the caller may not send the command that it wraps.
        """
        command = self._named(decode(self._decoder, text), path_params, header_key)
        if type(command) in LOOKED_INTO:
            require_may_send(caller, command)
        return command

    def _named(
        self, body: msgspec.Struct, path_params: Mapping[str, str], header_key: str | None
    ) -> Command:
        """The command with its key and the id that the address names.

        Raises:
            Problem: no idempotency key, or body and address or header disagree.
        """
        key = cast("Command", body).key
        if header_key is None and not key:
            raise Problem(KEY_REQUIRED)
        if header_key is not None and key not in ("", header_key):
            raise Problem(KEY_MISMATCH)
        key = key if header_key is None else header_key
        field = self._route.path_field
        if field is None:
            return cast("Command", msgspec.structs.replace(body, key=key))
        values = {name: getattr(body, name) for name in body.__struct_fields__}
        named = path_id(path_params[field])
        if values[field] not in (msgspec.UNSET, named):
            raise malformed(FieldError("the same as in the address", field, f"/{field}"))
        values[field] = named
        values["key"] = key
        return cast("Command", self._route.command(**values))


def operation_of(command: type[msgspec.Struct]) -> str:
    """The name of a command: its ``type`` in a batch."""
    return str(command.__struct_config__.tag)


def body_type(route: CommandRoute) -> type[msgspec.Struct]:
    """The type of the route's body: the command's, whose field in the address may be left out."""
    if route.path_field is None:
        return route.command
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(route.command):
        if field.name == route.path_field:
            fields.append((field.name, field.type | msgspec.UnsetType, msgspec.UNSET))
        elif field.required:
            fields.append((field.name, field.type, msgspec.NODEFAULT))
        else:
            fields.append((field.name, field.type, field.default))
    return msgspec.defstruct(
        f"{route.command.__name__}Body",
        fields,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        tag=route.command.__struct_config__.tag,
        namespace={"__doc__": route.command.__doc__},
    )


def _answer(outcome: Outcome) -> tuple[int, bytes, Headers]:
    """Status, body and headers of the answer to a command that was not refused."""
    return _status(outcome), answers.encode(answers.answer_of(outcome)), _headers(outcome)


def _status(outcome: Outcome) -> int:
    """201 where something was recorded, 202 where it waits; also when that is being said again."""
    if isinstance(outcome.event, ApprovalRequested):
        return 202
    return 200 if outcome.event is None else 201


def _headers(outcome: Outcome) -> Headers:
    """The headers of an answer."""
    headers = [_JSON]
    if outcome.event is not None:
        location = answers.location_of(outcome.event, outcome.position)
        if location is not None:
            headers.append((b"location", location.encode()))
        tag = answers.tag_of(outcome.event, outcome.position)
        if tag is not None:
            headers.append((b"etag", tag))
    if outcome.status == "replayed":
        headers.append(_REPLAYED)
    return headers
