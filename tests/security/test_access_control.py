"""Who may do what, as data of the ledger: set over HTTP, in force soon, and denials on record."""

import time
from typing import Any

import pytest
from httpx2 import Response
from tests.http.bank import Bank, Json

from api.remembering import REMEMBERED_S
from ledger_core import access_log
from ledger_core.access_log import StoredAccess

TRANSFER = {"debit_account_id": "a", "credit_account_id": "b", "amount": "5", "currency": "EUR"}
IN_FORCE_S = 2 * REMEMBERED_S
"""How long what was known of a role may count."""


@pytest.fixture
def house(bank: Bank) -> Bank:
    """A bank with 1,000 on account a, account b, and a customer c who holds a."""
    bank.open("a", 1_000)
    bank.open("b")
    bank.post("/v1/customers", {"customer_id": "c", "profile": {"name": "Ottilie Xanthopoulos"}})
    bank.post("/v1/accounts/a/holders", {"customer_id": "c", "role": "owner"})
    bank.catch_up()
    return bank


def set_role(bank: Bank, name: str, *permissions: str, by: str = "admin", **more: Any) -> Response:  # noqa: ANN401
    """Set a role, and make a key of it; the views know of it."""
    answer = bank.post("/v1/roles", {"name": name, "permissions": permissions, **more}, role=by)
    bank.catch_up()
    if name not in bank.keys:
        bank.keys[name] = bank.runtime.create_key(bank.ledger_id, name, f"a {name}")
    return answer


def accesses_of(bank: Bank, answer: Response) -> list[StoredAccess]:
    """The accesses that a request left."""
    request_id = answer.headers["x-request-id"]
    with bank.runtime.connect("ledger_reader") as connection:
        found = access_log.read_after(connection, bank.ledger_id, 0)
    return [item for item in found if item.request_id == request_id]


