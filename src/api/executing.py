"""How a ledger's transactions are watched: how many commands each has, how long it takes, traces.

What is noted is noted once a transaction; of a command only where its request is traced.
"""

from collections.abc import Callable, Sequence

from api import clock
from api.tracing import Carried, CarriedOut, RequestSpan, Tracing
from ledger_core.ledger import Outcome, Submission

Observe = Callable[[int, float], None]
"""Told of each transaction how many commands it had, and how many seconds it took."""

# What is recorded by this transaction, and not told again.
_NEW = frozenset({"recorded", "unchanged", "pending_approval"})
_SECOND_NS = 1_000_000_000


class Watched:
    """Stands between a writer and its ledger; used by the writer's thread alone."""

    def __init__(self, ledger_id: int, observe: Observe, tracing: Tracing | None) -> None:
        """Watch that ledger's transactions; ``tracing`` ``None``: nothing is traced."""
        self._ledger_id = ledger_id
        self._observe = observe
        self._tracing = tracing
        self._committing_ns = 0

    def committing(self) -> None:
        """All is decided, and the commit begins."""
        self._committing_ns = clock.now_ns()

    def execute(
        self,
        execute: Callable[[Sequence[Submission]], list[list[Outcome]]],
        submissions: Sequence[Submission],
    ) -> list[list[Outcome]]:
        """Carry out submissions by ``execute``; raises what that raises."""
        begun_ns = clock.now_ns()
        outcomes = execute(submissions)
        ended_ns = clock.now_ns()
        commands = sum(len(item.commands) for item in submissions)
        self._observe(commands, max(0, ended_ns - begun_ns) / _SECOND_NS)
        if self._tracing is not None:
            carried = [
                _carried(item, item.mark, found)
                for item, found in zip(submissions, outcomes, strict=True)
                if isinstance(item.mark, RequestSpan)
            ]
            if carried:
                self._tracing.note(
                    CarriedOut(
                        self._ledger_id,
                        len(submissions),
                        commands,
                        carried,
                        begun_ns,
                        max(begun_ns, self._committing_ns),
                        ended_ns,
                    )
                )
        return outcomes


def _carried(submission: Submission, span: RequestSpan, outcomes: Sequence[Outcome]) -> Carried:
    """What became of one traced request's commands."""
    new = [item.position for item in outcomes if item.status in _NEW and not submission.dry_run]
    refused = sum(item.error is not None for item in outcomes)
    return Carried(span, len(outcomes), refused, max(new, default=None))
