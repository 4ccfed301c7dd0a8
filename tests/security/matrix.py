"""What each default role may do, written out by hand, and a bank with one of everything.

The tables here are the specification: they are not made from the program's own.
"""

from typing import Any

from starlette.testclient import TestClient
from tests.http.bank import Bank, Json

from api.routes import ACTIONS, COMMANDS
from api.runtime import Runtime

REASON = {"Ledger-Reason": "case 7"}
NAME = "Quillon Zebradottir"
"""The name of the one customer: nobody else's, so that it can be looked for anywhere."""

_ALL = "info.read proofs.read sessions.own"
_BOOKS = f"{_ALL} accounts.read entries.read reports.read risk.read approvals.read"

GRANTS: dict[str, frozenset[str]] = {
    "reader": frozenset(f"{_BOOKS} customers.read customers.list".split()),
    "analyst": frozenset(f"{_BOOKS} customers.read customers.list".split()),
    "teller": frozenset(
        f"{_BOOKS} movements.post entries.post entries.reverse holds.manage accounts.manage"
        " accounts.block limits.set groups.manage orders.manage orders.run customers.manage"
        " customers.read customers.search approvals.vote batches.send".split()
    ),
    "auditor": frozenset(
        f"{_BOOKS} customers.read customers.list customers.search log.read log.export audits.read"
        " accesses.read alarms.read keys.read staff.read roles.read checkpoints.sign".split()
    ),
    "security": frozenset(
        f"{_ALL} keys.read keys.manage staff.read staff.manage roles.read roles.set accesses.read"
        " alarms.read alarms.manage audits.read".split()
    ),
    "admin": frozenset(
        f"{_BOOKS} movements.post entries.post entries.reverse holds.manage accounts.manage"
        " accounts.block limits.set groups.manage orders.manage orders.run customers.manage"
        " customers.read customers.list customers.search customers.unmask customers.erase"
        " approvals.vote approvals.policy batches.send log.read log.export audits.read"
        " accesses.read alarms.read alarms.manage keys.read keys.manage staff.read staff.manage"
        " roles.read roles.set checkpoints.sign periods.manage units.register risk.rules"
        " templates.define".split()
    ),
}
"""The permissions of every default role."""

OBJECTS = {
    "account_id": "t-account",
    "customer_id": "t-customer",
    "entry_id": "t-entry",
    "reverses": "t-entry",
    "group_id": "t-group",
    "hold_id": "t-hold",
    "order_id": "t-order",
    "request_id": "t-request",
    "policy_id": "t-policy",
    "template": "t-template",
    "name": "t-role",
    "person_id": "t-person",
    "get_hold": "t-hold",
    "get_template": "t-template",
    "get_standing_order": "t-order",
    "get_approval": "t-request",
    "get_approval_policy": "t-policy",
    "get_role": "t-role",
}
"""The ids of what a full bank has, by the part of an address (or the operation) that names it."""

UNOWNED = frozenset({"level", "index", "passkey_id"})
"""Parts of addresses that name nothing of a ledger's: tiles by number, and one's own passkeys."""


def body_of(operation: str) -> Json | None:
    """The documented example of a command or action, about the objects of a full bank."""
    for action in ACTIONS:
        if action.operation == operation:
            return None if action.example is None else dict(action.example)
    route = next(route for route in COMMANDS if route.operation == operation)
    return {name: item for name, item in _example(operation).items() if name != route.path_field}


def about_theirs(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A document with every id in it replaced by one of a full bank's."""
    if isinstance(value, list):
        return [about_theirs(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _replaced(name, item) for name, item in value.items()}


def _replaced(name: str, item: Any) -> Any:  # noqa: ANN401 - any JSON
    """A member with its id replaced, if it is one of something that must be there."""
    if isinstance(item, str) and name.endswith("account_id"):
        return "t-other" if name.startswith("credit") else "t-account"
    if isinstance(item, str) and name == "customer_id":
        return "t-customer"
    if name == "accounts" and isinstance(item, dict):
        return dict.fromkeys(item, "t-account")
    return about_theirs(item)


def _example(operation: str) -> Json:
    """The documented example of a command, about the objects of a full bank."""
    route = next(route for route in COMMANDS if route.operation == operation)
    replaced: Json = about_theirs(dict(route.example))
    return replaced


_EUR = {"currency": "EUR"}
_PAY = {"debit_account_id": "t-account", "credit_account_id": "t-other", "amount": "5", **_EUR}

SETUP: tuple[tuple[str, Json], ...] = (
    ("/v1/accounts", {"account_id": "t-account", **_EUR}),
    ("/v1/accounts", {"account_id": "t-other", **_EUR}),
    ("/v1/deposits", {"account_id": "t-account", "amount": "5000000", **_EUR}),
    ("/v1/customers", {"customer_id": "t-customer", "profile": {"name": NAME}}),
    ("/v1/accounts/t-account/holders", {"customer_id": "t-customer", "role": "owner"}),
    ("/v1/transfers", {**_PAY, "entry_id": "t-entry"}),
    ("/v1/holds", {**_PAY, "hold_id": "t-hold"}),
    ("/v1/groups", {"group_id": "t-group", "name": "g", **_EUR, "side": "credit"}),
    (
        "/v1/standing-orders",
        {
            "order_id": "t-order",
            "schedule": {"first_date": "2099-01-01", "unit": "month"},
            "command": {"type": "transfer", **_PAY},
        },
    ),
    ("/v1/templates", {**_example("define_template"), "name": "t-template"}),
    (
        "/v1/approvals",
        {"request_id": "t-request", "approvers": ["ops"], "command": {"type": "transfer", **_PAY}},
    ),
    (
        "/v1/approval-policies",
        {"policy_id": "t-policy", "commands": ["register_unit"], "approvers": ["ops"]},
    ),
    ("/v1/roles", {"name": "t-role", "permissions": ["info.read"]}),
)


def filled(runtime: Runtime, client: TestClient, ledger: str) -> Bank:
    """A bank of its own with one of everything, all named ``t-…``."""
    bank = Bank(runtime, client, ledger)
    for path, body in SETUP:
        answer = bank.post(path, body)
        assert answer.is_success, (path, answer.text)
    bank.catch_up()
    signed = bank.client.post("/v1/checkpoints", headers=bank.headers())
    assert signed.status_code == 201, signed.text
    return bank


def operations(bank: Bank) -> list[tuple[str, str, str, Json]]:
    """Method, path, name and document of every operation that is for somebody known."""
    paths = bank.client.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), path, operation["operationId"], operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("security") != []
    ]


def parts(path: str) -> list[str]:
    """The names of an address's variable parts."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]
