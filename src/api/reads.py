"""The read side of the server: queries off the event loop, in a bounded pool of threads.

Each query runs on one read-only connection in one REPEATABLE READ transaction, so that everything
in an answer belongs to the same moment.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy

from ledger_core.database import POOL_OVERFLOW, POOL_SIZE

# No more threads than the engine has connections: a thread never waits for one.
READ_THREADS = POOL_SIZE + POOL_OVERFLOW

_T = TypeVar("_T")


class Reads:
    """Runs queries for the event loop."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        """Open the pool of threads; it begins empty."""
        self._engine = engine.execution_options(postgresql_readonly=True)
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")

    async def run(self, query: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """The query's answer, from a transaction of its own."""
        return await self.off_loop(lambda: self._query(query))

    async def off_loop(self, work: Callable[[], _T]) -> _T:
        """What ``work`` returns, computed off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Wait for the queries under way."""
        self._threads.shutdown()

    def _query(self, query: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """Run a query on a connection of the pool."""
        with self._engine.connect() as connection:
            return query(connection)
