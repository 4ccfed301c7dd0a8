"""One end-to-end test per view, and the moments one may ask about."""

from datetime import date, datetime

import pytest
from tests.http.bank import Bank, Json


@pytest.fixture
def busy(bank: Bank) -> Bank:
    """A bank with two customers' accounts and some movements between them."""
    bank.post("/v1/customers", {"customer_id": "anna", "profile": {"name": "Anna Weber"}})
    owner = {"customer_id": "anna", "currency": "EUR"}
    bank.post("/v1/accounts", {"account_id": "a"} | owner)
    bank.open("b")
    _deposit(bank, "100000", value_date="2024-01-10")
    for amount, day in (("100", "2024-01-15"), ("200", "2024-02-15"), ("300", "2024-01-20")):
        _transfer(bank, amount, value_date=day, description=f"on {day}")
    return bank


def _deposit(bank: Bank, amount: str, **fields: object) -> Json:
    """Deposit to account a."""
    body = {"account_id": "a", "amount": amount, "currency": "EUR", **fields}
    answer: Json = bank.post("/v1/deposits", body).json()
    return answer


def _transfer(bank: Bank, amount: str, **fields: object) -> Json:
    """Transfer from a to b."""
    body = {"debit_account_id": "a", "credit_account_id": "b", "currency": "EUR"}
    answer = bank.post("/v1/transfers", body | {"amount": amount, **fields})
    assert answer.status_code == 201, answer.text
    document: Json = answer.json()
    return document


def test_a_balance_now_then_and_by_value_date(busy: Bank) -> None:
    """The balance may be fixed on both axes of time, each by itself and together."""
    path = "/v1/accounts/b/balance"
    now = busy.get(path).json()
    assert (now["posted_minor"], now["posted"], now["available_minor"]) == ("600", "6.00", "600")
    head = now["position"]
    assert busy.get(path, as_of_position=head - 1).json()["posted_minor"] == "300"
    valued = busy.get(path, value_date="2024-01-31").json()
    assert (valued["posted_minor"], valued["available_minor"]) == ("400", None)
    both = busy.get(path, as_of_position=head - 1, value_date="2024-01-31").json()
    assert (both["posted_minor"], both["position"]) == ("100", head - 1)
    before = busy.events()[-2]
    then = busy.get(path, as_of=before["recorded_at"]).json()
    assert then["position"] == before["position"]
    assert datetime.fromisoformat(then["recorded_at"]) == datetime.fromisoformat(
        before["recorded_at"]
    )
    assert busy.get(path, as_of_position=2).json()["code"] == "account_not_found"


def test_a_balance_of_the_past_has_the_terms_of_the_past(busy: Bank) -> None:
    """Blocks and limits are those of the moment asked about."""
    before = busy.post("/v1/accounts/b/freeze", {"cause": "x"}).json()["position"] - 1
    busy.post("/v1/accounts/b/limit", {"limit": "50"})
    now = busy.get("/v1/accounts/b").json()
    assert (now["blocks"], now["limit_minor"]) == ([{"cause": "x", "effect": "full"}], "50")
    then = busy.get("/v1/accounts/b", as_of_position=before).json()
    assert (then["blocks"], then["limit_minor"]) == ([], "0")


def test_a_statement_has_every_posting_with_its_balance(busy: Bank) -> None:
    """Lines come in booking order, balances run, and the ends are the sums."""
    document = busy.get("/v1/accounts/a/statement").json()
    assert [line["balance_minor"] for line in document["lines"]] == [
        "100000",
        "99900",
        "99700",
        "99400",
    ]
    assert (document["opening_minor"], document["closing_minor"]) == ("0", "99400")
    assert document["lines"][1]["counterparties"] == ["b"]
    assert document["lines"][1]["description"] == "on 2024-01-15"
    assert document["lines"][3]["amount"] == "3.00"
    newest = busy.get("/v1/accounts/a/statement", order="newest_first").json()
    assert newest["lines"] == document["lines"][::-1]


def test_a_statement_of_a_period_begins_with_what_was_before(busy: Bank) -> None:
    """Opening plus lines is closing; the period is of value dates, inclusive."""
    document = busy.get(
        "/v1/accounts/a/statement", from_date="2024-01-15", to_date="2024-01-20"
    ).json()
    assert [line["amount_minor"] for line in document["lines"]] == ["100", "300"]
    assert (document["opening_minor"], document["closing_minor"]) == ("100000", "99600")
    refused = busy.get("/v1/accounts/a/statement", from_date="2024-02-01", to_date="2024-01-01")
    assert refused.status_code == 422


