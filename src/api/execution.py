"""How commands are to be carried out, as the address and the headers of their request say it.

`?dry_run=true`: judged, and not recorded; with `&at_position=N` as the ledger stood there.
`If-Match`: only while the account has that version.
Whatever is not known here is refused: a misspelt `dry_run` must not book.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from api.problems import (
    IF_MATCH_NOT_TAKEN,
    KEY_MISMATCH,
    FieldError,
    Problem,
    malformed,
)

# Far more than any request needs: `dry_run=true` has 12.
QUERY_BYTES_MAX = 200
POSITION_DIGITS_MAX = 18

Headers = Sequence[tuple[bytes, bytes]]

_TAGS = re.compile(rb'[ \t]*(?:W/)?"[^"]*"[ \t]*(?:,[ \t]*(?:W/)?"[^"]*"[ \t]*)*')
# Weak tags and those that are no version never match.
_VERSION = re.compile(rb'(?<!/)"([0-9]{1,18})"')


class Execution(msgspec.Struct, frozen=True):
    """For real, or judged only; ``versions``: those that the account may have, if that matters.

    ``at_position``: judged as the ledger stood after that event.
    """

    dry_run: bool = False
    at_position: int | None = None
    versions: tuple[int, ...] | None = None


FOR_REAL = Execution()

ASKED = "ledger.asked"
"""Where the commands of a dry run stand, for those around who record what it was about."""


class Sent(msgspec.Struct, frozen=True):
    """What the headers of a command say: its key, and ``If-Match`` as it was sent."""

    key: str | None
    if_match: bytes | None


def sent_of(headers: Headers) -> Sent:
    """What the headers say, in one pass.

    Raises:
        Problem: a header is there more than once.
    """
    key: str | None = None
    if_match: bytes | None = None
    for name, value in headers:
        if name == b"idempotency-key":
            if key is not None:
                raise Problem(KEY_MISMATCH)
            key = value.decode("latin-1")
        elif name == b"if-match":
            if_match = value if if_match is None else if_match + b"," + value
    return Sent(key, if_match)


def execution_of(query: bytes, if_match: bytes | None, path_field: str | None) -> Execution:
    """How to carry out a command that is posted to an address naming ``path_field``.

    Raises:
        Problem: a parameter is unknown, malformed or given twice; ``If-Match`` is malformed, or
            the command is not about one account.
    """
    asked = _asked(query) if query else {}
    if if_match is None:
        return Execution(**asked) if asked else FOR_REAL
    if path_field != "account_id":
        raise Problem(IF_MATCH_NOT_TAKEN)
    return Execution(**asked, versions=_versions(if_match))


def _asked(query: bytes) -> dict[str, Any]:
    """The parameters of an address, each read by its own reader.

    Raises:
        Problem: one is unknown, malformed or given twice.
    """
    pairs = parse_qsl(query[:QUERY_BYTES_MAX].decode("latin-1"), keep_blank_values=True)
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        raise malformed(FieldError("each parameter at most once"))
    if len(query) > QUERY_BYTES_MAX or not names <= set(_READERS):
        raise malformed(FieldError(f"known parameters: {', '.join(sorted(_READERS))}"))
    asked = {name: _READERS[name](name, text) for name, text in pairs}
    if "at_position" in asked and not asked.get("dry_run"):
        raise malformed(FieldError("with dry_run=true only", "at_position"))
    return asked


def _truth(name: str, text: str) -> bool:
    """The truth value that a text names.

    Raises:
        Problem: it names none.
    """
    if text not in ("true", "false"):
        raise malformed(FieldError("true or false", name))
    return text == "true"


def _position(name: str, text: str) -> int:
    """The position that a text names.

    Raises:
        Problem: it names none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= POSITION_DIGITS_MAX):
        raise malformed(FieldError("a whole number, 0 or more", name))
    return int(text)


# The parameters of a command's address, and how each is read.
_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "dry_run": _truth,
    "at_position": _position,
}


def _versions(if_match: bytes) -> tuple[int, ...] | None:
    """The versions that ``If-Match`` names; ``None`` for any (``*``).

    Raises:
        Problem: it is malformed.
    """
    if if_match.strip() == b"*":
        return None
    if _TAGS.fullmatch(if_match) is None:
        raise malformed(FieldError("an ETag of the account, in double quotes", "If-Match"))
    return tuple(int(found) for found in _VERSION.findall(if_match))
