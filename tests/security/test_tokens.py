"""Tokens: what is taken, and every known way to have something else taken (RFC 8725)."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jws
from tests.security.issuer import ISSUER, Issuer, claims_at, encoded, settings

from api import jwks
from api.oidc_settings import ALGORITHMS_KNOWN, OidcSettings
from api.tokens import (
    LEEWAY_S,
    LIFETIME_S_MAX,
    TOKEN_CHARACTERS_MAX,
    Claims,
    TokenRefused,
    claims_of,
    header_of,
    verified,
)

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW_S = AT.timestamp()
OURS = Issuer()
THEIRS = Issuer()
RSA_KEY = jwk.RSAKey.generate_key(2048)
SETTINGS = settings()


def _believed(token: str, given: OidcSettings = SETTINGS, issuer: Issuer = OURS) -> Claims:
    """What a token says, as the server takes it."""
    keys = jwks.parse(issuer.key_set(), given.algorithms)
    header = header_of(token, given.algorithms)
    return claims_of(verified(token, header, keys.get(header.key_id)), given, AT)


def _refused(token: str, given: OidcSettings = SETTINGS) -> str:
    """Why a token is refused."""
    with pytest.raises(TokenRefused) as refusal:
        _believed(token, given)
    return str(refusal.value)


def test_a_genuine_token_says_who_and_what() -> None:
    """Person, ledger, roles and end, as the issuer says."""
    found = _believed(OURS.token(claims_at(NOW_S)))
    assert (found.person, found.ledger, found.roles) == ("p-17", "main", ("teller",))
    assert found.expires_s == NOW_S + 600
    assert (found.scopes, found.second_factor_s, found.certificate_sha256) == (None, None, None)


def test_a_token_without_signature_is_refused() -> None:
    """``alg`` none, in every spelling, with an empty signature and with any."""
    claims = json.dumps(claims_at(NOW_S)).encode()
    for name in ("none", "None", "NONE", "nOnE", ""):
        header = json.dumps({"alg": name, "kid": "one", "typ": "JWT"}).encode()
        for signature in ("", "AA", encoded(b"\0" * 64)):
            _refused(f"{encoded(header)}.{encoded(claims)}.{signature}")


def test_a_public_key_is_never_taken_as_a_shared_secret() -> None:
    """Algorithm confusion: HMAC under the public key's text, in each of the forms it has."""
    public = OURS.key.as_dict(private=False, kid="one", use="sig")
    secrets = [
        OURS.key.as_pem(private=False),
        OURS.key.as_der(private=False),
        json.dumps(public).encode(),
        base64.urlsafe_b64decode(f"{public['x']}="),
    ]
    for algorithm in ("HS256", "HS384", "HS512"):
        digest = f"sha{algorithm[2:]}"
        for secret in secrets:
            header = json.dumps({"alg": algorithm, "kid": "one"}).encode()
            text = f"{encoded(header)}.{encoded(json.dumps(claims_at(NOW_S)).encode())}"
            token = f"{text}.{encoded(hmac.digest(secret, text.encode(), digest))}"
            assert "algorithm" in _refused(token)


def test_no_setting_takes_shared_secrets() -> None:
    """The algorithms that can be named are signatures by a private key, all of them."""
    assert not [name for name in ALGORITHMS_KNOWN if name.startswith("HS") or name == "none"]
    assert set(ALGORITHMS_KNOWN) <= set(jws.JWSRegistry.algorithms)


def test_a_key_verifies_its_own_algorithms_only() -> None:
    """A token that says RS256 of an elliptic-curve key, and ES384 of a P-256 one, is refused."""
    given = settings(algorithms=("ES256", "ES384", "RS256", "PS256"))
    for algorithm in ("RS256", "PS256", "ES384"):
        assert "no key" in _refused(OURS.token(claims_at(NOW_S), alg=algorithm), given)
    assert "algorithm" in _refused(OURS.token(claims_at(NOW_S), alg="ES512"), given)


def test_another_issuers_key_of_the_same_id_is_refused() -> None:
    """The id of a key is no proof of it."""
    assert "signature" in _refused(THEIRS.token(claims_at(NOW_S)))


