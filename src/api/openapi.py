"""The OpenAPI 3.1 document: what FastAPI knows of the views, and the commands' own types.

The schemas of commands and answers are made from the very types that decode and encode them, so
the document cannot drift from the program.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import (
    answers,
    batches,
    business_day_route,
    checkpoint_route,
    openapi_links,
    problems,
)
from api.actions import ActionRoute
from api.business_day import BusinessDay
from api.caching import CONTROL
from api.command_routes import CommandRoute
from api.deprecations import Deprecated, Route
from api.permissions import PERMISSION_OF
from api.receipts import Receipt
from api.roles import default_roles_of
from api.views import ViewRoute
from ledger_core import commands
from ledger_core.access_log import REASON_CHARACTERS_MAX
from ledger_core.approvals import ApprovalRequested

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
_PARAMETERS: Json = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Identifies the command for ever; required here or as `key` in the body.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "example": "b7f8a2d0-rent-may",
    },
    "DryRun": {
        "name": "dry_run",
        "in": "query",
        "required": False,
        "description": "`true`: judge and answer as ever, with `Dry-Run: true`; record nothing.",
        "schema": {"type": "boolean", "default": False},
    },
    "AtPosition": {
        "name": "at_position",
        "in": "query",
        "required": False,
        "description": "With `dry_run=true`: judge as the ledger stood after that position.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "The account's `ETag`: 412 if it has another version by now.",
        "schema": {"type": "string"},
        "example": '"7"',
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` of an answer that was kept: 304 where it still holds.",
        "schema": {"type": "string"},
    },
    "LedgerReceipt": {
        "name": "Ledger-Receipt",
        "in": "header",
        "required": False,
        "description": "`true`: the answer has a member `receipt`, the proof that the event is in"
        " the signed log; null where none can be given now, or nothing was recorded.",
        "schema": {"type": "boolean", "default": False},
    },
    "LedgerBatchReceipts": {
        "name": "Ledger-Receipt",
        "in": "header",
        "required": False,
        "description": f"`true`: each result has a member `receipt`, complete in itself; of up to"
        f" {batches.RECEIPTS_MAX:,} commands. Null where nothing was recorded, or where none can be"
        " given with this answer.",
        "schema": {"type": "boolean", "default": False},
    },
    "Reason": {
        "name": "Ledger-Reason",
        "in": "header",
        "required": False,
        "description": "Why this is read: kept for good in the access log, in clear; up to 200"
        " characters. A server may require it (400 `reason_required`).",
        "schema": {"type": "string", "maxLength": REASON_CHARACTERS_MAX},
        "example": "case 2026-114",
    },
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "Names the request in logs and problems; 8 to 64 letters, digits, `._-`.",
        "schema": {"type": "string"},
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "required": False,
        "description": "The trace that the request belongs to (W3C Trace Context).",
        "schema": {"type": "string"},
        "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
}
_HEADERS: Json = {
    "Location": "The address of what was begun, where it has one.",
    "ETag": "A strong validator: an account's version, an entry's position, or a hash.",
    "Cache-Control": f"`{CONTROL['check'].decode()}`; `{CONTROL['for_ever'].decode()}` for what is"
    f" pinned to a position; `{CONTROL['never'].decode()}` for personal data.",
    "Idempotency-Replayed": "`true` where this is the first answer again.",
    "Dry-Run": "`true` where nothing was recorded because `dry_run` was asked for.",
    "Retry-After": "Seconds after which another attempt may succeed.",
    "X-Request-Id": "Names the request in logs and problems.",
    "traceparent": "The server's part in the caller's trace, if the request had one.",
    "Ledger-Position": "What the answer reflects, also where it is 304.",
}
_COMMAND_REFUSALS = (400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 431, 500, 503)
_ACTION_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 431, 500, 503)
_VIEW_REFUSALS = (400, 401, 403, 404, 408, 409, 422, 429, 431, 500, 503)
_REASONS = {
    400: "Malformed JSON or cursor, or no idempotency key",
    401: "No valid API key",
    403: "The key's role does not allow this",
    404: "What is named does not exist",
    408: "The request did not arrive as a whole in time",
    409: "Other facts than assumed",
    412: "An account has another version than assumed",
    413: "Body too large",
    415: "Not application/json",
    422: "A rule is broken",
    429: "Asked too often: wait as Retry-After says",
    431: "Address and headers too large",
    500: "A failure here",
    503: "Too busy, or the database is away: try again",
}
_WHEN_TO_RETRY = dict.fromkeys((409, 429, 503), ("Retry-After",))
_RECEIPT: Json = {
    "properties": {"receipt": {"anyOf": [{"$ref": _REFS.format(name="Receipt")}, {"type": "null"}]}}
}
_OF_COMMANDS = ("Idempotency-Replayed", "Dry-Run", "X-Request-Id", "traceparent")
_HEALTH = {
    "/livez": ("livez", "The process runs", "application/json"),
    "/readyz": ("readyz", "The database answers", "application/json"),
    "/metrics": ("metrics", "Figures for Prometheus", "text/plain"),
}


def install(
    app: FastAPI,
    routes: Sequence[CommandRoute],
    views: Sequence[ViewRoute],
    actions: Sequence[ActionRoute],
    deprecated: Mapping[Route, Deprecated],
) -> None:
    """Make the application answer with the whole document."""
    whole: list[Json] = []

    def document() -> Json:
        """The document, made once."""
        if not whole:
            whole.append(_document(app, routes, views, actions, deprecated))
        return whole[0]

    app.openapi = document  # type: ignore[method-assign]


def parameters_of(app: FastAPI, operation: str) -> frozenset[str]:
    """The names of the parameters that an operation takes in its address."""
    return frozenset(
        parameter["name"]
        for methods in app.openapi()["paths"].values()
        for found in methods.values()
        if found.get("operationId") == operation
        for parameter in found.get("parameters", ())
        if parameter.get("in") in {"path", "query"}
    )


def _document(
    app: FastAPI,
    routes: Sequence[CommandRoute],
    views: Sequence[ViewRoute],
    actions: Sequence[ActionRoute],
    deprecated: Mapping[Route, Deprecated],
) -> Json:
    """Views, commands, batch and health in one document."""
    document: Json = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update(_schemas(routes, views, actions))
    components["securitySchemes"] = {
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key: `lk_…`; or the token of a session: `ls_…`.",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of the bank's identity provider, where the server takes them.",
        },
    }
    components["parameters"] = _PARAMETERS
    components["headers"] = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()
    }
    document["security"] = [{"apiKey": []}, {"token": []}]
    paths: Json = document["paths"]
    for view in views:
        _complete(paths[view.path.replace(":path}", "}")]["get"], view)
    for route in routes:
        paths.setdefault(route.path, {})["post"] = _command(route)
    for action in actions:
        paths.setdefault(action.path, {})[action.method.lower()] = _action(action)
    paths[batches.PATH] = {"post": _batch()}
    paths[business_day_route.PATH] = {"post": _business_day()}
    paths[checkpoint_route.PATH]["post"] = _checkpoint()
    for path, (operation_id, summary, media_type) in _HEALTH.items():
        paths[path] = {"get": _health(operation_id, summary, media_type)}
    for (method, path), item in deprecated.items():
        operation = paths[path][method.lower()]
        operation["deprecated"] = True
        operation["externalDocs"] = {"description": "What comes instead", "url": item.link}
    openapi_links.add(document)
    return document


def _complete(operation: Json, view: ViewRoute) -> None:
    """Add to a view's operation what its endpoint does not know of."""
    operation.setdefault("parameters", []).extend(
        _parameter(name) for name in ("IfNoneMatch", "Reason", "RequestId", "Traceparent")
    )
    answered = operation["responses"]["200"]
    if view.answer is not None:
        answered["content"] = {"application/json": {"schema": _ref(view.answer.__name__)}}
    if view.media:
        described = answered["content"] if view.answer is not None else {}
        texts = {media: {"schema": {"type": "string"}} for media in view.media}
        answered["content"] = described | texts
    names = ["ETag", "Cache-Control", "X-Request-Id", "traceparent", *view.headers]
    answered["headers"] = _headers(*names)
    operation["responses"] |= {
        "304": {"description": "What was kept still holds", "headers": _headers(*names)},
        **_refusals(_VIEW_REFUSALS),
    }
    _note_roles(operation)


