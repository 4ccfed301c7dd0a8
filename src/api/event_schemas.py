"""JSON Schema (2020-12) of every event's data, by name and version: part of every exported log.

Made from the event types themselves, so that it cannot say anything else than what they are; every
field is told in words. Knows nothing of the leaf's header: see docs/formats.md.
"""

import inspect
from typing import Any

import msgspec

from api.event_fields import MEANINGS, OF_TYPE
from ledger_core import events

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FORMAT = "ledger-schema/1"


def document() -> dict[str, Any]:
    """The schemas: under ``events`` by name and version, under ``$defs`` what they share."""
    kinds = events.types()
    _, definitions = msgspec.json.schema_components(
        list(kinds.values()), ref_template="#/$defs/{name}"
    )
    for title, definition in definitions.items():
        _describe(title, definition)
    return {
        "$schema": DIALECT,
        "format": FORMAT,
        "events": {
            name: {str(events.version_of(name)): {"$ref": f"#/$defs/{kind.__name__}"}}
            for name, kind in kinds.items()
        },
        "$defs": definitions,
    }


def encoded() -> bytes:
    """The document as it stands in an archive: the same bytes every time."""
    return msgspec.json.format(msgspec.json.encode(document(), order="sorted"), indent=1) + b"\n"


def _describe(title: str, definition: dict[str, Any]) -> None:
    """Say in words what a type and its fields mean."""
    if "description" in definition:
        text = inspect.cleandoc(definition["description"]).replace("``", "")
        definition["description"] = " ".join(text.split())
    for field, schema in definition.get("properties", {}).items():
        meaning = OF_TYPE.get((title, field)) or MEANINGS[field]
        if "$ref" in schema:
            schema = definition["properties"][field] = {"allOf": [schema]}  # noqa: PLW2901 - beside a $ref, older readers see nothing
        schema["description"] = meaning
