"""References shown as what they refer to, on request."""

import pytest
from tests.http.bank import Bank


@pytest.fixture
def busy(bank: Bank) -> Bank:
    """A bank with a customer, an account and an entry."""
    bank.post("/v1/customers", {"customer_id": "anna", "profile": {"name": "Anna Weber"}})
    bank.post("/v1/accounts", {"account_id": "a", "currency": "EUR", "customer_id": "anna"})
    body = {"account_id": "a", "amount": "5", "currency": "EUR", "entry_id": "first"}
    assert bank.post("/v1/deposits", body).status_code == 201
    return bank


def test_an_account_is_shown_with_those_who_hold_it(busy: Bank) -> None:
    """Beside its own members there are its customers, as they are listed."""
    plain = busy.get("/v1/accounts/a").json()
    expanded = busy.get("/v1/accounts/a", expand="holders").json()
    assert expanded.pop("customers") == busy.get("/v1/customers").json()["customers"]
    assert expanded == plain
    assert "customers" not in plain
    before = busy.get("/v1/accounts/a", expand="holders", as_of_position=2).json()
    assert before["posted_minor"] == "0"
    assert [item["customer_id"] for item in before["customers"]] == ["anna"]


def test_an_entry_is_shown_with_its_accounts(busy: Bank) -> None:
    """Every account of a posting is there once, with its balance of now."""
    plain = busy.get("/v1/entries/first").json()
    expanded = busy.get("/v1/entries/first", expand="accounts").json()
    accounts = expanded.pop("accounts")
    assert expanded == plain
    assert accounts == [
        busy.get(f"/v1/accounts/{name}").json() for name in ("a", "bank:counter:EUR")
    ]


@pytest.mark.parametrize(
    ("path", "expand"),
    [
        ("/v1/accounts/a", "secret"),
        ("/v1/accounts/a", ""),
        ("/v1/entries/first", "holders"),
        ("/v1/accounts/a/balance", "holders"),
    ],
)
def test_what_cannot_be_expanded_is_refused(busy: Bank, path: str, expand: str) -> None:
    """Unknown references are not passed over."""
    answer = busy.get(path, expand=expand)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert "secret" not in answer.text