def _schemas(
    routes: Sequence[CommandRoute], views: Sequence[ViewRoute], actions: Sequence[ActionRoute]
) -> Json:
    """The schemas of all commands, answers and problems."""
    kinds = (
        batches.BatchBody,
        batches.BatchAnswer,
        batches.RefusedBatch,
        business_day_route.BusinessDayBody,
        checkpoint_route.CheckpointBody,
        Receipt,
        BusinessDay,
        problems.ProblemBody,
        answers.UnchangedAnswer,
        *answers.ANSWER_TYPES.values(),
        *commands.wire_types(),
        *(view.answer for view in views if view.answer is not None),
        *(action.body for action in actions if action.body is not None),
        *(action.answer for action in actions),
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
    names = ["IdempotencyKey", "DryRun", "AtPosition", "LedgerReceipt", "RequestId", "Traceparent"]
    if route.path_field == "account_id":
        names.append("IfMatch")
    operation: Json = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": route.command.__doc__ or "",
        "tags": ["commands"],
        "parameters": [_parameter(name) for name in names],
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
            **_recorded(route),
            "200": _response("It was so already", _ref("UnchangedAnswer"))
            | {"headers": _headers(*_OF_COMMANDS)},
            **_refusals(_COMMAND_REFUSALS),
        },
    }
    if route.path_field is not None:
        operation["parameters"].insert(0, _path_parameter(route.path_field))
    _note_roles(operation)
    return operation