@pytest.mark.parametrize("key_id", [None, "", "two", 1, ["one"], {"one": 1}, "../one", "one\0"])
def test_a_key_id_that_is_not_known_is_refused(key_id: object) -> None:
    """Also one that is missing or no text: no key is tried that was not named."""
    _refused(OURS.token(claims_at(NOW_S), kid=key_id))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jwk", THEIRS.key.as_dict(private=False)),
        ("jku", "https://attacker.example/jwks.json"),
        ("x5u", "https://attacker.example/cert.pem"),
        ("x5c", ["MIIB"]),
        ("crit", ["exp"]),
        ("b64", False),
        ("zip", "DEF"),
        ("enc", "A256GCM"),
        ("p2c", 2_000_000_000),
    ],
)
def test_a_header_that_brings_its_own_key_or_rules_is_refused(name: str, value: object) -> None:
    """What a header says of keys is not even looked at, whoever signed it."""
    assert "header" in _refused(OURS.token(claims_at(NOW_S), **{name: value}))
    assert "header" in _refused(THEIRS.token(claims_at(NOW_S), **{name: value}))


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "id_token", 7, ""])
def test_a_token_for_another_use_is_refused(kind: object) -> None:
    """Signed by the issuer, but not as an access token."""
    assert "something else" in _refused(OURS.token(claims_at(NOW_S), typ=kind))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", None])
def test_access_tokens_are_named_in_several_ways(kind: str | None) -> None:
    """As RFC 9068 has it, as of old, and not at all."""
    assert _believed(OURS.token(claims_at(NOW_S), typ=kind)).person == "p-17"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW_S}, "expired"),
        ({"exp": NOW_S - 1}, "expired"),
        ({"exp": None}, "does not expire"),
        ({"exp": NOW_S + LIFETIME_S_MAX + 1}, "too long"),
        ({"exp": str(NOW_S + 60)}, "no number"),
        ({"exp": True}, "no number"),
        ({"exp": [NOW_S + 60]}, "no number"),
        ({"exp": -1}, "out of range"),
        ({"exp": 1e300}, "out of range"),
        ({"nbf": NOW_S + LEEWAY_S + 1}, "not valid yet"),
        ({"iat": NOW_S + LEEWAY_S + 1}, "not valid yet"),
        ({"nbf": "now"}, "no number"),
        ({"iss": "https://attacker.example"}, "issuer"),
        ({"iss": f"{ISSUER}/"}, "issuer"),
        ({"iss": ISSUER.upper()}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": ["a", "b"]}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": {"ledger": 1}}, "audience"),
        ({"aud": "ledger2"}, "audience"),
        ({"sub": None}, "person"),
        ({"sub": ""}, "person"),
        ({"sub": "x" * 101}, "person"),
        ({"sub": "a b"}, "person"),
        ({"sub": "a\nb"}, "person"),
        ({"sub": 7}, "person"),
        ({"sub": "\u0661"}, "person"),
        ({"ledger": None}, "no ledger"),
        ({"ledger": 1}, "no ledger"),
        ({"ledger": "MAIN"}, "no ledger"),
        ({"ledger": "main; drop"}, "no ledger"),
        ({"roles": 7}, "no list"),
        ({"roles": {"admin": True}}, "no list"),
        ({"roles": ["teller", 7]}, "not texts"),
        ({"roles": ["r"] * 101}, "too long"),
        ({"cnf": {"jkt": "x"}}, "bound"),
        ({"cnf": {"x5t#S256": encoded(b"short")}}, "certificate"),
        ({"cnf": {"x5t#S256": encoded(b"1" * 32), "jkt": "x"}}, "bound"),
        ({"cnf": "x5t#S256"}, "bound"),
        ({"auth_time": NOW_S + LEEWAY_S + 1}, "yet to log in"),
        ({"auth_time": "now"}, "no number"),
    ],
)
def test_a_claim_that_is_not_as_it_must_be_refuses_the_token(claims: Any, reason: str) -> None:  # noqa: ANN401 - claims may be anything
    """Expired, not yet valid, of another issuer, for another audience, without form."""
    assert reason in _refused(OURS.token(claims_at(NOW_S, **claims)))


def test_clocks_may_differ_a_little_but_the_end_is_the_end() -> None:
    """A token from half a minute ahead is taken; one that has expired a moment ago is not."""
    ahead = claims_at(NOW_S, nbf=NOW_S + LEEWAY_S, iat=NOW_S + LEEWAY_S)
    assert _believed(OURS.token(ahead)).person == "p-17"
    assert _believed(OURS.token(claims_at(NOW_S, exp=NOW_S + 0.5))).expires_s == NOW_S + 0.5


