"""Allocations over HTTP: what is answered, said again, and refused."""

from typing import Any

import pytest
from tests.http.bank import Bank, Json

SPLIT: Json = {
    "amount": "10001",
    "currency": "EUR",
    "sources": [{"account_id": "promotion", "max": "500"}, {"account_id": "anna"}],
    "destinations": [
        {"account_id": "platform", "share": "12.5%"},
        {"kept": True, "max": "1"},
        {"share": "remaining", "inner": [{"account_id": "shop", "share": "100%"}]},
    ],
    "reference": "order 7",
}


@pytest.fixture
def shop(bank: Bank) -> Bank:
    """A customer with 200.00, a promotion with 5.00, and two who are paid."""
    bank.open("promotion", 500)
    bank.open("anna", 20_000)
    for account_id in ("platform", "shop"):
        bank.open(account_id)
    return bank


def test_an_allocation_is_one_entry_and_is_said_again(shop: Bank) -> None:
    """Its postings stand in pairs, from and to; the views have it; the key keeps it."""
    answer = shop.post("/v1/allocations", SPLIT, key="k")
    assert answer.status_code == 201, answer.text
    document = answer.json()
    legs = [(leg["account_id"], leg["side"], leg["amount"]) for leg in document["postings"]]
    assert legs == [
        ("promotion", "debit", "500"),
        ("platform", "credit", "500"),
        ("anna", "debit", "750"),
        ("platform", "credit", "750"),
        ("anna", "debit", "8750"),
        ("shop", "credit", "8750"),
    ]
    assert (document["kind"], document["reference"]) == ("allocation", "order 7")
    again = shop.post("/v1/allocations", SPLIT, key="k")
    assert again.content == answer.content
    assert again.headers["idempotency-replayed"] == "true"
    other = shop.post("/v1/allocations", SPLIT | {"rounding": "first"}, key="k")
    assert other.json()["seen"]["fields"] == ["rounding"]
    assert shop.get("/v1/accounts/anna/balance").json()["posted_minor"] == "10500"
    entry = shop.get(f"/v1/entries/{document['entry_id']}").json()
    assert entry["postings"] == document["postings"]
    reversal = shop.post(f"/v1/entries/{document['entry_id']}/reversal", {})
    assert reversal.status_code == 201
    assert shop.get("/v1/accounts/shop/balance").json()["posted_minor"] == "0"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"sources": [{"account_id": "anna", "share": "99%"}]}, "validation_error", "sources"),
        (
            {"destinations": [{"inner": [{"account_id": "shop", "fixed": "-1"}]}]},
            "validation_error",
            "destinations[0].inner[0].fixed",
        ),
        (
            {"destinations": [{"inner": [{"account_id": "shop", "fixed": 1}]}]},
            "validation_error",
            "destinations[0].inner[0].fixed",
        ),
        (
            {"destinations": [{"inner": [{"secret": "shop"}]}]},
            "validation_error",
            "destinations[0].inner[0]",
        ),
        ({"rounding": "up"}, "validation_error", "rounding"),
        ({"sources": [{"account_id": "nobody"}]}, "account_not_found", None),
        ({"amount": "20501"}, "insufficient_funds", None),
        ({"sources": [{"account_id": "shop"}]}, "same_account", None),
    ],
)
def test_a_refusal_names_what_is_wrong(
    shop: Bank, changes: Json, code: str, field: str | None
) -> None:
    """A malformed leg by its path; nothing is booked."""
    answer = shop.post("/v1/allocations", SPLIT | changes)
    problem = answer.json()
    assert problem["code"] == code
    errors = problem.get("errors") or [{"field": None}]
    assert errors[0]["field"] == field
    assert "secret" not in answer.text
    assert shop.get("/v1/accounts/anna/balance").json()["posted_minor"] == "20000"


def test_nothing_to_move_is_no_refusal(shop: Bank) -> None:
    """All that an empty account has: answered as unchanged."""
    body = SPLIT | {
        "amount": "all",
        "sources": [{"account_id": "shop"}],
        "destinations": [{"account_id": "platform"}],
    }
    answer = shop.post("/v1/allocations", body)
    assert (answer.status_code, answer.json()["status"]) == (200, "unchanged")


def test_legs_inside_legs_without_end_are_refused(shop: Bank) -> None:
    """However deep a body goes, the answer is a problem and not a failure."""
    for depth in (9, 50, 100, 200, 300, 400, 450, 500, 5000):
        leg: str = '{"account_id": "shop"}'
        for _ in range(depth):
            leg = f'{{"inner": [{leg}]}}'
        text = (
            '{"amount": "1", "currency": "EUR", "sources": [{"account_id": "anna"}],'
            f' "destinations": [{leg}]}}'
        )
        answer: Any = shop.post_raw("/v1/allocations", text.encode())
        assert answer.status_code in {400, 422}, (depth, answer.text)
        assert answer.json()["code"] in {"validation_error", "malformed_json"}
