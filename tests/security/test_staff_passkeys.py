"""Passkeys: a software authenticator logs in, and every way to cheat with one is refused."""

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from httpx2 import Response
from tests.http.bank import Bank, Json
from tests.security.authenticator import Authenticator, Wrong, raw, text
from tests.security.crew import CURRENT, Member, accesses, at_work, taken_in


def _challenge(bank: Bank) -> Json:
    """What a browser is told that wants to log in."""
    body = {"ledger": bank.ledger}
    answer = bank.client.post("/v1/sessions/passkey-challenge", json=body)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()["publicKey"]
    return found


def _try(bank: Bank, credential: Json) -> Response:
    """The answer to an attempt to log in by a passkey."""
    body = {"ledger": bank.ledger, "credential": credential}
    return bank.client.post("/v1/sessions/passkey", json=body)


def _with_passkey(bank: Bank, person_id: str, role: str = "reader") -> Member:
    """A person with a password and a passkey, and no app."""
    member = taken_in(bank, person_id, role)
    member.log_in()
    member.choose_password()
    member.set_up_passkey()
    return member


def test_a_passkey_lets_its_person_in_without_a_password(bank: Bank) -> None:
    """Having it and being verified by its device are two factors."""
    ann = _with_passkey(bank, "ann", "admin")
    assert ann.get("/v1/accounts").status_code == 200
    answer = _try(bank, ann.authenticator.answer(_challenge(bank)))
    assert answer.status_code == 201, answer.text
    assert answer.json()["person"] == "ann"
    assert answer.json()["to_do"] == []
    ann.token = answer.json()["token"]
    assert ann.post("/v1/staff", {"person_id": "t-1", "roles": ["reader"]}).status_code == 201
    (key,) = ann.get(CURRENT).json()["passkeys"]
    assert key["name"] == "blue key"
    assert key["last_used_at"] is not None
    assert [(item.actor, item.status) for item in accesses(bank, "log_in_with_passkey")] == [
        ("person:ann", 201)
    ]


def test_a_passkey_steps_up(bank: Bank) -> None:
    """For the session that asked, by the person whose session it is."""
    ben = _with_passkey(bank, "ben", "admin")
    ben.age(seconds=301)
    body = {"person_id": "t-1", "roles": ["reader"]}
    assert ben.post("/v1/staff", body).status_code == 403
    options = ben.do("step-up-challenge")["publicKey"]
    assert len(options["allowCredentials"]) == 1
    ben.do("step-up", {"credential": ben.authenticator.answer(options)})
    assert ben.post("/v1/staff", body).status_code == 201


def test_another_persons_passkey_steps_nobody_up(bank: Bank) -> None:
    """Even for the right challenge."""
    cy, dee = _with_passkey(bank, "cy"), _with_passkey(bank, "dee")
    options = cy.do("step-up-challenge")["publicKey"]
    answer = dee.authenticator.answer({**options, "allowCredentials": []})
    assert cy.post(f"{CURRENT}/step-up", {"credential": answer}).status_code == 403


def _other_key() -> ec.EllipticCurvePrivateKey:
    """A key that is nobody's."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong(origin="https://evil.example"),
        Wrong(origin="http://localhost:8001"),
        Wrong(host="evil.example"),
        Wrong(type="webauthn.create"),
        Wrong(is_verified=False),
        Wrong(challenge=b""),
        Wrong(challenge=b"x" * 57),
        Wrong(challenge=os.urandom(57)),
        Wrong(signed_by=_other_key()),
        Wrong(user_handle=text(b"somebody else")),
        Wrong(user_handle="!"),
    ],
    ids=[
        "origin",
        "port",
        "host",
        "type",
        "unverified",
        "empty-challenge",
        "made-up-challenge",
        "random-challenge",
        "signature",
        "user",
        "malformed-user",
    ],
)
def test_an_answer_that_is_wrong_in_any_way_lets_nobody_in(bank: Bank, wrong: Wrong) -> None:
    """And the answer does not say what was wrong."""
    eve = _with_passkey(bank, "eve")
    answer = _try(bank, eve.authenticator.answer(_challenge(bank), wrong))
    assert (answer.status_code, answer.json()["code"]) == (401, "log_in_refused")
    assert _try(bank, eve.authenticator.answer(_challenge(bank))).status_code == 201


def test_a_challenge_is_answered_once(bank: Bank) -> None:
    """What was overheard opens nothing, not even with a passkey that does not count."""
    fay = _with_passkey(bank, "fay")
    options = _challenge(bank)
    uncounted = fay.authenticator.answer(options, Wrong(count=0))
    assert _try(bank, uncounted).status_code == 201
    assert _try(bank, uncounted).status_code == 401
    again = fay.authenticator.answer(options, Wrong(count=0))
    assert _try(bank, again).status_code == 401


def test_a_copy_of_a_passkey_is_found_by_its_count(bank: Bank) -> None:
    """A count that does not grow is a copy's."""
    gus = _with_passkey(bank, "gus")
    for _ in range(2):
        assert _try(bank, gus.authenticator.answer(_challenge(bank))).status_code == 201
    stale = gus.authenticator.answer(_challenge(bank), Wrong(count=1))
    assert _try(bank, stale).status_code == 401


