"""An authenticator in software: makes passkeys and answers challenges as a security key does.

It follows WebAuthn, level 3: packed client data, attestation "none", ES256. What a test wants to
be wrong is said with ``Wrong``.
"""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import encode_cbor

Json = dict[str, Any]

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40


class Wrong(msgspec.Struct, frozen=True):
    """How an answer is to differ from a right one."""

    origin: str | None = None
    host: str | None = None
    challenge: bytes | None = None
    type: str | None = None
    is_verified: bool = True
    count: int | None = None
    user_handle: str | None = None
    signed_by: ec.EllipticCurvePrivateKey | None = None


RIGHT = Wrong()


class Authenticator:
    """Keeps passkeys of one host for the pages of one origin."""

    def __init__(self, origin: str = "http://localhost:8000", host: str = "localhost") -> None:
        """Have none yet."""
        self._origin = origin
        self._host = host
        self._keys: dict[bytes, tuple[ec.EllipticCurvePrivateKey, str]] = {}
        self.count = 0

    def make(self, options: Json, wrong: Wrong = RIGHT) -> Json:
        """A new passkey, as ``navigator.credentials.create`` gives it."""
        assert options["authenticatorSelection"]["userVerification"] == "required"
        key = ec.generate_private_key(ec.SECP256R1())
        credential_id = os.urandom(32)
        self._keys[credential_id] = (key, options["user"]["id"])
        numbers = key.public_key().public_numbers()
        cose = encode_cbor(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        )
        attested = bytes(16) + len(credential_id).to_bytes(2) + credential_id + cose
        data = self._data(wrong, _ATTESTED) + attested
        return {
            "id": text(credential_id),
            "rawId": text(credential_id),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": self._client_data("webauthn.create", options, wrong),
                "attestationObject": text(
                    encode_cbor({"fmt": "none", "attStmt": {}, "authData": data})
                ),
                "transports": ["usb"],
            },
        }

    def answer(self, options: Json, wrong: Wrong = RIGHT) -> Json:
        """The answer to a challenge, as ``navigator.credentials.get`` gives it."""
        assert options["userVerification"] == "required"
        allowed = [raw(item["id"]) for item in options.get("allowCredentials", ())]
        credential_id = next(name for name in self._keys if not allowed or name in allowed)
        key, user_handle = self._keys[credential_id]
        self.count += 1
        data = self._data(wrong, 0)
        client_data = self._client_data("webauthn.get", options, wrong)
        signing = key if wrong.signed_by is None else wrong.signed_by
        signature = signing.sign(data + sha256(raw(client_data)).digest(), ec.ECDSA(SHA256()))
        return {
            "id": text(credential_id),
            "rawId": text(credential_id),
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": client_data,
                "authenticatorData": text(data),
                "signature": text(signature),
                "userHandle": user_handle if wrong.user_handle is None else wrong.user_handle,
            },
        }

    def _data(self, wrong: Wrong, flags: int) -> bytes:
        """What the authenticator itself says: for whom, and that its user was there."""
        host = sha256((wrong.host or self._host).encode()).digest()
        flags |= _PRESENT | (_VERIFIED if wrong.is_verified else 0)
        count = self.count if wrong.count is None else wrong.count
        return host + bytes([flags]) + count.to_bytes(4)

    def _client_data(self, kind: str, options: Json, wrong: Wrong) -> str:
        """What the browser says: which challenge is answered, on which page."""
        challenge = options["challenge"] if wrong.challenge is None else text(wrong.challenge)
        said = {
            "type": wrong.type or kind,
            "challenge": challenge,
            "origin": wrong.origin or self._origin,
            "crossOrigin": False,
        }
        return text(json.dumps(said).encode())


def text(value: bytes) -> str:
    """Bytes in base64url."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def raw(value: str) -> bytes:
    """The bytes behind base64url."""
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))
