"""Keys that were presented in vain: of a key that exists, that is an access, with status 401.

So the alarms count them as they count failed log-ins. Only keys that exist belong to a ledger; what
else is presented is in the program's own log, and counts against the client that sends it. Of one
key no more are recorded than a bucket holds: nobody without a valid key may fill the access log.
"""

import asyncio

import structlog

from api import api_keys
from api.accesses import Accesses
from api.rate_limits import Buckets
from api.reads import Reads
from ledger_core.access_log import NewAccess

OPERATION = "present_key"
RECORDED_PER_S = 0.1
BURST_S = 600.0
_STATUS = 401
_SCHEME = b"bearer "

_log = structlog.get_logger("ledger.keys")


class FailedKeys:
    """Records keys that were presented in vain; used by the event loop alone."""

    def __init__(self, reads: Reads, accesses: Accesses) -> None:
        """None was yet."""
        self._reads = reads
        self._accesses = accesses
        self._buckets = Buckets(RECORDED_PER_S, BURST_S)
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, authorization: bytes, request_id: str, now_s: float) -> None:
        """Have it recorded, soon, if this is a key that exists and not too many were."""
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return
        parts = api_keys.parse(authorization[len(_SCHEME) :].strip().decode("latin-1"))
        if parts is None:
            return
        name = (parts.ledger_id, parts.key_id)
        if self._buckets.take(name, now_s):
            return
        task = asyncio.get_running_loop().create_task(self._record(*name, request_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _record(self, ledger_id: int, key_id: str, request_id: str) -> None:
        """Record it, if there is such a key."""
        try:
            key = await self._reads.ask(
                lambda connection: api_keys.find(connection, ledger_id, key_id)
            )
            if key is None:
                return
            actor = f"key:{key_id}"
            access = NewAccess(actor, OPERATION, (actor,), "", request_id, _STATUS)
            await self._accesses.record(ledger_id, access)
        except Exception as error:  # noqa: BLE001 - the request was refused, whatever happens here
            _log.warning("failed key not recorded", error_type=type(error).__name__)
