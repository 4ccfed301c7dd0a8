"""The read side of the server: queries off the event loop, in a bounded pool of threads.

Each query runs on one read-only connection in one REPEATABLE READ transaction, so that everything
in an answer belongs to the same moment. What is asked most is asked of the driver, on a connection
that its thread keeps: a pool and a look whether the connection still lives cost as much as a query.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import psycopg
import sqlalchemy

from ledger_core.database import POOL_OVERFLOW, POOL_SIZE
from ledger_core.log import Connection

# No more threads than the engine has connections: a thread never waits for one.
READ_THREADS = POOL_SIZE + POOL_OVERFLOW

LOST = (psycopg.OperationalError, psycopg.InterfaceError)

_T = TypeVar("_T")


class Reads:
    """Runs queries for the event loop."""

    def __init__(self, engine: sqlalchemy.Engine, connect: Callable[[], Connection]) -> None:
        """Open the pool of threads; it begins empty."""
        self._engine = engine.execution_options(postgresql_readonly=True)
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
        self._connect = connect
        self._kept: dict[int, Connection] = {}
        self.under_way = 0

    async def run(self, query: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """The query's answer, from a transaction of its own."""
        return await self.off_loop(lambda: self._query(query))

    async def ask(self, query: Callable[[Connection], _T]) -> _T:
        """The query's answer, from a transaction of its own, without SQLAlchemy.

        It is asked again on a new connection where the one that its thread kept was lost.
        """
        return await self.off_loop(lambda: self._ask(query))

    def begin(self, query: Callable[[Connection], _T]) -> "Future[_T]":
        """As ``ask``, for who does not wait for it on the loop; it does not count as under way."""
        return self._threads.submit(self._ask, query)

    async def off_loop(self, work: Callable[[], _T]) -> _T:
        """What ``work`` returns, computed off the event loop."""
        self.under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self.under_way -= 1

    def close(self) -> None:
        """Wait for the queries under way, and close the connections that threads kept."""
        self._threads.shutdown()
        for connection in self._kept.values():
            connection.close()

    def _query(self, query: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """Run a query on a connection of the pool."""
        with self._engine.connect() as connection:
            return query(connection)

    def _ask(self, query: Callable[[Connection], _T]) -> _T:
        """Run a query on the connection of this thread."""
        thread = threading.get_ident()
        kept = self._kept.get(thread)
        if kept is not None:
            try:
                return _in_transaction(kept, query)
            except LOST:
                if not kept.closed:
                    raise
        connection = self._kept[thread] = self._connect()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return _in_transaction(connection, query)


def _in_transaction(connection: Connection, query: Callable[[Connection], _T]) -> _T:
    """Run a query that changes nothing."""
    with connection.transaction():
        return query(connection)
