"""Numbers of cards in descriptions: covered wherever an entry or an order is shown."""

import pytest
from tests.http.bank import Bank

CARD = "4111 1111 1111 1111"
COVERED = "***1111"
SAID = f"Card {CARD}, lunch"
PATHS = (
    "/v1/accounts/c-1/statement",
    "/v1/accounts/c-1/explanation",
    "/v1/entries/lunch",
    "/v1/entries",
    "/v1/backdated",
    "/v1/customers/cardy",
    "/v1/standing-orders",
    "/v1/approvals",
)


@pytest.fixture
def house(bank: Bank) -> Bank:
    """A bank where somebody wrote the number of a card into every description there is."""
    profile = {"name": "Cardy Holder"}
    assert bank.post("/v1/customers", {"customer_id": "cardy", "profile": profile}).is_success
    body = {"account_id": "c-1", "currency": "EUR", "customer_id": "cardy"}
    assert bank.post("/v1/accounts", body).is_success
    money = {"account_id": "c-1", "amount": "500", "currency": "EUR", "description": SAID}
    lunch = {**money, "entry_id": "lunch", "value_date": "2024-01-05", "reference": "42"}
    movement = {"type": "withdraw", **money, "amount": "1"}
    order = {"command": movement, "schedule": {"first_date": "2030-01-01", "unit": "month"}}
    for path, sent in (
        ("/v1/deposits", lunch),
        ("/v1/standing-orders", order),
        ("/v1/approvals", {"command": movement, "approvers": ["ops"]}),
    ):
        answer = bank.post(path, sent)
        assert answer.is_success, answer.text
    bank.catch_up()
    return bank


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", ["reader", "teller", "admin", "auditor"])
def test_only_who_sees_everything_sees_the_number(house: Bank, path: str, role: str) -> None:
    """Others see the last four digits; ids, amounts and references are what they are."""
    headers = house.headers(role, **{"Ledger-Reason": "case 1"})
    answer = house.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert (CARD in answer.text) == (role == "auditor")
    assert (COVERED in answer.text) == (role != "auditor")
