"""The issuer's keys: which are taken, when they are read, and how long they are believed."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwk
from tests.security.issuer import Issuer, encoded, settings
from tests.security.test_outbound import answering, serving

from api import jwks
from api.jwks import ASKED_ANEW_S, KEPT_S, STALE_S_MAX, JwksError, KeyCache

OURS = Issuer()
THEIRS = Issuer()


def test_keys_that_cannot_sign_tokens_are_left_out() -> None:
    """For encryption, without id, of other algorithms, of unknown kinds, and too short ones."""
    public = THEIRS.key.as_dict(private=False)
    short = rsa.generate_private_key(65_537, 1024).public_key().public_numbers().n
    others: list[dict[str, Any]] = [
        {**public, "kid": "enc", "use": "enc"},
        {**public, "kid": "ops", "key_ops": ["encrypt"]},
        {**public, "kid": "alg", "alg": "ECDH-ES"},
        {**public, "kid": "alg2", "alg": ["ES256"]},
        {**public, "kid": "curve", "crv": "P-999"},
        {**public, "kid": "point", "x": encoded(b"1" * 32)},
        {**public, "kid": 7},
        {**public, "kid": None},
        {"kty": "RSA", "kid": "short", "n": encoded(short.to_bytes(128, "big")), "e": "AQAB"},
        {"kty": "new", "kid": "new"},
        {"kid": "nothing"},
        jwk.OKPKey.generate_key("X25519").as_dict(private=False, kid="x"),
    ]
    assert set(jwks.parse(OURS.key_set(*others), ("ES256", "RS256"))) == {"one"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[7]}',
        b'{"keys":' + b"[" * 100_000,
        b'{"keys":[' + b"{}," * 100 + b"{}]}",
        b"\xff",
        OURS.key_set(THEIRS.key.as_dict(private=True, kid="private")),
        OURS.key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}),
        OURS.key_set(THEIRS.key.as_dict(private=False, kid="one")),
    ],
)
def test_a_document_that_is_no_set_of_public_keys_is_refused(document: bytes) -> None:
    """Also one that publishes a private or a shared key, or has two keys of one id."""
    with pytest.raises(JwksError):
        jwks.parse(document, ("ES256",))


def test_the_issuers_new_keys_are_fetched_when_they_are_first_named(tmp_path: Path) -> None:
    """At once, but not for every made-up id; a withdrawn key holds until the set is read again."""
    file = tmp_path / "jwks.json"
    first, second = Issuer("first"), Issuer("second")
    file.write_bytes(first.key_set())

    async def live() -> None:
        """Five minutes of a server."""
        cache = KeyCache(settings(str(file)))
        assert await cache.find("first", 0) is not None
        assert await cache.find("second", 1) is None
        file.write_bytes(second.key_set())
        assert await cache.find("second", ASKED_ANEW_S - 0.1) is None
        assert await cache.find("first", ASKED_ANEW_S - 0.1) is not None
        assert await cache.find("second", ASKED_ANEW_S) is not None
        assert await cache.find("first", ASKED_ANEW_S) is None
        file.write_bytes(first.key_set())
        assert await cache.find("second", KEPT_S) is not None
        # Read anew behind that answer: from now on the withdrawn key is gone.
        second_at = ASKED_ANEW_S + KEPT_S
        await cache.find("second", second_at)
        await asyncio.sleep(0.2)
        assert await cache.find("second", second_at + 1) is None

    asyncio.run(live())


def test_keys_known_last_hold_for_an_hour_without_their_source(tmp_path: Path) -> None:
    """An issuer that is away for a moment locks nobody out; one that stays away, everybody."""
    file = tmp_path / "jwks.json"
    file.write_bytes(OURS.key_set())

    async def live() -> None:
        """An hour of a server."""
        cache = KeyCache(settings(str(file)))
        assert await cache.find("one", 0) is not None
        file.unlink()
        assert await cache.find("one", KEPT_S) is not None
        assert await cache.find("one", STALE_S_MAX - 1) is not None
        with pytest.raises(JwksError):
            await cache.find("one", STALE_S_MAX)
        file.write_bytes(OURS.key_set())
        assert await cache.find("one", STALE_S_MAX + ASKED_ANEW_S) is not None

    asyncio.run(live())


def test_made_up_key_ids_are_no_requests_to_the_issuer() -> None:
    """A thousand tokens of unknown keys at once are one look at the source."""
    asked: list[str] = []
    lock = threading.Lock()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        """Answer with the key set, slowly enough that all wait."""
        with lock:
            asked.append(handler.path)
        answering(OURS.key_set())(handler)

    with serving(respond) as port:
        here = ("127.0.0.0/8",)
        cache = KeyCache(settings(f"http://127.0.0.1:{port}/keys", networks=here))

        async def flood() -> list[jwks.VerificationKey | None]:
            """A thousand at once, and a genuine one."""
            ids = [f"made-up-{number}" for number in range(1_000)]
            return await asyncio.gather(*(cache.find(name, 0) for name in [*ids, "one"]))

        found = asyncio.run(flood())
    assert asked == ["/keys"]
    assert [key is not None for key in found] == [False] * 1_000 + [True]


def test_a_key_set_at_an_address_within_is_not_asked_for() -> None:
    """SSRF: whatever the issuer's name means today, inner addresses are named by a setting."""
    asked: list[str] = []
    with serving(lambda handler: asked.append(handler.path)) as port:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(JwksError, match="network that may not be asked"):
                jwks.read(settings(f"https://{host}:{port}/keys"))
    assert asked == []
