"""Looking after staff: who may, that nobody hands out more than they have, and what is recorded."""

import pytest
from httpx2 import Response
from tests.http.bank import Bank, Json
from tests.security.crew import Member, accesses, at_work, key_ring, taken_in


def _post(bank: Bank, path: str, body: Json | None = None, role: str = "admin") -> Response:
    """Post with the key of a role."""
    headers = bank.headers(role)
    if body is None:
        return bank.client.post(f"/v1/staff{path}", headers=headers)
    return bank.client.post(f"/v1/staff{path}", json=body, headers=headers)


def _get(bank: Bank, path: str, role: str = "admin") -> Response:
    """Read with the key of a role."""
    return bank.client.get(f"/v1/staff{path}", headers=bank.headers(role))


def test_a_person_is_taken_in_and_logs_in(bank: Bank) -> None:
    """With a password that is shown once, and is changed at the first log-in."""
    answer = _post(bank, "", {"person_id": "t-4711", "roles": ["teller"], "permissions": []})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    ann = Member(bank, "t-4711", made["password"])
    assert ann.log_in()["roles"] == ["teller"]
    shown = _get(bank, "/t-4711").json()
    assert (shown["roles"], shown["password_expires_at"] is not None) == (["teller"], True)
    assert shown["created_by"].startswith("key:")
    assert len(shown["sessions"]) == 1
    assert "password" not in str(shown).replace("password_expires_at", "")
    (access,) = accesses(bank, "create_staff")
    assert (access.status, set(access.subjects)) == (201, {"person:t-4711", "role:teller"})


def test_there_is_one_person_of_an_id(bank: Bank) -> None:
    """The second is refused, and the first keeps what they have."""
    ann = taken_in(bank, "ann", "reader")
    answer = _post(bank, "", {"person_id": "ann", "roles": ["admin"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "staff_exists")
    assert ann.log_in()["roles"] == ["reader"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"person_id": "a b", "roles": ["teller"]}, "person_id"),
        ({"person_id": "", "roles": ["teller"]}, "person_id"),
        ({"person_id": "a", "roles": []}, "roles"),
        ({"person_id": "a", "roles": ["no-such-role"]}, "roles"),
        ({"person_id": "a", "roles": ["teller", "teller"]}, "roles"),
        ({"person_id": "a", "roles": ["teller"], "permissions": ["\u00e4"]}, "permissions"),
        ({"roles": ["teller"]}, "person_id"),
        ({"person_id": "a", "roles": ["teller"], "password": "mine"}, None),
        ({"person_id": "a", "roles": ["teller"], "totp": None}, None),
    ],
)
def test_malformed_people_are_refused_by_field(bank: Bank, body: Json, field: str | None) -> None:
    """What may not be set from outside is no field at all."""
    answer = _post(bank, "", body)
    assert answer.status_code == 422, answer.text
    assert [error.get("field") for error in answer.json()["errors"]] == [field]


def test_nobody_takes_in_somebody_with_more_than_they_have(bank: Bank) -> None:
    """A security officer has no money to give: neither in a new person nor in another's roles."""
    officer = at_work(bank, "officer", "security")
    taken_in(bank, "clerk", "security")
    for roles in (["teller"], ["admin"], ["security", "auditor"]):
        body = {"person_id": "friend", "roles": roles}
        answer = officer.post("/v1/staff", body)
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_authority")
        answer = officer.post("/v1/staff/clerk/roles", {"roles": roles})
        assert answer.json()["code"] == "beyond_own_authority"
    given = {"person_id": "friend", "roles": ["security"], "permissions": ["ops"]}
    assert officer.post("/v1/staff", given).json()["code"] == "beyond_own_authority"
    assert officer.post("/v1/staff", {**given, "permissions": []}).status_code == 201
    assert officer.get("/v1/staff/friend").status_code == 200


def test_nobody_resets_or_changes_somebody_who_has_more(bank: Bank) -> None:
    """Else a new password would be a way to what one has not."""
    officer = at_work(bank, "officer", "security")
    taken_in(bank, "boss", "admin")
    for path, body in (("reset", None), ("enable", None), ("roles", {"roles": ["security"]})):
        answer = officer.post(f"/v1/staff/boss/{path}", body)
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_authority"), path
    # What only takes away is for everybody who looks after staff.
    for path in ("unlock", "log-out", "disable"):
        assert officer.post(f"/v1/staff/boss/{path}").status_code == 200, path


