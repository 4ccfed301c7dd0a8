"""Wrapping keys that never leave HashiCorp Vault: its transit engine wraps and unwraps for us.

The id of a wrapping key is the transit key and its version (``vault:transit/ledger:v3``), what is
stored is Vault's ciphertext. Many keys go in one request. What was unwrapped is remembered for some
minutes, so that Vault is not asked for every look at a customer; new data keys are wrapped ahead.
While Vault does not answer, whatever needs a person's key is refused (503) and all else goes on.

The program needs ``update`` on ``encrypt/KEY``, ``decrypt/KEY`` and ``rewrap/KEY``, and on
``keys/KEY/rotate`` if it is to rotate the key itself; nothing that could export or delete one.
"""

import base64
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import hvac  # type: ignore[import-untyped]  # It has no types, and their stubs are another's.
import requests
import structlog
from hvac.exceptions import (  # type: ignore[import-untyped]  # Likewise.
    Forbidden,
    InvalidRequest,
    Unauthorized,
)
from hvac.exceptions import VaultError as ServiceError

from api.key_settings import VaultSettings
from ledger_core.errors import LedgerBusy
from ledger_core.key_provider import Ring, VaultError, WrappedKey

FRESH_AT_ONCE = 100
KEYS_AT_ONCE = 500
"""Of one request: far below the 32 MiB that Vault takes."""
REMEMBERED_MAX = 10_000
REMEMBERED_S = 300.0
REST_S = 1.0
"""After Vault did not answer, it is not asked for so long: who waits for it holds a connection."""

_PREFIX = "vault:"
_NOT_KNOWN = "the key-encryption key in use is not one of Vault's"
_log = structlog.get_logger("ledger.vault")

Json = dict[str, Any]


class RotationForbiddenError(RuntimeError):
    """Vault does not let this program rotate the key."""


