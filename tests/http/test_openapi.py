"""The OpenAPI document: complete, resolvable, and true of what the program does."""

from collections.abc import Iterator
from typing import Any

import msgspec
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


def test_every_reference_resolves(bank: Bank) -> None:
    """No schema is named that is not there."""
    document = _document(bank)
    assert document["openapi"].startswith("3.1.")
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    references = {found["$ref"] for found in _walk(document) if isinstance(found.get("$ref"), str)}
    assert references <= names
    assert len(references) > 30


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


def test_the_documents_are_open(bank: Bank) -> None:
    """The document and its page need no key."""
    assert "swagger" in bank.client.get("/docs").text.lower()
    assert bank.client.get("/openapi.json").status_code == 200
