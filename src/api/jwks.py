"""The public keys of who issues tokens: from a file or an https address, kept for a while.

Keys change without notice, so a token that names an unknown key has them fetched anew, but not more
often than the source can bear: made-up key ids must not become requests to somebody else. While a
source cannot be read the keys known last go on to hold, for a bounded time.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwk
from joserfc.errors import JoseError

from api import outbound
from api.oidc_settings import OidcSettings
from api.outbound import Address, OutboundError

# Documents with certificates in them have some 20 kB.
BYTES_MAX = 262_144
KEYS_MAX = 100
KEY_ID_CHARACTERS_MAX = 200
RSA_BITS_MIN = 2_048
RSA_BITS_MAX = 8_192
# How long keys are taken to be those of the source: a key that is withdrawn holds so long.
KEPT_S = 300.0
# How long they hold while the source cannot be read; then no token opens anything.
STALE_S_MAX = 3_600.0
# How often at most an unknown key id leads to a look at the source.
ASKED_ANEW_S = 10.0

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_EDWARDS = frozenset({"Ed25519", "EdDSA"})
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# A document that holds one of these publishes a private key: everybody may sign by it by now.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_log = structlog.get_logger("ledger.tokens")


class JwksError(ValueError):
    """A document is no set of keys; the message says why, and repeats nothing of it."""


class VerificationKey:
    """A public key, and the algorithms that it verifies signatures of."""

    def __init__(self, key: jwk.Key, algorithms: frozenset[str]) -> None:
        """Keep both."""
        self.key = key
        self.algorithms = algorithms


Keys = Mapping[str, VerificationKey]


def parse(document: bytes, algorithms: Sequence[str]) -> Keys:
    """The keys of a JWK set (RFC 7517) by their ids, as far as they verify such signatures.

    Left out: keys without id, for encryption, of other kinds, and RSA keys that are too short.

    Raises:
        JwksError: it is no such set, two keys have one id, or a private key is in it.
    """
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise JwksError("the key set is not JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise JwksError(f"a key set is an object with a list keys of at most {KEYS_MAX}")
    keys: dict[str, VerificationKey] = {}
    for item in listed:
        if not isinstance(item, dict):
            raise JwksError("a key is an object")
        if not _PRIVATE.isdisjoint(item):
            raise JwksError("the key set holds a private or symmetric key")
        key_id = item.get("kid")
        key = _key_of(item, frozenset(algorithms))
        if key is None or not isinstance(key_id, str):
            continue
        if not 1 <= len(key_id) <= KEY_ID_CHARACTERS_MAX or key_id in keys:
            raise JwksError("each key has an id of its own")
        keys[key_id] = key
    return MappingProxyType(keys)


def _key_of(item: Mapping[str, Any], wanted: frozenset[str]) -> VerificationKey | None:
    """A key of a set, if it is there to verify signatures that are wanted."""
    operations = item.get("key_ops")
    if item.get("use", "sig") != "sig":
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    if item.get("kty") == "RSA" and len(str(item.get("n"))) * 6 < RSA_BITS_MIN:
        return None
    try:
        key = jwk.import_key({**item})
        fitting = _algorithms_of(key)
    except (JoseError, ValueError, TypeError, KeyError, OverflowError):
        return None
    said = item.get("alg")
    if said is not None:
        fitting &= {said} if isinstance(said, str) else frozenset()
    fitting &= wanted
    return VerificationKey(key, fitting) if fitting else None


def _algorithms_of(key: jwk.Key) -> frozenset[str]:
    """The algorithms that a public key verifies signatures of; none where it is too weak."""
    match key.raw_value:
        case rsa.RSAPublicKey() as found:
            return _RSA if RSA_BITS_MIN <= found.key_size <= RSA_BITS_MAX else frozenset()
        case ec.EllipticCurvePublicKey() as found:
            return frozenset({_CURVES[found.curve.name]} if found.curve.name in _CURVES else ())
        case ed25519.Ed25519PublicKey():
            return _EDWARDS
    return frozenset()


def read(settings: OidcSettings) -> Keys:
    """The keys at the source, now.

    Raises:
        JwksError: it cannot be read, or is no set of keys.
    """
    try:
        if settings.is_remote:
            authorities = None if settings.authorities is None else Path(settings.authorities)
            address = Address(settings.jwks, settings.networks, authorities)
            document = outbound.get(address, BYTES_MAX)
        else:
            with Path(settings.jwks).open("rb") as source:
                document = source.read(BYTES_MAX + 1)
    except OutboundError as error:
        raise JwksError(str(error)) from None
    except OSError as error:
        raise JwksError(f"the file of keys cannot be read: {error.strerror}") from None
    if len(document) > BYTES_MAX:
        raise JwksError("the key set is too large")
    return parse(document, settings.algorithms)


class KeyCache:
    """The keys of one source as they were lately; used by the event loop alone."""

    def __init__(self, settings: OidcSettings) -> None:
        """Know nothing yet."""
        self._settings = settings
        self._keys: Keys = MappingProxyType({})
        self._read_s: float | None = None
        self._tried_s: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def find(self, key_id: str, now_s: float) -> VerificationKey | None:
        """The key of that id. ``now_s`` never runs backwards.

        Raises:
            JwksError: the keys were never read, or too long ago, and cannot be read now.
        """
        if self._is_due(key_id, now_s):
            if self._reading is None:
                self._tried_s = now_s
                self._reading = asyncio.get_running_loop().create_task(self._read(now_s))
            # What is known goes on to be taken while it is read anew.
            if key_id not in self._keys or self._is_stale(now_s):
                await asyncio.shield(self._reading)
        elif self._reading is not None and key_id not in self._keys:
            await asyncio.shield(self._reading)
        if self._is_stale(now_s):
            raise JwksError("the keys of tokens are not known")
        return self._keys.get(key_id)

    def _is_due(self, key_id: str, now_s: float) -> bool:
        """Whether to look at the source: too long ago, or for a key that is not known."""
        if self._tried_s is not None and now_s - self._tried_s < ASKED_ANEW_S:
            return False
        if self._read_s is None or now_s - self._read_s >= KEPT_S:
            return True
        return key_id not in self._keys

    def _is_stale(self, now_s: float) -> bool:
        """Whether what is known is too old to be believed."""
        return self._read_s is None or now_s - self._read_s >= STALE_S_MAX

    async def _read(self, now_s: float) -> None:
        """Read the source; where that fails, what was known stays."""
        try:
            self._keys = await asyncio.to_thread(read, self._settings)
            self._read_s = now_s
        except JwksError as error:
            _log.error("keys of tokens not read", reason=str(error))
        finally:
            self._reading = None
