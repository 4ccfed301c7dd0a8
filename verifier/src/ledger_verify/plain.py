"""Reading what somebody else wrote: strict JSON, base64 and hexadecimal, in bounded effort.

Strict where the formats leave no choice: a name twice in one object, bytes that are no UTF-8, NaN,
or base64 with stray bits are all refused, since two readers could take them for different things.
"""

import base64
import binascii
import json
import re
from typing import TypeGuard

DIGITS_MAX = 400
"""More digits than any number that a ledger can hold; Python itself would take minutes for some."""

HASH_SIZE = 32
_HASH = re.compile(r"[0-9a-f]{64}")


class Malformed(ValueError):  # noqa: N818 - a fact about the input
    """The input is not of the form that it should have; the text says how."""


def parse_json(data: bytes | str) -> object:
    """The value of a JSON text.

    Raises:
        Malformed: not JSON, or not UTF-8, or with a name twice in an object.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    try:
        value: object = _DECODER.decode(text)
    except Malformed:
        raise
    except RecursionError:
        raise Malformed("JSON nested too deeply") from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Malformed(f"not JSON{where}") from None
    return value


def parse_object(data: bytes | str) -> dict[str, object]:
    """As ``parse_json``, of a text that must be an object.

    Raises:
        Malformed: it is not.
    """
    value = parse_json(data)
    if not is_object(value):
        raise Malformed("not a JSON object")
    return value


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def text_of(value: dict[str, object], name: str) -> str:
    """A member that must be a string.

    Raises:
        Malformed: it is missing or something else.
    """
    found = value.get(name)
    if not isinstance(found, str):
        raise Malformed(f"{name} is not a string")
    return found


def number_of(value: dict[str, object], name: str, *, least: int = 0) -> int:
    """A member that must be a whole number of at least ``least``.

    Raises:
        Malformed: it is missing or something else.
    """
    found = value.get(name)
    if type(found) is not int or found < least:
        raise Malformed(f"{name} is not a whole number of at least {least}")
    return found


def list_of(value: dict[str, object], name: str) -> list[object]:
    """A member that must be an array.

    Raises:
        Malformed: it is missing or something else.
    """
    found = value.get(name)
    if not is_list(found):
        raise Malformed(f"{name} is not an array")
    return found


def require_format(value: dict[str, object], name: str) -> None:
    """The document says that it is of this format.

    Raises:
        Malformed: it does not.
    """
    if value.get("format") != name:
        raise Malformed(f"format is not {name}")


def from_base64(text: str) -> bytes:
    """The bytes behind standard base64 with padding, in its one canonical form.

    Raises:
        Malformed: any other text.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("not base64") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise Malformed("base64 with stray bits")
    return data


def hash_from_base64(text: object) -> bytes:
    """A SHA-256 hash in base64.

    Raises:
        Malformed: any other value.
    """
    if not isinstance(text, str):
        raise Malformed("a hash is not a string")
    data = from_base64(text)
    if len(data) != HASH_SIZE:
        raise Malformed("a hash is not 32 bytes long")
    return data


def hash_from_hex(text: object) -> bytes:
    """A SHA-256 hash in lower-case hexadecimal.

    Raises:
        Malformed: any other value.
    """
    if not isinstance(text, str) or _HASH.fullmatch(text) is None:
        raise Malformed("not a hash of 64 lower-case hexadecimal digits")
    return bytes.fromhex(text)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object's members, each name once."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a name twice in one JSON object")
    return members


def _whole(digits: str) -> int:
    """A whole number of bounded length."""
    if len(digits) > DIGITS_MAX:
        raise Malformed(f"a number of more than {DIGITS_MAX} digits")
    return int(digits)


def _refused(name: str) -> object:
    """NaN and the infinities are no JSON."""
    raise Malformed(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_int=_whole, parse_constant=_refused)
