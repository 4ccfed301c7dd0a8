"""Bodies as they come over the wire: read within bounds, decoded strictly, refused without echo.

JSON is taken at its word (RFC 8259, I-JSON): UTF-8, one document, no NaN, no lone surrogates and
no member named twice, which most decoders let pass with the last value winning. What was sent is
never part of a refusal: a field is named only where the command itself has such a field.
"""

import json
import re
from collections.abc import Awaitable, Callable, Hashable, MutableMapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

from api.field_errors import field_error
from api.problems import (
    BODY_TOO_LARGE,
    DUPLICATE_MEMBER,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    malformed,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A single command is a few hundred bytes; the largest, an entry of 1,000 postings, 200 kB.
SINGLE_BYTES_MAX = 1_048_576
# 20,000 commands of a batch at some 800 bytes each.
BATCH_BYTES_MAX = 16_777_216
# What is too large is read to its end, up to here, so that the caller gets to read the refusal.
DRAIN_BYTES_MAX = 67_108_864

_T = TypeVar("_T")

_MEDIA_TYPE = re.compile(rb'application/json[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?', re.IGNORECASE)


def require_json(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """The body is declared to be JSON.

    Raises:
        Problem: another content type, or none.
    """
    declared: bytes | None = None
    for name, value in headers:
        if name == b"content-type":
            if declared is not None:
                raise Problem(UNSUPPORTED_MEDIA_TYPE)
            declared = value
        elif name == b"content-encoding":
            raise Problem(UNSUPPORTED_MEDIA_TYPE)
    if declared != b"application/json" and (
        declared is None or _MEDIA_TYPE.fullmatch(declared.strip()) is None
    ):
        raise Problem(UNSUPPORTED_MEDIA_TYPE)


async def read_body(receive: Receive, bytes_max: int) -> bytes:
    """The whole body.

    Raises:
        Problem: it is larger than ``bytes_max``.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= bytes_max:
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False) and size <= DRAIN_BYTES_MAX:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= bytes_max:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size > bytes_max:
        raise Problem(BODY_TOO_LARGE)
    return b"".join(chunks)


def decode(decoder: msgspec.json.Decoder[_T], body: bytes | msgspec.Raw) -> _T:
    """The value behind a body.

    Raises:
        Problem: not JSON, or not of the decoder's type; the field at fault is named.
    """
    value = decode_shallow(decoder, body)
    require_unique_members(bytes(body))
    return value


def decode_shallow(decoder: msgspec.json.Decoder[_T], body: bytes | msgspec.Raw) -> _T:
    """As ``decode``, leaving members that are named twice to the caller.

    Raises:
        Problem: not JSON, or not of the decoder's type; the field at fault is named.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise malformed(field_error(str(error), cast("Hashable", decoder.type))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(MALFORMED_JSON) from None


def require_unique_members(body: bytes) -> None:
    """No object of a JSON document names a member twice.

    Raises:
        Problem: one does.
    """
    _scan(body, _check_pairs)


def require_unique_outer_members(body: bytes) -> None:
    """The outermost object of a JSON document does not name a member twice.

    Raises:
        Problem: it does.
    """
    outermost: list[tuple[str, object]] = []

    def remember(pairs: list[tuple[str, object]]) -> None:
        """Objects end in order: the last to end is the outermost."""
        outermost[:] = pairs

    _scan(body, remember)
    _check_pairs(outermost)


def _scan(body: bytes, on_object: Callable[[list[tuple[str, object]]], None]) -> None:
    """Show each object of a document to a function, building as little as can be.

    Raises:
        Problem: not UTF-8, nested too deeply, or what the function raises.
    """
    scanner = _UNIQUE if on_object is _check_pairs else _scanner(on_object)
    try:
        scanner.decode(body.decode())
    except (ValueError, RecursionError):
        raise Problem(MALFORMED_JSON) from None


def _check_pairs(pairs: list[tuple[str, object]]) -> None:
    """Refuse an object that names a member twice; build nothing."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise Problem(DUPLICATE_MEMBER)


def _scanner(
    on_object: Callable[[list[tuple[str, object]]], None],
) -> json.JSONDecoder:
    """A decoder that shows objects and makes nothing of numbers."""
    return json.JSONDecoder(
        object_pairs_hook=on_object, parse_int=len, parse_float=len, parse_constant=len
    )


_UNIQUE = _scanner(_check_pairs)
