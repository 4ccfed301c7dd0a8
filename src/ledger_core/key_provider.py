"""Wrapping keys: who wraps and unwraps the data keys of persons, and how that is asked for.

A data key is stored wrapped by a key that is in no database. Whoever holds the wrapping keys is a
``KeyProvider``: a ring of keys in memory (``Ring``: from a file or the environment), or a service
that never hands them out (see ``api.key_providers``). Several wrapping keys may be known at once,
each by an id that is stored beside what it wrapped: so one can take the place of another while
everybody goes on working. This module knows no file, no network and no table.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

KEY_BYTES = 32
_ID_OF = b"ledger: id of a wrapping key"
_ID_BYTES = 8


class VaultError(RuntimeError):
    """A key cannot be unwrapped or a sealed value is damaged: the wrong key file, or tampering."""


class WrappedKey(msgspec.Struct, frozen=True):
    """A data key as it is stored, and the id of the key that it was wrapped by."""

    key_id: str
    wrapped: bytes


class KeyProvider(Protocol):
    """Wraps and unwraps data keys; may be used by many threads at once.

    Each method raises ``LedgerBusy`` where the keys are kept elsewhere and cannot be reached now.
    """

    @property
    def fresh_at_once(self) -> int:
        """How many new data keys are worth wrapping in one go."""

    def wrap(self, keys: Sequence[bytes], key_id: str | None) -> list[WrappedKey]:
        """The data keys wrapped by the key of that id; ``None``: by the preferred one.

        Raises:
            VaultError: that key is not known.
        """

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[bytes | None]:
        """The data keys, in order; ``None`` for what no known key opens."""

    def rewrap(self, wrapped: Sequence[WrappedKey], target: str) -> list[bytes | None]:
        """Each wrapped by the key of that id; ``None`` for what no known key opens.

        Raises:
            VaultError: that key is not known.
        """


def key_id_of(key: bytes) -> str:
    """The id of a wrapping key: derived from it, so that the same key has one name everywhere."""
    return "k-" + hmac.new(key, _ID_OF, hashlib.sha256).digest()[:_ID_BYTES].hex()


class Ring:
    """Wrapping keys in memory (AES key wrap, RFC 3394), the first of them preferred.

    ``load`` gives the keys as they are now; a key that was known once stays known, since what it
    wrapped may just have been read. Data keys whose id names none of the keys, as those of before
    there were ids, are tried with each.
    """

    fresh_at_once = 1

    def __init__(
        self, keys: Sequence[bytes], load: Callable[[], Sequence[bytes]] | None = None
    ) -> None:
        """Hold these keys.

        Raises:
            VaultError: there is none, or one has another length than 32 bytes.
        """
        self._load = load
        self._lock = threading.Lock()
        self._known: dict[str, bytes] = {}
        self._preferred: tuple[str, ...] = ()
        self._take(keys)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys as they were last loaded, the preferred first."""
        return self._preferred

    def wrap(self, keys: Sequence[bytes], key_id: str | None) -> list[WrappedKey]:
        """As the protocol says; a key that is not known is looked for."""
        wrapping_id = self._preferred[0] if key_id is None else key_id
        wrapping = self._wrapping(wrapping_id)
        return [WrappedKey(wrapping_id, aes_key_wrap(wrapping, key)) for key in keys]

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[bytes | None]:
        """As the protocol says; keys that are not known are looked for once."""
        found = [self._opened(item) for item in wrapped]
        if self._load is None or None not in found:
            return found
        self._take(self._load())
        return [
            self._opened(item) if opened is None else opened
            for item, opened in zip(wrapped, found, strict=True)
        ]

    def rewrap(self, wrapped: Sequence[WrappedKey], target: str) -> list[bytes | None]:
        """As the protocol says."""
        wrapping = self._wrapping(target)
        return [
            None if key is None else aes_key_wrap(wrapping, key) for key in self.unwrap(wrapped)
        ]

    def _wrapping(self, key_id: str) -> bytes:
        """The key of that id, loaded if need be.

        Raises:
            VaultError: it is not known.
        """
        if key_id not in self._known and self._load is not None:
            self._take(self._load())
        if key_id not in self._known:
            msg = "the key-encryption key in use is not known here"
            raise VaultError(msg)
        return self._known[key_id]

    def _take(self, keys: Sequence[bytes]) -> None:
        """Hold these keys, too.

        Raises:
            VaultError: see ``__init__``.
        """
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            msg = f"the key-encryption key must be {KEY_BYTES} bytes"
            raise VaultError(msg)
        named = {key_id_of(key): key for key in keys}
        with self._lock:
            self._known = {**self._known, **named}
            self._preferred = tuple(named)

    def _opened(self, item: WrappedKey) -> bytes | None:
        """The data key, by the key that its id names, or by any."""
        known = self._known
        candidates = [known[item.key_id]] if item.key_id in known else list(known.values())
        for wrapping in candidates:
            try:
                return aes_key_unwrap(wrapping, item.wrapped)
            except (InvalidUnwrap, ValueError):
                continue
        return None
