"""Every default role on every route of the OpenAPI document, on one's own ledger and on another's.

What is expected is written out in ``matrix``; what is there is taken from the served document, so a
new route fails here until somebody says who may call it.
"""

from collections.abc import Iterator
from itertools import count

import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.http.bank import Bank, Json
from tests.security.matrix import (
    GRANTS,
    NAME,
    OBJECTS,
    REASON,
    UNOWNED,
    body_of,
    filled,
    operations,
    parts,
)

from api.authority import expanded
from api.default_roles import DEFAULT_ROLES
from api.permissions import PERMISSIONS
from api.routes import COMMANDS
from api.runtime import Runtime

_numbers = count(1)
_NEW = frozenset(
    {
        "open_account",
        "register_customer",
        "create_group",
        "define_template",
        "register_unit",
        "set_risk_rule",
        "set_approval_policy",
        "set_role",
        "close_period",
        "reopen_period",
    }
)
"""Commands that name nothing which must be there."""
_OWN_ATTEMPTS = frozenset({"list_account_accesses", "list_customer_accesses"})
"""Views that tell who of this ledger asked for something, be it there or not."""
BY_COMMAND = {route.operation: route for route in COMMANDS}


@pytest.fixture(scope="module")
def theirs(shared_runtime: Runtime, shared_client: TestClient) -> Bank:
    """Another bank's ledger in the same database, with one of everything."""
    return filled(shared_runtime, shared_client, f"theirs-{next(_numbers)}")


@pytest.fixture(scope="module")
def mine(shared_runtime: Runtime, shared_client: TestClient) -> Bank:
    """One's own ledger, in which nothing is."""
    return Bank(shared_runtime, shared_client, f"mine-{next(_numbers)}")


def _ask(bank: Bank, role: str, method: str, address: str, body: Json | None = None) -> Response:
    """One request by a key of that role."""
    headers = bank.headers(role, **REASON, **{"Idempotency-Key": f"m-{next(_numbers)}"})
    if method == "POST" and body is None:
        headers["Content-Type"] = "application/json"
    return bank.client.request(method, address, json=body, headers=headers)


def test_the_default_roles_grant_what_is_written_here() -> None:
    """No role has a permission more or less, and every permission is somebody's."""
    assert {name: expanded(terms.permissions) for name, terms in DEFAULT_ROLES.items()} == GRANTS
    assert GRANTS["admin"] == PERMISSIONS


def test_every_role_on_every_route(mine: Bank) -> None:
    """403 exactly where the role has not the permission that the document names."""
    asked = 0
    for method, path, name, operation in operations(mine):
        permission = operation["x-permission"]
        documented = sorted(role for role in GRANTS if permission in GRANTS[role])
        assert operation["x-roles"] == documented, name
        for role, granted in GRANTS.items():
            answer = _ask(mine, role, method, path.replace("{", "").replace("}", ""))
            is_refused = answer.status_code == 403 and answer.json()["code"] == "forbidden"
            assert is_refused == (permission not in granted), (name, role, answer.text)
            assert answer.status_code < 500, (name, role, answer.text)
            asked += 1
    assert asked > 600


def _addressed(bank: Bank, theirs: Bank) -> Iterator[tuple[str, str, str]]:
    """Every operation on an object, with its address filled in with one of theirs."""
    for method, path, name, _ in operations(bank):
        named = [part for part in parts(path) if part.partition(":")[0] not in UNOWNED]
        if not named:
            continue
        address = path
        for part in named:
            address = address.replace(f"{{{part}}}", _object(theirs, name, part))
        yield method, address, name


def _object(theirs: Bank, operation: str, part: str) -> str:
    """What a part of an address is filled in with: something of theirs."""
    match part:
        case "kept_id":
            return OBJECTS[operation]
        case "key_id":
            return theirs.keys["reader"].split("_")[2]
        case "position" | "size":
            return str(len(theirs.events()))
        case "flag_id":
            flags = theirs.get("/v1/risk-flags").json()["flags"]
            return str(flags[0]["flag_id"])
        case "alarm_id":  # None of theirs is needed: ids are the ledger's own.
            return "1"
        case _:
            return OBJECTS[part]


def _actor(key: str) -> str:
    """The actor who acts by a key."""
    return f"key:{key.split('_')[2]}"


def test_what_is_asked_for_below_is_there(theirs: Bank) -> None:
    """By its own bank every object is found: else the next test would prove nothing."""
    for method, address, name in _addressed(theirs, theirs):
        if "t-person" in address or name.endswith("alarm"):
            continue
        if method == "GET":
            assert _ask(theirs, "admin", method, address).status_code == 200, name
        elif name in BY_COMMAND:
            judged = _ask(theirs, "admin", method, f"{address}?dry_run=true", body_of(name))
            code = judged.json().get("code")
            is_found = judged.status_code != 404 or code in {"block_not_found", "link_not_found"}
            assert is_found, (name, judged.text)
            assert code != "validation_error", (name, judged.text)


def test_no_object_of_another_ledger_is_found_by_any_role(mine: Bank, theirs: Bank) -> None:
    """404 to whoever may ask at all, as for what does not exist, and not a word of theirs."""
    before = len(theirs.events())
    asked = 0
    for method, address, name in _addressed(mine, theirs):
        body = None if method == "GET" else body_of(name)
        for role in GRANTS:
            answer = _ask(mine, role, method, address, body)
            assert NAME not in answer.text
            if name in _OWN_ATTEMPTS and answer.status_code == 200:
                actors = {access["actor"] for access in answer.json()["accesses"]}
                assert actors <= {_actor(key) for key in mine.keys.values()}
                continue
            assert answer.status_code in {403, 404, 409, 415, 422}, (name, role, answer.text)
            assert answer.status_code in {403, 404} or name not in BY_COMMAND, (name, answer.text)
            asked += 1
    assert asked > 200
    assert len(theirs.events()) == before
    assert theirs.client.get("/v1/info", headers=theirs.headers("reader")).status_code == 200


@pytest.mark.parametrize("name", sorted(set(BY_COMMAND) - _NEW))
@pytest.mark.usefixtures("theirs")
def test_no_command_reaches_what_is_another_ledgers(mine: Bank, name: str) -> None:
    """Their ids in a body name nothing here: by a single route, and in a batch."""
    route = BY_COMMAND[name]
    body = body_of(name) or {}
    if route.path_field is None:
        answer = _ask(mine, "admin", "POST", route.path, body)
        assert answer.status_code == 404, answer.text
    else:
        body[route.path_field] = OBJECTS.get(route.path_field, "t-role")
    batch = {"commands": [{**body, "type": name, "key": f"b-{next(_numbers)}"}]}
    item = _ask(mine, "admin", "POST", "/v1/batch", batch).json()["results"][0]
    assert item["status"] == "refused"
    assert item["error"]["status"] == 404, item


def test_a_listing_shows_nothing_of_another_ledger(bank: Bank, theirs: Bank) -> None:
    """Every view without an id in its address, by every role that may read it."""
    for method, path, name, _ in operations(bank):
        if method != "GET" or parts(path):
            continue
        for role in GRANTS:
            answer = _ask(bank, role, method, path)
            assert "t-account" not in answer.text, name
            assert NAME not in answer.text, name
    assert "t-account" in theirs.get("/v1/accounts").text


def test_a_cursor_of_another_ledger_opens_nothing(mine: Bank, theirs: Bank) -> None:
    """A page is bound to the ledger, the listing and the filters that it was given for."""
    cursor = theirs.get("/v1/accounts", limit=1).json()["next"]
    assert cursor
    answer = mine.get("/v1/accounts", limit=1, cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
