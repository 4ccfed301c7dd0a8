"""Who is behind a proxy: a client's address and certificate, as a trusted proxy tells of them.

Headers say anything, so what they say counts only if the connection itself is from a proxy that the
settings trust; and such a proxy must take out what it was sent under the same names (RFC 9440,
section 4).
"""

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import MutableMapping, Sequence
from typing import Any

from api.proxy_settings import ProxySettings
from api.surroundings import is_in

CERTIFICATE = "ledger.certificate_sha256"
"""Where a request's scope has the hash of the certificate that was shown to this server itself."""

CERTIFICATE_CHARACTERS_MAX = 16_384
FORWARDED_MAX = 20

_CLIENT_CERT = b"client-cert"
_FORWARDED_FOR = b"x-forwarded-for"
# RFC 8941: a byte sequence is base64 between colons.
_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")
# An X.509 certificate is a SEQUENCE in DER.
_SEQUENCE = b"\x30"

Headers = Sequence[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]


class Proxies:
    """Sees through the proxies that are trusted."""

    def __init__(self, settings: ProxySettings) -> None:
        """Trust those of the settings."""
        self._trusted = settings.trusted
        # Of one connection after the other the same: networks are not compared each time.
        self._known: dict[str, bool] = {}

    def is_trusted(self, address: str) -> bool:
        """Whether a connection from there is a proxy's."""
        if not self._trusted:
            return False
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= 1_000:  # noqa: PLR2004 - more peers than proxies
                self._known.clear()
            known = self._known[address] = is_in(address, self._trusted)
        return known

    def client(self, peer: tuple[str, int] | None, headers: Headers) -> tuple[str, int] | None:
        """Where a request came from: the peer, or the last address that no trusted proxy has."""
        if peer is None or not self.is_trusted(peer[0]):
            return peer
        sent = b",".join(value for name, value in headers if name == _FORWARDED_FOR)
        named = [part.strip() for part in sent.decode("latin-1").split(",") if part.strip()]
        found = peer
        for text in reversed(named[-FORWARDED_MAX:]):
            address = _address(text)
            if address is None:  # Whoever wrote that is not to be believed about what is before.
                break
            found = (address, 0)
            if not is_in(address, self._trusted):
                break
        return found

    def certificate(self, scope: Scope) -> bytes | None:
        """The SHA-256 of the client certificate of a request, if it is known to have one."""
        peer = scope.get("client")
        if not self._trusted or peer is None or not self.is_trusted(peer[0]):
            shown: bytes | None = scope.get(CERTIFICATE)
            return shown
        sent = [value for name, value in scope["headers"] if name == _CLIENT_CERT]
        return _thumbprint(sent[0]) if len(sent) == 1 else None


def _address(text: str) -> str | None:
    """An IP address as proxies write it: with a port, or in brackets, or as it is."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _thumbprint(value: bytes) -> bytes | None:
    """The SHA-256 of the certificate that a header holds; ``None``: it holds none."""
    found = _BYTE_SEQUENCE.fullmatch(value.strip())
    if found is None or len(value) > CERTIFICATE_CHARACTERS_MAX:
        return None
    try:
        der = base64.b64decode(found[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return hashlib.sha256(der).digest() if der[:1] == _SEQUENCE else None
