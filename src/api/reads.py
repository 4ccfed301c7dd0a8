"""The read side of the server: queries off the event loop, in a bounded pool of threads.

Each query runs on one read-only connection in one REPEATABLE READ transaction, so that everything
in an answer belongs to the same moment. What is asked most is asked of the driver, on a connection
that is kept: a pool and a look whether the connection still lives cost as much as a query.

The connection used last is used next, and one that nobody needed for a while is closed: what a
crowded moment opened is given back, instead of holding a backend's megabytes for good.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import psycopg
import sqlalchemy

from ledger_core.database import POOL_OVERFLOW, POOL_SIZE
from ledger_core.log import Connection

# No more threads than the engine has connections: a thread never waits for one.
READ_THREADS = POOL_SIZE + POOL_OVERFLOW
# Longer than the pause between two things that are asked again and again.
IDLE_S = 60.0

LOST = (psycopg.OperationalError, psycopg.InterfaceError)

_T = TypeVar("_T")


class Reads:
    """Runs queries for the event loop."""

    def __init__(self, engine: sqlalchemy.Engine, connect: Callable[[], Connection]) -> None:
        """Open the pool of threads; it begins empty."""
        self._engine = engine.execution_options(postgresql_readonly=True)
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
        self._connect = connect
        self._kept = _Kept()
        self.under_way = 0

    async def run(self, query: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """The query's answer, from a transaction of its own."""
        return await self.off_loop(lambda: self._query(query))

    async def ask(self, query: Callable[[Connection], _T]) -> _T:
        """The query's answer, from a transaction of its own, without SQLAlchemy.

        It is asked again on a new connection where the one that was kept was lost.
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
        """Wait for the queries under way, and close the connections that were kept."""
        self._threads.shutdown()
        self._kept.close_before(math.inf)

    def _query(self, query: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """Run a query on a connection of the pool."""
        with self._engine.connect() as connection:
            return query(connection)

    def _ask(self, query: Callable[[Connection], _T]) -> _T:
        """Run a query on the connection used last, or on a new one."""
        connection = self._kept.take()
        if connection is not None:
            try:
                return self._ask_on(connection, query)
            except LOST:
                if not connection.closed:
                    raise
        connection = self._connect()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return self._ask_on(connection, query)

    def _ask_on(self, connection: Connection, query: Callable[[Connection], _T]) -> _T:
        """Run a query that changes nothing, and keep the connection unless it was lost."""
        try:
            with connection.transaction():
                return query(connection)
        finally:
            now_s = time.monotonic()
            if not connection.closed:
                self._kept.put(connection, now_s)
            self._kept.close_before(now_s - IDLE_S)


class _Kept:
    """Open connections that nobody uses at the moment, the one used last on top."""

    def __init__(self) -> None:
        """There are none yet."""
        self._lock = threading.Lock()
        self._idle: deque[tuple[Connection, float]] = deque()

    def take(self) -> Connection | None:
        """The one used last, if there is any."""
        with self._lock:
            return self._idle.pop()[0] if self._idle else None

    def put(self, connection: Connection, now_s: float) -> None:
        """Keep a connection that was used until now."""
        with self._lock:
            self._idle.append((connection, now_s))

    def close_before(self, used_s: float) -> None:
        """Close those that were used last before a moment."""
        while True:
            with self._lock:
                if not self._idle or self._idle[0][1] >= used_s:
                    return
                connection, _ = self._idle.popleft()
            connection.close()
