"""Tokens before the whole server: who they let in, and how long keys of the issuer are believed."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient
from tests.http.bank import Bank
from tests.http.conftest import settings_of
from tests.security.certificates import Authority
from tests.security.issuer import Issuer, claims_at, settings

from api import clock
from api.app import create_app
from api.proxy_settings import ProxySettings
from api.runtime import Runtime

ISSUER = Issuer()


class TokenBank(Bank):
    """A bank that takes tokens of an issuer."""

    key_file: Path

    def by(self, **claims: Any) -> dict[str, str]:  # noqa: ANN401 - claims may be anything
        """The header of a request by a token."""
        said = claims_at(clock.now().timestamp(), **{"ledger": self.ledger, **claims})
        return {"Authorization": f"Bearer {ISSUER.token(said)}"}

    def status(self, path: str = "/v1/accounts", **claims: Any) -> int:  # noqa: ANN401 - as above
        """How a request by a token is answered."""
        return self.client.get(path, headers=self.by(**claims)).status_code


@pytest.fixture
def token_bank(database_url: str, tmp_path: Path) -> Iterator[TokenBank]:
    """A bank whose settings name the issuer, with the keys in a file, and a trusted proxy."""
    key_file = tmp_path / "jwks.json"
    key_file.write_bytes(ISSUER.key_set())
    given = msgspec.structs.replace(
        settings_of(database_url, tmp_path),
        oidc=settings(str(key_file)),
        proxies=ProxySettings(("10.9.0.0/16",)),
    )
    with (
        Runtime(given) as runtime,
        TestClient(create_app(runtime), client=("10.9.0.1", 4711)) as client,
    ):
        bank = TokenBank(runtime, client, "own")
        bank.key_file = key_file
        yield bank


def test_a_token_lets_its_person_do_what_its_roles_allow(token_bank: TokenBank) -> None:
    """A teller's token moves money, reads no log, and is a person in the log."""
    body = {"account_id": "a", "currency": "EUR", "key": "k"}
    made = token_bank.client.post("/v1/accounts", json=body, headers=token_bank.by())
    assert made.status_code == 201, made.text
    assert token_bank.status("/v1/events") == 403
    assert token_bank.events()[0]["actor"] == "person:p-17"
    accesses = token_bank.get("/v1/accesses", actor="person:p-17").json()["accesses"]
    assert [(item["operation"], item["status"]) for item in accesses] == [("list_events", 403)]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"exp": 1}, 401),
        ({"aud": "another"}, 401),
        ({"iss": "https://attacker.example"}, 401),
        ({"ledger": "no-such-ledger"}, 401),
        ({"roles": []}, 403),
        ({"roles": ["nobody", "*", "customers.read"]}, 403),
        ({"roles": "reader"}, 200),
        ({"roles": ["reader", "nobody"]}, 200),
    ],
)
def test_a_token_is_worth_what_it_says(
    token_bank: TokenBank, claims: dict[str, Any], status: int
) -> None:
    """Refused without a reason for who calls, or allowed what its roles are."""
    assert token_bank.status(**claims) == status


def test_every_refused_token_is_answered_alike(token_bank: TokenBank) -> None:
    """Whether the key, the signature or a claim is wrong is not for the caller to know."""
    now_s = clock.now().timestamp()
    forged = Issuer().token(claims_at(now_s, ledger="own"))
    tokens = [
        forged,
        ISSUER.token(claims_at(now_s, ledger="own"), kid="two"),
        ISSUER.token(claims_at(now_s, ledger="own"), alg="none"),
        ISSUER.token(claims_at(now_s, ledger="own", exp=1)),
        ISSUER.token(claims_at(now_s, ledger="nowhere")),
        "a.b.c",
        "..",
    ]
    answers = set()
    for token in tokens:
        answer = token_bank.client.get("/v1/info", headers={"Authorization": f"Bearer {token}"})
        body = answer.json()
        del body["request_id"]
        answers.add((answer.status_code, json.dumps(body), answer.headers["www-authenticate"]))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401


