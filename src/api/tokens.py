"""JSON Web Tokens (RFC 7519) as pure functions: their form, their signature, their claims.

What a token says is untrusted to the last byte until its signature was verified, and what it says
of itself decides nothing: the algorithm is one of those that the settings name and the key is for.
Reasons for refusing are for the log; none repeats anything of the token.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError

from api.jwks import VerificationKey
from api.oidc_settings import OidcSettings

TOKEN_CHARACTERS_MAX = 8_000
HEADER_CHARACTERS_MAX = 512
# Clocks differ: so much in the future is still now. Nothing is added to when a token expires.
LEEWAY_S = 30
# A token cannot be taken back before it expires: one that is good for longer than this is refused.
LIFETIME_S_MAX = 86_400
ROLES_MAX = 100
CLAIMS_DEPTH_MAX = 8

# What a header may say; "jwk", "jku", "x5c" and "x5u" would bring a key of the sender's choice,
# "crit" and "b64" change what is signed.
_HEADER_KNOWN = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
# Tokens of other uses - logging out, proving a key, telling of events - say so here (RFC 8725).
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_PERSON = re.compile(r"[A-Za-z0-9._:@|\-]{1,100}", re.ASCII)
_ROLE = re.compile(r"[a-z0-9_.\-]{1,40}", re.ASCII)
_LEDGER = re.compile(r"[a-z0-9][a-z0-9._\-]{0,62}", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9_\-]+", re.ASCII)
_THUMBPRINT_BYTES = 32

Json = Mapping[str, Any]


class TokenRefused(ValueError):  # noqa: N818 - a refusal, not a failure of the program
    """A token is not to be believed; the message says why."""


class Header(msgspec.Struct, frozen=True):
    """What a token says of its signature, in a form that it may have."""

    algorithm: str
    key_id: str


class Claims(msgspec.Struct, frozen=True):
    """What a token says, believed. Times are seconds since 1970 in UTC."""

    ledger: str
    person: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...] | None
    expires_s: float
    second_factor_s: float | None
    certificate_sha256: bytes | None


def header_of(token: str, algorithms: tuple[str, ...]) -> Header:
    """The header of a token, before anything is verified.

    Raises:
        TokenRefused: it has not the form of a signed token, or asks for what is not done.
    """
    segments = token.split(".")
    if len(token) > TOKEN_CHARACTERS_MAX or len(segments) != 3:  # noqa: PLR2004 - as takes() says
        raise TokenRefused("too long, or not three parts")
    if len(segments[0]) > HEADER_CHARACTERS_MAX:
        raise TokenRefused("its header is too long")
    for segment in segments:
        _bytes(segment)
    header = _json(_bytes(segments[0]))
    if not header.keys() <= _HEADER_KNOWN:
        raise TokenRefused("its header says what is not understood here")
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise TokenRefused("its algorithm is not one of those taken")
    if not isinstance(key_id, str) or not key_id:
        raise TokenRefused("it names no key")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefused("it is a token for something else")
    return Header(algorithm, key_id)


def verified(token: str, header: Header, key: VerificationKey | None) -> bytes:
    """The claims of a token as bytes, if the key that it names signed them.

    Raises:
        TokenRefused: it did not, is not for that algorithm, or there is none of that id.
    """
    if key is None or header.algorithm not in key.algorithms:
        raise TokenRefused("no key of that id for that algorithm")
    try:
        found = jws.deserialize_compact(token, key.key, registry=_Pinned(header.algorithm))
    except (JoseError, ValueError, TypeError):
        raise TokenRefused("its signature is not by that key") from None
    return found.payload or b""


class _Pinned(jws.JWSRegistry):
    """Knows one algorithm only, and does not warn of what the settings name."""

    def __init__(self, algorithm: str) -> None:
        """Know that one."""
        super().__init__(algorithms=(algorithm,))
        self._algorithm = algorithm

    def get_alg(self, name: str) -> Any:  # noqa: ANN401 - joserfc keeps the type to itself
        """The algorithm of that name.

        Raises:
            UnsupportedAlgorithmError: it is another one.
        """
        if name != self._algorithm:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


def claims_of(payload: bytes, settings: OidcSettings, at: datetime) -> Claims:
    """What a verified token says, as far as it counts here.

    Raises:
        TokenRefused: it is of another issuer or for another audience, not valid at that moment or
            for too long, names no person or ledger, or is bound to what is not checked here.
    """
    claims = _json(payload)
    _require_for_us(claims, settings)
    expires_s = _require_time(claims, at.timestamp())
    person = _reach(claims, settings.person_claim)
    if not isinstance(person, str) or _PERSON.fullmatch(person) is None:
        raise TokenRefused("it names no person in the form of one")
    return Claims(
        _ledger(claims, settings),
        person,
        _roles(claims, settings),
        _scopes(claims, settings),
        expires_s,
        _second_factor_s(claims, settings, at.timestamp()),
        _certificate(claims),
    )


def _require_for_us(claims: Json, settings: OidcSettings) -> None:
    """The token is of the issuer and for the audience that the settings name.

    Raises:
        TokenRefused: it is of or for another.
    """
    if claims.get("iss") != settings.issuer:
        raise TokenRefused("it is of another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if settings.audience not in audiences:
        raise TokenRefused("it is for another audience")


def _require_time(claims: Json, now_s: float) -> float:
    """The token is valid now; when it expires.

    Raises:
        TokenRefused: not yet, no longer, or for too long.
    """
    expires_s = _seconds(claims, "exp")
    if expires_s is None:
        raise TokenRefused("it does not expire")
    if expires_s <= now_s:
        raise TokenRefused("it has expired")
    if expires_s > now_s + LIFETIME_S_MAX:
        raise TokenRefused("it is good for too long")
    for name in ("nbf", "iat"):
        moment_s = _seconds(claims, name)
        if moment_s is not None and moment_s > now_s + LEEWAY_S:
            raise TokenRefused("it is not valid yet")
    return expires_s


def _ledger(claims: Json, settings: OidcSettings) -> str:
    """The name of the ledger that the token is for.

    Raises:
        TokenRefused: it names none, or another than the settings.
    """
    named = _reach(claims, settings.ledger_claim)
    if named is None:
        named = settings.ledger
    elif settings.ledger is not None and named != settings.ledger:
        raise TokenRefused("it is for another ledger")
    if not isinstance(named, str) or _LEDGER.fullmatch(named) is None:
        raise TokenRefused("it names no ledger")
    return named


def _roles(claims: Json, settings: OidcSettings) -> tuple[str, ...]:
    """The names of the roles that the token gives; what cannot be a role's name gives nothing.

    Raises:
        TokenRefused: there are too many, or they are no list of texts.
    """
    found = _reach(claims, settings.roles_claim)
    found = found.split() if isinstance(found, str) else found or []
    if not isinstance(found, list) or len(found) > ROLES_MAX:
        raise TokenRefused("its roles are no list, or too long a one")
    if not all(isinstance(role, str) for role in found):
        raise TokenRefused("its roles are not texts")
    prefix = settings.role_prefix
    names = (role[len(prefix) :] for role in found if role.startswith(prefix))
    return tuple(sorted({name for name in names if _ROLE.fullmatch(name)}))


def _scopes(claims: Json, settings: OidcSettings) -> tuple[str, ...] | None:
    """The permissions that the token is bounded to; ``None``: the settings do not look at scopes.

    Raises:
        TokenRefused: the claim is no text.
    """
    prefix = settings.scope_prefix
    if prefix is None:
        return None
    found = claims.get("scope", "")
    if not isinstance(found, str):
        raise TokenRefused("its scope is no text")
    return tuple(sorted({word[len(prefix) :] for word in found.split() if word.startswith(prefix)}))


def _second_factor_s(claims: Json, settings: OidcSettings, now_s: float) -> float | None:
    """When the person proved by more than a password to be there; ``None``: not said.

    Raises:
        TokenRefused: ``auth_time`` is no time, or not yet.
    """
    at_s = _seconds(claims, "auth_time")
    if at_s is None:
        return None
    if at_s > now_s + LEEWAY_S:
        raise TokenRefused("its person is yet to log in")
    methods = claims.get("amr")
    said = [*(methods if isinstance(methods, list) else []), claims.get("acr")]
    return min(at_s, now_s) if any(word in settings.second_factors for word in said) else None


def _certificate(claims: Json) -> bytes | None:
    """The hash of the client certificate that the token is bound to (RFC 8705), if it is.

    Raises:
        TokenRefused: it is bound to something else, which nobody would check here.
    """
    bound = claims.get("cnf")
    if bound is None:
        return None
    if not isinstance(bound, dict) or set(bound) != {"x5t#S256"}:
        raise TokenRefused("it is bound to a key that is not checked here")
    text = bound["x5t#S256"]
    thumbprint = _bytes(text) if isinstance(text, str) else b""
    if len(thumbprint) != _THUMBPRINT_BYTES:
        raise TokenRefused("it is bound to no certificate in the form of one")
    return thumbprint


def _reach(claims: Json, name: str) -> Any:  # noqa: ANN401 - a claim may be anything
    """The claim of that name, or what a name with dots leads to; ``None`` where nothing is."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def _seconds(claims: Json, name: str) -> float | None:
    """A time in seconds since 1970, if the claim is there.

    Raises:
        TokenRefused: it is no number, or none that can be a time.
    """
    found = claims.get(name)
    if found is None and name not in claims:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TokenRefused("a time in it is no number")
    if not (math.isfinite(found) and 0 <= found < 1e11):  # noqa: PLR2004 - the year 5138
        raise TokenRefused("a time in it is out of range")
    return float(found)


