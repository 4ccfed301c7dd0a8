"""Batches: up to 20,000 commands in one request, each answered, or all or none.

The whole array is decoded at once. Only where that fails is it taken apart, so that a malformed
item is refused by itself and does not spoil the others.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_args

import msgspec

from api import answers, problems, receipts
from api.callers import Caller
from api.command_routes import DRY_RUN, Headers
from api.context import Context
from api.denials import Denials, Sender
from api.edge import CALLER, TRACE, problem_response, respond
from api.execution import ASKED, Execution, execution_of, sent_of
from api.problems import (
    KEY_REQUIRED,
    FieldError,
    Problem,
    ProblemBody,
    malformed,
)
from api.reasons import REQUIRED, reason_of
from api.roles import LOOKED_INTO, asks_why, refusal_of, require_allowed
from api.tracing import RequestSpan
from api.wire import (
    BATCH_BYTES_MAX,
    Receive,
    Scope,
    Send,
    decode,
    decode_shallow,
    read_body,
    require_json,
    require_unique_outer_members,
)
from ledger_core.commands import Command, WireCommand
from ledger_core.errors import BatchFailed, LedgerError, NotAttempted
from ledger_core.ledger import Mode, Outcome, Status

OPERATION = "batch"
PATH = "/v1/batch"
COMMANDS_MAX = 20_000
# Larger bodies are decoded in a thread, so that other requests are answered meanwhile.
INLINE_BYTES_MAX = 65_536
# A receipt has some 6 kB, most of it the checkpoint, so that each proves itself.
RECEIPTS_MAX = 1_000

_DENIED = 403
_CARRIED_OUT = 200


class _Denied(Problem):
    """The refusal of a command that its sender may not send, with that command."""

    def __init__(self, problem: Problem, command: Command) -> None:
        """Keep both."""
        super().__init__(problem.kind, fields=problem.fields, headers=problem.headers)
        self.command = command


Refusal = Problem | LedgerError
# The same for isinstance: a tuple is several times quicker there than a union.
_REFUSALS = (Problem, LedgerError)
Item = Command | Refusal


class BatchBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commands in order, each with its ``type`` and its own ``key``.

    ``each``: every one for itself; ``stop_on_error``: nothing after the first refusal is
    attempted; ``atomic``: all or none. A command without a key takes the header's, followed by
    ``/`` and its index from 0.
    """

    mode: Mode = "each"
    commands: list[WireCommand]


class _LooseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, with the commands not yet looked at."""

    mode: Mode = "each"
    commands: list[msgspec.Raw]


class BatchItem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one command: where its event stands and what it is about, or why not.

    ``receipt`` is there where receipts were asked for and the command was not refused; null where
    nothing was recorded, or none can be given with this answer.
    """

    status: Status
    position: int | None = None
    id: str | None = None
    error: ProblemBody | None = None
    receipt: receipts.Receipt | msgspec.UnsetType | None = msgspec.UNSET


class BatchAnswer(msgspec.Struct, frozen=True):
    """One result a command, in order; ``position`` is the highest that any of them has."""

    mode: Mode
    recorded: int
    replayed: int
    unchanged: int
    refused: int
    pending_approval: int
    position: int | None
    results: list[BatchItem]


class RefusedBatch(ProblemBody, frozen=True, omit_defaults=True):
    """The problem of an atomic batch, of which nothing was kept; ``results`` says why."""

    results: tuple[BatchItem, ...] = ()


_STRICT = msgspec.json.Decoder(BatchBody)
_LOOSE = msgspec.json.Decoder(_LooseBody)
_COMMAND: msgspec.json.Decoder[Any] = msgspec.json.Decoder(WireCommand)


