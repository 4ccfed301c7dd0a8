"""What a decoder found wrong with a body, in words of our own that repeat nothing of the input.

msgspec's messages can quote a value or an unknown name. Its paths cannot: they hold the names of
struct fields and indexes, and members of free objects appear as ``[...]``.
"""

import re
from collections.abc import Hashable
from functools import cache

import msgspec
from msgspec.inspect import ListType, LiteralType, StructType, Type, UnionType, VarTupleType

from api.problems import FieldError, pointer_of

_AT = " - at `"
_PATH_STEP = re.compile(r"\.([A-Za-z_]+)|\[(\d+)\]|\[\.\.\.\]")
_MISSING = re.compile(r"Object missing required field `([a-z_]+)`")
_EXPECTED = re.compile(r"Expected `([a-z0-9 |]+)`(?:, got `[a-z0-9 ]+`)?")
_INSTANT = "a time with its offset: 2026-01-31T12:00:00Z"
_IN_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "datetime": _INSTANT,
}


def field_error(message: str, kind: Hashable) -> FieldError:
    """The field at fault and the rule that it breaks; ``kind`` is the type that was decoded."""
    text, found, path = message.rpartition(_AT)
    if not found:
        text, path = message, ""
    field, target = _walk(path, kind)
    missing = _MISSING.fullmatch(text)
    if missing is not None:
        name = missing.group(1)
        return _named(f"{field}.{name}" if field else name, "required")
    if text.startswith("Object contains unknown field"):
        known = [member.encode_name for option in _structs(target) for member in option.fields]
        return _named(field, f"known members: {', '.join(known) or 'none'}")
    return _named(field, _rule(text, target))


def _rule(text: str, target: Type | None) -> str:
    """The rule that a value breaks."""
    choices = _choices(target)
    if choices and text.startswith(("Invalid enum value", "Invalid value")):
        return f"one of {', '.join(choices)}"
    expected = _EXPECTED.fullmatch(text)
    if expected is not None:
        return " or ".join(_IN_WORDS.get(word, word) for word in expected.group(1).split(" | "))
    if "encoded datetime" in text or "timezone component" in text:
        return _INSTANT
    if "encoded date" in text:
        return "a date in the form 2026-01-31"
    if "out of range" in text:
        return "a number within the range that the field allows"
    return "a value of the form that the field has"


def _walk(path: str, kind: Hashable) -> tuple[str, Type | None]:
    """The field that a path names, and the type that it must have (``None``: not known)."""
    field = ""
    target: Type | None = _described(kind)
    for step in _PATH_STEP.finditer(path):
        name, index = step.group(1), step.group(2)
        if name is not None:
            target = _member_type(target, name)
            field = f"{field}.{name}" if field else name
        elif index is not None:
            target = _item_type(target)
            field = f"{field}[{index}]"
        else:
            break
    return field, target


@cache
def _described(kind: Hashable) -> Type:
    """What a type consists of; there are few types, and finding out takes milliseconds."""
    return msgspec.inspect.type_info(kind)


def _member_type(target: Type | None, name: str) -> Type | None:
    """The type of a struct's member, if that is what the target is."""
    for option in _structs(target):
        if option.tag_field == name:
            return target
        for member in option.fields:
            if member.encode_name == name:
                return member.type
    return None


def _item_type(target: Type | None) -> Type | None:
    """The type of an array's items, if that is what the target is."""
    for option in _options(target):
        if isinstance(option, ListType | VarTupleType):
            return option.item_type
    return None


def _options(target: Type | None) -> tuple[Type, ...]:
    """The types of a union, or the one type."""
    if target is None:
        return ()
    return tuple(target.types) if isinstance(target, UnionType) else (target,)


def _structs(target: Type | None) -> list[StructType]:
    """The struct types among the options."""
    return [option for option in _options(target) if isinstance(option, StructType)]


def _choices(target: Type | None) -> list[str]:
    """The words of which the field must be one: a literal's, or the tags of a union's structs."""
    words = [
        str(value)
        for option in _options(target)
        if isinstance(option, LiteralType)
        for value in option.values
    ]
    return words + [str(option.tag) for option in _structs(target) if option.tag is not None]


def _named(field: str, rule: str) -> FieldError:
    """The error of a field, or of the whole body."""
    return FieldError(rule, field or None, pointer_of(field) if field else "")
