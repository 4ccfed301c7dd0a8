"""The links of the OpenAPI document: each leads from what an answer has to what a request takes."""

import re
from typing import Any

import pytest
from tests.http.bank import Bank, Json

from api.answers import BEGUN
from api.routes import COMMANDS

POINTER = re.compile(r"\$response\.body#((?:/[A-Za-z0-9_]+)+)")


@pytest.fixture
def document(bank: Bank) -> Json:
    """The document as it is served."""
    found: Json = bank.client.get("/openapi.json").json()
    return found


def _resolved(document: Json, item: Any) -> Json:  # noqa: ANN401 - any part of a document
    """What a reference stands for; anything else as it is."""
    if "$ref" not in item:
        return dict(item)
    _, *names = item["$ref"].split("/")
    found: Any = document
    for name in names:
        found = found[name]
    return {**item, **found}


def _links(document: Json) -> list[tuple[str, Json, Json]]:
    """Every link: the operation, the response that has it, and the link."""
    return [
        (operation["operationId"], response, _resolved(document, link))
        for methods in document["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]


def test_each_link_leads_to_parameters_that_there_are(document: Json) -> None:
    """Its operation exists, and takes what the link gives."""
    operations = {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    for source, _, link in _links(document):
        taken = {
            f"{found['in']}.{found['name']}"
            for item in operations[link["operationId"]]["parameters"]
            for found in [_resolved(document, item)]
        }
        assert set(link["parameters"]) <= taken, (source, link)


def test_each_link_begins_at_a_member_that_the_answer_has(document: Json) -> None:
    """Its expressions point into the answer's own schema."""
    for source, response, link in _links(document):
        for expression in link["parameters"].values():
            found = POINTER.fullmatch(expression)
            assert found is not None, expression
            schema = _resolved(document, response["content"]["application/json"]["schema"])
            for name in found[1][1:].split("/"):
                inner = schema["items"] if name.isdigit() else schema["properties"][name]
                schema = _resolved(document, inner)
            assert schema, (source, expression)


def test_what_a_command_begins_leads_on_to_it(document: Json) -> None:
    """From what was opened, placed, created or booked to the view of it, as fresh as it is."""
    by_source: dict[str, set[str]] = {}
    for source, _, link in _links(document):
        by_source.setdefault(source, set()).add(link["operationId"])
    views = {
        "accounts": "get_account",
        "approvals": "get_approval",
        "customers": "get_customer",
        "entries": "get_entry",
        "groups": "get_group",
        "holds": "get_hold",
        "roles": "get_role",
        "standing-orders": "get_standing_order",
        "templates": "get_template",
    }
    for route in COMMANDS:
        if route.event in BEGUN:
            assert views[BEGUN[route.event].collection] in by_source[route.operation], route.path
    assert "close_account" in by_source["open_account"]
    assert "list_accounts" in by_source["list_accounts"]


def test_links_are_followed_by_hand(bank: Bank, document: Json) -> None:
    """The link from an account that was opened to its balance does what it says."""
    answer = bank.post("/v1/accounts", {"account_id": "linked", "currency": "EUR"})
    link = next(
        link
        for source, _, link in _links(document)
        if (source, link["operationId"]) == ("open_account", "get_balance")
    )
    values = {
        place: answer.json()[expression.rpartition("/")[2]]
        for place, expression in link["parameters"].items()
    }
    assert values == {"path.account_id": "linked", "query.min_position": answer.json()["position"]}
    bank.catch_up()
    path = f"/v1/accounts/{values['path.account_id']}/balance"
    params = {"min_position": values["query.min_position"]}
    shown = bank.client.get(path, params=params, headers=bank.headers())
    assert shown.status_code == 200


def test_no_two_kinds_of_answer_have_one_name(bank: Bank) -> None:
    """FastAPI and msgspec each name the schemas that they know: none may hide another."""
    from api import openapi  # noqa: PLC0415 - reads what the module made
    from api.routes import ACTIONS, VIEWS  # noqa: PLC0415

    ours = set(openapi._schemas(COMMANDS, VIEWS, ACTIONS))  # noqa: SLF001 - the ledger's own
    app: Any = bank.client.app
    theirs = {
        field.__name__
        for route in app.routes
        for field in [getattr(route, "response_model", None)]
        if isinstance(field, type)
    }
    assert ours & theirs == set()
