"""What proxies say of clients: believed of those that are trusted, and of nobody else."""

import base64
import hashlib
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxies import CERTIFICATE, Proxies
from api.proxy_settings import ProxySettings

PROXY, ATTACKER, CLIENT = "10.1.0.7", "203.0.113.9", "198.51.100.4"
TRUSTING = Proxies(ProxySettings(("10.1.0.0/16",)))
TRUSTING_NOBODY = Proxies(ProxySettings())
DER = b"\x30\x03\x02\x01\x07"
SENT = b":" + base64.b64encode(DER) + b":"


def _scope(peer: str | None, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a scope may have anything
    """A request from there."""
    return {"client": None if peer is None else (peer, 4711), "headers": list(headers), **more}


def _client(peer: str, *forwarded: str) -> str | None:
    """Where a request is taken to come from."""
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    found = TRUSTING.client((peer, 4711), headers)
    return None if found is None else found[0]


def test_a_stranger_says_nothing_about_where_they_are() -> None:
    """The header of anybody but a trusted proxy is not looked at."""
    assert _client(ATTACKER, CLIENT) == ATTACKER
    headers = [(b"x-forwarded-for", CLIENT.encode())]
    assert TRUSTING_NOBODY.client((PROXY, 1), headers) == (PROXY, 1)
    assert TRUSTING.client(None, headers) is None


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ((), PROXY),
        ((CLIENT,), CLIENT),
        ((f"{ATTACKER}, {CLIENT}",), CLIENT),
        ((ATTACKER, CLIENT), CLIENT),
        ((f"{CLIENT}, 10.1.0.9",), CLIENT),
        ((f"{CLIENT}:4711",), CLIENT),
        (("[2001:db8::7]:4711",), "2001:db8::7"),
        (("2001:db8::7",), "2001:db8::7"),
        (("unknown",), PROXY),
        ((f"{ATTACKER}, unknown, 10.1.0.9",), "10.1.0.9"),
        (("10.1.0.8, 10.1.0.9",), "10.1.0.8"),
        ((",,",), PROXY),
        (("\u00b2",), PROXY),
    ],
)
def test_a_trusted_proxy_says_where_a_request_came_from(
    forwarded: tuple[str, ...], expected: str
) -> None:
    """The last address that is no trusted proxy's: what is before it, the client wrote."""
    assert _client(PROXY, *forwarded) == expected


@given(st.lists(st.text(max_size=40), max_size=30))
def test_no_header_confuses(parts: list[str]) -> None:
    """The answer is an address, whatever is sent."""
    text = ",".join(parts).encode("utf-8", "replace").decode("latin-1")
    found = _client(PROXY, text)
    assert found is not None
    assert ipaddress.ip_address(found).version in {4, 6}


def test_a_trusted_proxy_says_which_certificate_it_was_shown() -> None:
    """RFC 9440: base64 between colons, of the certificate in DER."""
    found = TRUSTING.certificate(_scope(PROXY, (b"client-cert", SENT)))
    assert found == hashlib.sha256(DER).digest()


def test_a_stranger_shows_no_certificate_by_a_header() -> None:
    """Not even one that is known; what the server was shown itself counts."""
    own = hashlib.sha256(b"own").digest()
    assert TRUSTING.certificate(_scope(ATTACKER, (b"client-cert", SENT))) is None
    assert TRUSTING_NOBODY.certificate(_scope(PROXY, (b"client-cert", SENT))) is None
    shown = _scope(ATTACKER, (b"client-cert", SENT), **{CERTIFICATE: own})
    assert TRUSTING.certificate(shown) == own
    assert TRUSTING.certificate(_scope(None, (b"client-cert", SENT))) is None


def test_a_proxys_own_certificate_is_not_its_clients() -> None:
    """A proxy that shows the server a certificate of its own speaks for clients without one."""
    own = hashlib.sha256(b"the proxy").digest()
    assert TRUSTING.certificate(_scope(PROXY, **{CERTIFICATE: own})) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b""],
        [b"::"],
        [SENT, SENT],
        [SENT + SENT],
        [SENT[1:-1]],
        [SENT + b", " + SENT],
        [b":" + base64.b64encode(b"no certificate") + b":"],
        [b":" + base64.b64encode(DER)[:-1] + b":"],
        [b":" + b"A" * 20_000 + b":"],
        [b":\xff\xff:"],
    ],
)
def test_a_header_that_is_not_one_certificate_shows_none(headers: list[bytes]) -> None:
    """None, two, cut, too long, and what is none."""
    sent = [(b"client-cert", value) for value in headers]
    assert TRUSTING.certificate(_scope(PROXY, *sent)) is None


@given(st.binary(max_size=200))
def test_no_certificate_confuses(value: bytes) -> None:
    """A hash or nothing, whatever is sent."""
    found = TRUSTING.certificate(_scope(PROXY, (b"client-cert", value)))
    assert found is None or len(found) == 32
