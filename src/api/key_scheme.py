"""API keys as a scheme: what is known of a key is remembered for a moment."""

from concurrent.futures import Future

from api import api_keys, clock
from api.api_keys import ApiKey
from api.callers import Credential
from api.key_uses import KeyUses
from api.reads import Reads
from api.remembering import Remembered

# Beyond this many, all are forgotten at once: wrong key ids must not fill the memory.
KNOWN_MAX = 10_000


class KeyScheme:
    """Finds API keys; used by the event loop alone."""

    def __init__(self, reads: Reads, server_secret: bytes, uses: KeyUses | None = None) -> None:
        """Remember nothing yet; ``uses`` is told which keys are used."""
        self._reads = reads
        self._uses = uses
        self._server_secret = server_secret
        # The key of an id, if there is one.
        self._keys = Remembered(self._ask, KNOWN_MAX)

    def takes(self, presented: str) -> bool:
        """Whether a text begins as keys do."""
        return presented.startswith("lk_")

    async def find(self, presented: str) -> Credential | None:
        """The credential of a valid key."""
        parts = api_keys.parse(presented)
        if parts is None:
            return None
        key = await self._keys.value((parts.ledger_id, parts.key_id))
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
        self._keys.forget((ledger_id, key_id))

    def _ask(self, name: tuple[int, str]) -> Future[ApiKey | None]:
        """Begin to look the key of that id up."""
        return self._reads.begin(lambda connection: api_keys.find(connection, *name))
