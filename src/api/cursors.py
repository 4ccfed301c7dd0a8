"""Cursors: where a listing goes on, as an opaque text that nobody else can make.

A cursor holds the position that the first page reflected and the last key of the page before, and
is authenticated together with the ledger, the route and its filters: it cannot be altered, and it
is refused with other filters than its own. It grants nothing: the key's role is checked anew.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping

import msgspec

from api.problems import INVALID_CURSOR, Problem

MAC_BYTES = 16
CURSOR_CHARACTERS_MAX = 2_000

_LABEL = b"ledger cursors v1"

Key = tuple[str | int, ...]


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The position a listing reflects, and the key after which its next page begins."""

    position: int
    after: Key


class Scope(msgspec.Struct, frozen=True, array_like=True):
    """What a cursor is good for: one ledger, one operation, one set of filters."""

    ledger_id: int
    operation: str
    filters: Mapping[str, str]


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Place).decode


def write(server_secret: bytes, scope: Scope, place: Place) -> str:
    """The cursor for a place within a scope."""
    payload = _encode(place)
    return base64.urlsafe_b64encode(_mac(server_secret, scope, payload) + payload).decode()


def read(server_secret: bytes, scope: Scope, text: str) -> Place:
    """The place behind a cursor of that scope.

    Raises:
        Problem: altered, made up, or of another ledger, operation or set of filters.
    """
    try:
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise Problem(INVALID_CURSOR)
        raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Problem(INVALID_CURSOR) from None
    if base64.urlsafe_b64encode(raw).decode() != text:
        raise Problem(INVALID_CURSOR)
    mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(server_secret, scope, payload)):
        raise Problem(INVALID_CURSOR)
    return _decode(payload)


def _mac(server_secret: bytes, scope: Scope, payload: bytes) -> bytes:
    """What only this server can compute over scope and payload."""
    derived = hmac.digest(server_secret, _LABEL, "sha256")
    return hmac.digest(derived, _encode(scope) + b"\n" + payload, "sha256")[:MAC_BYTES]