def test_without_settings_no_token_is_taken(bank: Bank) -> None:
    """A server that knows no issuer knows no token."""
    token = ISSUER.token(claims_at(clock.now().timestamp(), ledger=bank.ledger))
    answer = bank.client.get("/v1/info", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_a_token_opens_its_own_ledger_only(token_bank: TokenBank) -> None:
    """The claim names it, and no address or header can."""
    token_bank.open("a", 5)
    token_bank.runtime.create_ledger("other")
    token_bank.catch_up()
    assert token_bank.status("/v1/accounts/a", roles=["reader"]) == 200
    assert token_bank.status("/v1/accounts/a", roles=["reader"], ledger="other") == 404


def test_what_asks_for_a_second_factor_asks_it_of_tokens(token_bank: TokenBank) -> None:
    """An admin's token that was issued for a password alone makes no keys; a fresh factor does."""
    now_s = clock.now().timestamp()
    body = {"role": "reader", "name": "by token"}

    def make(**claims: Any) -> tuple[int, str]:  # noqa: ANN401 - claims may be anything
        """Ask for a key."""
        headers = token_bank.by(roles=["admin"], **claims)
        answer = token_bank.client.post("/v1/keys", json=body, headers=headers)
        return answer.status_code, answer.json().get("code", "")

    assert make() == (403, "step_up_required")
    assert make(amr=["pwd"], auth_time=now_s) == (403, "step_up_required")
    assert make(amr=["mfa"], auth_time=now_s - 400) == (403, "step_up_required")
    assert make(amr=["mfa"], auth_time=now_s)[0] == 201


def test_a_token_bound_to_a_certificate_needs_it(token_bank: TokenBank, tmp_path: Path) -> None:
    """Stolen, it opens nothing over a connection without that certificate (RFC 8705)."""
    authority = Authority(tmp_path / "clients")
    ours, other = authority.issue("ours"), authority.issue("other")
    headers = token_bank.by(cnf={"x5t#S256": _encoded(ours.sha256)})
    client = token_bank.client
    shown = {"Client-Cert": _header(ours.der)}
    for _ in range(2):  # Remembered or not, it is compared each time.
        assert client.get("/v1/accounts", headers=headers).status_code == 401
        assert client.get("/v1/accounts", headers=headers | shown).status_code == 200
        wrong = {"Client-Cert": _header(other.der)}
        assert client.get("/v1/accounts", headers=headers | wrong).status_code == 401
    body = {"account_id": "z", "currency": "EUR", "key": "k"}
    assert client.post("/v1/accounts", json=body, headers=headers).status_code == 401
    assert client.post("/v1/accounts", json=body, headers=headers | shown).status_code == 201
    assert client.get("/v1/accounts/z/balance", headers=headers).status_code == 401


def test_a_key_bound_to_a_certificate_needs_it(token_bank: TokenBank, tmp_path: Path) -> None:
    """As told by a trusted proxy; a stranger's header shows nothing."""
    ours = Authority(tmp_path / "clients").issue("ours")
    body = {"role": "reader", "name": "bound", "certificate_sha256": ours.sha256.hex()}
    made = token_bank.client.post("/v1/keys", json=body, headers=token_bank.headers()).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    shown = headers | {"Client-Cert": _header(ours.der)}
    assert token_bank.client.get("/v1/accounts", headers=headers).status_code == 401
    assert token_bank.client.get("/v1/accounts", headers=shown).status_code == 200
    app = create_app(token_bank.runtime)
    with TestClient(app, client=("203.0.113.9", 4711)) as stranger:
        assert stranger.get("/v1/accounts", headers=shown).status_code == 401


def test_a_bound_key_makes_no_free_ones(token_bank: TokenBank, tmp_path: Path) -> None:
    """What it makes has a certificate, too."""
    ours = Authority(tmp_path / "clients").issue("ours")
    body = {"role": "admin", "name": "bound", "certificate_sha256": ours.sha256.hex()}
    made = token_bank.client.post("/v1/keys", json=body, headers=token_bank.headers()).json()
    headers = {"Authorization": f"Bearer {made['key']}", "Client-Cert": _header(ours.der)}
    free = token_bank.client.post("/v1/keys", json={"role": "reader", "name": "x"}, headers=headers)
    assert (free.status_code, free.json()["errors"][0]["field"]) == (422, "certificate_sha256")
    assert token_bank.client.post("/v1/keys", json=body, headers=headers).status_code == 201


def test_keys_of_the_issuer_that_cannot_be_read_are_no_reason_to_let_anyone_in(
    token_bank: TokenBank,
) -> None:
    """Nobody can say whether a token is genuine: 503, and keys go on to work."""
    token_bank.key_file.write_text("{}")
    answer = token_bank.client.get("/v1/accounts", headers=token_bank.by())
    assert (answer.status_code, answer.json()["code"]) == (503, "token_keys_unavailable")
    assert answer.headers["retry-after"]
    assert token_bank.get("/v1/accounts").status_code == 200


def _encoded(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _header(der: bytes) -> str:
    """A certificate as RFC 9440 has it."""
    return f":{base64.b64encode(der).decode()}:"
