"""When keys were last used, written beside the requests: at most once a minute a key.

A use is noted in memory, and a task of its own writes what was noted. What a process had not
written when it ended is lost: who looks for keys that nobody uses looks at days, not at seconds.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog

from api import api_keys
from api.reads import Reads
from ledger_core.log import Connection

WRITTEN_EVERY_S = 60.0
# Beyond this many, all are forgotten at once, and some are written sooner than they need be.
NOTED_MAX = 10_000

_log = structlog.get_logger("ledger.keys")

Name = tuple[int, str]


class KeyUses:
    """Notes uses of keys; used by the event loop alone."""

    def __init__(self, reads: Reads, connect: Callable[[], Connection]) -> None:
        """Nothing was used yet; ``connect`` opens a connection as ``ledger_writer``."""
        self._reads = reads
        self._connect = connect
        self._written_s: dict[Name, float] = {}
        self._noted: dict[Name, datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, ledger_id: int, key_id: str, at: datetime) -> None:
        """A key was used at that moment."""
        loop = asyncio.get_running_loop()
        name, now_s = (ledger_id, key_id), loop.time()
        written_s = self._written_s.get(name)
        if written_s is not None and now_s - written_s < WRITTEN_EVERY_S:
            return
        if len(self._written_s) >= NOTED_MAX:
            self._written_s.clear()
        self._written_s[name] = now_s
        self._noted[name] = at
        if self._writing is None:
            self._writing = loop.create_task(self._write())

    async def _write(self) -> None:
        """Write what was noted, until nothing is left; a failure is not the request's."""
        try:
            while self._noted:
                uses = [(ledger_id, key_id, at) for (ledger_id, key_id), at in self._noted.items()]
                self._noted.clear()
                await self._reads.off_loop(partial(self._store, uses))
        except Exception as error:  # noqa: BLE001 - nobody waits; the next use is noted again
            _log.warning("uses of keys not written", error_type=type(error).__name__)
        finally:
            self._writing = None

    def _store(self, uses: list[tuple[int, str, datetime]]) -> None:
        """Write uses in one transaction; keys in one order, so that two servers never lock."""
        with self._connect() as connection, connection.transaction():
            api_keys.note_uses(connection, sorted(uses))
