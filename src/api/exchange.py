"""A request that is answered without a task of its own, and without ASGI's messages.

The few hot routes are taken so from the server's protocol (``api.protocol``); the same endpoints
answer over ASGI too, where a request is anything but plain.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from api.callers import Caller
    from api.edge import Trace

Headers = Sequence[tuple[bytes, bytes]]


class Exchange(Protocol):
    """What a handler sees of a request, and where it answers: now or later, on the loop."""

    headers: list[tuple[bytes, bytes]]
    body: bytes
    caller: "Caller"
    trace: "Trace"

    def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send the whole answer."""

    def fail(self, error: BaseException) -> None:
        """Answer with the problem behind a failure."""


Handler = Callable[[Exchange], None]
