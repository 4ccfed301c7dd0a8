"""What a read is about, for the access log: taken from what was asked and from what is answered.

From the address and its parameters, from the commands of a dry run, and from the members of the
answer that name an account or a customer. So no view can forget to say what it showed. An account
that is named only as the counterparty of a movement is no subject: the account moved is.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from api.paths import path_id
from ledger_core.access_log import LEDGER, SUBJECTS_MAX, require_subject
from ledger_core.errors import ValidationFailed

# A page of 1,000 of anything is smaller; what is larger shows more than a page of the ledger.
BODY_BYTES_MAX = 4_194_304
FIELDS_MAX = 100

# Where nobody was found, what stands in the place of an id may be a person's name.
_FOUND_NOTHING = frozenset({404, 422})

WHOLE = frozenset((LEDGER,))

# What the holder of an account or the caller named; it may have members of any name.
_FREE = frozenset({"metadata", "profile", "changes", "counterparties"})
_TAGGED = ("account:", "customer:")
_NESTED = (dict, list, tuple)
_UNKNOWN = "unknown"
# Numbers that the ledger gave: nobody's name.
_NUMBERED = frozenset({"event"})
_KINDS = (("account_id", "account:"), ("customer_id", "customer:"))


class Shown(msgspec.Struct, frozen=True):
    """What an answer says of accounts and customers, and which position it reflects."""

    subjects: frozenset[str] = frozenset()
    position: int | None = None


def of_address(
    operation: str, path_params: Mapping[str, object], query_string: bytes
) -> frozenset[str]:
    """What the address and its parameters ask about; what is malformed there asks about nothing."""
    found: set[str] = set()
    for name, value in path_params.items():
        kind = name.removesuffix("_id")
        if name == "kept_id":
            kind = operation.removeprefix("get_")
        elif name == "position":
            kind = "event"
        elif name == "name":
            kind = "role"
        elif kind == name:  # Some part of what is read, but not what it is about.
            continue
        found.add(f"{kind}:{path_id(str(value))}")
    if query_string:
        try:
            parameters = parse_qsl(query_string.decode(), max_num_fields=FIELDS_MAX)
        except ValueError:  # The route refuses it.
            parameters = []
        for name, value in parameters:
            found.update(_named(name, value))
            if name in {"tag", "subject"} and value.startswith(_TAGGED):
                found.add(value)
    return frozenset(filter(is_subject, found))


def of_answer(body: bytes, media_type: bytes) -> Shown:
    """What an answer shows; what cannot be looked through shows the ledger."""
    if not media_type.startswith(b"application/json") or len(body) > BODY_BYTES_MAX:
        return Shown(WHOLE)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Shown(WHOLE)
    position = document.get("position") if isinstance(document, dict) else None
    is_position = isinstance(position, int) and position >= 0
    found = frozenset(filter(is_subject, _walk(document)))
    return Shown(found, position if is_position else None)


def of_commands(commands: Iterable[object]) -> frozenset[str]:
    """The accounts and customers that commands name."""
    return frozenset(
        subject
        for command in commands
        if isinstance(command, msgspec.Struct)  # Else it was refused for its form.
        for subject in _walk(msgspec.to_builtins(command, enc_hook=str))
        if is_subject(subject)
    )


def of_answered(found: Iterable[str], status: int) -> frozenset[str]:
    """Subjects of an address that was answered so; where nothing was found, without their ids.

    Somebody may have typed a name there, and the access log is in clear and for good.
    """
    if status not in _FOUND_NOTHING:
        return frozenset(found)
    kinds = ((subject, subject.partition(":")[0]) for subject in found)
    return frozenset(
        subject if kind in _NUMBERED else f"{kind}:{_UNKNOWN}" for subject, kind in kinds
    )


def listed(*some: Iterable[str]) -> tuple[str, ...]:
    """Subjects in order, each once; the ledger instead of more than can be listed."""
    subjects = sorted(set().union(*some))
    return tuple(subjects) if len(subjects) <= SUBJECTS_MAX else (LEDGER,)


def _walk(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """The subjects named anywhere in a document."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting += [item for item in value if isinstance(item, _NESTED)]
        elif isinstance(value, dict):
            for name, item in value.items():
                if isinstance(item, str):
                    yield from _named(name, item)
                elif isinstance(item, _NESTED) and name not in _FREE:
                    if name in {"tags", "members"}:
                        yield from _of_list(name, item)
                    waiting.append(item)


def _of_list(name: str, items: Iterable[object]) -> Iterator[str]:
    """The subjects among the tags of an event, or the members of a group."""
    for item in items:
        if isinstance(item, str):
            if name == "members":
                yield f"account:{item}"
            elif item.startswith(_TAGGED):
                yield item


def _named(name: str, value: str) -> Iterator[str]:
    """The subject that a member or a parameter names, if it is one that does."""
    for ending, prefix in _KINDS:
        if name == ending or name.endswith(f"_{ending}"):
            yield prefix + value


def is_subject(subject: str) -> bool:
    """Whether the text has the form of a subject."""
    try:
        require_subject(subject)
    except ValidationFailed:
        return False
    return True
