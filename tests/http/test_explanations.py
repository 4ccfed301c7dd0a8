"""Explanations and differences over HTTP: pages, roles, problems."""

from typing import Any

import pytest
from tests.http.bank import Bank, Json

from ledger_core.risk_rules import DEFAULTS


@pytest.fixture
def busy(bank: Bank) -> Bank:
    """An account with a few movements, an open hold, a refusal and a flag."""
    bank.open("a", 1_250_000)
    bank.open("b")
    for amount in ("1", "2", "3"):
        body = {"debit_account_id": "a", "credit_account_id": "b", "amount": amount}
        assert bank.post("/v1/transfers", body | {"currency": "EUR"}).is_success
    hold = {"debit_account_id": "a", "credit_account_id": "b", "amount": "40", "hold_id": "h"}
    assert bank.post("/v1/holds", hold | {"currency": "EUR"}).is_success
    body = {"account_id": "b", "amount": "7", "currency": "EUR"}
    assert bank.post("/v1/withdrawals", body, key="too-much").status_code == 422
    return bank


def _document(bank: Bank, path: str, **params: Any) -> Json:  # noqa: ANN401
    """The answer of a view."""
    answer = bank.get(path, **params)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_a_balance_is_explained_page_by_page(busy: Bank) -> None:
    """Newest first; each page begins with what is carried forward, all of one moment."""
    path = "/v1/accounts/a/explanation"
    whole = _document(busy, path)
    assert (whole["posted"], whole["held_minor"], whole["available_minor"]) == (
        "12499.94",
        "40",
        "1249954",
    )
    assert (whole["adds_up"], whole["carried_forward"], whole["next"]) == (True, None, "")
    assert [line["change_minor"] for line in whole["postings"]] == ["1250000", "-1", "-2", "-3"]
    assert [(item["hold_id"], item["change_minor"]) for item in whole["holds"]] == [("h", "40")]
    first = _document(busy, path, limit=2)
    assert first["carried_forward"]["balance_minor"] == "1249999"
    # A deposit meanwhile is not on the later pages.
    busy.post("/v1/deposits", {"account_id": "a", "amount": "5", "currency": "EUR"})
    second = _document(busy, path, limit=2, cursor=first["next"])
    assert second["postings"] + first["postings"] == whole["postings"]
    assert (second["next"], second["adds_up"], second["position"]) == ("", True, first["position"])
    other = busy.get("/v1/accounts/b/explanation", limit=2, cursor=first["next"])
    assert other.json()["code"] == "invalid_cursor"


def test_a_flag_and_a_refusal_are_explained(busy: Bank) -> None:
    """Which movements met the rule; which balance did not suffice."""
    (flag,) = _document(busy, "/v1/risk-flags")["flags"]
    found = _document(busy, f"/v1/risk-flags/{flag['flag_id']}/explanation")
    assert (found["flag"], found["parameters"]) == (flag, {"amount": 10_000})
    assert [item["amount"] for item in found["movements"]] == ["12500.00"]
    refused = _document(busy, "/v1/refusals/explanation", key="too-much")
    (balance,) = refused["balances"]
    assert balance["available_minor"] == refused["seen"]["available_minor"] == "6"
    assert refused["command"]["amount"] == "7"
    by_position = _document(busy, "/v1/refusals/explanation", position=refused["refusal_position"])
    assert by_position == refused
    answer = busy.get("/v1/refusals/explanation", key="too-much", role="teller")
    assert answer.json()["code"] == "forbidden"


def test_risk_rules_are_read_as_they_stood(bank: Bank) -> None:
    """Their defaults at first; from its event on, what was set."""
    body = {"rule": "velocity", "parameters": {"count": 3}, "enabled": False}
    position = bank.post("/v1/risk-rules", body).json()["position"]
    now = {item["rule"]: item for item in _document(bank, "/v1/risk-rules")["risk_rules"]}
    assert now["velocity"] == {
        "rule": "velocity",
        "enabled": False,
        "parameters": {"count": 3, "days": 1},
        "since_position": position,
    }
    before = _document(bank, "/v1/risk-rules", as_of_position=position - 1)["risk_rules"]
    assert {item["since_position"] for item in before} == {0}
    assert len(before) == len(now) == len(DEFAULTS)


def test_what_changed_is_told_page_by_page(busy: Bank) -> None:
    """From a position or a time to another; nothing personal is shown."""
    profile = {"name": "Anna Secret"}
    busy.post("/v1/customers", {"customer_id": "anna", "profile": profile})
    found = _document(busy, "/v1/diff", from_position=5)
    kinds = [(item["kind"], item["id"], item["change"]) for item in found["changes"]]
    assert kinds == [
        ("account", "a", "changed"),
        ("account", "b", "changed"),
        ("customer", "anna", "appeared"),
        ("hold", "h", "appeared"),
    ]
    assert "Secret" not in str(found)
    changes: list[Json] = []
    cursor = None
    while cursor != "":
        page = _document(busy, "/v1/diff", from_position=5, limit=1, cursor=cursor)
        assert page["position"] == found["position"]
        changes += page["changes"]
        cursor = page["next"]
    assert changes == found["changes"]
    since = _document(busy, "/v1/diff", from_as_of="2001-01-01T00:00:00Z", kind="hold")
    assert [item["id"] for item in since["changes"]] == ["h"]
    nothing = _document(busy, "/v1/diff", from_position=5, to_position=5)
    assert nothing["changes"] == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/accounts/nobody/explanation", 404, "account_not_found"),
        ("/v1/accounts/a/explanation?currency=JPY", 422, "currency_mismatch"),
        ("/v1/accounts/a/explanation?limit=0", 422, "validation_error"),
        ("/v1/accounts/a/explanation?as_of_position=99999", 409, "position_ahead"),
        ("/v1/risk-flags/none/explanation", 404, "flag_not_found"),
        ("/v1/refusals/explanation", 422, "validation_error"),
        ("/v1/refusals/explanation?key=k&position=1", 422, "validation_error"),
        ("/v1/refusals/explanation?key=%00", 422, "validation_error"),
        ("/v1/refusals/explanation?position=1", 404, "refusal_not_found"),
        ("/v1/refusals/explanation?position=999999999999999999", 404, "refusal_not_found"),
        ("/v1/refusals/explanation?key=none", 404, "refusal_not_found"),
        ("/v1/diff", 422, "validation_error"),
        ("/v1/diff?from_position=1&from_as_of=2001-01-01T00:00:00Z", 422, "validation_error"),
        ("/v1/diff?from_position=1&to_position=99999", 409, "position_ahead"),
        ("/v1/diff?from_position=x", 422, "validation_error"),
        ("/v1/diff?from_position=1&kind=money", 422, "validation_error"),
        ("/v1/diff?from_position=1&cursor=AAAA", 400, "invalid_cursor"),
        ("/v1/entries/jrn_99/effect?as_of_position=1", 404, "entry_not_found"),
    ],
)
def test_what_is_wrong_is_said(bank: Bank, path: str, status: int, code: str) -> None:
    """A clear problem, and never a failure."""
    bank.open("a", 5)
    bank.catch_up()
    answer = bank.client.get(path, headers=bank.headers())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
