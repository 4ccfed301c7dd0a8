"""The route that has the present head signed: not a command, for nothing of the books changes."""

from typing import TYPE_CHECKING

import msgspec

from api.context import Context
from api.edge import CALLER, TRACE, respond
from api.notary import BeyondLogError, NotaryStoppedError
from api.problems import FieldError, Problem, malformed
from api.receipts import NOTARY_STOPPED
from api.roles import require_allowed
from api.routes.checkpoints import answer_of
from api.wire import SINGLE_BYTES_MAX, Receive, Scope, Send, decode, read_body, require_json
from ledger_core.tiles import LogName

if TYPE_CHECKING:
    from api.callers import Caller

OPERATION = "sign_checkpoint"
PATH = "/v1/checkpoints"


class CheckpointBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign the head of the log, or its first ``size`` entries; a body may be left out."""

    log: LogName = "events"
    size: int | None = None


_BODY = msgspec.json.Decoder(CheckpointBody)
_ENCODER = msgspec.json.Encoder()


class CheckpointEndpoint:
    """Has a checkpoint signed: an ASGI application of its own."""

    def __init__(self, context: Context) -> None:
        """Use the shared context."""
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the checkpoint of that size, signed now if it was not yet."""
        scope[TRACE].route = PATH
        caller: Caller = scope[CALLER]
        require_allowed(caller, OPERATION)
        if scope["query_string"]:
            raise malformed(FieldError("no parameters"))
        text = await read_body(receive, SINGLE_BYTES_MAX)
        body = CheckpointBody()
        if text:
            require_json(scope["headers"])
            body = decode(_BODY, text)
        if body.size is not None and body.size < 0:
            raise malformed(FieldError("0 or more", "size", "/size"))
        notary = self._context.runtime.notary
        try:
            signed = await self._context.reads.off_loop(
                lambda: notary.at(caller.ledger_id, body.log, body.size)
            )
        except BeyondLogError:
            raise malformed(FieldError("not beyond the log's end", "size", "/size")) from None
        except NotaryStoppedError:
            raise Problem(NOTARY_STOPPED) from None
        headers = [
            (b"content-type", b"application/json"),
            (b"location", b"/v1/checkpoints/%d" % signed.size),
        ]
        await respond(send, 201, _ENCODER.encode(answer_of(signed)), headers)
