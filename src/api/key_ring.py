"""The API keys in use, remembered for a moment: no database read on each request.

A revoked key stops working within twice ``REMEMBERED_S``: what is known of a key may be that old
when a header that presents it is found valid, and then the header is remembered as long.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import sqlalchemy
import structlog

from api import api_keys, clock
from api.api_keys import ApiKey, PresentedKey
from api.problems import UNAUTHENTICATED, Problem
from api.reads import Reads
from api.role_names import Role
from api.sql import driver_connection

REMEMBERED_S = 0.75
# A key in use is looked up again before it is forgotten: no request waits for that.
RENEWED_S = 0.5
# Beyond this many, all are forgotten at once: wrong key ids must not fill the memory.
REMEMBERED_MAX = 10_000

_log = structlog.get_logger("ledger.keys")

_SCHEME = b"bearer "
_CHALLENGE = (("WWW-Authenticate", "Bearer"),)


class Caller(msgspec.Struct, frozen=True):
    """Who sent a request: a key, its role, and the one ledger it is bound to.

    ``person`` acts by the key, with ``permissions`` that count in approvals; the role is one.
    """

    ledger_id: int
    key_id: str
    role: Role
    actor: str
    person: str
    permissions: frozenset[str]


class KeyRing:
    """Finds the caller behind a request's ``Authorization``; used by the event loop alone."""

    def __init__(self, reads: Reads, server_secret: bytes) -> None:
        """Remember nothing yet."""
        self._reads = reads
        self._server_secret = server_secret
        # The whole header of a request whose key was valid -> until when, and the caller.
        self._valid: dict[bytes, tuple[float, Caller]] = {}
        # A key's id -> until when, and the key, if there is one.
        self._known: dict[tuple[int, str], tuple[float, ApiKey | None]] = {}
        self._asking: dict[tuple[int, str], asyncio.Task[ApiKey | None]] = {}
        self._renewing: dict[bytes, asyncio.Task[None]] = {}

    async def caller(self, headers: Sequence[tuple[bytes, bytes]]) -> Caller:
        """The caller who sent these headers.

        Raises:
            Problem: no key, or none that is valid now; which of these is not said.
        """
        sent = [value for name, value in headers if name == b"authorization"]
        if len(sent) != 1:
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        remembered = self.remembered(sent[0])
        if remembered is not None:
            return remembered
        return await self._admit(sent[0])

    def remembered(self, authorization: bytes) -> Caller | None:
        """The caller behind an ``Authorization`` that was found valid a moment ago."""
        found = self._valid.get(authorization)
        if found is None:
            return None
        loop = asyncio.get_running_loop()
        left_s = found[0] - loop.time()
        if left_s < REMEMBERED_S - RENEWED_S and authorization not in self._renewing:
            self._renewing[authorization] = loop.create_task(self._renew(authorization))
        return found[1] if left_s > 0 else None

    async def _renew(self, authorization: bytes) -> None:
        """Find a header valid again; where it is not, whoever sends it next is told so."""
        try:
            await self._admit(authorization)
        except Problem:
            self._valid.pop(authorization, None)
        except Exception as error:  # noqa: BLE001 - the request that needs the key will say it
            _log.warning("key not renewed", error_type=type(error).__name__)
        finally:
            del self._renewing[authorization]

    async def _admit(self, authorization: bytes) -> Caller:
        """The caller behind an ``Authorization``, which is remembered from now on.

        Raises:
            Problem: not a valid key.
        """
        now_s = asyncio.get_running_loop().time()
        caller = await self._authenticate(authorization)
        if len(self._valid) >= REMEMBERED_MAX:
            self._valid.clear()
        self._valid[authorization] = (now_s + REMEMBERED_S, caller)
        return caller

    async def _authenticate(self, sent: bytes) -> Caller:
        """The caller behind the value of an ``Authorization`` header.

        Raises:
            Problem: not a valid key.
        """
        if sent[: len(_SCHEME)].lower() != _SCHEME:
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        presented = api_keys.parse(sent[len(_SCHEME) :].strip().decode("latin-1"))
        if presented is None:
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        key = await self._find(presented)
        is_secret = api_keys.matches(key, presented, self._server_secret)
        if key is None or not is_secret or not key.is_valid(clock.now()):
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        return Caller(
            key.ledger_id,
            key.key_id,
            key.role,
            f"key:{key.key_id}",
            key.person,
            frozenset((*key.permissions, key.role)),
        )

    async def _find(self, presented: PresentedKey) -> ApiKey | None:
        """The key of that id, as it was at most ``REMEMBERED_S`` ago."""
        name = (presented.ledger_id, presented.key_id)
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

        try:
            key = await self._reads.run(query)
        finally:
            del self._asking[name]
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[name] = (asked_at + REMEMBERED_S, key)
        return key
