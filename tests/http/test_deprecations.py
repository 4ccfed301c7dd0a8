"""Addresses that are to go: they answer as ever, and say since and until when."""

from datetime import date

import pytest
from starlette.testclient import TestClient
from tests.http.bank import Bank

from api.app import create_app
from api.deprecations import DEPRECATED, Deprecated

GOING = Deprecated(date(2026, 1, 1), date(2027, 7, 1), "https://ledger.example/docs/going")
SAID = {
    "deprecation": "@1767225600",
    "sunset": "Thu, 01 Jul 2027 00:00:00 GMT",
    "link": '<https://ledger.example/docs/going>; rel="deprecation"; type="text/html"',
}
ROUTES = (("GET", "/v1/accounts/{account_id}/balance"), ("POST", "/v1/deposits"))


def test_a_deprecated_address_says_so_in_every_answer(bank: Bank) -> None:
    """Answers and refusals alike, of views and commands; no other address says it."""
    bank.open("a", 5)
    bank.catch_up()
    deposit = {"account_id": "a", "amount": "5", "currency": "EUR"}
    with TestClient(create_app(bank.runtime, dict.fromkeys(ROUTES, GOING))) as client:
        headers = bank.headers(**{"Idempotency-Key": "k"})
        answers = [
            client.get("/v1/accounts/a/balance", headers=headers),
            client.get("/v1/accounts/none/balance", headers=headers),
            client.post("/v1/deposits", json=deposit, headers=headers),
            client.post("/v1/deposits", json={}, headers=headers),
        ]
        others = [
            client.get("/v1/accounts/a", headers=headers),
            client.get("/v1/deposits", headers=headers),
        ]
        document = client.get("/openapi.json").json()
    assert [answer.status_code for answer in answers] == [200, 404, 201, 422]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in SAID} == SAID
    for answer in others:
        assert not set(SAID) & set(answer.headers)
    operations = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation.get("deprecated")
    }
    assert operations == set(ROUTES)


def test_whoever_uses_an_address_has_a_year(bank: Bank) -> None:
    """A sunset sooner than that cannot be written down; every address of the table is one."""
    with pytest.raises(ValueError, match="365 days"):
        Deprecated(date(2026, 1, 1), date(2026, 12, 31), "https://ledger.example")
    paths = bank.client.get("/openapi.json").json()["paths"]
    for method, path in DEPRECATED:
        assert method.lower() in paths[path]
