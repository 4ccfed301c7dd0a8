"""The OpenAPI document: complete, resolvable, and true of what the program does."""

from collections.abc import Iterator
from typing import Any

import msgspec
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.http.bank import Bank, Json

from api.batches import BatchBody
from api.command_routes import body_type
from api.routes import COMMANDS


def _document(bank: Bank) -> Json:
    """The document as it is served."""
    document: Json = bank.client.get("/openapi.json").json()
    return document


def _walk(value: Any) -> Iterator[Json]:  # noqa: ANN401 - any JSON value
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def test_the_document_is_a_valid_openapi_document(bank: Bank) -> None:
    """The official schema of OpenAPI 3.1 holds, and so do the examples of parameters."""
    OpenAPIV31SpecValidator(_document(bank)).validate()


def test_every_reference_resolves(bank: Bank) -> None:
    """Nothing is named that is not there, and nothing is there that is not named."""
    document = _document(bank)
    assert document["openapi"].startswith("3.1.")
    names = {
        f"#/components/{kind}/{name}"
        for kind, found in document["components"].items()
        if kind != "securitySchemes"
        for name in found
    }
    references = {found["$ref"] for found in _walk(document) if isinstance(found.get("$ref"), str)}
    assert references <= names
    assert {name for name in names - references if "/schemas/" not in name} == set()
    assert len(references) > 30


def test_every_answer_has_a_schema(bank: Bank) -> None:
    """What is answered with JSON says which: clients are generated from it."""
    for path, methods in _document(bank)["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if path.startswith("/v1/") and status != "304":
                    assert all(media["schema"] for media in content.values()), (path, status)
                    assert content


def test_every_command_takes_the_same_headers_and_may_be_tried(bank: Bank) -> None:
    """Idempotency-Key and dry_run everywhere; If-Match where one account is named."""
    document = _document(bank)
    for route in COMMANDS:
        operation = document["paths"][route.path]["post"]
        names = {found.get("$ref", "").rpartition("/")[2] for found in operation["parameters"]}
        assert {"IdempotencyKey", "DryRun", "AtPosition", "RequestId", "Traceparent"} <= names
        assert ("IfMatch" in names) == (route.path_field == "account_id")


def test_commands_and_batches_say_how_receipts_are_asked_for(bank: Bank) -> None:
    """The header is a parameter of each, and the answers have the member."""
    document = _document(bank)
    for path in [route.path for route in COMMANDS] + ["/v1/batch"]:
        operation = document["paths"][path]["post"]
        names = [found.get("$ref", "").rpartition("/")[2] for found in operation["parameters"]]
        headers = [document["components"]["parameters"].get(name, {}) for name in names]
        assert [found.get("name") for found in headers].count("Ledger-Receipt") == 1, path
    schemas = document["components"]["schemas"]
    receipt = schemas["BatchItem"]["properties"]["receipt"]
    assert {"$ref": "#/components/schemas/Receipt"} in receipt["anyOf"]
    assert {"type": "null"} in receipt["anyOf"]
    assert "receipt" not in schemas["BatchItem"].get("required", ())
    assert set(schemas["Receipt"]["required"]) == {
        *("format", "origin", "position", "leaf", "proof", "checkpoint")
    }


def test_every_operation_is_named_summed_up_and_says_its_problems(bank: Bank) -> None:
    """Operation ids are unique; refusals are problem documents."""
    operations = [
        operation for methods in _document(bank)["paths"].values() for operation in methods.values()
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids) >= 30
    for operation in operations:
        assert operation["summary"]
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"]
        assert "500" in operation["responses"]


def test_the_examples_are_commands_that_the_program_takes(bank: Bank) -> None:
    """Each documented example decodes by the very type that decodes the route's body."""
    paths = _document(bank)["paths"]
    for route in COMMANDS:
        content = paths[route.path]["post"]["requestBody"]["content"]["application/json"]
        assert content["example"] == route.example
        msgspec.convert(content["example"], body_type(route))
    content = paths["/v1/batch"]["post"]["requestBody"]["content"]["application/json"]
    assert msgspec.convert(content["example"], BatchBody).mode == "atomic"


def test_a_commands_schema_is_its_own_type(bank: Bank) -> None:
    """Fields of the body are those of the command, without what the address names."""
    schemas = _document(bank)["components"]["schemas"]
    for route in COMMANDS:
        schema = schemas[f"{route.command.__name__}Body"]
        fields = {field.name: field for field in msgspec.structs.fields(route.command)}
        expected = set(fields) - {route.path_field}
        assert set(schema["properties"]) == expected
        assert schema["additionalProperties"] is False
        required = {name for name in expected if fields[name].required}
        assert set(schema.get("required", ())) == required


def test_nothing_is_updated_or_deleted(bank: Bank) -> None:
    """There are commands and views, and no other way to anything."""
    paths = _document(bank)["paths"]
    assert {method for methods in paths.values() for method in methods} == {"get", "post"}
    for path in ("/v1/entries/jrn_1", "/v1/accounts/a", "/v1/customers/a", "/v1/events/1"):
        for method in ("PUT", "PATCH", "DELETE"):
            answer = bank.client.request(method, path, headers=bank.headers())
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_the_documents_are_open(bank: Bank) -> None:
    """The document and its page need no key."""
    assert "swagger" in bank.client.get("/docs").text.lower()
    assert bank.client.get("/openapi.json").status_code == 200