class BatchEndpoint:
    """Takes a batch: an ASGI application of its own."""

    def __init__(self, context: Context, denials: Denials) -> None:
        """Use the shared context."""
        self._context = context
        self._denials = denials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out the batch and answer every item of it."""
        trace = scope[TRACE]
        trace.route = PATH
        caller: Caller = scope[CALLER]
        require_allowed(caller, OPERATION)
        self._context.intake.require_room_for_batch(caller.ledger_id)
        headers: Headers = scope["headers"]
        require_json(headers)
        sent = sent_of(headers)
        is_proven = receipts.is_asked(headers)
        header_key = sent.key
        execution = execution_of(scope["query_string"], sent.if_match, None)
        body = await read_body(receive, BATCH_BYTES_MAX)
        if len(body) <= INLINE_BYTES_MAX:
            mode, items = items_of(body, caller, headers, header_key)
        else:
            mode, items = await self._context.reads.off_loop(
                lambda: items_of(body, caller, headers, header_key)
            )
        if is_proven and len(items) > RECEIPTS_MAX:
            rule = f"1 to {RECEIPTS_MAX} commands with Ledger-Receipt: true"
            raise malformed(FieldError(rule, "commands", "/commands"))
        if execution.dry_run:
            scope[ASKED] = items
        self._context.metrics.batch_commands.observe(len(items))
        results = await self._results(caller, mode, items, execution, trace.span)
        denied: list[int] = []
        for at, item in enumerate(results):
            if item.error is not None:
                self._context.metrics.refused(item.error.code)
                if item.error.status == _DENIED:
                    denied.append(at)
        if denied or caller.authority.reason_for_commands:
            await self._denials.record_batch(
                Sender(caller, headers, trace), _told(caller, items, denied)
            )
        dry = [DRY_RUN] if execution.dry_run else []
        if mode == "atomic" and results[0].status == "refused":
            refused = problem_response(trace, BatchFailed())
            document = msgspec.structs.asdict(problems.body_of(BatchFailed()))
            whole = RefusedBatch(
                **document | {"request_id": trace.request_id}, results=tuple(results)
            )
            await respond(send, refused[0], problems.encode(whole), refused[2] + dry)
            return
        if is_proven:
            answer = await self._proven(caller, mode, results, execution)
        else:
            answer = problems.encode(_answer(mode, results))
        await respond(send, 200, answer, [(b"content-type", b"application/json"), *dry])

    async def _proven(
        self, caller: Caller, mode: Mode, results: list[BatchItem], execution: Execution
    ) -> bytes:
        """The answer with a receipt for every event that an item led to, now or before."""
        positions = [] if execution.dry_run else [at for at in map(_event_of, results) if at]
        found = await receipts.of_batch(self._context, caller.ledger_id, positions)
        # Some megabytes: encoded in a thread, so that other requests are answered meanwhile.
        return await self._context.reads.off_loop(
            lambda: problems.encode(_answer(mode, [_with_receipt(item, found) for item in results]))
        )

    async def _results(
        self,
        caller: Caller,
        mode: Mode,
        items: Sequence[Item],
        execution: Execution,
        span: RequestSpan | None,
    ) -> list[BatchItem]:
        """Carry out what can be carried out, in the batch's mode; one result an item."""
        first = next((at for at, item in enumerate(items) if isinstance(item, _REFUSALS)), None)
        if first is None:
            commands = cast("Sequence[Command]", items)
            outcomes = await self._context.submit(caller, commands, mode, execution, span)
            return [_result(outcome, at) for at, outcome in enumerate(outcomes)]
        if mode == "atomic":
            failed = BatchFailed(item=first)
            return [
                _refused(cast("Refusal", item) if at == first else failed, at)
                for at, item in enumerate(items)
            ]
        end = len(items) if mode == "each" else first
        good = [item for item in items[:end] if not isinstance(item, _REFUSALS)]
        told = iter(await self._context.submit(caller, good, mode, execution, span) if good else ())
        results = [
            _refused(item, at) if isinstance(item, _REFUSALS) else _result(next(told), at)
            for at, item in enumerate(items[:end])
        ]
        if end == len(items):
            return results
        stopped = next((at for at, item in enumerate(results) if item.status == "refused"), None)
        if stopped is None:
            stopped = first
            results.append(_refused(cast("Refusal", items[first]), first))
        rest = NotAttempted(item=stopped)
        return results + [_refused(rest, at) for at in range(len(results), len(items))]


def items_of(
    body: bytes, caller: Caller, headers: Headers, header_key: str | None
) -> tuple[Mode, list[Item]]:
    """The mode and the commands of a batch; what is wrong with one of them stands in its place.

    Raises:
        Problem: the body as a whole is malformed, empty, or has too many commands.
    """
    mode, items = _decoded(body)
    # Of most commands the type alone says whether a role may send them.
    allowed: set[type] = set()
    for at, item in enumerate(items):
        if isinstance(item, _REFUSALS):
            continue
        kind = type(item)
        if kind not in allowed:
            refusal = refusal_of(caller, item) or _unreasoned(caller, headers, item)
            if refusal is not None:
                items[at] = _Denied(refusal, item) if refusal.kind.status == _DENIED else refusal
                continue
            if kind not in LOOKED_INTO:
                allowed.add(kind)
        if not item.key:
            items[at] = (
                Problem(KEY_REQUIRED, fields=[FieldError("required", "key", "/key")])
                if header_key is None
                else msgspec.structs.replace(item, key=f"{header_key}/{at}")
            )
    return mode, items


