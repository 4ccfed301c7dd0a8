"""Keys of subjects: seal what is personal, read it back, and forget a person.

Each subject has a data key of its own (AES-256-GCM-SIV, RFC 8452), stored wrapped by a key that is
not in this database (see ``key_provider``). A sealed value is bound to its subject and field, so it
cannot be moved to another. Destroying the data key makes every sealed value of the subject
unreadable, in the log, the views and any backup without the key store.

One wrapping key at a time is *in use*: the one that is not retired in ``keystore.wrapping_keys``.
Who stores what it wrapped holds its row until the transaction ends, and who puts another in its
place waits for them. So once that is done and all is wrapped anew (see ``rewrapping``), nobody
needs the old one. A program whose keys are not the one in use stores nothing.
"""

import base64
import binascii
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from ledger_core.key_provider import KEY_BYTES, KeyProvider, VaultError, WrappedKey
from ledger_core.log import Connection

NONCE_BYTES = 12
_FORMAT = "s1."
ELSEWHERE = "elsewhere"
"""Stands for the wrapping key of a subject whose key stayed where the log was exported."""


_STORE = """
    INSERT INTO keystore.subject_keys
        (ledger_id, subject, wrapped_key, wrapping_key_id, created_at)
    SELECT %s, %s, %s, k.key_id, %s FROM (
        SELECT key_id FROM keystore.wrapping_keys
        WHERE key_id = %s AND retired_at IS NULL FOR SHARE
    ) k
"""
_FIRST_USED = """
    INSERT INTO keystore.wrapping_keys (key_id, first_used_at) VALUES (%s, %s)
    ON CONFLICT DO NOTHING
"""
_IN_USE = "SELECT key_id FROM keystore.wrapping_keys WHERE retired_at IS NULL"


class KeyDestroyedError(VaultError):
    """The subject's key was destroyed: the person was forgotten."""