def test_a_role_is_set_shown_and_counts(house: Bank) -> None:
    """From its definition to what a key of it may do, and who could do what at any position."""
    answer = set_role(house, "clerk", "movements.post", "accounts.*", amount_max={"EUR": "5"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/roles/clerk")
    assert answer.json()["amount_max"] == {"EUR": "5"}
    assert house.post("/v1/transfers", TRANSFER, role="clerk").status_code == 201
    assert house.get("/v1/accounts/a", role="clerk").status_code == 200
    assert house.get("/v1/customers/c", role="clerk").status_code == 403
    shown = house.get("/v1/roles/clerk").json()["role"]
    assert shown["grants"] == sorted(
        ["movements.post", "accounts.read", "accounts.manage", "accounts.block"]
    )
    assert "transfer" in shown["operations"]
    assert shown["since_position"] == answer.json()["position"]
    before = house.get("/v1/roles", as_of_position=answer.json()["position"] - 1).json()
    assert "clerk" not in [role["name"] for role in before["roles"]]
    assert house.get("/v1/roles/nothing").json()["code"] == "role_not_found"


def test_what_no_permission_is_called_is_shown_as_unknown(house: Bank) -> None:
    """A name that the program does not know grants nothing, and says so."""
    set_role(house, "odd", "acounts.read", "nothing.*", "info.read")
    shown = house.get("/v1/roles/odd").json()["role"]
    assert shown["unknown"] == ["acounts.read", "nothing.*"]
    assert shown["grants"] == ["info.read"]
    listed = house.get("/v1/permissions").json()["permissions"]
    assert {item["permission"] for item in listed} >= {"accounts.read", "roles.set"}


def test_a_role_that_is_changed_or_retired_counts_within_two_seconds(house: Bank) -> None:
    """For keys in use, too; and a retired default role opens nothing any more."""
    assert IN_FORCE_S <= 2
    assert house.get("/v1/accounts/a", role="reader").status_code == 200
    set_role(house, "clerk", "accounts.read")
    assert house.get("/v1/accounts/a", role="clerk").status_code == 200
    set_role(house, "clerk", "info.read")
    assert house.post("/v1/roles/reader/retire", {"reason": "r"}).status_code == 201
    house.catch_up()
    time.sleep(IN_FORCE_S + 0.05)
    for role in ("clerk", "reader"):
        assert house.get("/v1/accounts/a", role=role).json()["code"] == "forbidden"
    assert house.get("/v1/info", role="reader").status_code == 403
    assert house.get("/v1/roles/reader").json()["role"]["status"] == "retired"
    assert house.get("/v1/roles/reader").json()["role"]["operations"] == []


def test_a_retired_role_counts_in_no_approval(house: Bank) -> None:
    """The name of a role is a permission in approvals, as long as there is that role."""
    set_role(house, "ops", "approvals.vote")
    two = house.runtime.create_key(house.ledger_id, "ops", "two")
    request = {"command": {"type": "transfer", **TRANSFER}, "approvers": ["ops"]}
    house.post("/v1/approvals", {**request, "request_id": "q"}, role="teller")
    house.post("/v1/roles/ops/retire", {})
    house.catch_up()
    time.sleep(IN_FORCE_S + 0.05)
    house.keys["two"] = two
    assert house.post("/v1/approvals/q/approve", {}, role="two").status_code == 403


@pytest.mark.parametrize("path", ["/v1/transfers", "/v1/batch"])
def test_an_amount_above_the_bound_is_denied_and_recorded(house: Bank, path: str) -> None:
    """403 with the figures, by a single route and in a batch; an access says who tried."""
    set_role(house, "clerk", "movements.post", "batches.send", amount_max={"EUR": "4"})
    body: Json = TRANSFER
    if path.endswith("batch"):
        body = {"commands": [{"type": "transfer", "key": "x", **TRANSFER}]}
    answer = house.post(path, body, role="clerk")
    problem = answer.json()["results"][0]["error"] if path.endswith("batch") else answer.json()
    assert (problem["status"], problem["code"]) == (403, "amount_above_authority")
    assert problem["seen"]["amount_max_minor"] == "4"
    (access,) = accesses_of(house, answer)
    assert (access.operation, access.status) == ("transfer", 403)
    assert list(access.subjects) == ["account:a", "account:b"]


def test_every_denial_is_recorded(house: Bank) -> None:
    """Views, commands by all ways, wrapped ones, actions, and what belongs to the program."""
    wrapped = {"command": {"type": "transfer", **TRANSFER}, "approvers": ["x"]}
    set_role(house, "voter", "approvals.vote")
    for role, path, body, operation in (
        ("reader", "/v1/transfers", TRANSFER, "transfer"),
        ("reader", "/v1/accounts/a/freeze", {"cause": "x"}, "freeze_account"),
        ("reader", "/v1/batch", {"commands": []}, "batch"),
        ("voter", "/v1/approvals", wrapped, "request_approval"),
        ("reader", "/v1/business-days", {"business_date": "2026-01-01"}, "run_business_day"),
        ("reader", "/v1/checkpoints", {}, "sign_checkpoint"),
        ("reader", "/v1/customers/search", {"fields": {"name": "x"}}, "search_customers"),
        ("reader", "/v1/keys", {"role": "reader", "name": "x"}, "create_key"),
        ("teller", "/v1/roles", {"name": "x", "permissions": []}, "set_role"),
        ("teller", "/v1/roles/reader/retire", {}, "retire_role"),
    ):
        answer = house.post(path, body, role=role)
        assert answer.status_code == 403, (path, answer.text)
        (access,) = accesses_of(house, answer)
        assert (access.operation, access.status) == (operation, 403)
        assert access.actor == f"key:{house.keys[role].split('_')[2]}"
    for path, operation in (("/v1/events", "list_events"), ("/v1/keys", "list_keys")):
        answer = house.get(path, role="teller")
        (access,) = accesses_of(house, answer)
        assert (access.operation, access.status) == (operation, 403)
    answer = house.get("/v1/info", role="voter")  # An answer would not be recorded; a denial is.
    assert [item.status for item in accesses_of(house, answer)] == [403]


def test_in_a_batch_each_kind_that_is_denied_is_recorded(house: Bank) -> None:
    """One access a kind, about all that it named; what was allowed is in the ledger's own log."""
    set_role(house, "clerk", "movements.post", "batches.send")
    frozen = [
        {"type": "freeze_account", "key": name, "account_id": name, "cause": "x"} for name in "ab"
    ]
    body = {
        "commands": [
            {"type": "transfer", "key": "t", **TRANSFER},
            *frozen,
            {"type": "register_unit", "key": "u", "code": "PTS", "scale": 2},
        ]
    }
    answer = house.post("/v1/batch", body, role="clerk")
    assert [item["status"] for item in answer.json()["results"]] == ["recorded", *["refused"] * 3]
    found = {item.operation: list(item.subjects) for item in accesses_of(house, answer)}
    assert found == {"freeze_account": ["account:a", "account:b"], "register_unit": []}


def test_an_action_is_recorded_with_whom_it_was_about(house: Bank) -> None:
    """Done, refused or malformed: one access, and the reason that was given."""
    made = house.client.post(
        "/v1/keys",
        json={"role": "reader", "name": "x"},
        headers=house.headers(**{"Ledger-Reason": "case 7"}),
    )
    assert made.status_code == 201, made.text
    (access,) = accesses_of(house, made)
    assert (access.operation, access.status, access.reason) == ("create_key", 201, "case 7")
    assert f"key:{made.json()['key_id']}" in access.subjects
    revoke = f"/v1/keys/{made.json()['key_id']}/revoke"
    ended = house.client.post(revoke, headers=house.headers())
    assert ended.is_success, ended.text
    (access,) = accesses_of(house, ended)
    assert f"key:{made.json()['key_id']}" in access.subjects
    refused = house.post("/v1/keys", {"role": "no-such-role", "name": "x"})
    assert refused.status_code == 422, refused.text
    assert [item.status for item in accesses_of(house, refused)] == [422]


@pytest.mark.parametrize("reason", ["x" * 201, "a\x7fb"])
def test_an_action_whose_reason_cannot_be_kept_is_not_carried_out(house: Bank, reason: str) -> None:
    """Refused before it does anything."""
    before = house.get("/v1/keys").json()["keys"]
    answer = house.client.post(
        "/v1/keys",
        json={"role": "reader", "name": "x"},
        headers=house.headers(**{"Ledger-Reason": reason}),
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_reason")
    assert house.get("/v1/keys").json()["keys"] == before


def test_who_must_say_why_is_shown_nothing_without(house: Bank) -> None:
    """An auditor gives a reason for customers, wherever their profiles show; not for the rest."""
    for path, is_personal in (
        ("/v1/customers/c", True),
        ("/v1/customers", True),
        ("/v1/accounts/a?expand=holders", True),
        ("/v1/accounts/a", False),
        ("/v1/events", False),
        ("/v1/accesses", False),
    ):
        answer = house.client.get(path, headers=house.headers("auditor"))
        assert answer.status_code == (400 if is_personal else 200), (path, answer.text)
        if is_personal:
            assert answer.json()["code"] == "reason_required"
            assert "Xanthopoulos" not in answer.text
            assert [item.status for item in accesses_of(house, answer)] == [400]
        told = house.client.get(path, headers=house.headers("auditor", **{"Ledger-Reason": "c 7"}))
        assert told.status_code == 200
    found = house.client.post(
        "/v1/customers/search",
        json={"fields": {"name": "Ottilie Xanthopoulos"}},
        headers=house.headers("auditor"),
    )
    assert (found.status_code, found.json()["code"]) == (400, "reason_required")


def test_a_command_may_need_a_reason_which_is_then_on_record(house: Bank) -> None:
    """Without one nothing is booked; with one the access tells it; in a batch alike."""
    set_role(house, "clerk", "movements.post", "batches.send", reason_for=["movements.*"])
    item = {"type": "transfer", "key": "x", **TRANSFER}
    before = len(house.events())
    answer = house.post("/v1/transfers", TRANSFER, role="clerk")
    assert (answer.status_code, answer.json()["code"]) == (400, "reason_required")
    batch = house.post("/v1/batch", {"commands": [item]}, role="clerk")
    assert batch.json()["results"][0]["error"]["code"] == "reason_required"
    assert len(house.events()) == before
    headers = house.headers("clerk", **{"Ledger-Reason": "case 7", "Idempotency-Key": "y"})
    for path, body in (("/v1/transfers", TRANSFER), ("/v1/batch", {"commands": [item]})):
        done = house.client.post(path, json=body, headers=headers)
        assert done.is_success, done.text
        (access,) = accesses_of(house, done)
        assert (access.operation, access.reason) == ("transfer", "case 7")
        assert {"account:a", "account:b"} <= set(access.subjects)


@pytest.mark.parametrize(
    ("permissions", "more", "is_taken"),
    [
        (["keys.read"], {"personal_default": "hidden"}, True),
        (["keys.read", "movements.post"], {"personal_default": "hidden"}, False),
        (["*"], {"personal_default": "hidden"}, False),
        (["keys.read"], {"personal_default": "clear"}, False),
        (["keys.read"], {}, False),
    ],
)
def test_nobody_sets_a_role_that_grants_more_than_they_have(
    house: Bank,
    permissions: list[str],
    more: Json,
    is_taken: bool,  # noqa: FBT001 - what is expected of each case
) -> None:
    """Permissions and fields; also for a role of their own, wrapped, and in a batch."""
    for name in ("mine", "security"):
        body = {"name": name, "permissions": permissions, **more}
        answer = house.post("/v1/roles", body, role="security")
        assert answer.status_code == (201 if is_taken else 403), answer.text
        if not is_taken:
            assert answer.json()["code"] == "beyond_own_authority"
            assert [item.status for item in accesses_of(house, answer)] == [403]


def test_a_role_may_be_cut_down_by_who_has_not_what_it_keeps(house: Bank) -> None:
    """Security takes a permission from tellers, and cannot give it back; an amount alike."""
    kept = ["accounts.read", "movements.post"]
    body = {"name": "teller", "permissions": kept, "amount_max": {"EUR": "500"}}
    assert house.post("/v1/roles", body, role="security").status_code == 201
    house.catch_up()
    time.sleep(IN_FORCE_S + 0.05)
    for wider in (
        {**body, "permissions": [*kept, "entries.post"]},
        {**body, "amount_max": {"EUR": "501"}},
        {"name": "teller", "permissions": kept},
    ):
        answer = house.post("/v1/roles", wider, role="security")
        assert answer.json()["code"] == "beyond_own_authority"
    assert house.post("/v1/roles", {**body, "amount_max": {}}, role="security").status_code == 201
    batch = {"commands": [{"type": "set_role", "key": "b", "name": "x", "permissions": ["*"]}]}
    assert house.post("/v1/batch", batch, role="security").status_code == 403
    malformed = {**body, "amount_max": {"EUR": "five"}}
    assert house.post("/v1/roles", malformed, role="security").json()["code"] == "validation_error"
