"""One end-to-end test per capability: the command over HTTP, its answer, its place in the log."""

from typing import Any

import pytest
from httpx2 import Response
from tests.http.bank import Bank, Json

from api.routes import COMMANDS, approvals, standing_orders, templates

SETUP: tuple[tuple[str, Json], ...] = (
    ("/v1/customers", {"customer_id": "anna", "profile": {"name": "Anna Weber"}}),
    ("/v1/customers", {"customer_id": "ben", "profile": {"name": "Ben Okafor"}}),
    ("/v1/accounts", {"account_id": "anna-current", "currency": "EUR"}),
    ("/v1/accounts", {"account_id": "ben-current", "currency": "EUR"}),
    ("/v1/accounts", {"account_id": "fees", "currency": "EUR", "account_type": "income"}),
    ("/v1/accounts", {"account_id": "empty", "currency": "EUR"}),
    ("/v1/accounts", {"account_id": "tax-payable", "currency": "EUR"}),
    ("/v1/accounts", {"account_id": "anna-dollars", "currency": "USD"}),
    ("/v1/templates", templates.COMMANDS[0].example),
    ("/v1/deposits", {"account_id": "anna-current", "amount": "1000000", "currency": "EUR"}),
    (
        "/v1/deposits",
        {"account_id": "anna-current", "amount": "10", "currency": "EUR", "entry_id": "first"},
    ),
    (
        "/v1/holds",
        {
            "hold_id": "held",
            "debit_account_id": "anna-current",
            "credit_account_id": "ben-current",
            "amount": "20000",
            "currency": "EUR",
        },
    ),
    ("/v1/accounts/anna-current/freeze", {"cause": "compliance", "effect": "credit"}),
    ("/v1/accounts/ben-current/holders", {"customer_id": "ben", "role": "joint"}),
    ("/v1/accounts/fees/close", {}),
    ("/v1/groups", {"group_id": "family", "name": "Family", "currency": "EUR"}),
    ("/v1/groups/family/members", {"account_id": "ben-current"}),
)

# Where the example of a route needs another address or content than the names of the set-up.
ADDRESS = {
    "reverse_entry": "/v1/entries/first/reversal",
    "capture_hold": "/v1/holds/held/capture",
    "void_hold": "/v1/holds/held/void",
    "set_limit": "/v1/accounts/ben-current/limit",
    "freeze_account": "/v1/accounts/ben-current/freeze",
    "unfreeze_account": "/v1/accounts/anna-current/unfreeze",
    "close_account": "/v1/accounts/empty/close",
    "reopen_account": "/v1/accounts/fees/reopen",
    "link_customer": "/v1/accounts/anna-current/holders",
    "unlink_customer": "/v1/accounts/ben-current/holders/unlink",
    "set_group_limit": "/v1/groups/family/limit",
    "add_to_group": "/v1/groups/family/members",
    "remove_from_group": "/v1/groups/family/members/remove",
    "change_profile": "/v1/customers/anna/profile",
    "erase_customer": "/v1/customers/anna/erasure",
    "change_order": "/v1/standing-orders/anna-rent/change",
    "cancel_order": "/v1/standing-orders/anna-rent/cancel",
    "approve_request": "/v1/approvals/move-office/approve",
    "reject_request": "/v1/approvals/move-office/reject",
    "withdraw_request": "/v1/approvals/move-office/withdraw",
    "post_template": "/v1/templates/account-fee/entries",
    "retire_template": "/v1/templates/account-fee/retire",
    "retire_role": "/v1/roles/reader/retire",
}
CHANGED: dict[str, Json] = {
    "open_account": {"account_id": "anna-savings"},
    "register_customer": {"customer_id": "carla"},
    "reverse_entry": {"force": True},
    "define_template": {"name": "another-fee"},
}
ORDER = ("/v1/standing-orders", standing_orders.COMMANDS[0].example)
REQUEST = ("/v1/approvals", approvals.COMMANDS[0].example | {"approvers": ["admin", "risk"]})
# The example of these needs what the set-up took away, or another's work.
BEFORE: dict[str, tuple[str, Json]] = {
    "post_entry": ("/v1/accounts/fees/reopen", {}),
    "allocate": ("/v1/accounts/fees/reopen", {}),
    "post_template": ("/v1/accounts/fees/reopen", {}),
    "reverse_entry": ("/v1/accounts/anna-current/unfreeze", {"cause": "compliance"}),
    "deposit": ("/v1/accounts/anna-current/unfreeze", {"cause": "compliance"}),
    "reopen_period": ("/v1/period/close", {"through": "2026-01-31"}),
    "change_order": ORDER,
    "cancel_order": ORDER,
    "approve_request": REQUEST,
    "reject_request": REQUEST,
    "withdraw_request": REQUEST,
}
# Who does that, where it must not be who goes on.
BY = {"approve_request": "teller", "reject_request": "teller"}


