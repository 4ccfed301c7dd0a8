"""An erasure over HTTP: the moment it is answered, nobody reads the person any more, anywhere."""

import hashlib
import re

import pytest
from tests.http.bank import Bank, Json

NAME, PHONE, MAIL = "Qxanna Weber", "+99 555 0199", "qxanna@example.org"
CLEAR = (NAME, PHONE, MAIL)

VIEWS = (
    "/v1/customers/anna",
    "/v1/customers",
    "/v1/accounts",
    "/v1/accounts/a",
    "/v1/accounts/a/statement",
    "/v1/accounts/joint",
    "/v1/entries",
    "/v1/events?limit=1000",
    "/v1/events?tag=customer:anna",
    "/v1/approvals",
    "/v1/risk-flags",
    "/v1/trial-balance",
    "/v1/audits",
    "/v1/info",
)


@pytest.fixture
def anna(bank: Bank) -> Json:
    """A customer with two accounts, one of them joint, and a change that waits for approval."""
    profile = {"name": NAME, "phone": PHONE, "language": "de"}
    registered = bank.post("/v1/customers", {"customer_id": "anna", "profile": profile})
    assert registered.is_success
    bank.post("/v1/customers", {"customer_id": "ben", "profile": {"name": "Ben Stays"}})
    for account_id, owner in (("a", "anna"), ("joint", "ben")):
        body = {"account_id": account_id, "currency": "EUR", "customer_id": owner}
        assert bank.post("/v1/accounts", body).is_success
        bank.post("/v1/deposits", {"account_id": account_id, "amount": "900", "currency": "EUR"})
    link = {"customer_id": "anna", "role": "joint"}
    assert bank.post("/v1/accounts/joint/holders", link).is_success
    change = {"type": "change_profile", "customer_id": "anna", "changes": {"email": MAIL}}
    asked = bank.post(
        "/v1/approvals", {"command": change | {"reason": "moved"}, "approvers": ["kyc"]}
    )
    assert asked.status_code in {200, 201, 202}, asked.text
    bank.catch_up()
    answer: Json = registered.json()
    return answer


def _erase(bank: Bank) -> int:
    """Erase the customer; the position of the erasure."""
    answer = bank.post("/v1/customers/anna/erasure", {"reason": "asked for"})
    assert answer.is_success
    return int(answer.json()["position"])


def _read(bank: Bank, address: str) -> tuple[int, str]:
    """What a view answers now to who sees everything, however far the views have come."""
    headers = bank.headers("auditor", **{"Ledger-Reason": "review"})
    answer = bank.client.get(address, headers=headers)
    return answer.status_code, answer.text + str(answer.headers)


def test_nobody_reads_the_person_once_the_erasure_is_answered(bank: Bank, anna: Json) -> None:
    """No view shows anything, before and after the projections take the erasure in."""
    assert NAME in _read(bank, "/v1/customers/anna")[1]
    assert NAME in _read(bank, "/v1/customers")[1]
    assert anna["position"] == 1
    _erase(bank)
    for _ in range(2):
        for address in VIEWS:
            status, text = _read(bank, address)
            assert status in {200, 404}, (address, text)
            assert not [clear for clear in CLEAR if clear in text], address
        profile = bank.client.get("/v1/customers/anna", headers=bank.headers()).json()
        assert (profile["profile"], profile["erased"]) == (None, True)
        bank.catch_up()
    assert "Ben Stays" in _read(bank, "/v1/customers")[1]


def test_no_past_moment_brings_the_person_back(bank: Bank, anna: Json) -> None:
    """As of any position before the erasure there is a customer, and no person."""
    first = int(anna["position"])
    last = _erase(bank)
    bank.catch_up()
    for position in range(first, last + 1):
        answer = bank.get("/v1/customers/anna", as_of_position=position)
        assert answer.status_code == 200
        assert answer.json()["profile"] is None
        for address in ("/v1/accounts/a", "/v1/accounts/joint", f"/v1/events/{position}"):
            text = bank.get(address, as_of_position=None).text
            assert not [clear for clear in CLEAR if clear in text]


def test_a_client_that_kept_the_profile_must_ask_again(bank: Bank, anna: Json) -> None:
    """Answers with a person in them may not be kept, by nobody on the way either."""
    assert anna["position"] == 1
    for address in ("/v1/customers/anna", "/v1/customers"):
        answer = bank.client.get(address, headers=bank.headers())
        assert "no-store" in answer.headers["cache-control"]
        body = hashlib.blake2b(answer.content, digest_size=16).hexdigest()
        assert answer.headers["etag"] != f'"{body}"'  # Nobody can try what the person's name was.


def test_what_would_have_been_is_judged_without_the_person(bank: Bank, anna: Json) -> None:
    """A dry run on the books of before neither reads nor seals anything for who was forgotten."""
    _erase(bank)
    bank.catch_up()
    body = {"changes": {"phone": "+99 1"}, "reason": "moved"}
    for position in (anna["position"], anna["position"] + 3):
        address = f"/v1/customers/anna/profile?dry_run=true&at_position={position}"
        answer = bank.post(address, body)
        assert answer.status_code < 500, answer.text
        assert answer.json()["code"] == "customer_erased"


def test_what_waits_for_approval_can_only_fail(bank: Bank, anna: Json) -> None:
    """The waiting change is about a person whom nobody can read; the answer says so."""
    assert anna["position"] == 1
    _erase(bank)
    request_id = bank.get("/v1/approvals").json()["approvals"][0]["request_id"]
    bank.keys["admin"] = bank.runtime.create_key(
        bank.ledger_id, "admin", "kyc", person="kyc person", permissions=["kyc"]
    )
    answer = bank.post(f"/v1/approvals/{request_id}/approve", {})
    assert answer.status_code < 500
    assert "customer_erased" in answer.text
    assert not [clear for clear in CLEAR if clear in answer.text]


def test_a_retry_after_the_erasure_says_nothing(bank: Bank) -> None:
    """Under the old key: the first answer, whatever the values; no difference is told."""
    body = {"customer_id": "cleo", "profile": {"name": NAME}}
    first = bank.post("/v1/customers", body, key="cleo-1")
    assert NAME not in first.text
    bank.post("/v1/customers/cleo/erasure", {"reason": "asked"})
    for name in (NAME, "Someone Else"):
        again = bank.post(
            "/v1/customers", {"customer_id": "cleo", "profile": {"name": name}}, key="cleo-1"
        )
        assert again.is_success, again.text
        assert again.json()["position"] == first.json()["position"]


def test_ciphertext_stays_where_it_was_sealed(bank: Bank, anna: Json) -> None:
    """The events are as they were: what was hashed is what is stored."""
    before = bank.events()
    _erase(bank)
    after = bank.events()
    assert after[: len(before)] == before
    assert re.search(r"s1\.[A-Za-z0-9_-]{20}", str(after))
    assert anna["position"] == 1
