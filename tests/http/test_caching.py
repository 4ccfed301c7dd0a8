"""What may be kept of the read side: tags, 304, what is pinned for good, and what never is."""

import pytest
from tests.http.bank import Bank

CHECK = "private, no-cache"
FOR_EVER = "private, max-age=31536000, immutable"
VIEWS = (
    "/v1/accounts",
    "/v1/accounts/a",
    "/v1/accounts/a/balance",
    "/v1/accounts/a/statement",
    "/v1/trial-balance",
    "/v1/risk-flags",
    "/v1/entries/first",
    "/v1/events",
    "/v1/events/1",
    "/v1/info",
)
PERSONAL = ("/v1/customers", "/v1/customers/anna", "/v1/accounts/a?expand=holders")


@pytest.fixture
def busy(bank: Bank) -> Bank:
    """A bank with a customer, an account and an entry."""
    bank.post("/v1/customers", {"customer_id": "anna", "profile": {"name": "Anna Weber"}})
    bank.post("/v1/accounts", {"account_id": "a", "currency": "EUR", "customer_id": "anna"})
    _deposit(bank, "100", entry_id="first")
    bank.catch_up()
    return bank


def _deposit(bank: Bank, amount: str, **fields: object) -> None:
    """Deposit to account a."""
    body = {"account_id": "a", "amount": amount, "currency": "EUR", **fields}
    assert bank.post("/v1/deposits", body).status_code == 201


@pytest.mark.parametrize("path", VIEWS + PERSONAL)
def test_an_answer_that_was_kept_is_confirmed_by_its_tag(busy: Bank, path: str) -> None:
    """With If-None-Match nothing is sent again while it holds; the tag is the same then."""
    first = busy.client.get(path, headers=busy.headers())
    assert first.status_code == 200, first.text
    tag = first.headers["etag"]
    for asked in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = busy.client.get(path, headers=busy.headers(**{"If-None-Match": asked}))
        assert (again.status_code, again.content) == (304, b""), asked
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == first.headers["cache-control"]
        assert again.headers["vary"] == "authorization"
        assert "content-type" not in again.headers
    other = busy.client.get(path, headers=busy.headers(**{"If-None-Match": '"other"'}))
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("path", [path for path in VIEWS if path != "/v1/events/1"])
def test_a_kept_answer_no_longer_holds_once_something_was_booked(busy: Bank, path: str) -> None:
    """What changes the answer changes its tag."""
    tag = busy.client.get(path, headers=busy.headers()).headers["etag"]
    _deposit(busy, "2000000")
    assert busy.post("/v1/entries/first/reversal", {}).status_code == 201
    busy.catch_up()
    after = busy.client.get(path, headers=busy.headers(**{"If-None-Match": tag}))
    assert after.status_code == 200
    assert after.headers["etag"] != tag


def test_an_accounts_tag_is_its_version(busy: Bank) -> None:
    """It stays while only others are booked on; a header says how fresh that is."""
    answer = busy.get("/v1/accounts/a")
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    assert answer.headers["ledger-position"] == str(answer.json()["position"])
    busy.open("b", 5)
    busy.catch_up()
    headers = busy.headers(**{"If-None-Match": answer.headers["etag"]})
    again = busy.client.get("/v1/accounts/a", headers=headers)
    assert again.status_code == 304
    assert int(again.headers["ledger-position"]) == answer.json()["position"] + 2


def test_what_begins_with_a_command_has_the_tag_that_its_address_has(bank: Bank) -> None:
    """An account begins at version 1, an entry is tagged by its position."""
    opened = bank.post("/v1/accounts", {"account_id": "a", "currency": "EUR"})
    assert bank.get(opened.headers["location"]).headers["etag"] == opened.headers["etag"] == '"1"'
    body = {"account_id": "a", "amount": "5", "currency": "EUR"}
    booked = bank.post("/v1/deposits", body, key="k")
    assert booked.headers["etag"] == f'"{booked.json()["position"]}"'
    assert bank.get(booked.headers["location"]).headers["etag"] == booked.headers["etag"]
    assert bank.post("/v1/deposits", body, key="k").headers["etag"] == booked.headers["etag"]


@pytest.mark.parametrize(
    "path", ["/v1/accounts", "/v1/accounts/a", "/v1/accounts/a/statement", "/v1/trial-balance"]
)
def test_what_is_pinned_to_a_position_never_changes(busy: Bank, path: str) -> None:
    """It may be kept for good, and is byte for byte the same after anything else was booked."""
    assert busy.get(path).headers["cache-control"] == CHECK
    position = busy.get(path).json()["position"]
    pinned = busy.get(path, as_of_position=position)
    assert pinned.headers["cache-control"] == FOR_EVER
    _deposit(busy, "7")
    busy.post("/v1/accounts/a/freeze", {"cause": "x"})
    again = busy.get(path, as_of_position=position)
    assert (again.content, again.headers["etag"]) == (pinned.content, pinned.headers["etag"])


def test_an_event_may_be_kept_for_good(busy: Bank) -> None:
    """What was recorded is never changed."""
    assert busy.get("/v1/events/1").headers["cache-control"] == FOR_EVER
    assert busy.get("/v1/events").headers["cache-control"] == CHECK


@pytest.mark.parametrize("path", PERSONAL)
def test_what_is_personal_is_not_to_be_kept(busy: Bank, path: str) -> None:
    """Once the person is forgotten no cache may still know, not even of a past position."""
    position = busy.get("/v1/accounts/a").json()["position"]
    assert busy.get(path).headers["cache-control"] == "no-store"
    if path != "/v1/customers":
        path = f"{path}{'&' if '?' in path else '?'}as_of_position={position}"
        answer = busy.client.get(path, headers=busy.headers())
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    tag = busy.client.get(path, headers=busy.headers()).headers["etag"]
    busy.post("/v1/customers/anna/erasure", {"reason": "asked"})
    busy.catch_up()
    after = busy.client.get(path, headers=busy.headers(**{"If-None-Match": tag}))
    assert after.status_code == 200
    assert "Weber" not in after.text


def test_refusals_are_not_to_be_kept(busy: Bank) -> None:
    """What is not there today may be there tomorrow."""
    answer = busy.get("/v1/accounts/none")
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert "etag" not in answer.headers
