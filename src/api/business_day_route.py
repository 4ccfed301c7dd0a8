"""The route that runs a business day: not a command, but a request to run all that is due.

It needs no idempotency key: every occurrence runs once, however often the day is run.
"""

import asyncio
from datetime import date

import msgspec

from api import business_day
from api.business_day import BusinessDay
from api.callers import Caller
from api.context import Context
from api.edge import CALLER, TRACE, respond
from api.execution import execution_of
from api.problems import FieldError, malformed
from api.roles import require_allowed
from api.wire import SINGLE_BYTES_MAX, Receive, Scope, Send, decode, read_body, require_json

OPERATION = "run_business_day"
PATH = "/v1/business-days"


class BusinessDayBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run what is due on or before ``business_date``, with that date as value date."""

    business_date: date


_BODY = msgspec.json.Decoder(BusinessDayBody)
_ENCODER = msgspec.json.Encoder()


class BusinessDayEndpoint:
    """Runs a business day: an ASGI application of its own."""

    def __init__(self, context: Context) -> None:
        """Use the shared context."""
        self._context = context
        # A long day holds one thread of the read side; days that are asked for meanwhile wait.
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run all that is due and answer with the figures."""
        scope[TRACE].route = PATH
        caller: Caller = scope[CALLER]
        require_allowed(caller, OPERATION)
        require_json(scope["headers"])
        if execution_of(scope["query_string"], None, None).dry_run:
            raise malformed(FieldError("left out: a business day has no dry run", "dry_run"))
        body = decode(_BODY, await read_body(receive, SINGLE_BYTES_MAX))
        async with self._one_at_a_time:
            day = await self._context.reads.off_loop(lambda: self._run(caller, body.business_date))
        await respond(send, 200, _ENCODER.encode(day), [(b"content-type", b"application/json")])

    def _run(self, caller: Caller, business_date: date) -> BusinessDay:
        """Run the day for the caller's ledger."""
        runtime = self._context.runtime
        return business_day.run(runtime, caller.ledger_id, business_date, caller.actor)