class Vault:
    """Seals and reads personal fields under data keys that ``provider`` wraps and unwraps.

    ``random_bytes`` is the caller's source of randomness: the core has none.
    """

    def __init__(self, provider: KeyProvider, random_bytes: Callable[[int], bytes]) -> None:
        """Nothing is asked of the provider yet."""
        self.provider = provider
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._fresh: deque[WrappedKey] = deque()
        # The wrapping key in use; the provider says which where none is yet.
        self._key_id: str | None = None

    def create_subject(self, connection: Connection, ledger_id: int, at: datetime) -> str:
        """A new subject with a data key of its own, in the caller's transaction; its id.

        Raises:
            VaultError: the wrapping key in use is not known here.
            LedgerBusy: the wrapping keys cannot be reached.
        """
        subject = "sub_" + self._random_bytes(16).hex()
        while True:
            fresh = self._take_fresh()
            place = (ledger_id, subject, fresh.wrapped, at, fresh.key_id)
            if connection.execute(_STORE, place).rowcount:
                return subject
            if not connection.execute(_FIRST_USED, (fresh.key_id, at)).rowcount:
                row = connection.execute(_IN_USE).fetchone()
                self._use(None if row is None else str(row[0]))

    def _take_fresh(self) -> WrappedKey:
        """A data key that nobody has, wrapped: where a provider is far, many are made at once."""
        with self._lock:
            if not self._fresh:
                keys = [self._random_bytes(KEY_BYTES) for _ in range(self.provider.fresh_at_once)]
                self._fresh.extend(self.provider.wrap(keys, self._key_id))
            return self._fresh.popleft()

    def _use(self, key_id: str | None) -> None:
        """Wrap by that key from now on."""
        with self._lock:
            self._key_id = key_id
            self._fresh.clear()

    @staticmethod
    def destroy_subject(connection: Connection, ledger_id: int, subject: str, at: datetime) -> bool:
        """Destroy the subject's data key, in the caller's transaction; whether there was one."""
        return bool(
            connection.execute(
                "UPDATE keystore.subject_keys SET wrapped_key = NULL, destroyed_at = %s"
                " WHERE ledger_id = %s AND subject = %s AND destroyed_at IS NULL",
                (at, ledger_id, subject),
            ).rowcount
        )

    def seal(
        self, connection: Connection, ledger_id: int, subject: str, fields: Mapping[str, str]
    ) -> dict[str, str]:
        """Each field as ciphertext under the subject's key, in base64url.

        Raises:
            KeyDestroyedError: the subject has no key any more.
            VaultError: it cannot be unwrapped.
        """
        cipher = self.ciphers(connection, ledger_id, [subject]).get(subject)
        if cipher is None:
            msg = f"the key of {subject} was destroyed"
            raise KeyDestroyedError(msg)
        return self.seal_with(cipher, subject, fields)

    def seal_with(
        self, cipher: AESGCMSIV, subject: str, fields: Mapping[str, str]
    ) -> dict[str, str]:
        """As ``seal``, with the subject's cipher that was read in the same transaction."""
        return {
            name: _FORMAT + _seal(cipher, self._random_bytes(NONCE_BYTES), subject, name, value)
            for name, value in fields.items()
        }

    def unseal(
        self, connection: Connection, ledger_id: int, subject: str, sealed: Mapping[str, str]
    ) -> dict[str, str] | None:
        """The fields in clear, or ``None`` where the subject's key was destroyed.

        Raises:
            VaultError: the key cannot be unwrapped, or a value is damaged.
        """
        return self.unseal_many(connection, ledger_id, {subject: sealed})[subject]

    def unseal_many(
        self,
        connection: Connection,
        ledger_id: int,
        sealed: Mapping[str, Mapping[str, str]],
    ) -> dict[str, dict[str, str] | None]:
        """As ``unseal`` for many subjects, in one read.

        Raises:
            VaultError: a key cannot be unwrapped, or a value is damaged.
        """
        ciphers = self.ciphers(connection, ledger_id, list(sealed))
        return {
            subject: None
            if subject not in ciphers
            else {
                name: _unseal(ciphers[subject], subject, name, value)
                for name, value in fields.items()
            }
            for subject, fields in sealed.items()
        }

    def keys_that_open(
        self, connection: Connection, ledger_id: int, subjects: list[str]
    ) -> tuple[set[str], set[str]]:
        """Of these subjects, those whose key exists, and those of them whose key opens."""
        stored = self._stored(connection, ledger_id, subjects)
        opened = self.provider.unwrap(list(stored.values()))
        return set(stored), {
            subject for subject, key in zip(stored, opened, strict=True) if key is not None
        }

    @staticmethod
    def kept_elsewhere(connection: Connection, ledger_id: int, subjects: list[str]) -> set[str]:
        """Those of the subjects whose key never was here: their events were imported."""
        rows = connection.execute(
            "SELECT subject FROM keystore.subject_keys"
            " WHERE ledger_id = %s AND subject = ANY(%s) AND wrapped_key IS NULL"
            " AND wrapping_key_id = %s",
            (ledger_id, subjects, ELSEWHERE),
        )
        return {row[0] for row in rows}

    def ciphers(
        self, connection: Connection, ledger_id: int, subjects: list[str]
    ) -> dict[str, AESGCMSIV]:
        """The ciphers of those subjects whose keys still exist; not to be kept for long.

        Raises:
            VaultError: a key cannot be unwrapped.
            LedgerBusy: the wrapping keys cannot be reached.
        """
        stored = self._stored(connection, ledger_id, subjects)
        opened = self.provider.unwrap(list(stored.values())) if stored else []
        found: dict[str, AESGCMSIV] = {}
        for subject, key in zip(stored, opened, strict=True):
            if key is None:
                msg = "a subject's key cannot be unwrapped: this is not the key it was wrapped with"
                raise VaultError(msg)
            found[subject] = AESGCMSIV(key)
        return found

    @staticmethod
    def _stored(
        connection: Connection, ledger_id: int, subjects: list[str]
    ) -> dict[str, WrappedKey]:
        """The wrapped keys of those subjects that have one."""
        rows = connection.execute(
            "SELECT subject, wrapping_key_id, wrapped_key FROM keystore.subject_keys"
            " WHERE ledger_id = %s AND subject = ANY(%s) AND wrapped_key IS NOT NULL",
            (ledger_id, subjects),
        )
        return {row[0]: WrappedKey(row[1], row[2]) for row in rows}


def _seal(cipher: AESGCMSIV, nonce: bytes, subject: str, name: str, value: str) -> str:
    """Nonce and ciphertext in base64url, bound to subject and field."""
    sealed = nonce + cipher.encrypt(nonce, value.encode(), f"{subject}/{name}".encode())
    return base64.urlsafe_b64encode(sealed).decode()


def _unseal(cipher: AESGCMSIV, subject: str, name: str, value: str) -> str:
    """The value in clear.

    Raises:
        VaultError: it is damaged, or was sealed for another subject or field.
    """
    try:
        raw = base64.urlsafe_b64decode(value.removeprefix(_FORMAT).encode())
        clear = cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], f"{subject}/{name}".encode())
    except (InvalidTag, ValueError, binascii.Error):
        msg = f"a sealed value of {subject} is damaged"
        raise VaultError(msg) from None
    return clear.decode()
