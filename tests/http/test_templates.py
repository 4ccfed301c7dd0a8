"""Posting templates over HTTP: define, use, define again, retire."""

from typing import Any

import pytest
from tests.http.bank import Bank, Json

from api.routes import templates

DEFINITION: Json = dict(templates.COMMANDS[0].example)
CHARGE: Json = {"currency": "EUR", "accounts": {"payer": "anna"}, "amounts": {"fee": "500"}}
ENTRIES = "/v1/templates/account-fee/entries"


@pytest.fixture
def branch(bank: Bank) -> Bank:
    """A customer with 100.00, and the accounts that the template names."""
    bank.open("anna", 10_000)
    bank.open("tax-payable")
    body = {"account_id": "fees", "currency": "EUR", "account_type": "income"}
    assert bank.post("/v1/accounts", body).is_success
    return bank


def test_a_template_makes_entries(branch: Bank) -> None:
    """The entry says which version made it, also once there is another."""
    defined = branch.post("/v1/templates", DEFINITION)
    assert defined.status_code == 201, defined.text
    assert (defined.json()["name"], defined.json()["version"]) == ("account-fee", 1)
    assert branch.post("/v1/templates", DEFINITION).json()["status"] == "unchanged"
    answer = branch.post(ENTRIES, CHARGE, key="may")
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert (document["kind"], document["template"]) == ("template", "account-fee@1")
    assert [(leg["account_id"], leg["amount"]) for leg in document["postings"]] == [
        ("anna", "595"),
        ("fees", "500"),
        ("tax-payable", "95"),
    ]
    cheaper: Any = DEFINITION | {
        "amounts": {"tax": DEFINITION["amounts"]["tax"] | {"percent": "7%"}}
    }
    assert branch.post("/v1/templates", cheaper).json()["version"] == 2
    assert branch.post(ENTRIES, CHARGE, key="may").content == answer.content
    assert branch.post(ENTRIES, CHARGE).json()["template"] == "account-fee@2"
    earlier = branch.post(ENTRIES, CHARGE | {"version": 1}).json()
    assert earlier["template"] == "account-fee@1"
    assert branch.get("/v1/accounts/tax-payable/balance").json()["posted_minor"] == "225"
    retired = branch.post("/v1/templates/account-fee/retire", {"reason": "abolished"})
    assert retired.status_code == 201
    refused = branch.post(ENTRIES, CHARGE)
    assert (refused.status_code, refused.json()["code"]) == (404, "template_not_found")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/templates", DEFINITION | {"name": "a/b"}, "name"),
        ("/v1/templates", DEFINITION | {"postings": DEFINITION["postings"][:2]}, "postings"),
        ("/v1/templates", DEFINITION | {"amounts": {}}, "postings[0].amount"),
        (
            "/v1/templates",
            DEFINITION | {"amounts": {"tax": {"type": "percent", "percent": "1%"}}},
            "amounts",
        ),
        (
            "/v1/templates",
            DEFINITION | {"amounts": {"tax": {"type": "product"}}},
            "amounts",
        ),
        (ENTRIES, CHARGE | {"amounts": {}}, "amounts"),
        (ENTRIES, CHARGE | {"amounts": {"fee": "0.5"}}, "amounts.fee"),
        (ENTRIES, CHARGE | {"template": "other"}, "template"),
    ],
)
def test_a_malformed_template_or_use_is_named(
    branch: Bank, path: str, body: Json, field: str
) -> None:
    """By the field at fault."""
    assert branch.post("/v1/templates", DEFINITION).status_code == 201
    answer = branch.post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["errors"][0]["field"].startswith(field)


def test_who_may_use_a_template_may_not_define_one(branch: Bank) -> None:
    """A teller books what an administrator defined."""
    assert branch.post("/v1/templates", DEFINITION, role="teller").status_code == 403
    assert branch.post("/v1/templates", DEFINITION).status_code == 201
    assert branch.post(ENTRIES, CHARGE, role="teller").status_code == 201
    retire = "/v1/templates/account-fee/retire"
    assert branch.post(retire, {}, role="teller").status_code == 403


def test_amounts_inside_amounts_without_end_are_refused(branch: Bank) -> None:
    """However deep a body goes, the answer is a problem and not a failure."""
    for depth in (9, 50, 100, 200, 300, 400, 450, 500, 5000):
        amount = '{"type": "parameter", "name": "fee"}'
        for _ in range(depth):
            amount = f'{{"type": "sum", "of": [{amount}]}}'
        text = (
            '{"name": "deep", "parameters": [{"name": "fee", "kind": "amount"}], "postings": ['
            f'{{"side": "debit", "account_id": "anna", "amount": {amount}}},'
            f'{{"side": "credit", "account_id": "fees", "amount": {amount}}}]}}'
        )
        answer = branch.post_raw("/v1/templates", text.encode())
        assert answer.status_code in {400, 422}, (depth, answer.text)