def prepared(bank: Bank, route: Any) -> tuple[str, Json]:  # noqa: ANN401
    """A bank in which the example of a route can be carried out; its address and its body."""
    operation = route.operation
    for path, body in SETUP:
        answer = bank.post(path, body)
        assert answer.status_code == 201, answer.text
    if operation in BEFORE:
        answer = bank.post(*BEFORE[operation], role=BY.get(operation, "admin"))
        assert answer.is_success, answer.text
    return ADDRESS.get(operation, route.path), route.example | CHANGED.get(operation, {})


@pytest.mark.parametrize("route", COMMANDS, ids=lambda route: route.operation)
def test_the_documented_example_of_every_command_is_recorded(bank: Bank, route: Any) -> None:  # noqa: ANN401
    """Each route takes its documented example, answers with its event, and the log has it."""
    path, body = prepared(bank, route)
    answer = bank.post(path, body, key="the-one")
    waits = route.operation == "request_approval"
    assert answer.status_code == (202 if waits else 201), answer.text
    document = answer.json()
    event = bank.events()[-1]
    assert event["command_key"] == ("approval the-one" if waits else "the-one")
    assert (document["type"], document["position"]) == (event["type"], event["position"])
    assert document["type"] == route.event.__name__
    assert document["status"] == ("pending_approval" if waits else "recorded")
    assert "s1." not in answer.text
    assert event["actor"] == f"key:{bank.keys['admin'].split('_')[2]}"


def test_amounts_are_strings_of_minor_units(bank: Bank) -> None:
    """An answer repeats amounts exactly, as strings, whatever their size."""
    bank.open("a")
    amount = "9" * 36
    body = {"account_id": "a", "amount": amount, "currency": "EUR"}
    document = bank.post("/v1/deposits", body).json()
    assert [posting["amount"] for posting in document["postings"]] == [amount, amount]
    shown = bank.get("/v1/accounts/a/balance").json()
    assert shown["posted_minor"] == amount
    assert shown["posted"] == f"{'9' * 34}.99"


def test_ids_of_any_characters_work_in_addresses(bank: Bank) -> None:
    """Slashes, colons, blanks and letters of any script are part of an id, percent-encoded."""
    account_id = "a/b:c d?é%2F漢#statement"
    created = bank.post("/v1/accounts", {"account_id": account_id, "currency": "EUR"})
    location = created.headers["location"]
    assert bank.get(location).json()["account_id"] == account_id
    assert bank.post(f"{location}/freeze", {"cause": "x"}).status_code == 201
    assert bank.get(f"{location}/statement").json()["account_id"] == account_id


def test_what_is_so_already_is_answered_as_unchanged(bank: Bank) -> None:
    """A command that changes nothing says so, and its retry does so too, whatever came between."""
    bank.open("a")
    assert bank.post("/v1/accounts/a/freeze", {"cause": "x"}).status_code == 201
    answer = bank.post("/v1/accounts/a/freeze", {"cause": "x"}, key="again")
    assert (answer.status_code, answer.json()["status"]) == (200, "unchanged")
    assert bank.post("/v1/accounts/a/unfreeze", {"cause": "x"}).status_code == 201
    retried = bank.post("/v1/accounts/a/freeze", {"cause": "x"}, key="again")
    assert retried.content == answer.content
    assert retried.headers["idempotency-replayed"] == "true"
    other = bank.post("/v1/accounts/a/freeze", {"cause": "y"}, key="again")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    assert bank.get("/v1/accounts/a").json()["blocks"] == []


def test_a_refusal_says_what_was_seen(bank: Bank) -> None:
    """Insufficient funds name the available balance, the limit and the need."""
    bank.open("a", 100)
    bank.open("b")
    body = {"debit_account_id": "a", "credit_account_id": "b", "amount": "101", "currency": "EUR"}
    answer = bank.post("/v1/transfers", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "insufficient_funds"
    assert problem["seen"]["available_minor"] == "100"
    assert problem["seen"]["needed_minor"] == "101"


def test_the_address_and_the_body_must_name_the_same(bank: Bank) -> None:
    """A body may repeat what the address names, and may not contradict it."""
    bank.open("a")
    assert bank.post("/v1/accounts/a/freeze", {"cause": "x", "account_id": "a"}).is_success
    answer = bank.post("/v1/accounts/a/freeze", {"cause": "y", "account_id": "b"})
    assert _fields(answer) == ["account_id"]


def _fields(answer: Response) -> list[str]:
    """The fields that a refusal names."""
    assert answer.status_code == 422, answer.text
    return [error["field"] for error in answer.json()["errors"]]
