"""Views on both axes of time end to end: totals, statements, backdating, revaluation."""

import pytest
from tests.http.bank import Bank, Json


@pytest.fixture
def busy(bank: Bank) -> Bank:
    """An account with movements that count on other days than they were booked on."""
    bank.post("/v1/customers", {"customer_id": "anna", "profile": {"name": "Anna Weber"}})
    bank.post("/v1/accounts", {"account_id": "a", "customer_id": "anna", "currency": "EUR"})
    bank.open("b")
    for amount, day in (("1000", "2024-02-10"), ("20", "2024-01-10"), ("3", "2024-01-20")):
        body = {"account_id": "a", "amount": amount, "currency": "EUR", "value_date": day}
        assert bank.post("/v1/deposits", body).status_code == 201
    return bank


def _refused(bank: Bank, path: str, **params: str) -> Json:
    """The refusal of a request."""
    answer = bank.get(path, **params)
    assert answer.status_code == 422, answer.text
    document: Json = answer.json()
    return document


def test_totals_are_sums_by_currency(busy: Bank) -> None:
    """Of a prefix, a type, a customer; then, and by value date; an account may not hide them."""
    path = "/v1/accounts/totals"
    (total,) = busy.get(path, prefix="a").json()["totals"]
    assert total == {
        "currency": "EUR",
        "scale": 2,
        "accounts": 1,
        "debits_posted_minor": "0",
        "credits_posted_minor": "1023",
        "net_minor": "1023",
        "net": "10.23",
        "debits_held_minor": "0",
        "credits_held_minor": "0",
    }
    (assets,) = busy.get(path, account_type="asset").json()["totals"]
    assert (assets["net_minor"], assets["net"]) == ("-1023", "-10.23")
    (every,) = busy.get(path).json()["totals"]
    assert (every["accounts"], every["net_minor"]) == (3, "0")
    (anna,) = busy.get(path, customer_id="anna", value_date="2024-01-31").json()["totals"]
    assert anna["net_minor"] == "23"
    head = busy.get(path).json()["position"]
    (then,) = busy.get(path, prefix="a", as_of_position=head - 2).json()["totals"]
    assert then["net_minor"] == "1000"
    assert busy.get(path, code_prefix="9").json()["totals"] == []


@pytest.mark.parametrize("query", ["limit=1", "prefix=%00", "account_type=x", "code_prefix="])
def test_malformed_totals_are_refused(bank: Bank, query: str) -> None:
    """Unknown or malformed parameters."""
    answer = bank.client.get(f"/v1/accounts/totals?{query}", headers=bank.headers())
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


def test_a_statement_by_value_date_runs_on_that_axis(busy: Bank) -> None:
    """In the order in which postings count, with the balance that counts after each."""
    path = "/v1/accounts/a/statement"
    document = busy.get(path, axis="value_date").json()
    assert [(line["value_date"], line["balance_minor"]) for line in document["lines"]] == [
        ("2024-01-10", "20"),
        ("2024-01-20", "23"),
        ("2024-02-10", "1023"),
    ]
    assert (document["axis"], document["opening_minor"]) == ("value_date", "0")
    first = busy.get(path, axis="value_date", limit=2).json()
    rest = busy.get(path, axis="value_date", limit=2, cursor=first["next"]).json()
    assert first["lines"] + rest["lines"] == document["lines"]
    refused = busy.get(path, axis="booking", limit=2, cursor=first["next"])
    assert refused.json()["code"] == "invalid_cursor"
    period = busy.get(path, axis="value_date", from_date="2024-01-11").json()
    assert (period["opening_minor"], period["closing_minor"]) == ("20", "1023")
    assert busy.get(path).json()["axis"] == "booking"
    assert _refused(busy, path, axis="secret")["errors"][0]["field"] == "axis"


def test_a_customer_is_shown_by_value_date(busy: Bank) -> None:
    """Balances and activity that count by the end of that day."""
    document = busy.get("/v1/customers/anna", value_date="2024-01-31").json()
    assert document["value_date"] == "2024-01-31"
    assert document["accounts"][0]["balance"]["posted_minor"] == "23"
    assert [item["amount_minor"] for item in document["recent"]] == ["3", "20"]
    assert busy.get("/v1/customers/anna").json()["value_date"] is None


def test_a_group_is_summed_by_value_date(busy: Bank) -> None:
    """Totals and shares of what counts by then; what is available is judged as it stands."""
    busy.post("/v1/groups", {"group_id": "g", "name": "G", "currency": "EUR", "limit": "0"})
    for name in ("a", "b"):
        assert busy.post("/v1/groups/g/members", {"account_id": name}).status_code == 201
    now = busy.get("/v1/groups/g").json()
    assert (now["posted_minor"], now["available_minor"], now["value_date"]) == (
        "1023",
        "1023",
        None,
    )
    valued = busy.get("/v1/groups/g", value_date="2024-01-31").json()
    assert (valued["posted_minor"], valued["available_minor"]) == ("23", None)
    assert {item["account_id"]: item["posted_minor"] for item in valued["members"]} == {
        "a": "23",
        "b": "0",
    }
    assert valued["value_date"] == "2024-01-31"


