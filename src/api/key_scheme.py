"""API keys as a scheme: what is known of a key is remembered for a moment."""

import asyncio

import sqlalchemy

from api import api_keys, clock
from api.api_keys import ApiKey
from api.callers import Credential
from api.key_uses import KeyUses
from api.reads import Reads
from api.sql import driver_connection

KNOWN_S = 0.75
# Beyond this many, all are forgotten at once: wrong key ids must not fill the memory.
KNOWN_MAX = 10_000


class KeyScheme:
    """Finds API keys; used by the event loop alone."""

    def __init__(self, reads: Reads, server_secret: bytes, uses: KeyUses | None = None) -> None:
        """Remember nothing yet; ``uses`` is told which keys are used."""
        self._reads = reads
        self._uses = uses
        self._server_secret = server_secret
        # A key's id -> until when, and the key, if there is one.
        self._known: dict[tuple[int, str], tuple[float, ApiKey | None]] = {}
        self._asking: dict[tuple[int, str], asyncio.Task[ApiKey | None]] = {}
        # How often anything was forgotten: what was looked up before then may be of before.
        self._forgotten = 0

    def takes(self, presented: str) -> bool:
        """Whether a text begins as keys do."""
        return presented.startswith("lk_")

    async def find(self, presented: str) -> Credential | None:
        """The credential of a valid key."""
        parts = api_keys.parse(presented)
        if parts is None:
            return None
        key = await self._find((parts.ledger_id, parts.key_id))
        is_secret = api_keys.matches(key, parts, self._server_secret)
        now = clock.now()
        if key is None or not is_secret or not key.is_valid(now):
            return None
        if self._uses is not None:
            self._uses.note(key.ledger_id, key.key_id, now)
        return Credential(
            ledger_id=key.ledger_id,
            credential_id=key.key_id,
            kind="key",
            actor=f"key:{key.key_id}",
            person=key.person,
            roles=(key.role,),
            permissions=tuple(key.permissions),
            scopes=None if key.scopes is None else tuple(key.scopes),
            expires_at=key.ends_at,
            rate_per_s=key.rate_per_s,
            certificate_sha256=key.certificate_sha256,
        )

    def forget(self, ledger_id: int, key_id: str) -> None:
        """Look a key up anew before it is taken again: it was ended here."""
        self._forgotten += 1
        self._known.pop((ledger_id, key_id), None)
        self._asking.pop((ledger_id, key_id), None)

    async def _find(self, name: tuple[int, str]) -> ApiKey | None:
        """The key of that id, as it was at most ``KNOWN_S`` ago."""
        loop = asyncio.get_running_loop()
        known = self._known.get(name)
        if known is not None and loop.time() < known[0]:
            return known[1]
        task = self._asking.get(name)
        if task is None:
            asked_at = loop.time()
            task = loop.create_task(self._ask(name, asked_at))
            self._asking[name] = task
        return await asyncio.shield(task)

    async def _ask(self, name: tuple[int, str], asked_at: float) -> ApiKey | None:
        """Look the key up, once for all who wait for it."""

        def query(connection: sqlalchemy.Connection) -> ApiKey | None:
            return api_keys.find(driver_connection(connection), *name)

        forgotten = self._forgotten
        try:
            key = await self._reads.run(query)
        finally:
            self._asking.pop(name, None)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        if forgotten == self._forgotten:
            self._known[name] = (asked_at + KNOWN_S, key)
        return key
