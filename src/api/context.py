"""What the routes of one server share: the runtime, the read side, the keys, the figures."""

import asyncio
from collections.abc import Sequence
from functools import partial

from api.accesses import Accesses
from api.balance_reads import BalanceReads
from api.due import Due
from api.execution import FOR_REAL, Execution
from api.intake import Intake, Result
from api.key_ring import Caller, KeyRing
from api.metrics import Metrics
from api.notary_figures import NotaryFigures
from api.reads import Reads
from api.runtime import Runtime
from api.self_audit_figures import SelfAuditFigures
from ledger_core.commands import Command
from ledger_core.ledger import Mode, Outcome, Submission
from ledger_core.log import Connection
from projections.past_books import books_at


class Context:
    """Shared by all routes of one application."""

    def __init__(self, runtime: Runtime) -> None:
        """Use an open runtime, which the caller closes."""
        self.runtime = runtime
        self.reads = Reads(runtime.engine, self._connect)
        self.accesses = Accesses(lambda: runtime.connect("ledger_writer"), runtime.now)
        self.balances = BalanceReads(
            self._connect,
            runtime.now,
            self.accesses.recorder(),
            runtime.settings.recording,
        )
        self.due = Due(runtime)
        self.metrics = Metrics()
        self.notary_figures = NotaryFigures(runtime.notary)
        self.metrics.register(self.notary_figures)
        self.self_audit_figures = SelfAuditFigures()
        self.metrics.register(self.self_audit_figures)
        self.key_ring = KeyRing(self.reads, runtime.settings.server_secret)
        self.intake = Intake(runtime.submit_all, self.metrics.append_seconds.observe)

    async def submit(
        self,
        caller: Caller,
        commands: Sequence[Command],
        mode: Mode = "each",
        execution: Execution = FOR_REAL,
    ) -> list[Outcome]:
        """Carry out the caller's commands; every outcome is durable.

        Raises:
            LedgerBusy: the queue is full or the database cannot be reached.
        """
        submission = submission_of(caller, commands, mode, execution)
        if execution.at_position is not None:
            return await self._judge(caller, submission, execution.at_position)
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.intake.submit(caller.ledger_id, submission, partial(_settle, future))
        return await future

    async def _judge(self, caller: Caller, submission: Submission, position: int) -> list[Outcome]:
        """What commands would have been answered at a past position.

        Raises:
            PositionAhead: that position is not projected yet.
            LedgerBusy: the database cannot be reached.
        """
        commands = submission.commands
        books = await self.reads.run(
            lambda connection: books_at(connection, caller.ledger_id, position, commands)
        )
        return await self.reads.off_loop(
            lambda: self.runtime.judge(caller.ledger_id, submission, books)
        )

    def _connect(self) -> Connection:
        """A new connection that reads."""
        return self.runtime.connect("ledger_reader")

    def close(self) -> None:
        """End the threads that read and record."""
        self.reads.close()
        self.balances.close()
        self.accesses.close()


def submission_of(
    caller: Caller,
    commands: Sequence[Command],
    mode: Mode = "each",
    execution: Execution = FOR_REAL,
) -> Submission:
    """The commands on the caller's behalf."""
    return Submission(
        commands,
        caller.actor,
        mode,
        person=caller.person,
        permissions=caller.permissions,
        dry_run=execution.dry_run,
        if_match=execution.versions,
    )


def _settle(future: asyncio.Future[list[Outcome]], result: Result) -> None:
    """Wake who waits, if anybody still does."""
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