def test_a_challenge_is_for_one_purpose_and_one_ledger(bank: Bank) -> None:
    """One for stepping up does not log in; one of another ledger does not, either."""
    hal = _with_passkey(bank, "hal")
    stepping = hal.do("step-up-challenge")["publicKey"]
    assert _try(bank, hal.authenticator.answer(stepping)).status_code == 401
    options = hal.authenticator.answer(_challenge(bank))
    assert hal.post(f"{CURRENT}/step-up", {"credential": options}).status_code == 403
    other = Bank(bank.runtime, bank.client, f"{bank.ledger}-other")
    foreign = hal.authenticator.answer(_challenge(other))
    assert _try(bank, foreign).status_code == 401
    here = hal.authenticator.answer(_challenge(bank))
    body = {"ledger": other.ledger, "credential": here}
    assert bank.client.post("/v1/sessions/passkey", json=body).status_code == 401


def test_a_challenge_of_another_session_adds_no_passkey(bank: Bank) -> None:
    """It is bound to the session that asked for it."""
    ida, jon = at_work(bank, "ida", "reader"), at_work(bank, "jon", "reader")
    options = ida.do("passkey-challenge")["publicKey"]
    body = {"name": "k", "credential": Authenticator().make(options)}
    assert jon.post(f"{CURRENT}/passkeys", body).status_code == 403
    assert ida.post(f"{CURRENT}/passkeys", body).status_code == 201
    assert ida.post(f"{CURRENT}/passkeys", body).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong(origin="https://evil.example"),
        Wrong(host="evil.example"),
        Wrong(type="webauthn.get"),
        Wrong(is_verified=False),
        Wrong(challenge=os.urandom(57)),
    ],
    ids=["origin", "host", "type", "unverified", "challenge"],
)
def test_a_passkey_that_is_made_wrongly_is_not_kept(bank: Bank, wrong: Wrong) -> None:
    """Only for this host, from this page, with the user verified."""
    kim = at_work(bank, "kim", "reader")
    options = kim.do("passkey-challenge")["publicKey"]
    body = {"name": "k", "credential": kim.authenticator.make(options, wrong)}
    answer = kim.post(f"{CURRENT}/passkeys", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "proof_refused")
    assert kim.get(CURRENT).json()["passkeys"] == []


def test_people_have_at_most_ten_passkeys(bank: Bank) -> None:
    """The eleventh is refused; one that goes makes room."""
    lea = at_work(bank, "lea", "reader")
    keys = [lea.set_up_passkey(f"key {number}") for number in range(10)]
    options = lea.do("passkey-challenge")["publicKey"]
    assert len(options["excludeCredentials"]) == 10
    body = {"name": "one more", "credential": lea.authenticator.make(options)}
    assert lea.post(f"{CURRENT}/passkeys", body).status_code == 403
    lea.do(f"passkeys/{keys[0]['passkey_id']}/remove")
    lea.set_up_passkey("one more")


def test_a_removed_passkey_opens_nothing(bank: Bank) -> None:
    """And nobody removes that of another."""
    max_, ned = at_work(bank, "max", "reader"), at_work(bank, "ned", "reader")
    key = max_.set_up_passkey()
    foreign = ned.post(f"{CURRENT}/passkeys/{key['passkey_id']}/remove")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "passkey_not_found")
    max_.do(f"passkeys/{key['passkey_id']}/remove")
    assert _try(bank, max_.authenticator.answer(_challenge(bank))).status_code == 401


def test_a_disabled_persons_passkey_opens_nothing(bank: Bank) -> None:
    """Nor does that of somebody who was reset."""
    ola, pia = _with_passkey(bank, "ola"), _with_passkey(bank, "pia")
    for path in ("ola/disable", "pia/reset"):
        done = bank.client.post(f"/v1/staff/{path}", headers=bank.headers("admin"))
        assert done.status_code == 200, done.text
    for member in (ola, pia):
        assert _try(bank, member.authenticator.answer(_challenge(bank))).status_code == 401
    assert [item.actor for item in accesses(bank, "log_in_with_passkey")] == [
        "person:ola",
        "person:?",
    ]


_JUNK: list[Any] = [
    {"id": "a", "rawId": "a", "response": {"clientDataJSON": "a"}},
    {"id": "", "rawId": "", "response": {"clientDataJSON": ""}},
    {"id": "a", "rawId": "a", "response": {"clientDataJSON": text(b"[]")}},
    {"id": "a", "rawId": "a", "response": {"clientDataJSON": text(b'{"challenge": 5}')}},
    {"id": "a", "rawId": "a", "response": {"clientDataJSON": text(b"\xff" * 90)}},
    {"id": "\u00e4", "rawId": "\x00", "response": {"clientDataJSON": "\u00e4"}},
    {"id": "a", "rawId": "a", "type": "password", "response": {"clientDataJSON": "e30"}},
]


@pytest.mark.parametrize("credential", _JUNK)
def test_junk_is_refused_and_never_a_failure(bank: Bank, credential: Json) -> None:
    """Whatever is sent: 401, and no 5xx."""
    assert _try(bank, credential).status_code == 401


def test_every_byte_of_an_answer_matters(bank: Bank) -> None:
    """An answer with a bit turned in what is signed lets nobody in, and fails nothing."""
    quin = _with_passkey(bank, "quin")
    for member in ("authenticatorData", "signature", "clientDataJSON"):
        credential = quin.authenticator.answer(_challenge(bank))
        value = raw(credential["response"][member])
        for place in {0, len(value) // 2, len(value) - 1}:
            turned = bytearray(value)
            turned[place] ^= 1
            changed = {**credential["response"], member: text(bytes(turned))}
            answer = _try(bank, {**credential, "response": changed})
            assert answer.status_code in {401, 429}, (member, place)