class VaultTransit:
    """A ``KeyProvider`` over one transit key; ``older`` unwraps what was wrapped before Vault."""

    fresh_at_once = FRESH_AT_ONCE

    def __init__(self, settings: VaultSettings, older: Ring | None) -> None:
        """Nothing is asked of Vault yet."""
        self._settings = settings
        self._older = older
        self._place = f"{_PREFIX}{settings.mount}/{settings.key}:"
        session = requests.Session()
        # Neither a proxy nor a login of the surroundings may see the token.
        session.trust_env = False
        session.verify = True if settings.ca_file is None else str(settings.ca_file)
        self._client = hvac.Client(
            url=settings.address,
            token=self._token(),
            timeout=settings.timeout_s,
            namespace=settings.namespace,
            allow_redirects=False,
            session=session,
        )
        self._lock = threading.Lock()
        self._remembered: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._rests_until = 0.0

    def rotate(self) -> None:
        """Have Vault make a new version of the key.

        Raises:
            RotationForbiddenError: our policy does not allow it.
            LedgerBusy: Vault cannot be reached.
        """
        transit = self._client.secrets.transit
        try:
            transit.rotate_key(name=self._settings.key, mount_point=self._settings.mount)
        except (Forbidden, Unauthorized):
            raise RotationForbiddenError from None
        except (ServiceError, requests.RequestException) as error:
            raise self._unreachable(error) from None

    def wrap(self, keys: Sequence[bytes], key_id: str | None) -> list[WrappedKey]:
        """As the protocol says; the newest version is preferred."""
        version = self._version(key_id)
        found: list[WrappedKey] = []
        for some in _chunks(keys):
            batch: list[Json] = [
                {"plaintext": base64.b64encode(key).decode(), **version} for key in some
            ]
            try:
                answers = self._ask(self._client.secrets.transit.encrypt_data, batch)
            except InvalidRequest:
                raise VaultError(_NOT_KNOWN) from None
            found += [self._wrapped(item) for item in answers]
        if key_id is not None and any(item.key_id != key_id for item in found):
            raise VaultError(_NOT_KNOWN)
        return found

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[bytes | None]:
        """As the protocol says."""
        found = self._recalled(wrapped)
        here = [
            item.wrapped
            for item, key in zip(wrapped, found, strict=True)
            if key is None and item.key_id.startswith(self._place)
        ]
        opened: dict[bytes, bytes] = {}
        for some in _chunks(here):
            opened |= self._decrypted(some)
        self._remember(opened)
        return [
            key if key is not None else self._opened(item, opened)
            for item, key in zip(wrapped, found, strict=True)
        ]

    def rewrap(self, wrapped: Sequence[WrappedKey], target: str) -> list[bytes | None]:
        """As the protocol says; the data keys that Vault has wrapped do not leave it."""
        fresh: dict[bytes, WrappedKey] = {}
        here = [item.wrapped for item in wrapped if item.key_id.startswith(self._place)]
        for some in _chunks(here):
            fresh |= self._rewrapped(some)
        elsewhere = [item for item in wrapped if not item.key_id.startswith(self._place)]
        opened = [
            (item.wrapped, key)
            for item, key in zip(elsewhere, self.unwrap(elsewhere), strict=True)
            if key is not None
        ]
        again = self.wrap([key for _, key in opened], target)
        fresh |= {before: item for (before, _), item in zip(opened, again, strict=True)}
        if any(item.key_id != target for item in fresh.values()):
            msg = "Vault's key was rotated meanwhile: begin again"
            raise VaultError(msg)
        return [fresh[item.wrapped].wrapped if item.wrapped in fresh else None for item in wrapped]

    def _version(self, key_id: str | None) -> dict[str, int]:
        """How to ask for a version of the key.

        Raises:
            VaultError: the id is not one of ours.
        """
        if key_id is None:
            return {}
        version = key_id.removeprefix(self._place + "v")
        if version == key_id or not (version.isascii() and version.isdigit()):
            raise VaultError(_NOT_KNOWN)
        return {"key_version": int(version)}

    def _opened(self, item: WrappedKey, opened: Mapping[bytes, bytes]) -> bytes | None:
        """A data key that is not remembered."""
        if item.key_id.startswith(self._place):
            return opened.get(item.wrapped)
        return None if self._older is None else self._older.unwrap([item])[0]

    def _decrypted(self, wrapped: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those data keys that Vault opens."""
        answers = self._each(self._client.secrets.transit.decrypt_data, wrapped)
        return {
            before: _decoded(answer["plaintext"])
            for before, answer in zip(wrapped, answers, strict=True)
            if answer is not None
        }

    def _rewrapped(self, wrapped: Sequence[bytes]) -> dict[bytes, WrappedKey]:
        """Those data keys that Vault opens, by its newest version."""
        # One by itself, which hvac asks for, is ignored beside a batch.
        ask = partial(self._client.secrets.transit.rewrap_data, ciphertext="")
        answers = self._each(ask, wrapped)
        return {
            before: self._wrapped(answer)
            for before, answer in zip(wrapped, answers, strict=True)
            if answer is not None
        }

    def _each(self, ask: Callable[..., Any], wrapped: Sequence[bytes]) -> list[Json | None]:
        """The answers to a batch; one by one where Vault refuses the whole for a damaged one."""
        batch: list[Json] = [{"ciphertext": item.decode("ascii", "replace")} for item in wrapped]
        try:
            return list(self._ask(ask, batch))
        except InvalidRequest:
            if len(batch) == 1:
                return [None]
        return [answer for item in wrapped for answer in self._each(ask, [item])]

    def _ask(self, ask: Callable[..., Any], batch: list[Json]) -> list[Json]:
        """Vault's answers to a batch, in order.

        Raises:
            InvalidRequest: Vault refuses one of them.
            LedgerBusy: it cannot be reached, or does not let us in.
            VaultError: its answer cannot be read.
        """
        if not batch:
            return []
        if time.monotonic() < self._rests_until:
            raise LedgerBusy(reason="key_provider_unreachable")
        answer = self._asked(ask, batch)
        try:
            found = [dict(item) for item in answer["data"]["batch_results"]]
        except (KeyError, TypeError, ValueError):
            found = []
        if len(found) != len(batch):
            msg = "the answer of Vault cannot be read"
            raise VaultError(msg)
        if any(item.get("error") for item in found):
            raise InvalidRequest
        return found

    def _asked(self, ask: Callable[..., Any], batch: list[Json]) -> Any:  # noqa: ANN401 - JSON
        """What Vault says; a token that no longer lets us in is read again, once.

        Raises:
            InvalidRequest, LedgerBusy: see ``_ask``.
        """
        place = {"name": self._settings.key, "mount_point": self._settings.mount}
        try:
            try:
                return ask(batch_input=batch, **place)
            except (Forbidden, Unauthorized):
                if self._settings.token_file is None:
                    raise
                self._client.token = self._token()
                return ask(batch_input=batch, **place)
        except InvalidRequest:
            raise
        except (ServiceError, requests.RequestException) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> LedgerBusy:
        """What to tell who needs a key now; Vault is left alone for a moment."""
        self._rests_until = time.monotonic() + REST_S
        _log.error("vault does not answer as it should", error=type(error).__name__)
        return LedgerBusy(reason="key_provider_unreachable")

    def _wrapped(self, answer: Json) -> WrappedKey:
        """A ciphertext of Vault's, with the id of what wrapped it.

        Raises:
            VaultError: it is none.
        """
        text = answer.get("ciphertext")
        parts = text.split(":", 2) if isinstance(text, str) else []
        if len(parts) != 3 or parts[0] != "vault" or not parts[1][1:].isdigit():  # noqa: PLR2004
            msg = "the answer of Vault cannot be read"
            raise VaultError(msg)
        return WrappedKey(self._place + parts[1], str(text).encode())

    def _token(self) -> str | None:
        """The token that proves who we are, as it stands now; empty where its file is not there."""
        if self._settings.token_file is None:
            return self._settings.token
        try:
            return self._settings.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _recalled(self, wrapped: Sequence[WrappedKey]) -> list[bytes | None]:
        """Those data keys that were unwrapped not long ago."""
        oldest = time.monotonic() - REMEMBERED_S
        with self._lock:
            found = [self._remembered.get(item.wrapped) for item in wrapped]
        return [None if item is None or item[0] < oldest else item[1] for item in found]

    def _remember(self, opened: Mapping[bytes, bytes]) -> None:
        """Keep data keys for a while; the oldest make room."""
        now = time.monotonic()
        with self._lock:
            for wrapped, key in opened.items():
                self._remembered[wrapped] = (now, key)
                self._remembered.move_to_end(wrapped)
            while self._remembered and (
                len(self._remembered) > REMEMBERED_MAX
                or next(iter(self._remembered.values()))[0] < now - REMEMBERED_S
            ):
                self._remembered.popitem(last=False)


def _chunks(items: Sequence[bytes]) -> list[Sequence[bytes]]:
    """The items, so many at a time."""
    return [items[first : first + KEYS_AT_ONCE] for first in range(0, len(items), KEYS_AT_ONCE)]


def _decoded(text: object) -> bytes:
    """The bytes behind base64.

    Raises:
        VaultError: something else.
    """
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:
        msg = "the answer of Vault cannot be read"
        raise VaultError(msg) from None