@pytest.mark.parametrize(
    "claims",
    [
        '{{{base},"sub":"p-17","sub":"boss"}}',
        '{{{base},"roles":["teller"],"roles":["admin"]}}',
        '{{{base},"exp":1}}',
        '{{{base},"realm_access":{{"roles":["teller"],"roles":["admin"]}}}}',
        '{{{base},"\\u0073ub":"boss"}}',
    ],
)
def test_a_claim_that_is_there_twice_refuses_the_token(claims: str) -> None:
    """Which of two a library takes differs: neither is taken, at whatever depth."""
    base = json.dumps(claims_at(NOW_S))[1:-1]
    header = json.dumps({"alg": "ES256", "kid": "one"})
    assert "twice" in _refused(OURS.signed(header, claims.format(base=base)))


def test_a_header_that_says_something_twice_refuses_the_token() -> None:
    """Also where both say the same."""
    for header in (
        '{"alg":"none","alg":"ES256","kid":"one"}',
        '{"alg":"ES256","kid":"one","kid":"one"}',
    ):
        assert "twice" in _refused(OURS.signed(header, json.dumps(claims_at(NOW_S))))


@pytest.mark.parametrize(
    "payload", ["", "null", "[]", '"x"', "7", "{", "{}x", '{"exp":NaN}', "\ud7ff"]
)
def test_claims_that_are_no_object_are_refused(payload: str) -> None:
    """Whatever else JSON may be, and what is none."""
    _refused(OURS.signed('{"alg":"ES256","kid":"one"}', payload))


def test_what_is_nested_deeply_is_refused_without_a_crash() -> None:
    """Brackets without end, in claims and header."""
    deep = '{"a":' * 900 + "1" + "}" * 900
    header = '{"alg":"ES256","kid":"one"}'
    _refused(OURS.signed(header, deep))
    _refused(OURS.signed(header, '{"a":' + "[" * 1_500 + "]" * 1_500 + "}"))
    _refused(OURS.signed('{"alg":' + "[" * 150 + "]" * 150 + "}", "{}"))


def test_an_oversized_token_is_refused_before_anything_is_computed() -> None:
    """By its length, and its header by its own."""
    large = OURS.token(claims_at(NOW_S, note="x" * TOKEN_CHARACTERS_MAX))
    assert "too long" in _refused(large)
    assert "header is too long" in _refused(OURS.token(claims_at(NOW_S), x5t="x" * 600))


def test_a_token_is_written_in_one_way_only() -> None:
    """Padding, other alphabets, blanks and loose bits are refused: one token, one text."""
    token = OURS.token(claims_at(NOW_S))
    header, claims, signature = token.split(".")
    for changed in (
        f"{header}.{claims}.{signature}=",
        f"{header} .{claims}.{signature}",
        f"{header}.{claims}\n.{signature}",
        f"{header}.{claims}.{signature}.",
        f".{claims}.{signature}",
        f"{header}..{signature}",
        f"{header}.{claims}",
        token.replace("-", "+").replace("_", "/") + "+",
        token + "\u00b2",
    ):
        _refused(changed)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = alphabet[alphabet.index(signature[-1]) ^ 1]
    assert "written" in _refused(f"{header}.{claims}.{signature[:-1]}{loose}")


@given(st.data())
def test_a_token_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    """Any one character put for another."""
    token = OURS.token(claims_at(NOW_S))
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != token[place]))
    _refused(token[:place] + other + token[place + 1 :])


@given(st.one_of(st.text(max_size=300), st.from_regex(r"[A-Za-z0-9_\-.=]{0,300}", fullmatch=True)))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    """Refused, without any other failure."""
    _refused(text)


def test_roles_and_person_are_found_where_the_issuer_puts_them() -> None:
    """Claims may lie deeper, and roles have a prefix of their own."""
    given = settings(
        roles_claim="realm_access.roles", role_prefix="ledger-", person_claim="https://b.example/id"
    )
    claims = claims_at(
        NOW_S,
        realm_access={
            "roles": ["ledger-teller", "admin", "ledger-", "ledger-No Role", "ledger-ops"]
        },
        **{"https://b.example/id": "p-9", "roles": ["admin"]},
    )
    found = _believed(OURS.token(claims), given)
    assert (found.person, found.roles) == ("p-9", ("ops", "teller"))


