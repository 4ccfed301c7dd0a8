"""Keys of subjects: seal what is personal, read it back, and forget a person.

Each subject has a data key of its own (AES-256-GCM-SIV, RFC 8452), stored wrapped (RFC 3394) by a
key that is not in this database. A sealed value is bound to its subject and field, so it cannot be
moved to another. Destroying the data key makes every sealed value of the subject unreadable, in
the log, the views and any backup without the key store.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from ledger_core.log import Connection

KEY_BYTES = 32
NONCE_BYTES = 12
_FORMAT = "s1."
ELSEWHERE = "elsewhere"
"""Stands for the wrapping key of a subject whose key stayed where the log was exported."""


class VaultError(RuntimeError):
    """A key cannot be unwrapped or a sealed value is damaged: the wrong key file, or tampering."""


class KeyDestroyedError(VaultError):
    """The subject's key was destroyed: the person was forgotten."""


class Vault:
    """Seals and reads personal fields under the wrapping key ``kek`` (32 bytes).

    ``random_bytes`` is the caller's source of randomness: the core has none.
    """

    def __init__(self, kek: bytes, kek_id: str, random_bytes: Callable[[int], bytes]) -> None:
        """Check the wrapping key's length; ``kek_id`` is stored beside what it wraps."""
        if len(kek) != KEY_BYTES:
            msg = f"the key-encryption key must be {KEY_BYTES} bytes"
            raise VaultError(msg)
        self._kek = kek
        self._kek_id = kek_id
        self._random_bytes = random_bytes

    def create_subject(self, connection: Connection, ledger_id: int, at: datetime) -> str:
        """A new subject with a data key of its own, in the caller's transaction; its id."""
        subject = "sub_" + self._random_bytes(16).hex()
        wrapped = aes_key_wrap(self._kek, self._random_bytes(KEY_BYTES))
        connection.execute(
            "INSERT INTO keystore.subject_keys"
            " (ledger_id, subject, wrapped_key, wrapping_key_id, created_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            (ledger_id, subject, wrapped, self._kek_id, at),
        )
        return subject

    def destroy_subject(
        self, connection: Connection, ledger_id: int, subject: str, at: datetime
    ) -> None:
        """Destroy the subject's data key, in the caller's transaction."""
        connection.execute(
            "UPDATE keystore.subject_keys SET wrapped_key = NULL, destroyed_at = %s"
            " WHERE ledger_id = %s AND subject = %s AND destroyed_at IS NULL",
            (at, ledger_id, subject),
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
        rows = connection.execute(
            "SELECT subject, wrapped_key FROM keystore.subject_keys"
            " WHERE ledger_id = %s AND subject = ANY(%s) AND wrapped_key IS NOT NULL",
            (ledger_id, subjects),
        ).fetchall()
        return {row[0] for row in rows}, {row[0] for row in rows if self._opens(row[1])}

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

    def _opens(self, wrapped_key: bytes) -> bool:
        """Whether a data key is whole and wrapped by our key."""
        try:
            aes_key_unwrap(self._kek, wrapped_key)
        except InvalidUnwrap:
            return False
        return True

    def rewrap_all(self, connection: Connection, old: "Vault") -> int:
        """Wrap every data key that ``old`` wrapped by our key, in the caller's transaction.

        How many there are; those that are ours already stay. The sealed values do not change.

        Raises:
            VaultError: a key opens with neither.
        """
        rows = connection.execute(
            "SELECT ledger_id, subject, wrapped_key FROM keystore.subject_keys"
            " WHERE wrapped_key IS NOT NULL ORDER BY ledger_id, subject FOR UPDATE"
        ).fetchall()
        fresh = [
            (aes_key_wrap(self._kek, old.unwrapped(wrapped)), self._kek_id, ledger_id, subject)
            for ledger_id, subject, wrapped in rows
            if not self._opens(wrapped)
        ]
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE keystore.subject_keys SET wrapped_key = %s, wrapping_key_id = %s"
                " WHERE ledger_id = %s AND subject = %s",
                fresh,
            )
        return len(rows)

    def unwrapped(self, wrapped_key: bytes) -> bytes:
        """The data key itself.

        Raises:
            VaultError: it was not wrapped by our key.
        """
        try:
            return aes_key_unwrap(self._kek, wrapped_key)
        except InvalidUnwrap:
            msg = "a subject's key cannot be unwrapped: this is not the key it was wrapped with"
            raise VaultError(msg) from None

    def ciphers(
        self, connection: Connection, ledger_id: int, subjects: list[str]
    ) -> dict[str, AESGCMSIV]:
        """The ciphers of those subjects whose keys still exist; not to be kept for long.

        Raises:
            VaultError: a key cannot be unwrapped.
        """
        rows = connection.execute(
            "SELECT subject, wrapped_key FROM keystore.subject_keys"
            " WHERE ledger_id = %s AND subject = ANY(%s) AND wrapped_key IS NOT NULL",
            (ledger_id, subjects),
        )
        return {row[0]: AESGCMSIV(self.unwrapped(row[1])) for row in rows}


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
