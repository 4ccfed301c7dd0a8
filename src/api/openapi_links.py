"""Links of the OpenAPI document: which answer leads on to which request.

A link says that the id in one operation's answer is what another operation's address asks for:
from the account that was opened to its statement, its limit, its closing. Programs follow them,
and tests that try sequences of requests do. They are made from the document itself, so that a new
route is linked without anybody thinking of it.

Deliberately not here: links from what changes a thing, which would repeat those of what began it.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from api.answers import BEGUN

Json = dict[str, Any]

# The name that ids of a collection have in answers, where it is not that in the address.
_ID_OF: Mapping[str, str] = MappingProxyType(
    {begun.collection: begun.field for begun in BEGUN.values()}
    | {"approval-policies": "policy_id", "events": "position"}
)
_BEGINNING = ("201", "202")
_JSON = "application/json"
_VARIABLE = "{"


class _Target(NamedTuple):
    """An operation on one thing of a collection, which its address names."""

    collection: str
    name: str
    method: str
    operation: Json


def add(document: Json) -> None:
    """Add to every answer the links to where it leads."""
    targets = list(_targets(document))
    found: Json = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                schema = _schema_of(document, response)
                if method == "get" and status == "200":
                    links = _pages(operation, schema) + _to_items(document, path, schema, targets)
                elif method != "get" and status in _BEGINNING:
                    links = _to_begun(document, path, schema, targets)
                else:
                    continue
                if links:
                    response["links"] = _referred(found, links)
    if found:
        document["components"]["links"] = found


def _referred(found: Json, links: Sequence[Json]) -> Json:
    """References to links, each kept once among those found."""
    references: Json = {}
    for link in links:
        operation, same = link["operationId"], 1
        name: str = operation
        while found.setdefault(name, link) != link:
            same += 1
            name = f"{operation}_{same}"
        references[operation] = {"$ref": f"#/components/links/{name}"}
    return references


def _targets(document: Json) -> Iterator[_Target]:
    """Every operation whose address begins with a collection and one thing of it."""
    for path, methods in document["paths"].items():
        parts = path.split("/")[2:]
        if sum(part.startswith(_VARIABLE) for part in parts) == 1 and parts[1][0] == _VARIABLE:
            for method, operation in methods.items():
                yield _Target(parts[0], parts[1].strip("{}"), method, operation)


def _to_begun(document: Json, path: str, schema: Json, targets: Sequence[_Target]) -> list[Json]:
    """Links from what was begun to all that may be done with it, as fresh as it is."""
    found: list[Json] = []
    own, *below = path.split("/")[2:]
    members = _members(document, schema)
    required = {name for name in schema.get("required", ()) if "anyOf" not in members[name]}
    for target in targets:
        member = _ID_OF.get(target.collection, target.name)
        if member not in required or (target.method != "get" and (below or member == "position")):
            continue  # What changes a thing leads to looking at it, not to changing it again.
        if target.collection != own and not member.endswith(("_id", "position")):
            continue  # A name that many kinds of things have.
        found.append(_link(document, target, f"$response.body#/{member}", members))
    return found


def _to_items(document: Json, path: str, schema: Json, targets: Sequence[_Target]) -> list[Json]:
    """Links from the first item of a listing to the views of it."""
    found: list[Json] = []
    for member, listed in _members(document, schema).items():
        item = _members(document, _resolved(document, listed.get("items", {})))
        for target in targets:
            if target.method != "get" or path != f"/v1/{target.collection}":
                continue
            for name in (_ID_OF.get(target.collection), target.name):
                if name in item:
                    found.append(_link(document, target, f"$response.body#/{member}/0/{name}", {}))
                    break
    return found


def _pages(operation: Json, schema: Json) -> list[Json]:
    """The link to the next page of a listing, with the same filters."""
    names = {parameter.get("name") for parameter in operation.get("parameters", ())}
    if "cursor" not in names or "next" not in schema.get("properties", {}):
        return []
    parameters = {"query.cursor": "$response.body#/next"}
    return [{"operationId": operation["operationId"], "parameters": parameters}]


def _link(document: Json, target: _Target, expression: str, members: Mapping[str, Json]) -> Json:
    """The link to an operation; a view is asked to reflect what was just recorded."""
    parameters = {f"path.{target.name}": expression}
    if "position" in members and _takes(document, target.operation, "min_position"):
        parameters["query.min_position"] = "$response.body#/position"
    return {"operationId": target.operation["operationId"], "parameters": parameters}


def _takes(document: Json, operation: Json, name: str) -> bool:
    """Whether an operation has a parameter of that name."""
    found = (_resolved(document, item) for item in operation.get("parameters", ()))
    return any(parameter.get("name") == name for parameter in found)


def _schema_of(document: Json, response: Json) -> Json:
    """The schema of an answer in JSON; nothing where it is of another kind."""
    schema: Json = response.get("content", {}).get(_JSON, {}).get("schema", {})
    return _resolved(document, schema)


def _members(document: Json, schema: Json) -> dict[str, Json]:
    """The members of an answer, each with its schema."""
    properties = schema.get("properties", {})
    return {name: _resolved(document, member) for name, member in properties.items()}


def _resolved(document: Json, schema: Json) -> Json:
    """The schema behind a reference, beside which others of its words may stand."""
    reference: str = schema.get("$ref", "")
    if not reference:
        return schema
    _, kind, name = reference.removeprefix("#/").split("/")
    target: Json = document["components"][kind][name]
    return {**schema, **target}
