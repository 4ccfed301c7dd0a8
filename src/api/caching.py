"""Which answers of views a caller may keep, and how a kept one is checked (RFC 9110, RFC 9111).

What is pinned to a past position never changes: it may be kept for good. Anything else may be kept
and must be checked: its ``ETag`` is the version that a view names, or else a hash of the very
bytes. Personal data is not to be kept at all. Every answer is its caller's alone: the same address
shows another ledger to another key, hence ``private`` and ``Vary``.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from api import clock
from api.wire import App, Message, Receive, Scope, Send

Keep = Literal["check", "for_ever", "never"]

KEEPING = "ledger.keeping"
OK = 200
NOT_MODIFIED = 304

CONTROL: dict[Keep, bytes] = {
    "check": b"private, no-cache",
    "for_ever": b"private, max-age=31536000, immutable",
    "never": b"no-store",
}

_HASH_BYTES = 16
# The tag of personal data must tell nobody, once the person is forgotten, that a guess is right.
_UNKNOWN_KEY = clock.random_bytes(32)
_OF_A_BODY = frozenset({b"content-length", b"content-type"})
_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')

Headers = Sequence[tuple[bytes, bytes]]


class Keeping(msgspec.Struct):
    """How long an answer may be kept, and the tag that a view gives it."""

    keep: Keep
    tag: str | None = None
    more: Headers = ()


class Caching:
    """ASGI middleware: tags the answers of views, and says that a kept one still holds."""

    def __init__(self, app: App) -> None:
        """Wrap an ASGI application that stands behind an ``Edge``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; whatever is no whole answer of a view passes as it is."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        begun: list[Message] = []

        async def send_tagged(message: Message) -> None:
            """Hold the head of an answer until its body is there."""
            keeping: Keeping | None = scope.get(KEEPING)
            if message["type"] == "http.response.start" and message["status"] == OK and keeping:
                begun.append(message)
                return
            if not begun:
                await send(message)
                return
            start = begun.pop()
            if keeping is None or message.get("more_body", False):
                start["headers"] = [*start["headers"], (b"cache-control", CONTROL["never"])]
                await send(start)
                await send(message)
                return
            for part in tagged(start, message, keeping, scope["headers"]):
                await send(part)

        await self._app(scope, receive, send_tagged)


def tagged(
    start: Message, body: Message, keeping: Keeping, asked: Headers
) -> tuple[Message, Message]:
    """An answer with its tag; without its body where the caller has it already."""
    text = keeping.tag
    if text is None:
        key = _UNKNOWN_KEY if keeping.keep == "never" else b""
        text = hashlib.blake2b(body.get("body", b""), digest_size=_HASH_BYTES, key=key).hexdigest()
    tag = f'"{text}"'.encode()
    headers = [
        *start["headers"],
        (b"etag", tag),
        (b"cache-control", CONTROL[keeping.keep]),
        (b"vary", b"authorization"),
        *keeping.more,
    ]
    if not _has(tag, asked):
        return {**start, "headers": headers}, body
    kept = [(name, value) for name, value in headers if name not in _OF_A_BODY]
    return {**start, "status": NOT_MODIFIED, "headers": kept}, {**body, "body": b""}


def has_already(version: int, asked: Headers) -> bool:
    """Whether the caller has what a version tags already."""
    return _has(b'"%d"' % version, asked)


def _has(tag: bytes, asked: Headers) -> bool:
    """Whether ``If-None-Match`` names the tag, by RFC 9110's weak comparison, or any."""
    for name, value in asked:
        if name == b"if-none-match" and (value.strip() == b"*" or tag in _TAG.findall(value)):
            return True
    return False
