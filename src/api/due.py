"""What is due is recorded before anybody reads: a hold that is over is never shown as held.

The clockwork records what falls due within a fraction of a second; a read may come sooner, and
after a time in which nothing ran. So whoever reads sees to it first. Commands need none of this:
the writer records what is due before it decides.
"""

import asyncio
from datetime import datetime

from api.runtime import Runtime
from ledger_core import log
from ledger_core.ledger import Submission
from ledger_core.log import Connection
from projections import runner
from projections.kept_queries import next_due
from projections.reading import AnyConnection

ACTOR = "clock"
# How long it is believed that nothing falls due before a known moment; a hold of less than that
# may be shown for that much longer.
BELIEVED_S = 0.05
_LEDGERS_MAX = 10_000


class Due:
    """Knows for a moment when something falls due next in each ledger."""

    def __init__(self, runtime: Runtime) -> None:
        """Nothing is known yet."""
        self._runtime = runtime
        self._known: dict[int, tuple[float, datetime | None]] = {}

    def moment(self, as_of: datetime | None) -> datetime:
        """Up to when a read is about: now, or a moment that is past."""
        now = self._runtime.now()
        return now if as_of is None else min(as_of, now)

    def is_believed(self, ledger_id: int, moment: datetime) -> bool:
        """Whether it was seen a moment ago that nothing falls due by then."""
        known = self._known.get(ledger_id)
        if known is None or asyncio.get_running_loop().time() - known[0] > BELIEVED_S:
            return False
        return known[1] is None or known[1] > moment

    def look(self, connection: AnyConnection, ledger_id: int, seen_at: float) -> None:
        """See when something falls due next."""
        if len(self._known) > _LEDGERS_MAX:
            self._known.clear()
        self._known[ledger_id] = (seen_at, next_due(connection, ledger_id))

    def is_due(self, ledger_id: int, moment: datetime) -> bool:
        """Whether something was due by that moment, as was seen last."""
        _, due_at = self._known.get(ledger_id, (0.0, None))
        return due_at is not None and due_at <= moment


def record(runtime: Runtime, ledger_id: int, projector: Connection) -> None:
    """Record what is due now and bring the views up to it: for a program that serves nobody."""
    with runtime.engine.connect() as connection:
        due_at = next_due(connection, ledger_id)
    if due_at is not None and due_at <= runtime.now():
        runtime.submit(ledger_id, Submission((), ACTOR)).result()
        runner.catch_up(projector, ledger_id)


def head_after(runtime: Runtime, ledger_id: int) -> int:
    """Have the writer record what is due; where the log ends then.

    Raises:
        LedgerBusy: the writer cannot.
    """
    runtime.submit(ledger_id, Submission((), ACTOR)).result()
    with runtime.connect("ledger_reader") as connection:
        return log.read_head(connection, ledger_id).position