def test_a_reset_takes_away_everything_that_opened(bank: Bank) -> None:
    """Password, app, recovery codes, sessions: all but the new first password."""
    ann = at_work(bank, "ann", "reader")
    old_password, old_codes = ann.password, ann.recovery_codes
    answer = _post(bank, "/ann/reset")
    assert answer.status_code == 200, answer.text
    assert ann.get("/v1/accounts").status_code == 401
    assert ann.try_log_in(old_password, ann.code()).status_code == 401
    assert ann.try_log_in(old_password, old_codes[0]).status_code == 401
    ann.secret, ann.password = "", answer.json()["password"]
    assert ann.log_in()["to_do"] == ["password", "second_factor"]


def test_who_looks_after_staff_proves_to_be_there(bank: Bank) -> None:
    """A session asks for a fresh second factor; and nobody but those roles comes near."""
    officer = at_work(bank, "officer", "security")
    officer.age(seconds=301)
    assert officer.post("/v1/staff/x/unlock").json()["code"] == "step_up_required"
    for role in ("reader", "teller", "auditor"):
        assert _post(bank, "", {"person_id": "a", "roles": ["reader"]}, role).status_code == 403
    assert _get(bank, "", "teller").status_code == 403
    assert _get(bank, "", "security").status_code == 200
    reasoned = bank.headers("auditor", **{"Ledger-Reason": "yearly review"})
    assert bank.client.get("/v1/staff", headers=reasoned).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "/reset", "/disable", "/enable", "/unlock", "/log-out", "/roles"]
)
@pytest.mark.parametrize("person", ["nobody", "a%20b", "%00", "%FF", "x" * 300])
def test_who_is_not_there_is_not_found(bank: Bank, path: str, person: str) -> None:
    """Of whatever form the id in the address is."""
    if path:
        body = {"roles": ["reader"]} if path == "/roles" else None
        answer = _post(bank, f"/{person}{path}", body)
    else:
        answer = _get(bank, f"/{person}")
    assert answer.status_code in {404, 422}, answer.text
    assert answer.status_code == 404 or not path


def test_people_of_another_ledger_are_not_found(bank: Bank) -> None:
    """Neither read nor changed."""
    other = Bank(bank.runtime, bank.client, f"{bank.ledger}-other")
    ann = at_work(other, "ann", "reader")
    assert _get(bank, "/ann").status_code == 404
    assert _post(bank, "/ann/disable").status_code == 404
    assert _get(bank, "").json()["staff"] == []
    assert ann.get("/v1/accounts").status_code == 200


def test_people_are_listed_by_id_in_pages(bank: Bank) -> None:
    """Each once, in order; a page goes on where the last one ended."""
    ids = ["Zoe", "ann", "ben-2", "ben.1", "t|7"]
    for person_id in ids:
        assert _post(bank, "", {"person_id": person_id, "roles": ["reader"]}).status_code == 201
    found: list[str] = []
    path = "?limit=2"
    while True:
        page = _get(bank, path).json()
        found += [person["person_id"] for person in page["staff"]]
        if not page["next"]:
            break
        path = f"?limit=2&cursor={page['next']}"
    assert found == sorted(ids)


def test_a_role_of_the_ledgers_own_is_handed_out(bank: Bank) -> None:
    """And retired roles are none."""
    terms = {"name": "greeter", "permissions": ["accounts.read"]}
    answer = bank.post("/v1/roles", terms)
    assert answer.is_success, answer.text
    bank.catch_up()
    key_ring(bank)._valid.clear()  # noqa: SLF001 - as two seconds would do
    assert _post(bank, "", {"person_id": "gus", "roles": ["greeter"]}).status_code == 201


def test_no_answer_tells_a_secret(bank: Bank) -> None:
    """Neither of the person, nor of the list, nor of one's own session."""
    ann = at_work(bank, "ann", "reader")
    ann.set_up_passkey()
    shown = _get(bank, "/ann").text + _get(bank, "").text + ann.get("/v1/sessions/current").text
    for secret in (ann.token, ann.secret, ann.password, *ann.recovery_codes, "$argon2", "hash"):
        assert secret not in shown
