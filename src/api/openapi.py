"""The OpenAPI 3.1 document: what FastAPI knows of the views, and the commands' own types.

The schemas of commands and answers are made from the very types that decode and encode them, so
the document cannot drift from the program.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import answers, batches, problems
from api.command_routes import CommandRoute
from api.roles import ALLOWED
from ledger_core import commands

Json = dict[str, Any]

DESCRIPTION = """An event-sourced double-entry ledger.

Commands are posted with an `Idempotency-Key` and answered with the event they led to and its
`position`; the same key with the same content is answered the same again. Amounts are strings of
minor units. Every view takes `as_of` or `as_of_position` and states the `position` and
`recorded_at` that it reflects; `min_position` makes it wait for what was just written.

An id in an address is percent-encoded, slashes too. Listings hold at most `limit` items (1,000 at
most) and go on with `cursor` until `next` is empty. Errors are problem documents (RFC 9457) with a
stable `code`; they never repeat what was sent.
"""

_REFS = "#/components/schemas/{name}"
_KEY_HEADER: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Identifies the command for ever; required here or as `key` in the body.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "example": "b7f8a2d0-rent-may",
}
_COMMAND_REFUSALS = (400, 401, 403, 404, 409, 413, 415, 422, 500, 503)
_VIEW_REFUSALS = (400, 401, 403, 404, 409, 422, 500, 503)
_REASONS = {
    400: "Malformed JSON or cursor, or no idempotency key",
    401: "No valid API key",
    403: "The key's role does not allow this",
    404: "What is named does not exist",
    409: "Other facts than assumed",
    413: "Body too large",
    415: "Not application/json",
    422: "A rule is broken",
    500: "A failure here",
    503: "Too busy, or the database is away: try again",
}
_HEALTH = {
    "/livez": ("livez", "The process runs", "application/json"),
    "/readyz": ("readyz", "The database answers", "application/json"),
    "/metrics": ("metrics", "Figures for Prometheus", "text/plain"),
}


def install(app: FastAPI, routes: Sequence[CommandRoute]) -> None:
    """Make the application answer with the whole document."""
    whole: list[Json] = []

    def document() -> Json:
        """The document, made once."""
        if not whole:
            whole.append(_document(app, routes))
        return whole[0]

    app.openapi = document  # type: ignore[method-assign]


def parameters_of(app: FastAPI, operation: str) -> frozenset[str]:
    """The names of the parameters that an operation takes."""
    return frozenset(
        parameter["name"]
        for methods in app.openapi()["paths"].values()
        for found in methods.values()
        if found.get("operationId") == operation
        for parameter in found.get("parameters", ())
    )


def _document(app: FastAPI, routes: Sequence[CommandRoute]) -> Json:
    """Views, commands, batch and health in one document."""
    document: Json = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update(_schemas(routes))
    document["components"]["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: `lk_…`."}
    }
    document["security"] = [{"apiKey": []}]
    paths: Json = document["paths"]
    for methods in paths.values():
        for operation in methods.values():
            operation["responses"].update(_refusals(_VIEW_REFUSALS))
            _note_roles(operation)
    for route in routes:
        paths.setdefault(route.path, {})["post"] = _command(route)
    paths[batches.PATH] = {"post": _batch()}
    for path, (operation_id, summary, media_type) in _HEALTH.items():
        paths[path] = {"get": _health(operation_id, summary, media_type)}
    return document


def _schemas(routes: Sequence[CommandRoute]) -> Json:
    """The schemas of all commands, answers and problems."""
    kinds = (
        batches.BatchBody,
        batches.BatchAnswer,
        batches.RefusedBatch,
        problems.ProblemBody,
        answers.UnchangedAnswer,
        *answers.ANSWER_TYPES.values(),
        *commands.wire_types(),
    )
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REFS)
    for route in routes:
        name = route.command.__name__
        body = deepcopy(schemas[name])
        for left_out in ("type", route.path_field):
            body["properties"].pop(left_out, None)
            if left_out in body.get("required", ()):
                body["required"].remove(left_out)
        body["title"] = f"{name}Body"
        schemas[f"{name}Body"] = body
    return dict(schemas)


def _command(route: CommandRoute) -> Json:
    """The operation of a single command."""
    operation: Json = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": route.command.__doc__ or "",
        "tags": ["commands"],
        "parameters": [_KEY_HEADER],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref(f"{route.command.__name__}Body"),
                    "example": route.example,
                }
            },
        },
        "responses": {
            "201": _response("Recorded", _ref(answers.ANSWER_TYPES[route.event].__name__))
            | {"headers": _answer_headers()},
            "200": _response("It was so already", _ref("UnchangedAnswer")),
            **_refusals(_COMMAND_REFUSALS),
        },
    }
    if route.path_field is not None:
        operation["parameters"] = [_path_parameter(route.path_field), _KEY_HEADER]
    _note_roles(operation)
    return operation


def _batch() -> Json:
    """The operation of a batch."""
    example = {
        "mode": "atomic",
        "commands": [
            {
                "type": "transfer",
                "key": "rent-may-1",
                "debit_account_id": "anna-current",
                "credit_account_id": "ben-current",
                "amount": "1250",
                "currency": "EUR",
            }
        ],
    }
    operation: Json = {
        "operationId": batches.OPERATION,
        "summary": f"Up to {batches.COMMANDS_MAX} commands, each answered or all or none",
        "description": batches.BatchBody.__doc__ or "",
        "tags": ["commands"],
        "parameters": [_KEY_HEADER],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("BatchBody"), "example": example}},
        },
        "responses": {
            "200": _response("One result a command, in order", _ref("BatchAnswer")),
            **_refusals(_COMMAND_REFUSALS),
            "422": {
                "description": "Malformed as a whole, or an atomic batch of which nothing was kept",
                "content": {
                    problems.CONTENT_TYPE: {
                        "schema": {"anyOf": [_ref("RefusedBatch"), _ref("ProblemBody")]}
                    }
                },
            },
        },
    }
    _note_roles(operation)
    return operation


def _health(operation_id: str, summary: str, media_type: str) -> Json:
    """The operation of a health route, which needs no key."""
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["health"],
        "security": [],
        "responses": {
            "200": {"description": summary, "content": {media_type: {"schema": {}}}},
            **_refusals((500, 503)),
        },
    }


def _path_parameter(name: str) -> Json:
    """A parameter in the address."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "Percent-encoded, slashes too.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    }


def _answer_headers() -> Json:
    """The headers of a recorded command's answer."""
    return {
        "Location": {
            "description": "The address of what was begun, where it has one.",
            "schema": {"type": "string"},
        },
        "Idempotency-Replayed": {
            "description": "`true` where this is the first answer again.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    }


def _refusals(statuses: Sequence[int]) -> Json:
    """The problem responses of an operation."""
    return {
        str(status): _response(_REASONS[status], _ref("ProblemBody"), problems.CONTENT_TYPE)
        for status in statuses
    }


def _note_roles(operation: Json) -> None:
    """Say which roles may call the operation."""
    operation["x-roles"] = sorted(ALLOWED[operation["operationId"]])


def _response(description: str, schema: Json, media_type: str = "application/json") -> Json:
    """A response with one kind of body."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _ref(name: str) -> Json:
    """A reference to a schema."""
    return {"$ref": _REFS.format(name=name)}