def _recorded(route: CommandRoute) -> Json:
    """The answers of a command that led to something: at once, or once it is approved."""
    recorded = [route.event, *route.other_events]
    refs = [_ref(answers.ANSWER_TYPES[kind].__name__) for kind in recorded]
    responses: Json = {}
    if ApprovalRequested not in recorded:
        schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
        responses["201"] = _response("Recorded", schema | _RECEIPT)
    if route.operation in commands.approvable() or ApprovalRequested in recorded:
        waiting = _ref(answers.ANSWER_TYPES[ApprovalRequested].__name__)
        responses["202"] = _response("It waits for approval", waiting)
    for response in responses.values():
        response["headers"] = _headers("Location", "ETag", *_OF_COMMANDS)
    return responses


def _action(route: ActionRoute) -> Json:
    """The operation of an action."""
    status = str(route.status)
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    operation: Json = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": (route.body or route.answer).__doc__ or "",
        "tags": [route.tag],
        "parameters": [
            *(_path_parameter(name) for name in names),
            *(_parameter(name) for name in ("Reason", "RequestId", "Traceparent")),
        ],
        "responses": {
            status: _response("Done", _ref(route.answer.__name__))
            | {"headers": _headers("Cache-Control", "X-Request-Id", "traceparent")},
            **_refusals(sorted({*_ACTION_REFUSALS, *route.refusals})),
        },
    }
    if route.body is not None:
        content: Json = {"schema": _ref(route.body.__name__)}
        if route.example is not None:
            content["example"] = route.example
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    if route.public:
        operation["security"] = []
    else:
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
        "parameters": [
            _parameter(name)
            for name in (
                "IdempotencyKey",
                "DryRun",
                "AtPosition",
                "LedgerBatchReceipts",
                "RequestId",
                "Traceparent",
            )
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("BatchBody"), "example": example}},
        },
        "responses": {
            "200": _response("One result a command, in order", _ref("BatchAnswer"))
            | {"headers": _headers("Dry-Run", "X-Request-Id", "traceparent")},
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


def _business_day() -> Json:
    """The operation that runs a business day."""
    example = {"business_date": "2026-02-27"}
    operation: Json = {
        "operationId": business_day_route.OPERATION,
        "summary": "Run every standing order that is due, each occurrence once",
        "description": business_day_route.BusinessDayBody.__doc__ or "",
        "tags": ["commands"],
        "parameters": [_parameter(name) for name in ("RequestId", "Traceparent")],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("BusinessDayBody"), "example": example}
            },
        },
        "responses": {
            "200": _response("What it came to", _ref("BusinessDay"))
            | {"headers": _headers("X-Request-Id", "traceparent")},
            **_refusals(_COMMAND_REFUSALS),
        },
    }
    _note_roles(operation)
    return operation


def _checkpoint() -> Json:
    """The operation that has a checkpoint signed."""
    operation: Json = {
        "operationId": checkpoint_route.OPERATION,
        "summary": "Sign the head of the log now",
        "description": checkpoint_route.CheckpointBody.__doc__ or "",
        "tags": ["commands"],
        "parameters": [_parameter(name) for name in ("RequestId", "Traceparent")],
        "requestBody": {
            "required": False,
            "content": {
                "application/json": {"schema": _ref("CheckpointBody"), "example": {"log": "events"}}
            },
        },
        "responses": {
            "201": _response("The checkpoint, signed now or before", _ref("CheckpointAnswer"))
            | {"headers": _headers("Location", "X-Request-Id", "traceparent")},
            **_refusals((400, 401, 403, 408, 413, 415, 422, 429, 431, 500, 503)),
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
            **_refusals((408, 429, 431, 500, 503)),
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


def _parameter(name: str) -> Json:
    """A reference to a parameter that many operations take."""
    return {"$ref": f"#/components/parameters/{name}"}


def _headers(*names: str) -> Json:
    """References to headers of an answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusals(statuses: Sequence[int]) -> Json:
    """The problem responses of an operation."""
    return {
        str(status): _response(_REASONS[status], _ref("ProblemBody"), problems.CONTENT_TYPE)
        | {"headers": _headers("X-Request-Id", *_WHEN_TO_RETRY.get(status, ()))}
        for status in statuses
    }


def _note_roles(operation: Json) -> None:
    """Say which permission the operation asks for, and which default roles have it."""
    operation["x-permission"] = PERMISSION_OF[operation["operationId"]]
    operation["x-roles"] = list(default_roles_of(operation["operationId"]))


def _response(description: str, schema: Json, media_type: str = "application/json") -> Json:
    """A response with one kind of body."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _ref(name: str) -> Json:
    """A reference to a schema."""
    return {"$ref": _REFS.format(name=name)}
