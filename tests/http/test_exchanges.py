"""Exchanges over HTTP: what is answered, and how the bank's positions stand afterwards."""

from tests.http.bank import Bank, Json

SALE: Json = {
    "debit_account_id": "euros",
    "credit_account_id": "dollars",
    "amount": "10000",
    "currency": "EUR",
    "counter_currency": "USD",
    "rate": "1.0842",
}


def test_an_exchange_is_one_entry_in_two_currencies(bank: Bank) -> None:
    """The rate is in it, every currency balances, and the positions are the bank's own accounts."""
    bank.open("euros", 10_000)
    bank.open("dollars", currency="USD")
    answer = bank.post("/v1/exchanges", SALE, key="k")
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert (document["kind"], document["rate"]) == ("exchange", "1.0842")
    assert [(leg["account_id"], leg["side"], leg["amount"]) for leg in document["postings"]] == [
        ("euros", "debit", "10000"),
        ("bank:position:EUR", "credit", "10000"),
        ("bank:position:USD", "debit", "10842"),
        ("dollars", "credit", "10842"),
    ]
    assert bank.post("/v1/exchanges", SALE, key="k").content == answer.content
    balances = {
        name: bank.get(f"/v1/accounts/{name}/balance").json()["posted_minor"]
        for name in ("euros", "dollars", "bank:position:EUR", "bank:position:USD")
    }
    assert balances == {
        "euros": "0",
        "dollars": "10842",
        "bank:position:EUR": "-10000",
        "bank:position:USD": "10842",
    }
    back = bank.post(f"/v1/entries/{document['entry_id']}/reversal", {})
    assert back.status_code == 201
    assert bank.get("/v1/accounts/euros/balance").json()["posted_minor"] == "10000"


def test_a_refusal_names_what_is_wrong(bank: Bank) -> None:
    """A rate that brings nothing, an amount that it does not give, and too little money."""
    bank.open("euros", 100)
    bank.open("dollars", currency="USD")
    for changes, field in (
        ({"rate": "0.00001", "amount": "1"}, "rate"),
        ({"rate": "1,0842"}, "rate"),
        ({"counter_amount": "10840"}, "counter_amount"),
        ({"rounding": "nearest"}, "rounding"),
    ):
        problem = bank.post("/v1/exchanges", SALE | changes).json()
        assert (problem["code"], problem["errors"][0]["field"]) == ("validation_error", field)
    assert bank.post("/v1/exchanges", SALE).json()["code"] == "insufficient_funds"
