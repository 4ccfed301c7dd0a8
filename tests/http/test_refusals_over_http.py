"""Refused movements of money, as an auditor finds them."""

from tests.http.bank import Bank


def test_an_auditor_finds_why_a_payment_was_refused(bank: Bank) -> None:
    """By the code and by the account: who asked for what, what was seen; a retry may succeed."""
    for name in ("ann", "ben"):
        bank.post("/v1/accounts", {"account_id": name, "currency": "EUR"})
    payment = {
        "debit_account_id": "ann",
        "credit_account_id": "ben",
        "amount": "500",
        "currency": "EUR",
    }
    refused = bank.post("/v1/transfers", payment, key="rent", role="teller")
    assert refused.json()["code"] == "insufficient_funds"
    for tag in ("refusal:insufficient_funds", "account:ann"):
        found = bank.get("/v1/events", tag=tag, role="auditor").json()["events"]
        event = next(item for item in found if item["type"] == "CommandRefused")
        assert event["data"]["command"] == {"type": "transfer", "key": "rent", **payment}
        assert event["data"]["seen"]["available_minor"] == "0"
        assert event["actor"] == f"key:{bank.keys['teller'].split('_')[2]}"
    bank.post("/v1/deposits", {"account_id": "ann", "amount": "500", "currency": "EUR"})
    assert bank.post("/v1/transfers", payment, key="rent", role="teller").status_code == 201


def test_tagged_events_are_paged(bank: Bank) -> None:
    """A page says where the next begins; what is malformed is refused."""
    bank.post("/v1/accounts", {"account_id": "ann", "currency": "EUR"})
    for _ in range(3):
        bank.post("/v1/deposits", {"account_id": "ann", "amount": "5", "currency": "EUR"})
    seen, after = [], 0
    while after is not None:
        page = bank.get("/v1/events", tag="account:ann", after=after, limit=2).json()
        seen += [event["type"] for event in page["events"]]
        after = page["next_after"]
    assert seen == ["AccountOpened", *["JournalEntryPosted"] * 3]
    assert bank.get("/v1/events", tag="\x00").status_code == 422


def test_a_command_can_be_judged_at_a_past_position(bank: Bank) -> None:
    """``dry_run`` with ``at_position`` answers as the ledger stood then, and records nothing."""
    for name in ("ann", "ben"):
        bank.post("/v1/accounts", {"account_id": name, "currency": "EUR"})
    deposit = bank.post("/v1/deposits", {"account_id": "ann", "amount": "500", "currency": "EUR"})
    position = deposit.json()["position"]
    bank.catch_up()
    payment = {
        "debit_account_id": "ann",
        "credit_account_id": "ben",
        "amount": "500",
        "currency": "EUR",
    }
    before = bank.post(f"/v1/transfers?dry_run=true&at_position={position - 1}", payment)
    assert before.status_code == 422
    assert before.json()["code"] == "insufficient_funds"
    after = bank.post(f"/v1/transfers?dry_run=true&at_position={position}", payment)
    assert after.status_code == 201
    assert after.json()["position"] == position + 1
    ahead = bank.post(f"/v1/transfers?dry_run=true&at_position={position + 1}", payment)
    assert ahead.json()["code"] == "position_ahead"
    assert bank.post("/v1/transfers?at_position=1", payment).status_code == 422
    assert bank.get("/v1/info").json() is not None
    assert bank.get("/v1/accounts/ann/balance").json()["posted_minor"] == "500"
