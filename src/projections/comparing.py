"""Comparing what the views hold with what the log says, and keeping what was found.

Values are compared as text that the database makes of them, so that no value a damaged row may
hold can fail to load. Knows no event.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from psycopg import ServerCursor
from sqlalchemy import ARRAY, Date, DateTime, Table

from ledger_core.log import Connection, micros

FINDINGS_MAX = 100
"""How many findings are shown; all are counted."""
FETCH_ROWS = 10_000
_TEXT_CHARACTERS_MAX = 500
_IDS = ("account_id", "customer_id", "flag_id")

Row = tuple[Any, ...]


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
    """The findings so far: the first of them, and how many there are."""

    def __init__(self) -> None:
        """Begin with none."""
        self.shown: list[Finding] = []
        self.count = 0

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
        self.shown.append(
            Finding(
                kind=kind,
                message=message,
                expected=None if expected is None else _short(expected),
                found=None if found is None else _short(found),
                **where,
            )
        )


class Stream:
    """The rows of a query in order of position, read in bounded pieces by a server-side cursor.

    The query's first column is the position, its second the text that is compared.
    """

    def __init__(self, cursor: ServerCursor[Row], query: str, parameters: Row) -> None:
        """Begin the query; the caller closes the cursor."""
        self._cursor = cursor
        cursor.execute(query.encode(), parameters)
        self._rows: list[Row] = []
        self._is_at_end = False

    def until(self, position: int) -> list[str]:
        """The texts of the rows up to a position that were not handed out yet."""
        while not self._is_at_end and (not self._rows or self._rows[-1][0] <= position):
            fetched = self._cursor.fetchmany(FETCH_ROWS)
            self._rows += fetched
            self._is_at_end = len(fetched) < FETCH_ROWS
        end = bisect_right(self._rows, position, key=_position)
        texts = [row[1] for row in self._rows[:end]]
        del self._rows[:end]
        return texts


def epoch_text(moment: datetime) -> str:
    """A time as the database's ``extract(epoch FROM …)`` writes it."""
    seconds, fraction = divmod(micros(moment), 1_000_000)
    return f"{seconds}.{fraction:06}"


def day_text(day: date) -> str:
    """A day as the database's ``to_char(…, 'FMYYYY-MM-DD BC')`` writes it."""
    return f"{day.year}-{day:%m-%d} AD"


def compare_table(  # noqa: PLR0913, PLR0917 - which rows, and how they should be
    connection: Connection,
    place: tuple[int, int],
    table: Table,
    expected: Mapping[tuple[str, ...], Any],
    row_of: Callable[[Any], Mapping[str, object]],
    findings: Findings,
) -> None:
    """Compare every row and column of a table in a ledger and slot with what is expected.

    ``expected`` maps the key's columns as text to what ``row_of`` makes the expected row of.
    """
    columns = [column for column in table.columns if column.name not in ("ledger_id", "slot")]
    names = [str(column.name) for column in columns]
    kind = str(table.name)
    key_at = [names.index(column.name) for column in columns if column.primary_key]
    texts = ", ".join(_as_text(column) for column in columns)
    seen: set[tuple[str, ...]] = set()
    with connection.cursor(name=f"compare_{table.name}") as cursor:
        cursor.execute(
            f"SELECT {texts} FROM {table.fullname} WHERE ledger_id = %s AND slot = %s".encode(),  # noqa: S608 - our own names
            place,
        )
        while rows := cursor.fetchmany(FETCH_ROWS):
            for row in rows:
                key = tuple(row[at] for at in key_at)
                seen.add(key)
                if key in expected:
                    wanted = row_of(expected[key])
                    _compare_row(table, key, names, wanted, row, findings)
                else:
                    found = dict(zip(names, row, strict=True))
                    what = f"{_name(table, key)} is not in the log"
                    findings.add(kind, what, None, found, **_where(found))
    for key in expected.keys() - seen:
        wanted = row_of(expected[key])
        findings.add(kind, f"{_name(table, key)} is missing", wanted, None, **_where(wanted))


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


def _compare_row(  # noqa: PLR0913, PLR0917 - which row, and how it should be
    table: Table,
    key: tuple[str, ...],
    names: Sequence[str],
    expected: Mapping[str, object],
    row: Row,
    findings: Findings,
) -> None:
    """Compare one row, column by column."""
    for name, found in zip(names, row, strict=True):
        wanted = _text(expected[name])
        if wanted != found:
            what = f"{_name(table, key)}, {name}"
            findings.add(str(table.name), what, wanted, found, **_where(expected))


def _where(row: Mapping[str, object]) -> dict[str, Any]:
    """The ids by which a finding names the row."""
    ids = {name: str(row[name]) for name in _IDS if name in row}
    if ids:
        return ids
    position = row.get("position")
    return {} if position is None else {"position": int(str(position))}


def _name(table: Table, key: tuple[str, ...]) -> str:
    """A row by its table and key."""
    return f"{table.name} {', '.join(key)}"


def _as_text(column: Any) -> str:  # noqa: ANN401 - a column of any type
    """The expression for a column's value as text, the same in every session."""
    if isinstance(column.type, DateTime):
        return f"extract(epoch FROM {column.name})::text"
    if isinstance(column.type, ARRAY):
        return f"to_json({column.name})::text"
    if isinstance(column.type, Date):
        return f"to_char({column.name}, 'FMYYYY-MM-DD BC')"
    return f"{column.name}::text"


def _text(value: object) -> str | None:
    """An expected value as the database's text of it."""
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case datetime():
            return epoch_text(value)
        case date():
            return day_text(value)
        case msgspec.Raw() | list():
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
        columns = {str(name): _text(column) for name, column in value.items()}
        return msgspec.json.encode(columns).decode()
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value)


def _position(row: Row) -> int:
    """The position of a stream's row."""
    position: int = row[0]
    return position