def _bytes(segment: str) -> bytes:
    """The bytes behind base64url without padding, in the one way that they are written.

    Raises:
        TokenRefused: written in any other way.
    """
    if _SEGMENT.fullmatch(segment) is None or len(segment) % 4 == 1:
        raise TokenRefused("a part of it is not base64url")
    padded = segment + "=" * (-len(segment) % 4)
    try:
        found = base64.urlsafe_b64decode(padded)
    except (binascii.Error, ValueError):
        raise TokenRefused("a part of it is not base64url") from None
    if base64.urlsafe_b64encode(found).decode() != padded:
        raise TokenRefused("a part of it is not written as it should be")
    return found


def _json(text: bytes) -> Json:
    """A JSON object that says nothing twice, at any depth.

    Raises:
        TokenRefused: anything else.
    """
    try:
        found = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise TokenRefused("a part of it is not JSON, or says something twice") from None
    if not isinstance(found, dict) or not _is_shallow(found, CLAIMS_DEPTH_MAX):
        raise TokenRefused("a part of it is no object, or too deep a one")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose members have names of their own.

    Raises:
        ValueError: two have the same.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _no_number(_: str) -> Any:  # noqa: ANN401 - never returns
    """Refuse NaN and Infinity, which are not JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError("not a number")


def _is_shallow(value: object, depth: int) -> bool:
    """Whether a value is nested no deeper than that."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in inner)
