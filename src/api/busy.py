"""The refusal that overload is made of: made once, told often, and logged a few times a second.

Of what finds no room every answer and every line of the log would say the same. In an overload they
would cost more than the refusal itself, and that time is taken from the requests that were taken.
"""

import asyncio
from functools import lru_cache

import msgspec
import structlog

from api import problems
from api.exchange import Exchange
from ledger_core.errors import LedgerBusy

INTERVAL_S = 1.0
LINES_MAX = 20
"""Of those that find no room in that time, so many have a line each; the others are counted."""

REASON = frozenset({"reason"})
"""What the refusals that are made here tell, and no more."""

QUEUE_FULL = "queue_full"

_END = b'"?"}'

_log = structlog.get_logger("ledger.http")


class Lines:
    """Which refusals have a line of the log of their own; used by the event loop alone."""

    def __init__(self) -> None:
        """None was refused."""
        self._refused = 0

    def is_one_too_many(self) -> bool:
        """Take note of a refusal; whether it goes without a line of its own."""
        self._refused += 1
        if self._refused == 1:
            asyncio.get_running_loop().call_later(INTERVAL_S, self._tell)
        return self._refused > LINES_MAX

    def _tell(self) -> None:
        """Say how many were refused, if that is not to be seen already."""
        refused, self._refused = self._refused, 0
        if refused > LINES_MAX:
            _log.warning(
                "requests refused", code=LedgerBusy.code, count=refused, seconds=INTERVAL_S
            )


def answer_of(reason: str, request_id: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of the refusal."""
    status, begun, headers = _made(reason)
    return status, b'%s"%s"}' % (begun, request_id.encode()), [*headers]


def refuse(path: str, reason: str, exchange: Exchange) -> None:
    """Answer a request to that route, of which no more than its head was looked at."""
    trace = exchange.trace
    trace.route, trace.code = path, LedgerBusy.code
    exchange.answer(*answer_of(reason, trace.request_id))


@lru_cache(maxsize=100)
def _made(reason: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body up to the request's id, and headers; the reasons are few, and our own."""
    error = LedgerBusy(reason=reason) if reason else LedgerBusy()
    document = msgspec.structs.replace(problems.body_of(error), request_id="?")
    headers = [(b"content-type", problems.CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
    headers += [
        (name.lower().encode(), value.encode()) for name, value in problems.headers_of(error)
    ]
    body = problems.encode(document)
    assert body.endswith(_END)  # noqa: S101 - the request's id is the last member
    return document.status, body.removesuffix(_END), headers