def test_a_token_without_roles_allows_nothing() -> None:
    """It may be genuine: who has no role has no authority."""
    assert _believed(OURS.token(claims_at(NOW_S, roles=None))).roles == ()


def test_a_ledger_that_the_settings_name_is_the_only_one() -> None:
    """A token may leave it out, and may name no other."""
    given = settings(ledger="main")
    assert _believed(OURS.token(claims_at(NOW_S, ledger=None)), given).ledger == "main"
    assert _believed(OURS.token(claims_at(NOW_S)), given).ledger == "main"
    assert "another ledger" in _refused(OURS.token(claims_at(NOW_S, ledger="other")), given)


def test_scopes_bound_a_token_where_the_settings_say_so() -> None:
    """Those with the prefix; a token with none of them allows nothing, not everything."""
    given = settings(scope_prefix="ledger:")
    scoped = claims_at(NOW_S, scope="openid ledger:accounts.read ledger:risk.*")
    assert _believed(OURS.token(scoped), given).scopes == ("accounts.read", "risk.*")
    assert _believed(OURS.token(claims_at(NOW_S, scope="openid")), given).scopes == ()
    assert _believed(OURS.token(claims_at(NOW_S)), given).scopes == ()
    assert "scope" in _refused(OURS.token(claims_at(NOW_S, scope=["ledger:*"])), given)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"amr": ["pwd", "mfa"], "auth_time": NOW_S - 5}, NOW_S - 5),
        ({"acr": "mfa", "auth_time": NOW_S - 5}, NOW_S - 5),
        ({"amr": ["mfa"], "auth_time": NOW_S + 5}, NOW_S),
        ({"amr": ["pwd"], "auth_time": NOW_S - 5}, None),
        ({"amr": ["mfa"]}, None),
        ({"amr": "mfa", "auth_time": NOW_S - 5}, None),
        ({"amr": [["mfa"]], "auth_time": NOW_S - 5}, None),
        ({"auth_time": NOW_S - 5}, None),
    ],
)
def test_a_second_factor_counts_where_the_issuer_says_it_was_asked_for(
    claims: dict[str, Any], expected: float | None
) -> None:
    """When, and by more than a password; a password alone is none, however fresh."""
    assert _believed(OURS.token(claims_at(NOW_S, **claims))).second_factor_s == expected


def test_a_token_may_be_bound_to_a_client_certificate() -> None:
    """RFC 8705: the hash of the certificate, for the connection to be compared with."""
    hashed = hashlib.sha256(b"certificate").digest()
    claims = claims_at(NOW_S, cnf={"x5t#S256": encoded(hashed)})
    assert _believed(OURS.token(claims)).certificate_sha256 == hashed


@pytest.mark.parametrize("algorithm", ["ES384", "RS256", "PS256", "PS512", "Ed25519", "EdDSA"])
def test_other_algorithms_are_taken_where_the_settings_name_them(algorithm: str) -> None:
    """One of each family, and not otherwise."""
    key: jwk.Key = RSA_KEY
    if algorithm == "ES384":
        key = jwk.ECKey.generate_key("P-384")
    elif algorithm.startswith("Ed"):
        key = jwk.OKPKey.generate_key("Ed25519")
    text = ".".join(
        encoded(json.dumps(part).encode())
        for part in ({"alg": algorithm, "kid": "k"}, claims_at(NOW_S))
    )
    signature = jws.JWSRegistry.algorithms[algorithm].sign(text.encode(), key)
    token = f"{text}.{encoded(signature)}"
    given = settings(algorithms=(algorithm,))
    document = json.dumps({"keys": [key.as_dict(private=False, kid="k")]}).encode()
    keys = jwks.parse(document, given.algorithms)
    header = header_of(token, given.algorithms)
    assert claims_of(verified(token, header, keys["k"]), given, AT).person == "p-17"
    assert "algorithm" in _refused(token)


def test_a_token_is_of_this_moment_at_this_moment() -> None:
    """The same token later is none."""
    payload = json.dumps(claims_at(NOW_S)).encode()
    assert claims_of(payload, SETTINGS, AT + timedelta(seconds=599)).person == "p-17"
    with pytest.raises(TokenRefused, match="expired"):
        claims_of(payload, SETTINGS, AT + timedelta(seconds=600))