def test_what_a_backdated_entry_changed(busy: Bank) -> None:
    """Its shift, the month ends it crossed, and the lowest day."""
    body = {"account_id": "a", "amount": "100", "currency": "EUR", "value_date": "2024-01-15"}
    entry = busy.post("/v1/withdrawals", body | {"entry_id": "late/1"}).json()
    document = busy.get("/v1/entries/late%2F1/effect").json()
    assert (document["is_backdated"], document["changed_from"]) == (True, "2024-01-15")
    assert document["changed_until"] == entry["booking_date"] == document["booking_date"]
    assert document["position"] == entry["position"]
    account = next(item for item in document["accounts"] if item["account_id"] == "a")
    assert (account["shift_minor"], account["shift"]) == ("-100", "-1.00")
    assert account["period_ends"][0] == {
        "day": "2024-01-31",
        "before_minor": "23",
        "after_minor": "-77",
        "as_first_dated_minor": None,
    }
    assert account["lowest"] == {
        "day": "2024-01-15",
        "before_minor": "20",
        "after_minor": "-80",
        "is_below_limit_before": False,
        "is_below_limit_after": True,
    }
    assert busy.get("/v1/entries/never/effect").json()["code"] == "entry_not_found"


def test_backdated_entries_are_listed(busy: Bank) -> None:
    """By account and recorded time, by page, each as it is shown alone."""
    busy.post("/v1/deposits", {"account_id": "b", "amount": "1", "currency": "EUR"})
    document = busy.get("/v1/backdated").json()
    assert [item["value_date"] for item in document["entries"]] == [
        "2024-02-10",
        "2024-01-10",
        "2024-01-20",
    ]
    first = document["entries"][0]
    assert first == busy.get(f"/v1/entries/{first['entry_id']}").json()
    assert busy.get("/v1/backdated", account_id="b").json()["entries"] == []
    page = busy.get("/v1/backdated", account_id="a", limit=2, order="desc").json()
    rest = busy.get(
        "/v1/backdated", account_id="a", limit=2, order="desc", cursor=page["next"]
    ).json()
    assert page["entries"] + rest["entries"] == document["entries"][::-1]
    early = busy.get("/v1/backdated", recorded_to=first["recorded_at"]).json()["entries"]
    assert early == [first]
    late = busy.get("/v1/backdated", recorded_from="9999-01-01T00:00:00Z").json()["entries"]
    assert late == []
    assert _refused(busy, "/v1/backdated", recorded_from="2024")["errors"][0]["field"] == (
        "recorded_from"
    )


def test_positions_are_valued_in_one_currency(bank: Bank) -> None:
    """At rates of the caller's; a rate that is missing is named."""
    bank.open("eur", 100_000)
    bank.open("usd", currency="USD")
    body = {
        "debit_account_id": "eur",
        "credit_account_id": "usd",
        "amount": "10000",
        "currency": "EUR",
        "counter_currency": "USD",
        "rate": "1.0832",
    }
    answer = bank.post("/v1/exchanges", body)
    assert answer.status_code == 201, answer.text
    path = "/v1/reports/revaluation"
    document = bank.get(path, base="EUR", rates="GBP:0.8511,USD:1.04").json()
    assert document["positions"] == [
        {
            "account_id": "bank:position:EUR",
            "currency": "EUR",
            "scale": 2,
            "position_minor": "10000",
            "units_per_base": None,
            "value_minor": "10000",
            "value": "100.00",
        },
        {
            "account_id": "bank:position:USD",
            "currency": "USD",
            "scale": 2,
            "position_minor": "-10832",
            "units_per_base": "1.04",
            "value_minor": "-10415",
            "value": "-104.15",
        },
    ]
    assert (document["unrealised_minor"], document["unrealised"]) == ("-415", "-4.15")
    missing = _refused(bank, path, base="EUR", rates="GBP:0.8511")
    assert (missing["code"], missing["seen"]["currency"]) == ("rate_missing", "USD")
    assert _refused(bank, path, base="XXQ")["code"] == "unknown_currency"
    contradiction = _refused(bank, path, base="EUR", rates="EUR:2,USD:1.04")
    assert [error["field"] for error in contradiction["errors"]] == ["rates"]
    assert bank.get(path, base="EUR", rates="EUR:1.0,USD:1.04").json() == document
    before = bank.get(path, base="EUR", value_date="2024-01-01").json()
    assert before["unrealised_minor"] == "0"


@pytest.mark.parametrize(
    "rates",
    [
        "USD",
        "USD:",
        "USD:0",
        "USD:-1",
        "USD:1e3",
        "USD:1,USD:2",
        ":1",
        "USD:1,",
        "USD:01",
        "USD:\u0661",
    ],
)
def test_malformed_rates_are_refused(bank: Bank, rates: str) -> None:
    """Rates are plain decimals above zero, each currency once."""
    refused = _refused(bank, "/v1/reports/revaluation", base="EUR", rates=rates)
    assert [error["field"] for error in refused["errors"]] == ["rates"]
