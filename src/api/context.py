"""What the routes of one server share: the runtime, the read side, the keys, the figures."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from api import admission, backup_settings, clock
from api.accesses import Accesses
from api.admission import Room
from api.alarm_figures import AlarmFigures
from api.balance_reads import BalanceReads
from api.callers import Caller
from api.database_figures import DatabaseFigures
from api.due import Due
from api.execution import FOR_REAL, Execution
from api.failed_keys import FailedKeys
from api.intake import Intake, Result
from api.key_ring import KeyRing
from api.key_scheme import KeyScheme
from api.key_uses import KeyUses
from api.metrics import Metrics
from api.notary_figures import NotaryFigures
from api.proxies import Proxies
from api.rate_limits import RateLimits, Streams
from api.readiness import LOOK_S, Readiness
from api.reads import Reads
from api.role_book import RoleBook
from api.runtime import Runtime
from api.self_audit_figures import SelfAuditFigures
from api.server_figures import BackupFigures, ChildFigures, QueueFigures, TraceFigures
from api.session_scheme import SessionScheme
from api.staff_desk import StaffDesk
from api.stopping import Stop
from api.token_scheme import TokenScheme
from api.tracing import RequestSpan
from api.waiting import Waiting
from ledger_core import database
from ledger_core.commands import Command
from ledger_core.ledger import Mode, Outcome, Submission
from ledger_core.log import Connection
from projections import runner
from projections.past_books import books_at

if TYPE_CHECKING:
    from api.schemes import Scheme


class Context:
    """Shared by all routes of one application."""

    def __init__(self, runtime: Runtime) -> None:
        """Use an open runtime, which the caller closes."""
        self.runtime = runtime
        limits = runtime.settings.limits
        self.rate_limits = RateLimits(limits)
        self.streams = Streams(limits.streams_max)
        self.stop = Stop()
        self._read_timeout_s = limits.read_timeout_s
        self._engine = database.engine(
            runtime.database_url, "ledger_reader", timeout_s=limits.read_timeout_s
        )
        self.reads = Reads(self._engine, self._connect)
        self.accesses = Accesses(lambda: runtime.connect("ledger_writer"), runtime.now)
        self.balances = BalanceReads(
            self._connect,
            runtime.now,
            self.accesses.recorder(),
            runtime.settings.recording,
            limits.queue_s,
        )
        self.due = Due(runtime)
        self.failed_keys = FailedKeys(self.reads, self.accesses)
        self.metrics = Metrics()
        self.notary_figures = NotaryFigures(runtime.notary)
        self.metrics.register(self.notary_figures)
        self.self_audit_figures = SelfAuditFigures()
        self.metrics.register(self.self_audit_figures)
        self.alarm_figures = AlarmFigures()
        self.metrics.register(self.alarm_figures)
        self.child_figures = ChildFigures()
        self.database_figures = DatabaseFigures(
            lambda: database.connect(runtime.database_url, "ledger_reader", timeout_s=LOOK_S),
            runtime.now,
            self.self_audit_figures,
            self.alarm_figures,
        )
        self.role_book = RoleBook(self.reads)
        self.proxies = Proxies(runtime.settings.proxies)
        uses = KeyUses(self.reads, lambda: runtime.connect("ledger_writer"))
        self.key_scheme = KeyScheme(self.reads, runtime.settings.server_secret, uses)
        sessions = SessionScheme(
            self.reads,
            lambda: runtime.connect("ledger_writer"),
            runtime.settings.staff,
            runtime.settings.server_secret,
            clock.now,
        )
        schemes: list[Scheme] = [self.key_scheme, sessions]
        if runtime.settings.oidc is not None:
            schemes.append(TokenScheme(self.reads, runtime.settings.oidc))
        self.key_ring = KeyRing(schemes, self.role_book)
        self.staff = StaffDesk(runtime)
        self.view_room = Room(admission.views(limits.queue_s))
        self.readiness = Readiness(
            lambda: database.connect(runtime.database_url, "ledger_reader", timeout_s=LOOK_S),
            self.accesses.require_writable,
        )
        self.waiting = Waiting(self._reached)
        self.intake = Intake(
            runtime.submit_all, self.metrics.append_seconds.observe, limits.queue_s
        )
        self.metrics.register(
            self.database_figures,
            runtime.transaction_figures,
            QueueFigures(runtime.writers, self.intake, self.reads),
            self.child_figures,
            TraceFigures(runtime.tracing),
            BackupFigures(backup_settings.folder()),
        )

    async def submit(
        self,
        caller: Caller,
        commands: Sequence[Command],
        mode: Mode = "each",
        execution: Execution = FOR_REAL,
        span: RequestSpan | None = None,
    ) -> list[Outcome]:
        """Carry out the caller's commands; every outcome is durable.

        ``span`` is that of the request, where it is traced.

        Raises:
            LedgerBusy: the queue is full or the database cannot be reached.
        """
        submission = submission_of(caller, commands, mode, execution)
        if span is not None:
            submission = marked(submission, span)
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

    async def _reached(self, ledger_id: int) -> int:
        """The position that every view of a ledger reflects."""
        found = await self.reads.ask(lambda connection: runner.positions(connection, ledger_id))
        return min((position for position, _ in found.values()), default=0)

    def _connect(self) -> Connection:
        """A new connection that reads, and gives up what takes too long."""
        return database.connect(
            self.runtime.database_url, "ledger_reader", timeout_s=self._read_timeout_s
        )

    def close(self) -> None:
        """End the threads that read and record."""
        self.readiness.close()
        self.database_figures.close()
        self.staff.close()
        self.reads.close()
        self.balances.close()
        self.accesses.close()
        self._engine.dispose()


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
        amount_max=caller.authority.amount_bounds,
    )


def marked(submission: Submission, span: RequestSpan) -> Submission:
    """The submission of a traced request, which begins to wait now."""
    span.submitted_ns = clock.now_ns()
    return msgspec.structs.replace(submission, mark=span)


def _settle(future: asyncio.Future[list[Outcome]], result: Result) -> None:
    """Wake who waits, if anybody still does."""
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
