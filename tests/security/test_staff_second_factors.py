"""Second factors, step-up and passwords of one's own: what a taken session cannot do."""

import pyotp
import pytest
from tests.http.bank import Bank
from tests.security.crew import CURRENT, OTHER_PASSWORD, Member, accesses, at_work, taken_in

from api import clock

MINUTES_10 = 600


def _code(answer: object) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["code"]  # type: ignore[attr-defined]


def test_what_asks_for_a_fresh_second_factor_is_refused_without(bank: Bank) -> None:
    """Five minutes after the last one: 403 with the challenge of RFC 9470, until it is renewed."""
    ann = at_work(bank, "ann", "admin")
    body = {"person_id": "t-1", "roles": ["reader"]}
    assert ann.post("/v1/staff", body).status_code == 201
    ann.age(seconds=301)
    refused = ann.post("/v1/staff", body | {"person_id": "t-2"})
    assert _code(refused) == (403, "step_up_required")
    assert 'error="insufficient_user_authentication"' in refused.headers["www-authenticate"]
    assert 'max_age="300"' in refused.headers["www-authenticate"]
    assert ann.get("/v1/accounts").status_code == 200
    ann.do("step-up", {"code": ann.code()})
    # At once, in the same session: what is remembered of it was forgotten.
    assert ann.post("/v1/staff", body | {"person_id": "t-2"}).status_code == 201


def test_a_wrong_code_steps_nobody_up_and_is_waited_for(bank: Bank) -> None:
    """After five wrong codes even the right one has to wait."""
    ben = at_work(bank, "ben", "admin")
    ben.age(seconds=MINUTES_10)
    wrong = f"{(int(ben.code()) + 1) % 1_000_000:06}"
    for _ in range(5):
        assert _code(ben.post(f"{CURRENT}/step-up", {"code": wrong})) == (403, "proof_refused")
    locked = ben.post(f"{CURRENT}/step-up", {"code": ben.code()})
    assert _code(locked) == (429, "too_many_attempts")
    assert 1 <= int(locked.headers["retry-after"]) <= 30
    assert ben.post("/v1/staff", {"person_id": "t-1", "roles": ["reader"]}).status_code == 403
    # Logging in counts by itself: wrong codes of a session keep nobody out.
    ben.log_in()


def test_a_recovery_code_steps_up_once(bank: Bank) -> None:
    """It stands for a code of the app."""
    cy = at_work(bank, "cy", "admin")
    body = {"code": cy.recovery_codes[0]}
    assert cy.post(f"{CURRENT}/step-up", body).status_code == 200
    assert _code(cy.post(f"{CURRENT}/step-up", body)) == (403, "proof_refused")


@pytest.mark.parametrize(
    "body",
    [{}, {"code": "123456", "credential": {"id": "a", "rawId": "a", "response": {}}}, {"code": ""}],
)
def test_a_step_up_is_by_one_proof(bank: Bank, body: dict[str, object]) -> None:
    """A code or a passkey, not both and not neither."""
    dee = at_work(bank, "dee", "reader")
    assert dee.post(f"{CURRENT}/step-up", body).status_code == 422


def test_a_taken_session_sets_up_nothing(bank: Bank) -> None:
    """Whoever got hold of a token cannot make it theirs: every change asks for a fresh factor."""
    eve = at_work(bank, "eve", "reader")
    eve.age(seconds=301)
    for path in ("totp", "totp/remove", "recovery-codes", "passkey-challenge"):
        assert _code(eve.post(f"{CURRENT}/{path}")) == (403, "step_up_required"), path
    body = {"password": "guessed", "new_password": OTHER_PASSWORD}
    assert _code(eve.post(f"{CURRENT}/password", body)) == (403, "proof_refused")
    assert _code(eve.post(f"{CURRENT}/totp/confirm", {"code": "123456"})) == (
        403,
        "step_up_required",
    )


def test_a_session_of_a_password_alone_adds_no_factor_beside_another(bank: Bank) -> None:
    """Who logged in before the factor was set up does not get around it."""
    fay = taken_in(bank, "fay", "reader")
    fay.log_in()
    thief = Member(bank, "fay", fay.password)
    thief.log_in()
    fay.choose_password()
    assert thief.get(CURRENT).status_code == 401  # The change of password ended it.
    late = Member(bank, "fay", fay.password)
    late.log_in()
    fay.set_up_app()
    assert _code(late.post(f"{CURRENT}/totp")) == (403, "step_up_required")
    assert late.get("/v1/accounts").status_code == 403
    late.do("step-up", {"code": fay.code()})
    assert late.get("/v1/accounts").status_code == 200


