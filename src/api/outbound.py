"""Asking an address of somebody else's, so that it cannot make this program ask one of its own.

What is behind a name is looked up once and checked, and that very address is connected to: a name
that means another address a moment later changes nothing. Addresses that are not on the public
Internet (this machine, its network, the cloud's metadata) are asked only where a setting names
their network. Redirects are not followed, no proxy is asked, time and size are bounded.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

import msgspec

from api.surroundings import Network, is_in

TIMEOUT_S = 5.0
# The whole exchange: an address that sends a byte now and then is given up.
WHOLE_S = 10.0
CHUNK_BYTES = 16_384

_SUCCESS = range(200, 300)

# Prefixes behind which an IPv4 address stands: what they lead to is not what they seem.
_TRANSLATED = (
    ipaddress.ip_network("64:ff9b::/96"),
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("2002::/16"),
    ipaddress.ip_network("2001::/32"),
)


class OutboundError(RuntimeError):
    """The address was not asked, or did not answer as it must; the message never names it."""


class Address(msgspec.Struct, frozen=True):
    """Where something is, and which networks beside the public Internet it may be in.

    ``authorities``: a file of certificates (PEM) instead of the system's.
    """

    url: str
    networks: tuple[Network, ...] = ()
    authorities: Path | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, and how large an answer may be."""

    method: str
    body: bytes | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    answer_bytes_max: int


def require_address(url: str, networks: tuple[Network, ...]) -> SplitResult:
    """The parts of a URL that may be asked: ``https``, or ``http`` to a literal loopback address.

    Raises:
        OutboundError: any other; a loopback address must be in one of the networks, too.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise OutboundError("the address is no URL") from None
    host = parts.hostname
    is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not host or not is_plain or parts.username is not None or parts.fragment or port == 0:
        raise OutboundError("the address must be a plain https:// URL")
    is_own = parts.scheme == "http" and _is_loopback(host) and is_in(host, networks)
    if parts.scheme != "https" and not is_own:
        raise OutboundError("the address must be https")
    return parts


def get(address: Address, bytes_max: int) -> bytes:
    """What the address answers with status 200, at most so many bytes; takes ``WHOLE_S`` at most.

    Raises:
        OutboundError: it may not be asked, cannot be reached in time, answers with another status
            (a redirect is one) or with too much.
    """
    parts = require_address(address.url, address.networks)

    def may_be_asked(ip: str) -> bool:
        """Whether an address is public, or in a network that is named."""
        return is_public(ip) or is_in(ip, address.networks)

    asked = Asked(method="GET", headers={"Accept": "application/json"}, answer_bytes_max=bytes_max)
    status, answer = exchange(parts, asked, may_be_asked, address.authorities)
    if status != http.client.OK:
        raise OutboundError(f"the address answers with status {status}")
    return answer


def exchange(
    parts: SplitResult,
    asked: Asked,
    may_be_asked: Callable[[str], bool],
    authorities: Path | None = None,
) -> tuple[int, bytes]:
    """Status and body of the answer; of a failure's or a redirect's the body is left unread.

    ``may_be_asked`` is told every IP address behind the name, before any is connected to.

    Raises:
        OutboundError: one of them may not be asked; none can be reached, or not in time; or the
            answer is too large.
    """
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = _Pinned(host, port, _resolve(host, port, may_be_asked))
    if parts.scheme == "https":
        connection.tls = ssl.create_default_context(cafile=authorities)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    timer = threading.Timer(WHOLE_S, connection.abandon)
    timer.daemon = True
    timer.start()
    try:
        connection.request(asked.method, target, asked.body, dict(asked.headers))
        response = connection.getresponse()
        body = b""
        while response.status in _SUCCESS and (chunk := response.read1(CHUNK_BYTES)):
            body += chunk
            if len(body) > asked.answer_bytes_max:
                raise OutboundError("the address answers with too much")
    except (OSError, http.client.HTTPException) as error:
        raise OutboundError(f"the address does not answer: {type(error).__name__}") from None
    finally:
        timer.cancel()
        connection.close()
    if connection.is_abandoned:  # What came until then looks like a whole answer.
        raise OutboundError("the address answers too slowly")
    return response.status, body


def is_ordinary(address: str) -> bool:
    """Whether an IP address is one of a host, be it of the Internet, of a house or this one.

    Not so are those that lead to the services of a cloud's own machines (link-local), to nobody in
    particular or to many.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        return is_ordinary(str(mapped))
    is_odd = found.is_link_local or found.is_multicast or found.is_unspecified
    is_reserved = found.is_reserved and not found.is_loopback
    return not (is_odd or is_reserved or any(found in network for network in _TRANSLATED))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet, and no way to another one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found.is_site_local or any(found in network for network in _TRANSLATED):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _resolve(host: str, port: int, may_be_asked: Callable[[str], bool]) -> list[str]:
    """The IP addresses behind a host, each of which may be asked.

    Raises:
        OutboundError: there are none, or one of them may not.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OutboundError("the address does not answer: its name is not known") from None
    found = [str(answer[4][0]) for answer in answers]
    # One that may not be asked among others is a name that is not to be trusted at all.
    if not found or not all(map(may_be_asked, found)):
        raise OutboundError("the address is in a network that may not be asked")
    return found


def _is_loopback(host: str) -> bool:
    """Whether a host is written as an address of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Pinned(http.client.HTTPConnection):
    """A connection to addresses that were checked, by the name that they were found under."""

    def __init__(self, host: str, port: int, addresses: list[str]) -> None:
        """Connect when first asked; without TLS unless ``tls`` is set by then."""
        super().__init__(host, port, timeout=TIMEOUT_S)
        self.tls: ssl.SSLContext | None = None
        self.is_abandoned = False
        # Kept here too: http.client lets go of it when an answer ends with its connection.
        self._connected: socket.socket | None = None
        self._addresses = addresses

    def connect(self) -> None:
        """Connect to the first address that answers.

        Raises:
            OSError: none does, or its certificate is not of the host.
        """
        failure: OSError = ConnectionError("no address")
        for address in self._addresses[:2]:
            try:
                self.sock = self._connected = socket.create_connection(
                    (address, self.port), TIMEOUT_S
                )
                break
            except OSError as error:
                failure = error
        else:
            raise failure
        if self.tls is not None:
            wrapped = self.tls.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock = self._connected = wrapped
            wrapped.do_handshake()

    def abandon(self) -> None:
        """End the exchange from another thread, whatever it waits for."""
        self.is_abandoned = True
        if self._connected is not None:
            with suppress(OSError):
                # Of the socket itself: that of TLS would first forget what another thread reads by.
                socket.socket.shutdown(self._connected, socket.SHUT_RDWR)
