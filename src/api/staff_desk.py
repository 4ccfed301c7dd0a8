"""Where staff prove who they are: work on the key store, off the event loop, a few at a time.

Comparing a password takes 64 MiB and 100 ms on purpose, so it has threads of its own, and few: who
floods the log-in slows down log-ins, and nothing else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

from api import clock
from api.lock_out import Attempts
from api.passkeys import Passkeys
from api.passwords import Passwords
from api.runtime import Runtime
from api.second_factors import SecondFactors
from ledger_core.errors import LedgerBusy
from ledger_core.log import Connection

THREADS = 2
# Two or three seconds of comparing passwords; who would wait longer is told to try again.
WAITING_MAX = 50

_T = TypeVar("_T")


class Drawer:
    """What the work on one ledger's staff needs, on one connection."""

    def __init__(
        self,
        runtime: Runtime,
        passwords: Passwords,
        connection: Connection,
        ledger_id: int,
        at: datetime,
    ) -> None:
        """Work on a connection that acts as ``ledger_writer``, at that moment."""
        secret, vault = runtime.settings.server_secret, runtime.vault
        self.connection = connection
        self.ledger_id = ledger_id
        self.at = at
        self.passwords = passwords
        self.settings = runtime.settings.staff
        self.server_secret = secret
        self.attempts = Attempts(connection, ledger_id, secret)
        self.factors = SecondFactors(connection, vault, secret, clock.random_bytes)
        self.passkeys = Passkeys(connection, ledger_id, self.settings, secret)


class StaffDesk:
    """Does such work for the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        """Begin with nobody waiting."""
        self._runtime = runtime
        self.passwords = Passwords(runtime.settings.server_secret, clock.random_bytes)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="staff")
        self._waiting = 0

    async def work(self, ledger_id: int, job: Callable[[Drawer], _T]) -> _T:
        """What a job comes to; it makes its own transactions.

        Raises:
            LedgerBusy: too many wait already.
        """
        if self._waiting >= WAITING_MAX:
            raise LedgerBusy
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._do, ledger_id, job)
        finally:
            self._waiting -= 1

    async def transact(self, ledger_id: int, job: Callable[[Drawer], _T]) -> _T:
        """As ``work``, all of it in one transaction.

        Raises:
            LedgerBusy: too many wait already.
        """

        def whole(drawer: Drawer) -> _T:
            """The job in a transaction."""
            with drawer.connection.transaction():
                return job(drawer)

        return await self.work(ledger_id, whole)

    def close(self) -> None:
        """Wait for the work under way."""
        self._threads.shutdown()

    def _do(self, ledger_id: int, job: Callable[[Drawer], _T]) -> _T:
        """Do a job on a connection of its own."""
        with self._runtime.connect("ledger_writer") as connection:
            drawer = Drawer(self._runtime, self.passwords, connection, ledger_id, clock.now())
            return job(drawer)
