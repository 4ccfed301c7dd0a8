"""Limits, groups, periods and identification over HTTP: set, refused, read back, now and then."""

from datetime import timedelta

from tests.http.bank import Bank

from api import clock


def test_a_group_shares_a_limit_and_shows_its_totals(bank: Bank) -> None:
    """Made, filled, limited, refused by; and as it was before a member left."""
    for name, amount in (("a", 100), ("b", 50)):
        bank.open(name, amount)
        assert bank.post(f"/v1/accounts/{name}/limit", {"limit": None}).status_code == 201
    made = bank.post("/v1/groups", {"name": "The Webers", "currency": "EUR", "limit": "20"})
    assert made.status_code == 201, made.text
    address = made.headers["location"]
    group_id = made.json()["group_id"]
    assert address == f"/v1/groups/{group_id}"
    assert (made.json()["limit"], made.json()["ceiling"]) == ("20", None)
    for name in ("a", "b"):
        assert bank.post(f"{address}/members", {"account_id": name}).status_code == 201
    hold = {
        "debit_account_id": "a",
        "credit_account_id": "b",
        "amount": "30",
        "currency": "EUR",
    }
    assert bank.post("/v1/holds", hold).status_code == 201
    body = {"account_id": "b", "amount": "141", "currency": "EUR"}
    refused = bank.post("/v1/withdrawals", body)
    assert refused.status_code == 422
    assert refused.json()["code"] == "insufficient_funds"
    assert refused.json()["seen"]["group_id"] == group_id
    assert refused.json()["seen"]["available_minor"] == "140"
    before = bank.get(address).json()
    assert before["group"]["members"] == ["a", "b"]
    assert before["members"][0] == {
        "account_id": "a",
        "posted_minor": "100",
        "outgoing_held_minor": "30",
        "incoming_held_minor": "0",
    }
    sums = ("posted_minor", "outgoing_held_minor", "incoming_held_minor", "available_minor")
    assert [before[name] for name in sums] == ["150", "30", "30", "140"]
    assert bank.post("/v1/withdrawals", body | {"amount": "140"}).status_code == 201
    left = bank.post(f"{address}/members/remove", {"account_id": "b", "reason": "moved"})
    assert left.status_code == 201
    raised = bank.post(f"{address}/limit", {"limit": None, "ceiling": "9"})
    assert (raised.json()["limit"], raised.json()["ceiling"]) == (None, "9")
    now = bank.get(address).json()
    assert [now[name] for name in sums] == ["100", "30", "0", None]
    then = bank.get(address, as_of_position=before["position"]).json()
    assert {**then, "recorded_at": ""} == {**before, "recorded_at": ""}
    listed = bank.get("/v1/groups", account_id="a").json()["groups"]
    assert [(item["group_id"], item["ceiling_minor"]) for item in listed] == [(group_id, "9")]
    assert bank.get("/v1/groups", account_id="b").json()["groups"] == []
    assert bank.get("/v1/accounts/a").json()["groups"] == [group_id]
    unknown = bank.get("/v1/groups/nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "group_not_found")


def test_a_period_is_closed_and_moves_late_entries(bank: Bank) -> None:
    """Only an administrator closes; the entry keeps the date that was asked for."""
    bank.open("a")
    assert bank.get("/v1/period").json()["closed_through"] is None
    yesterday = clock.now().date() - timedelta(days=1)
    close = {"through": yesterday.isoformat()}
    assert bank.post("/v1/period/close", close, role="teller").status_code == 403
    closed = bank.post("/v1/period/close", close)
    assert (closed.status_code, closed.json()["type"]) == (201, "PeriodClosed")
    late = {
        "account_id": "a",
        "amount": "5",
        "currency": "EUR",
        "value_date": yesterday.isoformat(),
    }
    refused = bank.post("/v1/deposits", late)
    assert refused.status_code == 422
    assert refused.json()["code"] == "period_closed"
    assert refused.json()["seen"]["closed_through"] == yesterday.isoformat()
    assert bank.post("/v1/period/close", close | {"late_posting": "next_open"}).is_success
    moved = bank.post("/v1/deposits", late)
    assert moved.status_code == 201
    today = yesterday + timedelta(days=1)
    assert moved.json()["value_date"] == today.isoformat()
    assert moved.json()["original_value_date"] == yesterday.isoformat()
    shown = bank.get("/v1/period").json()
    assert (shown["status"], shown["closed_through"], shown["late_posting"]) == (
        "closed",
        yesterday.isoformat(),
        "next_open",
    )
    reopened = bank.post("/v1/period/reopen", {"after": None, "reason": "audit"})
    assert (reopened.status_code, reopened.json()["through"]) == (201, None)
    assert bank.get("/v1/period").json()["status"] == "open"
    late_again = bank.post("/v1/deposits", late)
    assert late_again.json()["value_date"] == yesterday.isoformat()


def test_limits_have_a_floor_a_ceiling_and_a_day(bank: Bank) -> None:
    """A minimum balance, a maximum, and a change that is still to come."""
    body = {"account_id": "a", "currency": "EUR", "limit": "-10", "ceiling": "100"}
    opened = bank.post("/v1/accounts", body)
    assert (opened.json()["limit"], opened.json()["ceiling"]) == ("-10", "100")
    deposit = {"account_id": "a", "amount": "101", "currency": "EUR"}
    refused = bank.post("/v1/deposits", deposit)
    assert (refused.status_code, refused.json()["code"]) == (422, "limit_exceeded")
    assert refused.json()["seen"]["ceiling_minor"] == "100"
    assert bank.post("/v1/deposits", deposit | {"amount": "100"}).status_code == 201
    refused = bank.post("/v1/withdrawals", deposit | {"amount": "91"})
    assert (refused.status_code, refused.json()["code"]) == (422, "insufficient_funds")
    tomorrow = (clock.now().date() + timedelta(days=1)).isoformat()
    change = {"limit": "50", "effective_date": tomorrow, "reason": "agreed"}
    scheduled = bank.post("/v1/accounts/a/limit", change)
    assert (scheduled.status_code, scheduled.json()["type"]) == (201, "LimitChangeScheduled")
    assert (scheduled.json()["limit"], scheduled.json()["keeps_ceiling"]) == ("50", True)
    (listed,) = bank.get("/v1/limit-changes", account_id="a", status="scheduled").json()[
        "limit_changes"
    ]
    assert (listed["effective_date"], listed["limit_minor"]) == (tomorrow, "50")
    assert bank.get("/v1/limit-changes", account_id="b").json()["limit_changes"] == []
    account = bank.get("/v1/accounts/a").json()
    assert (account["limit_minor"], account["ceiling_minor"]) == ("-10", "100")
    set_now = bank.post("/v1/accounts/a/limit", {"limit": "0", "ceiling": None})
    assert (set_now.json()["type"], set_now.json()["ceiling"]) == ("LimitSet", None)
    assert bank.get("/v1/accounts/a").json()["ceiling_minor"] is None


def test_an_account_waits_for_the_owners_identification(bank: Bank) -> None:
    """A status that is not cleared refuses the opening; it is a public field of the profile."""
    profile = {"name": "Anna", "kyc_status": "pending"}
    assert bank.post("/v1/customers", {"customer_id": "anna", "profile": profile}).is_success
    opening = {"account_id": "a", "currency": "EUR", "customer_id": "anna"}
    refused = bank.post("/v1/accounts", opening)
    assert (refused.status_code, refused.json()["code"]) == (422, "kyc_not_cleared")
    assert refused.json()["seen"]["kyc_status"] == "pending"
    change = {"changes": {"kyc_status": "cleared"}, "reason": "Passport seen"}
    assert bank.post("/v1/customers/anna/profile", change).is_success
    assert bank.post("/v1/accounts", opening).status_code == 201
    assert bank.get("/v1/customers/anna").json()["profile"]["kyc_status"] == "cleared"
    bad = bank.post("/v1/customers/anna/profile", change | {"changes": {"kyc_status": "maybe"}})
    assert bad.json()["errors"][0]["field"] == "changes.kyc_status"
