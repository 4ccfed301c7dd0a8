"""What the routes of one server share: the runtime, the read side, the keys, the figures."""

import asyncio
from collections.abc import Sequence

from api.key_ring import Caller, KeyRing
from api.metrics import Metrics
from api.reads import Reads
from api.runtime import Runtime
from ledger_core.commands import Command
from ledger_core.ledger import Mode, Outcome, Submission


class Context:
    """Shared by all routes of one application."""

    def __init__(self, runtime: Runtime) -> None:
        """Use an open runtime, which the caller closes."""
        self.runtime = runtime
        self.reads = Reads(runtime.engine)
        self.metrics = Metrics()
        self.key_ring = KeyRing(self.reads, runtime.settings.server_secret)

    async def submit(
        self, caller: Caller, commands: Sequence[Command], mode: Mode = "each"
    ) -> list[Outcome]:
        """Carry out the caller's commands; every outcome is durable.

        Raises:
            LedgerBusy: the queue is full or the database cannot be reached.
        """
        loop = asyncio.get_running_loop()
        submitted_at = loop.time()
        future = self.runtime.submit(caller.ledger_id, Submission(commands, caller.actor, mode))
        # Shielded: a caller who goes away must not cancel what the writer is about to do.
        outcomes = await asyncio.shield(asyncio.wrap_future(future))
        self.metrics.append_seconds.observe(loop.time() - submitted_at)
        return outcomes

    def close(self) -> None:
        """End the read threads."""
        self.reads.close()