def test_the_app_is_changed_only_with_a_code_of_the_new_one(bank: Bank) -> None:
    """Until then the old one counts, and afterwards no more."""
    gus = at_work(bank, "gus", "reader")
    old, codes = gus.secret, gus.recovery_codes
    new = gus.do("totp")
    assert new["uri"].startswith("otpauth://totp/Ledger:gus?secret=")
    assert new["secret"] in new["uri"]
    wrong = gus.post(f"{CURRENT}/totp/confirm", {"code": str(pyotp.TOTP(old).at(clock.now()))})
    assert _code(wrong) == (403, "proof_refused")
    gus.log_in()
    gus.secret = new["secret"]
    answer = gus.do("totp/confirm", {"code": str(pyotp.TOTP(gus.secret).at(clock.now()))})
    assert answer["recovery_codes"] == []  # Those from before still count.
    assert gus.try_log_in(code=gus.code()).status_code == 201
    assert gus.try_log_in(code=str(pyotp.TOTP(old).at(clock.now()))).status_code == 401
    assert gus.try_log_in(code=codes[0]).status_code == 201


def test_the_last_second_factor_stays(bank: Bank) -> None:
    """Another one has to be there before one goes."""
    hal = at_work(bank, "hal", "reader")
    assert _code(hal.post(f"{CURRENT}/totp/remove")) == (409, "last_second_factor")
    key = hal.set_up_passkey()
    hal.do("totp/remove")
    again = hal.post(f"{CURRENT}/passkeys/{key['passkey_id']}/remove")
    assert _code(again) == (409, "last_second_factor")
    # Without the app, password and recovery code still let in: the passkey may get lost.
    assert hal.try_log_in(code=hal.recovery_codes[0]).status_code == 201
    assert hal.try_log_in().status_code == 401


def test_new_recovery_codes_take_the_place_of_the_former(bank: Bank) -> None:
    """Also of those that were not used."""
    ida = at_work(bank, "ida", "reader")
    former = ida.recovery_codes
    ida.recovery_codes = ida.do("recovery-codes")["recovery_codes"]
    assert not set(former) & set(ida.recovery_codes)
    assert ida.try_log_in(code=former[0]).status_code == 401
    assert ida.try_log_in(code=ida.recovery_codes[0]).status_code == 201


def test_a_password_is_changed_by_who_knows_it(bank: Bank) -> None:
    """All other sessions end, and the old password opens nothing."""
    jon = at_work(bank, "jon", "reader")
    elsewhere = Member(bank, "jon", jon.password)
    elsewhere.secret = jon.secret
    elsewhere.log_in()
    old = jon.password
    jon.choose_password(OTHER_PASSWORD)
    assert jon.get("/v1/accounts").status_code == 200
    assert elsewhere.get("/v1/accounts").status_code == 401
    assert jon.try_log_in(old, jon.code()).status_code == 401
    assert jon.try_log_in(code=jon.code()).status_code == 201


@pytest.mark.parametrize(
    ("new", "rule"),
    [
        ("short", "12 to 128"),
        ("kim-4711 kim-4711 x", "your own id"),
        ("Password1234", "tried first"),
        ("four wild geese at noon", "another one"),
    ],
)
def test_a_weak_password_is_refused_by_its_rule(bank: Bank, new: str, rule: str) -> None:
    """The field is named, the rule is told, nothing is repeated."""
    kim = at_work(bank, "kim-4711", "reader")
    body = {"password": kim.password, "new_password": new}
    answer = kim.post(f"{CURRENT}/password", body)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "new_password")
    assert rule in error["rule"]


def test_guessing_the_password_of_a_session_is_waited_for(bank: Bank) -> None:
    """It is the same count as that of logging in."""
    lea = at_work(bank, "lea", "reader")
    body = {"password": "guessed wrong", "new_password": OTHER_PASSWORD}
    codes = [lea.post(f"{CURRENT}/password", body).status_code for _ in range(7)]
    assert codes == [403] * 5 + [429] * 2
    assert lea.try_log_in(code=lea.code()).status_code == 429


def test_keys_have_no_session(bank: Bank) -> None:
    """What is for persons who are logged in is refused to a key, whatever its role."""
    paths = ("log-out", "log-out-everywhere", "step-up-challenge", "totp", "recovery-codes")
    for path in paths:
        answer = bank.client.post(f"{CURRENT}/{path}", headers=bank.headers("admin"))
        assert _code(answer) == (409, "session_required"), path
    answer = bank.client.get(CURRENT, headers=bank.headers("admin"))
    assert _code(answer) == (409, "session_required")


def test_what_one_does_about_oneself_is_recorded(bank: Bank) -> None:
    """With the person as actor and subject."""
    ned = taken_in(bank, "ned", "reader")
    ned.log_in()
    ned.choose_password()
    ned.set_up_app()
    ned.do("step-up", {"code": ned.code()})
    for operation in ("change_password", "begin_totp", "confirm_totp", "step_up"):
        (found,) = accesses(bank, operation)
        assert found.actor == "person:ned"
        assert "person:ned" in found.subjects
        assert found.status < 300