def test_the_trial_balance_ties(busy: Bank) -> None:
    """Debits and credits are equal, at every moment and value date."""
    for params in ({}, {"value_date": "2024-01-16"}, {"as_of_position": "6"}):
        document = busy.get("/v1/trial-balance", **params).json()
        (total,) = document["totals"]
        assert total["debit_minor"] == total["credit_minor"] != "0"
        shown = {row["account_id"]: row["credit_minor"] for row in document["rows"]}
        assert int(shown["a"]) + int(shown["b"]) == 100_000


def test_a_customer_is_shown_in_one_read(busy: Bank) -> None:
    """Profile as the role sees it, accounts with roles and balances, activity, flags."""
    _deposit(busy, "2000000", value_date="2024-02-16")
    document = busy.get("/v1/customers/anna", recent=2).json()
    assert document["profile"] == {"name": "A*** W***"}
    assert busy.get("/v1/customers/anna", role="teller").json()["profile"] == {"name": "Anna Weber"}
    (account,) = document["accounts"]
    assert (account["roles"], account["balance"]["posted_minor"]) == (["owner"], "2099400")
    assert [item["amount_minor"] for item in document["recent"]] == ["2000000", "300"]
    assert [flag["rule"] for flag in document["flags"]] == ["large_movement"]
    listed = busy.get("/v1/customers").json()["customers"]
    assert [(item["customer_id"], item["profile"]) for item in listed] == [
        ("anna", {"name": "A*** W***"})
    ]


def test_a_forgotten_customer_has_no_profile_at_any_moment(busy: Bank) -> None:
    """Once the key is destroyed, the past cannot be read either; balances hold."""
    before = busy.get("/v1/customers/anna").json()["position"]
    assert busy.post("/v1/customers/anna/erasure", {"reason": "asked"}).status_code == 201
    for params in ({}, {"as_of_position": before}):
        document = busy.get("/v1/customers/anna", **params).json()
        assert (document["profile"], document["erased"]) == (None, True)
        assert document["accounts"][0]["balance"]["posted_minor"] == "99400"
    assert busy.get("/v1/customers").json()["customers"][0]["profile"] is None


def test_risk_flags_are_listed_by_account_customer_and_rule(busy: Bank) -> None:
    """A flag names its rule, its events and its figures."""
    position = _deposit(busy, "2000000", value_date="2024-02-16")["position"]
    (flag,) = busy.get("/v1/risk-flags", account_id="a", rule="large_movement").json()["flags"]
    assert (flag["account_id"], flag["positions"]) == ("a", [position])
    assert flag["figures"]["amount_minor"] == "2000000"
    assert busy.get("/v1/risk-flags", customer_id="anna").json()["flags"] == [flag]
    assert busy.get("/v1/risk-flags", account_id="b").json()["flags"] == []
    assert busy.get("/v1/risk-flags", as_of_position=position - 1).json()["flags"] == []


def test_the_log_is_shown_as_it_is_stored(busy: Bank) -> None:
    """Every event with its place, tags and hash; personal data stays sealed."""
    document = busy.get("/v1/events", limit=2, role="auditor").json()
    first = document["events"][0]
    assert (first["position"], first["type"]) == (1, "CustomerRegistered")
    assert first["data"]["sealed"]["name"].startswith("s1.")
    assert document["next_after"] == 2
    assert document["position"] == len(busy.events())
    following = busy.get("/v1/events", after=2, limit=1).json()["events"][0]
    assert following == busy.get("/v1/events/3").json()
    assert len(following["leaf_hash"]) == 64
    assert busy.get("/v1/events", after=999).json()["next_after"] is None


def test_an_entry_is_found_by_either_id_and_says_that_it_was_reversed(busy: Bank) -> None:
    """An entry has its own id or the one of its position, and knows its reversal."""
    entry = _transfer(busy, "7", entry_id="mine/1")
    shown = busy.get("/v1/entries/mine%2F1").json()
    assert shown == entry
    assert busy.get(f"/v1/entries/jrn_{entry['position']}").status_code == 404
    reversal = busy.post("/v1/entries/mine%2F1/reversal", {}).json()
    assert reversal["reverses"] == "mine/1"
    assert busy.get("/v1/entries/mine%2F1").json()["reversed_position"] == reversal["position"]


