"""What a verification finds, and how texts of rows are held against each other.

Values are compared as the text that the database makes of them, in UTC and with ISO dates, so that
no value a damaged row may hold can fail to load. Knows no event.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

FINDINGS_MAX = 100
"""How many findings are shown; all are counted."""
BEGIN, END = -1, 2**63
"""The pages before the first and after the last."""
_TEXT_CHARACTERS_MAX = 500


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as the log, or its seal, says: what, where, expected and found."""

    kind: str
    message: str
    position: int | None = None
    account_id: str | None = None
    customer_id: str | None = None
    flag_id: str | None = None
    expected: str | None = None
    found: str | None = None


class Findings:
    """The findings so far: the first of them, each with its page, and how many there are.

    ``page`` is the page of the log that is being looked at.
    """

    def __init__(self) -> None:
        """Begin with none, before the first page."""
        self.shown: list[tuple[int, Finding]] = []
        self.count = 0
        self.page = BEGIN

    def add(
        self,
        kind: str,
        what: str,
        expected: object = None,
        found: object = None,
        **where: Any,  # noqa: ANN401 - the ids of a Finding
    ) -> None:
        """Note that something was expected and something else, or nothing, was found."""
        self.count += 1
        if len(self.shown) >= FINDINGS_MAX:
            return
        message = what
        if expected is not None or found is not None:
            message = f"{what}: expected {_short(expected)}, found {_short(found)}"
        finding = Finding(
            kind=kind,
            message=message,
            expected=None if expected is None else _short(expected),
            found=None if found is None else _short(found),
            **where,
        )
        self.shown.append((self.page, finding))

    def take(self, finding: Finding) -> None:
        """Note what somebody else found."""
        self.count += 1
        if len(self.shown) < FINDINGS_MAX:
            self.shown.append((self.page, finding))


def merged(*shown: Iterable[tuple[int, Finding]]) -> tuple[Finding, ...]:
    """The first of the findings of several, page by page."""
    in_order = sorted(chain(*shown), key=lambda item: item[0])
    return tuple(finding for _, finding in in_order[:FINDINGS_MAX])


def compare_texts(
    expected: Sequence[str],
    found: Sequence[str],
    key_of: Callable[[str], str],
    report: Callable[[str, str | None, str | None], None],
) -> None:
    """Compare rows that were put into texts, and report each key whose texts differ."""
    if expected == found:
        return
    expected_by_key = {key_of(text): text for text in expected}
    found_by_key = {key_of(text): text for text in found}
    for key in dict.fromkeys((*expected_by_key, *found_by_key)):
        one, other = expected_by_key.get(key), found_by_key.get(key)
        if one != other:
            report(key, one, other)


@lru_cache(maxsize=10_000)  # Many rows were written at the same moment.
def moment_text(moment: datetime) -> str:
    """A time as the database writes it: in UTC, without the zeros that end a fraction."""
    text = moment.astimezone(UTC).isoformat(" ").removesuffix(":00")
    return text.replace("+00", "").rstrip("0") + "+00" if "." in text else text


def text_of(value: object) -> str | None:
    """An expected value as the database's text of it."""
    match value:
        case None | str():
            return value
        case datetime():
            return moment_text(value)
        case bool() | list() | msgspec.Raw():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


def _short(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = "nothing" if value is None else _shown(value)
    if len(text) <= _TEXT_CHARACTERS_MAX:
        return text
    return text[:_TEXT_CHARACTERS_MAX] + "…"


def _shown(value: object) -> str:
    """A value as people read it; a row as one JSON object of its columns' texts."""
    if isinstance(value, Mapping):
        columns = {str(name): text_of(column) for name, column in value.items()}
        return msgspec.json.encode(columns).decode()
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value)