def _unreasoned(caller: Caller, headers: Headers, command: Command) -> Problem | None:
    """The refusal of a command for which a role demands a reason that the request does not give."""
    if not caller.authority.reason_for_commands or not asks_why(caller, command):
        return None
    try:
        return None if reason_of(headers) else Problem(REQUIRED)
    except Problem as problem:
        return problem


def _told(
    caller: Caller, items: Sequence[Item], denied: Sequence[int]
) -> Iterator[tuple[Command, int]]:
    """The commands of a batch that are recorded, each with its status: denied, or reasoned."""
    for at in denied:
        item = items[at]
        if isinstance(item, _Denied):
            yield item.command, _DENIED
        elif not isinstance(item, _REFUSALS):
            yield item, _DENIED
    if caller.authority.reason_for_commands:
        for at, item in enumerate(items):
            if not isinstance(item, _REFUSALS) and at not in denied and asks_why(caller, item):
                yield item, _CARRIED_OUT


def _decoded(body: bytes) -> tuple[Mode, list[Item]]:
    """The items of a batch, from one decoding where all are good.

    Raises:
        Problem: see ``items_of``.
    """
    try:
        strict = decode(_STRICT, body)
    except Problem:
        loose = _decoded_loosely(body)
    else:
        _require_count(len(strict.commands))
        return strict.mode, list(strict.commands)
    _require_count(len(loose.commands))
    return loose.mode, [_item(raw) for raw in loose.commands]


def _require_count(count: int) -> None:
    """A batch has at least one command and not too many.

    Raises:
        Problem: it has none, or more than ``COMMANDS_MAX``.
    """
    if not 1 <= count <= COMMANDS_MAX:
        rule = f"1 to {COMMANDS_MAX} commands"
        raise malformed(FieldError(rule, "commands", "/commands"))


def _decoded_loosely(body: bytes) -> _LooseBody:
    """The batch with its items not looked at.

    Raises:
        Problem: what is around the items is malformed.
    """
    loose = decode_shallow(_LOOSE, body)
    require_unique_outer_members(body)
    return loose


def _item(raw: msgspec.Raw) -> Item:
    """The command behind an item, or what is wrong with it."""
    try:
        return cast("Command", decode(_COMMAND, raw))
    except Problem as problem:
        return problem


def _result(outcome: Outcome, at: int) -> BatchItem:
    """What became of a command that was tried."""
    if outcome.error is not None:
        return _refused(outcome.error, at)
    if outcome.event is None:
        return BatchItem(outcome.status, outcome.position)
    return BatchItem(
        outcome.status, outcome.position, answers.id_of(outcome.event, outcome.position)
    )


def _event_of(item: BatchItem) -> int | None:
    """Where the event of an item stands, if it led to one."""
    return None if item.status in {"unchanged", "refused"} else item.position


def _with_receipt(item: BatchItem, found: Mapping[int, receipts.Receipt]) -> BatchItem:
    """The result of an item with its receipt, unless it was refused."""
    if item.status == "refused":
        return item
    position = _event_of(item)
    receipt = None if position is None else found.get(position)
    return msgspec.structs.replace(item, receipt=receipt)


def _refused(error: Refusal, at: int) -> BatchItem:
    """The refusal of one item, its fields found from the body's root."""
    document = problems.body_of(error)
    fields = tuple(
        msgspec.structs.replace(field, pointer=f"/commands/{at}{field.pointer or ''}")
        for field in document.errors
    )
    return BatchItem("refused", None, None, msgspec.structs.replace(document, errors=fields))


def _answer(mode: Mode, results: list[BatchItem]) -> BatchAnswer:
    """The results with their counts."""
    counts = Counter(item.status for item in results)
    position = max((item.position for item in results if item.position is not None), default=None)
    named = {status: counts[status] for status in get_args(Status)}
    return BatchAnswer(mode, **named, position=position, results=results)
