"""The routes of single commands: a command's own type decodes the body, and little else happens.

This is the hot path. A route is a line of data; one endpoint serves them all.
"""

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import msgspec

from api import answers
from api.context import Context
from api.edge import CALLER, TRACE, problem_response, respond
from api.execution import FOR_REAL, execution_of, sent_of
from api.problems import KEY_MISMATCH, KEY_REQUIRED, FieldError, Problem, malformed
from api.roles import require_allowed, require_may_send
from api.wire import SINGLE_BYTES_MAX, Receive, Scope, Send, decode, read_body, require_json
from ledger_core.approvals import ApprovalRequested
from ledger_core.commands import Command, RequestApproval
from ledger_core.ledger import Outcome

if TYPE_CHECKING:
    from api.key_ring import Caller

Headers = list[tuple[bytes, bytes]]

_JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
_REPLAYED: tuple[bytes, bytes] = (b"idempotency-replayed", b"true")
DRY_RUN: tuple[bytes, bytes] = (b"dry-run", b"true")


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

    def __init__(self, context: Context, route: CommandRoute) -> None:
        """Prepare the decoder."""
        self._context = context
        self._route = route
        self._operation = route.operation
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body_type(route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out the command and answer with its event."""
        trace = scope[TRACE]
        trace.route = self._route.path
        caller: Caller = scope[CALLER]
        require_allowed(caller.role, self._operation)
        headers: Headers = scope["headers"]
        require_json(headers)
        sent, query = sent_of(headers), scope["query_string"]
        execution = FOR_REAL
        if query or sent.if_match is not None:
            execution = execution_of(query, sent.if_match, self._route.path_field)
        body = decode(self._decoder, await read_body(receive, SINGLE_BYTES_MAX))
        command = self._command(body, scope.get("path_params", {}), sent.key)
        if isinstance(command, RequestApproval):
            require_may_send(caller.role, command)
        outcome = (await self._context.submit(caller, [command], execution=execution))[0]
        if outcome.error is not None:
            if not execution.dry_run:
                raise outcome.error
            status, answer, more = problem_response(trace, outcome.error)
            await respond(send, status, answer, [*more, DRY_RUN])
            return
        answer, more = answers.encode(answers.answer_of(outcome)), _headers(outcome)
        if execution.dry_run:
            more.append(DRY_RUN)
        await respond(send, _status(outcome), answer, more)

    def _command(
        self, body: msgspec.Struct, path_params: dict[str, str], header_key: str | None
    ) -> Command:
        """The command behind a body, with what header and address add to it.

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


def path_id(segment: str) -> str:
    """The id behind a segment of the address, whatever characters it has.

    Bytes that are not UTF-8 become lone surrogates, which no id may have.
    """
    return unquote(segment, errors="surrogateescape") if "%" in segment else segment


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
