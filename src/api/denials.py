"""What commands leave in the access log: that one was denied, or sent with a reason it needed.

The ledger's own log says what was done. That somebody tried what they may not do is nowhere in it,
so every refusal with status 403 is an access, durable before it is told; and so is a command for
which a role demands a reason, with that reason.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec

from api import subjects
from api.accesses import Accesses
from api.callers import Caller
from api.edge import Trace, failure_response
from api.exchange import Exchange
from api.problems import Problem
from api.reasons import reason_of
from ledger_core.access_log import NewAccess
from ledger_core.commands import Command, tag_of
from ledger_core.errors import LedgerError

DENIED = 403

Headers = Sequence[tuple[bytes, bytes]]
Answer = tuple[int, bytes, Headers]


class Sender(msgspec.Struct, frozen=True):
    """Who sent commands, and what of their request an access tells."""

    caller: Caller
    headers: Headers
    trace: Trace


class Attempt(msgspec.Struct, frozen=True):
    """What was attempted: the operation, what its address named, and the commands, if known."""

    operation: str
    path_params: Mapping[str, str] = {}
    commands: Sequence[Command] = ()


class Denials:
    """Records what commands were denied; used by the event loop alone."""

    def __init__(self, accesses: Accesses) -> None:
        """Record in that access log."""
        self._accesses = accesses
        self._tasks: set[asyncio.Task[None]] = set()

    def answer_late(self, exchange: Exchange, attempt: Attempt, answer: Answer) -> None:
        """Have an exchange answered as soon as its access is durable."""
        task = asyncio.ensure_future(self._answer(exchange, attempt, answer))
        # The loop itself holds its tasks but weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def record(self, sender: Sender, attempt: Attempt, status: int) -> None:
        """Wait until it is durable that what was attempted was answered with that status.

        Raises:
            LedgerBusy: too many wait already.
            Problem: it could not be recorded.
        """
        named = subjects.of_address(attempt.operation, attempt.path_params, b"")
        asked = subjects.of_answered(named, status)
        access = NewAccess(
            sender.caller.actor,
            attempt.operation,
            subjects.listed(asked, subjects.of_commands(attempt.commands)),
            _reason(sender.headers),
            sender.trace.request_id,
            status,
        )
        await self._accesses.record(sender.caller.ledger_id, access)

    async def record_batch(self, sender: Sender, told: Iterable[tuple[Command, int]]) -> None:
        """The same for commands of a batch and their statuses: one access a kind and status.

        Where that cannot be recorded the log of the program says so: what the batch did is done.
        """
        by_kind: dict[tuple[str, int], list[Command]] = {}
        for command, status in told:
            by_kind.setdefault((tag_of(command), status), []).append(command)
        for (operation, status), some in by_kind.items():
            with suppress(Problem, LedgerError):
                await self.record(sender, Attempt(operation, commands=some), status)

    async def _answer(self, exchange: Exchange, attempt: Attempt, answer: Answer) -> None:
        """Record, and answer; where that cannot be recorded, the answer is that."""
        sender = Sender(exchange.caller, exchange.headers, exchange.trace)
        try:
            await self.record(sender, attempt, answer[0])
        except Exception as error:  # noqa: BLE001 - every failure is answered
            answer = failure_response(exchange.trace, error)
        exchange.answer(*answer)


def _reason(headers: Headers) -> str:
    """The reason that was given; none where it is malformed, which is refused elsewhere."""
    try:
        return reason_of(headers)
    except Problem:
        return ""
