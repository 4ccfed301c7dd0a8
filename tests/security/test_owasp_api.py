"""The OWASP API security top ten of 2023, each by its name: what stands against it, tried out.

The wide ones are tried in full elsewhere: every role on every route in ``test_matrix``, keys and
tokens in ``test_keys`` and ``test_tokens``, limits in ``test_limits``, what is asked of others in
``test_outbound``. Here each has at least one test that an attacker would begin with.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.http.bank import Bank, Json
from tests.http.conftest import settings_of

from api import outbound
from api.actions import ActionRoute
from api.app import create_app
from api.batches import COMMANDS_MAX
from api.camt053 import read_camt053
from api.camt053_xml import Camt053Refused
from api.command_routes import CommandRoute
from api.edge import PUBLIC_PATHS
from api.limit_settings import LimitSettings
from api.outbound import Address, OutboundError
from api.parameters import LIMIT_MAX
from api.permissions import PERMISSION_OF
from api.routes import ACTIONS, COMMANDS
from api.runtime import Runtime
from api.wire import SINGLE_BYTES_MAX

NAME = "Philippa Yggdrasil"
IDENTITY = "X1234567Z"
TRANSFER = {"debit_account_id": "a", "credit_account_id": "b", "amount": "5", "currency": "EUR"}


@pytest.fixture
def house(bank: Bank) -> Bank:
    """A bank with 1,000 on account a, account b, and a customer c who holds a."""
    bank.open("a", 1_000)
    bank.open("b")
    profile = {"name": NAME, "identity_number": IDENTITY, "phone": "+34 600 123 456"}
    bank.post("/v1/customers", {"customer_id": "c", "profile": profile})
    bank.post("/v1/accounts/a/holders", {"customer_id": "c", "role": "owner"})
    bank.catch_up()
    return bank


def test_api1_object_level_authorisation(house: Bank) -> None:
    """Ids of another ledger are those of nothing, with the very answer that nothing has."""
    other = Bank(house.runtime, house.client, f"{house.ledger}-other")
    headers = other.headers(**{"X-Request-Id": "the-same"})
    for form in ("/v1/accounts/{}", "/v1/accounts/{}/statement", "/v1/customers/{}"):
        there = other.client.get(form.format("c" if "customers" in form else "a"), headers=headers)
        nothing = other.client.get(form.format("nothing"), headers=headers)
        assert there.status_code == 404
        assert there.content == nothing.content
    assert other.post("/v1/transfers", TRANSFER).status_code == 404
    assert house.get("/v1/accounts/a/balance").json()["posted_minor"] == "1000"


def test_api2_authentication(house: Bank) -> None:
    """Whatever is wrong with a credential, the answer is the same, and says nothing of why."""
    prefix, ledger, key_id, secret = house.keys["admin"].split("_")
    wrong = [
        f"{prefix}_{ledger}_{key_id}_{'0' * len(secret)}",
        f"{prefix}_{ledger}_{'0' * len(key_id)}_{secret}",
        f"{prefix}_{int(ledger) + 1}_{key_id}_{secret}",
        f"{prefix}_{ledger}_{key_id}_{secret[:-1]}",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "null",
        "undefined",
        "' OR 1=1 --",
    ]
    bodies = set()
    for text in wrong:
        headers = {"Authorization": f"Bearer {text}", "X-Request-Id": "the-same-one"}
        answer = house.client.get("/v1/info", headers=headers)
        assert answer.status_code == 401
        bodies.add(answer.content)
        assert text not in answer.text
    assert len(bodies) == 1
    by_address = house.client.get("/v1/info", params={"key": house.keys["admin"]})
    by_cookie = house.client.get("/v1/info", headers={"Cookie": f"key={house.keys['admin']}"})
    assert (by_address.status_code, by_cookie.status_code) == (401, 401)


def _sent(route: CommandRoute | ActionRoute) -> Json:
    """The documented example of a command or an action."""
    return dict(route.example or {})


@pytest.mark.parametrize("field", ["actor", "ledger_id", "recorded_at", "position", "roles"])
def test_api3_property_level_authorisation_mass_assignment(house: Bank, field: str) -> None:
    """No body takes a member that is not its own: nobody says who they are or when it was."""
    tried = 0
    routes: list[CommandRoute | ActionRoute] = [*COMMANDS]
    routes += [action for action in ACTIONS if action.body is not None]
    for route in routes:
        kind = route.command if isinstance(route, CommandRoute) else route.body
        assert kind is not None
        if field in kind.__struct_fields__ or not kind.__struct_config__.forbid_unknown_fields:
            continue
        path = route.path.replace("{", "").replace("}", "")
        answer = house.post(path, {**_sent(route), field: "1"})
        if isinstance(route, ActionRoute) and route.path != path:
            assert answer.status_code in {404, 409, 422}
        else:
            assert answer.status_code == 422, (path, answer.text)
            assert answer.json()["code"] == "validation_error"
        tried += 1
    assert tried > 30


def test_api3_every_body_forbids_members_that_are_not_its_own() -> None:
    """Of commands and of actions alike."""
    loose = {
        action.operation
        for action in ACTIONS
        if action.body is not None and not action.body.__struct_config__.forbid_unknown_fields
    }
    assert loose == set()
    assert all(route.command.__struct_config__.forbid_unknown_fields for route in COMMANDS)


def test_api3_property_level_authorisation_fields_of_people(house: Bank) -> None:
    """Each role sees of a person what it needs, wherever the person is shown."""
    reason = {"Ledger-Reason": "case 7"}
    expected = {
        "reader": (False, False),
        "analyst": (False, False),
        "teller": (True, False),
        "auditor": (True, True),
        "admin": (False, False),
    }
    for role, (sees_name, sees_number) in expected.items():
        for path in ("/v1/customers/c", "/v1/accounts/a?expand=holders"):
            text = house.client.get(path, headers=house.headers(role, **reason)).text
            assert (NAME in text, IDENTITY in text) == (sees_name, sees_number), (role, path)
    assert house.client.get("/v1/customers/c", headers=house.headers("security")).status_code == 403


def test_api4_resource_consumption(house: Bank, database_url: str, tmp_path: Path) -> None:
    """Bodies, batches, pages, depth and pace are bounded, each with a refusal of its own."""
    large = b'{"description":"' + b"x" * SINGLE_BYTES_MAX + b'"}'
    assert house.post_raw("/v1/transfers", large).status_code == 413
    many = {"commands": [{"type": "transfer"}] * (COMMANDS_MAX + 1)}
    assert house.post("/v1/batch", many).status_code == 422
    deep = b'{"metadata":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert house.post_raw("/v1/transfers", deep).status_code in {400, 413, 422}
    page = house.get("/v1/accounts", limit=10 * LIMIT_MAX)
    assert page.status_code == 200
    assert len(page.json()["accounts"]) <= LIMIT_MAX
    limits = LimitSettings(rate_per_s=0.05)
    settings = msgspec.structs.replace(settings_of(database_url, tmp_path), limits=limits)
    with Runtime(settings) as runtime, TestClient(create_app(runtime)) as client:
        hasty = Bank(runtime, client, "hasty")
        answers = [client.get("/v1/info", headers=hasty.headers("reader")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert int(answers[1].headers["retry-after"]) >= 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"])
def test_api5_function_level_authorisation_other_methods(house: Bank, method: str) -> None:
    """No address does anything by a method that is not documented, or named in a header."""
    before = len(house.events())
    documented = house.client.get("/openapi.json").json()["paths"]
    for path, methods in documented.items():
        if method.lower() in methods or path in PUBLIC_PATHS:
            continue
        address = path.replace("{", "").replace("}", "")
        answer = house.client.request(method, address, headers=house.headers())
        assert answer.status_code in {404, 405}, (method, path)
    headers = house.headers("reader", **{"X-HTTP-Method-Override": "POST"})
    assert house.client.get("/v1/accounts", headers=headers).status_code == 200
    assert len(house.events()) == before


def test_api5_function_level_authorisation_wrapped_commands(house: Bank) -> None:
    """What a role may not send it may not send in a request for approval or a batch either."""
    policy = {"policy_id": "p", "commands": ["transfer"], "approvers": ["x"]}
    wrapped = {"command": {"type": "set_approval_policy", **policy}, "approvers": ["teller"]}
    assert house.post("/v1/approvals", wrapped, role="teller").status_code == 403
    item: Json = {"type": "set_approval_policy", "key": "k", **policy}
    for sent in (item, {"type": "request_approval", "key": "k", **wrapped}):
        answer = house.post("/v1/batch", {"commands": [sent]}, role="teller")
        assert answer.json()["results"][0]["error"]["code"] == "forbidden"


def test_api6_sensitive_business_flows(house: Bank) -> None:
    """Nobody approves what they asked for, with a second key neither; nor beyond their amount."""
    runtime, ledger_id = house.runtime, house.ledger_id
    body = {"name": "chief", "permissions": ["approvals.vote"], "amount_max": {"EUR": "4"}}
    assert house.post("/v1/roles", body).status_code == 201
    house.catch_up()
    for key, role, person in (
        ("maker", "teller", "tom"),
        ("again", "teller", "tom"),
        ("small", "chief", "eva"),
    ):
        house.keys[key] = runtime.create_key(
            ledger_id, role, key, person=person, permissions=["ops"]
        )
    request = {
        "request_id": "q",
        "approvers": ["ops"],
        "command": {"type": "transfer", **TRANSFER},
    }
    assert house.post("/v1/approvals", request, role="maker").status_code == 202
    by_himself = house.post("/v1/approvals/q/approve", {}, role="again")
    assert (by_himself.status_code, by_himself.json()["code"]) == (403, "maker_cannot_approve")
    too_small = house.post("/v1/approvals/q/approve", {}, role="small")
    assert (too_small.status_code, too_small.json()["code"]) == (403, "amount_above_authority")
    assert house.get("/v1/accounts/b/balance").json()["posted_minor"] == "0"


def test_api7_server_side_request_forgery_no_request_names_an_address(house: Bank) -> None:
    """Whatever a caller sends, nothing of it is asked: no member or parameter is an address."""
    document = house.client.get("/openapi.json").json()
    suspects = ("url", "uri", "callback", "webhook", "endpoint", "host")
    operations = [item for methods in document["paths"].values() for item in methods.values()]
    schemas = document["components"]["schemas"]
    bodies = [item["requestBody"] for item in operations if "requestBody" in item]
    names = set(_members(bodies, schemas, set()))
    names |= {str(item.get("name")) for found in operations for item in found.get("parameters", ())}
    assert {"account_id", "credential", "cursor"} <= names
    assert not [name for name in names if any(word in name.lower() for word in suspects)]


def _members(value: object, schemas: Json, seen: set[str]) -> Iterator[str]:
    """The names of all members of a schema, and of those that it refers to."""
    if isinstance(value, list):
        for item in value:
            yield from _members(item, schemas, seen)
    if not isinstance(value, dict):
        return
    yield from value.get("properties", {})
    name = str(value.get("$ref", "")).rpartition("/")[2]
    if name and name not in seen:
        seen.add(name)
        yield from _members(schemas.get(name), schemas, seen)
    for item in value.values():
        yield from _members(item, schemas, seen)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/jwks",
        "https://localhost/jwks",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/jwks",
        "https://[::ffff:10.0.0.1]/jwks",
        "https://0/jwks",
        "file:///etc/passwd",
        "http://example.org/jwks",
        "gopher://example.org/",
    ],
)
def test_api7_server_side_request_forgery_inner_addresses(url: str) -> None:
    """Where a setting names an address (JWKS), none within and no other scheme is asked."""
    with pytest.raises(OutboundError):
        outbound.get(Address(url), 1_000)


def test_api8_misconfiguration(house: Bank) -> None:
    """No other origin is let in, nothing says what runs here, and errors tell nothing."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answers = [
        house.client.options("/v1/transfers", headers=house.headers(**origin)),
        house.client.get("/v1/accounts", headers=house.headers(**origin)),
        house.client.get("/v1/customers/c", headers=house.headers("teller")),
        house.client.get("/v1/accounts/%00", headers=house.headers()),
        house.client.get("/v1/accounts/a'%20OR%201=1", headers=house.headers()),
        house.post_raw("/v1/transfers", b'{"amount": "<script>alert(1)</script>"}'),
        house.client.get("/v1/nothing/../../etc/passwd", headers=house.headers()),
    ]
    for answer in answers:
        headers = {name.lower() for name in answer.headers}
        assert not {name for name in headers if name.startswith("access-control-")}
        assert not headers & {"server", "x-powered-by"}
        assert answer.status_code < 500
        for told in ("<script>", "Traceback", "psycopg", "SELECT ", "passwd"):
            assert told not in answer.text
    assert answers[2].headers["cache-control"] == "no-store"


def test_api9_inventory(house: Bank) -> None:
    """What is served is documented, with the permission that it asks for; and nothing else is."""
    document = house.client.get("/openapi.json").json()
    documented = {
        (method.upper(), path.replace("}", ""))
        for path, methods in document["paths"].items()
        for method in methods
    }
    served = {
        (method, route.path.replace(":path}", "").replace("}", ""))
        for route in house.client.app.routes  # type: ignore[attr-defined]
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD" and route.path not in {"/docs", "/openapi.json"}
    }
    assert served == documented
    for methods in document["paths"].values():
        for operation in methods.values():
            is_public = operation.get("security") == []
            assert is_public or operation["x-permission"] == PERMISSION_OF[operation["operationId"]]


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE d [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]><Document>&b;</Document>',
        '<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/passwd">]><Document>&f;</Document>',
        '<!DOCTYPE d SYSTEM "http://127.0.0.1/evil.dtd"><Document/>',
    ],
)
def test_api10_consumption_of_what_others_send(text: str) -> None:
    """A bank statement that swells, or names files of ours, is refused and never expanded."""
    with pytest.raises(Camt053Refused) as caught:
        read_camt053(text.encode())
    assert caught.value.reason == "doctype"
