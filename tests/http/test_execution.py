"""How a command is carried out: judged only, or only while an account is as it was seen."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx2 import Response
from tests.http.bank import Bank, Json
from tests.http.test_commands import prepared

from api.batches import PATH as BATCH_PATH
from api.routes import COMMANDS

DEPOSIT: Json = {"account_id": "a", "amount": "5", "currency": "EUR"}
TRANSFER: Json = {
    "debit_account_id": "a",
    "credit_account_id": "b",
    "amount": "101",
    "currency": "EUR",
}


def _without_time(answer: Response) -> Json:
    """An answer without what only the moment decides."""
    document: Json = answer.json()
    return {name: value for name, value in document.items() if not name.endswith("_at")}


@pytest.mark.parametrize("route", COMMANDS, ids=lambda route: route.operation)
def test_a_dry_run_answers_as_the_command_would_and_records_nothing(
    bank: Bank,
    route: Any,  # noqa: ANN401
) -> None:
    """Status and body are those of the command that follows; the log stays as it was."""
    path, body = prepared(bank, route)
    log = bank.events()
    tried = bank.post(f"{path}?dry_run=true", body, key="the-one")
    assert tried.headers["dry-run"] == "true"
    assert bank.events() == log
    done = bank.post(path, body, key="the-one")
    assert "dry-run" not in done.headers
    assert "idempotency-replayed" not in done.headers
    assert tried.status_code == done.status_code, tried.text
    assert done.is_success
    assert _without_time(tried) == _without_time(done)
    assert tried.headers.get("location") == done.headers.get("location")


def test_a_dry_run_is_refused_as_the_command_would_be(bank: Bank) -> None:
    """Rules, forms and identities are those of the command."""
    bank.open("a", 100)
    bank.open("b")
    bank.post("/v1/deposits", DEPOSIT, key="used")
    log = bank.events()
    for path, body, key, code in (
        ("/v1/transfers", TRANSFER | {"amount": "106"}, "t", "insufficient_funds"),
        ("/v1/transfers", TRANSFER | {"amount": "0"}, "t", "validation_error"),
        ("/v1/deposits", DEPOSIT | {"amount": "6"}, "used", "idempotency_conflict"),
        ("/v1/accounts/none/close", {}, "c", "account_not_found"),
    ):
        tried = bank.post(f"{path}?dry_run=true", body, key=key)
        assert tried.json()["code"] == code
        assert bank.events() == log
    replayed = bank.post("/v1/deposits?dry_run=true", DEPOSIT, key="used")
    assert replayed.headers["idempotency-replayed"] == replayed.headers["dry-run"] == "true"
    refused = bank.post("/v1/transfers?dry_run=true", TRANSFER | {"amount": "106"})
    assert refused.headers["dry-run"] == "true"
    unchanged = bank.post("/v1/accounts/a/freeze", {"cause": "x"})
    assert unchanged.status_code == 201
    unchanged = bank.post("/v1/accounts/a/freeze?dry_run=true", {"cause": "x"}, key="again")
    assert (unchanged.status_code, unchanged.json()["status"]) == (200, "unchanged")
    assert bank.events()[:-1] == log


@pytest.mark.parametrize("mode", ["each", "stop_on_error", "atomic"])
def test_a_batch_may_be_tried_as_a_whole(bank: Bank, mode: str) -> None:
    """Later items see what earlier ones would have done; nothing of it is recorded."""
    bank.open("a")
    bank.open("b")
    deposit = {"type": "deposit", "key": "1"} | DEPOSIT
    transfer = {"type": "transfer", "key": "2"} | TRANSFER
    log = bank.events()
    for amount in ("6", "5"):
        batch = {"mode": mode, "commands": [deposit, transfer | {"amount": amount}]}
        tried = bank.post(f"{BATCH_PATH}?dry_run=true", batch)
        assert tried.headers["dry-run"] == "true"
        assert bank.events() == log
        statuses = [item["status"] for item in tried.json()["results"]]
        recorded = "refused" if mode == "atomic" and amount == "6" else "recorded"
        assert statuses == [recorded, "recorded" if amount == "5" else "refused"]
    good = {"mode": mode, "commands": [deposit, transfer | {"amount": "5"}]}
    assert bank.post(BATCH_PATH, good).json()["recorded"] == 2


@pytest.mark.parametrize("path", ["/v1/deposits", "/v1/accounts/a/freeze", BATCH_PATH])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("dryrun=true", None),
        ("dry_run=1", "dry_run"),
        ("dry_run=TRUE", "dry_run"),
        ("dry_run=", "dry_run"),
        ("dry_run", "dry_run"),
        ("dry_run=true&dry_run=true", None),
        ("dry_run=true&secret=1", None),
        ("dry_run=true" + "&" * 200, None),
        ("secret", None),
    ],
)
def test_a_command_whose_address_asks_for_something_unknown_is_refused(
    bank: Bank, path: str, query: str, field: str | None
) -> None:
    """A misspelt dry run does not book; what was sent is not repeated."""
    bank.open("a", 5)
    bodies: dict[str, Json] = {
        "/v1/deposits": DEPOSIT,
        BATCH_PATH: {"commands": [{"type": "deposit", "key": "k"} | DEPOSIT]},
    }
    log = bank.events()
    answer = bank.post(f"{path}?{query}", bodies.get(path, {"cause": "x"}))
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert [error.get("field") for error in answer.json()["errors"]] == [field]
    assert "secret" not in answer.text
    assert bank.events() == log
    done = bank.post(f"{path}?dry_run=false", bodies.get(path, {"cause": "x"}))
    assert done.is_success
    assert len(bank.events()) == len(log) + 1


def _limit(bank: Bank, if_match: str, limit: str = "50", key: str | None = None) -> Response:
    """Set the limit of account a while its tag is one of those."""
    headers = bank.headers(
        **{"If-Match": if_match, "Idempotency-Key": key or f"{if_match}/{limit}".replace(" ", "-")}
    )
    return bank.client.post("/v1/accounts/a/limit", json={"limit": limit}, headers=headers)


def test_a_command_on_an_account_may_depend_on_its_tag(bank: Bank) -> None:
    """With the tag that was read it is recorded; with an older one refused, and nothing is."""
    bank.open("a", 5)
    tag = bank.get("/v1/accounts/a").headers["etag"]
    bank.post("/v1/deposits", DEPOSIT)
    log = bank.events()
    stale = _limit(bank, tag)
    assert (stale.status_code, stale.json()["code"]) == (412, "version_conflict")
    assert stale.json()["seen"]["version"] == 3
    assert bank.events() == log
    now = bank.get("/v1/accounts/a").headers["etag"]
    done = _limit(bank, now)
    assert done.status_code == 201, done.text
    again = _limit(bank, now)
    assert (again.status_code, again.content) == (201, done.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert _limit(bank, now, "60").status_code == 412


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ('"2"', 201),
        ("*", 201),
        ('"1", "2"', 201),
        (' "2" ', 201),
        ('W/"2"', 412),
        ('"02x"', 412),
        ('"1","3"', 412),
        ('"-2"', 412),
        ('""', 412),
        ("2", 422),
        ('"2', 422),
        ("", 422),
        ("secret", 422),
    ],
)
def test_tags_are_compared_as_http_says(bank: Bank, if_match: str, status: int) -> None:
    """Strongly, any one of several; what is no tag is refused (RFC 9110, 13.1.1)."""
    bank.open("a", 5)
    answer = _limit(bank, if_match)
    assert answer.status_code == status, answer.text
    assert "secret" not in answer.text


def test_a_refusal_and_a_dry_run_stay_what_they_are_under_a_tag(bank: Bank) -> None:
    """A command that would be refused anyway is refused for that; a dry run is matched, too."""
    headers = bank.headers(**{"If-Match": '"9"', "Idempotency-Key": "k"})
    none = bank.client.post("/v1/accounts/none/close", json={}, headers=headers)
    assert (none.status_code, none.json()["code"]) == (404, "account_not_found")
    bank.open("a", 5)
    full = bank.client.post("/v1/accounts/a/close", json={}, headers=headers)
    assert full.json()["code"] == "account_not_empty"
    log = bank.events()
    dry = "/v1/accounts/a/freeze?dry_run=true"
    tried = bank.client.post(dry, json={"cause": "x"}, headers=headers)
    assert (tried.status_code, tried.headers["dry-run"]) == (412, "true")
    matching = headers | {"If-Match": '"2"'}
    assert bank.client.post(dry, json={"cause": "x"}, headers=matching).status_code == 201
    assert bank.events() == log


def test_of_many_who_saw_the_same_tag_one_succeeds(bank: Bank) -> None:
    """Eight commands with one tag: one is recorded, seven are refused."""
    bank.open("a")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda limit: _limit(bank, '"1"', str(limit)), range(1, 9)))
    assert sorted(answer.status_code for answer in answers) == [201] + [412] * 7
    assert bank.get("/v1/accounts/a").json()["version"] == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/transfers", TRANSFER),
        ("/v1/accounts", {"currency": "EUR"}),
        ("/v1/customers/anna/profile", {"changes": {"name": "A"}, "reason": "x"}),
        (BATCH_PATH, {"commands": [{"type": "deposit", "key": "k"} | DEPOSIT]}),
    ],
)
def test_a_tag_is_not_passed_over_where_it_means_nothing(bank: Bank, path: str, body: Json) -> None:
    """Who relies on a condition is told that it is not taken here."""
    bank.open("a", 500)
    bank.open("b")
    log = bank.events()
    headers = bank.headers(**{"If-Match": '"1"', "Idempotency-Key": "k"})
    answer = bank.client.post(path, json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "if_match_not_taken")
    assert bank.events() == log