def test_accounts_are_listed_by_what_they_are(busy: Bank) -> None:
    """Filters are exact, and together they all hold."""
    busy.post(
        "/v1/accounts",
        {"account_id": "x%1", "currency": "JPY", "account_type": "asset", "code": "1.2"},
    )
    for params, expected in (
        ({}, ["a", "b", "bank:counter:EUR", "x%1"]),
        ({"prefix": "b"}, ["b", "bank:counter:EUR"]),
        ({"prefix": "x%"}, ["x%1"]),
        ({"currency": "JPY"}, ["x%1"]),
        ({"code": "1.2"}, ["x%1"]),
        ({"account_type": "asset", "currency": "EUR"}, ["bank:counter:EUR"]),
        ({"customer_id": "anna"}, ["a"]),
        ({"customer_id": "nobody"}, []),
    ):
        document = busy.get("/v1/accounts", **params).json()
        assert [item["account_id"] for item in document["accounts"]] == expected, params


def test_accounts_are_listed_by_their_metadata(busy: Bank) -> None:
    """Every name asked for is there, with exactly that value; pages go on within it."""
    for number in range(4):
        metadata = {"branch": f"n{number % 2}", "a.b%=c": "x y"}
        body = {"account_id": f"m{number}", "currency": "EUR", "metadata": metadata}
        assert busy.post("/v1/accounts", body).status_code == 201
    for params, expected in (
        ({"metadata.branch": "n1"}, ["m1", "m3"]),
        ({"metadata.branch": "n1", "metadata.a.b%=c": "x y"}, ["m1", "m3"]),
        ({"metadata.branch": "n1", "metadata.a.b%=c": "x"}, []),
        ({"metadata.branch": "n1", "prefix": "m3"}, ["m3"]),
        ({"metadata.none": "n1"}, []),
    ):
        document = busy.get("/v1/accounts", **params).json()
        assert [item["account_id"] for item in document["accounts"]] == expected, params
    page = busy.get("/v1/accounts", limit=1, **{"metadata.branch": "n1"}).json()
    other = busy.get("/v1/accounts", cursor=page["next"], **{"metadata.branch": "n0"})
    assert other.json()["code"] == "invalid_cursor"
    rest = busy.get("/v1/accounts", cursor=page["next"], **{"metadata.branch": "n1"}).json()
    assert [item["account_id"] for item in rest["accounts"]] == ["m3"]
    for params in (
        {f"metadata.n{number}": "x" for number in range(6)},
        {"metadata.": "x"},
        {"metadata.a": ""},
        {"metadata": "x"},
        {"metadata.\0": "x"},
    ):
        refused = busy.get("/v1/accounts", **params)
        assert (refused.status_code, refused.json()["code"]) == (422, "validation_error"), params


def test_info_says_what_this_is(busy: Bank) -> None:
    """Program, ledger, head and every projection."""
    document = busy.get("/v1/info").json()
    assert (document["name"], document["ledger"]) == ("ledger-core", busy.ledger)
    assert document["position"] == len(busy.events())
    assert {view["lag_events"] for view in document["projections"].values()} == {0}
    assert {"balances", "statements", "trial_balance", "customer_360", "risk_flags"} <= set(
        document["projections"]
    )


def test_a_view_waits_for_what_was_just_written(busy: Bank) -> None:
    """With min_position the answer reflects it, or says how far the views are."""
    busy.catch_up()
    position = _transfer(busy, "1")["position"]
    path = f"/v1/accounts/b/balance?min_position={position}&wait_s=0.2"
    late = busy.client.get(path, headers=busy.headers())
    assert (late.status_code, late.json()["code"]) == (409, "position_ahead")
    assert late.headers["retry-after"] == "1"
    assert late.json()["seen"] == {"asked": position, "reached": position - 1}
    fresh = busy.get("/v1/accounts/b/balance", min_position=position).json()
    assert (fresh["posted_minor"], fresh["position"]) == ("601", position)


def test_a_position_of_the_future_is_refused(busy: Bank) -> None:
    """Nobody can be told what will have been."""
    answer = busy.get("/v1/trial-balance", as_of_position=10_000)
    assert (answer.status_code, answer.json()["code"]) == (409, "position_ahead")


def test_a_value_date_left_out_is_the_day_of_booking(busy: Bank) -> None:
    """The answer names both dates."""
    document = _transfer(busy, "1")
    assert document["value_date"] == document["booking_date"]
    assert date.fromisoformat(document["booking_date"]).year > 2024
