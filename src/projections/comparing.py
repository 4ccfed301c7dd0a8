"""Comparing the tables of the views, every row and column, with what the log says.

Knows no event.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ARRAY, Column, Table

from ledger_core.log import Connection
from projections.findings import Findings, text_of

FETCH_ROWS = 1_000
"""PostgreSQL collects what is fetched at once before it sends any of it."""
_IDS = ("account_id", "customer_id", "flag_id")

Row = tuple[Any, ...]


def compare_table(  # noqa: PLR0913, PLR0917 - which rows, and how they should be
    connection: Connection,
    place: tuple[int, int],
    table: Table,
    expected: Mapping[tuple[str, ...], Any],
    row_of: Callable[[Any], Mapping[str, object]],
    findings: Findings,
    others: Callable[[Sequence[Row]], None] | None = None,
) -> None:
    """Compare every row and column of a table in a ledger and slot with what is expected.

    ``expected`` maps the key's columns as text to what ``row_of`` makes the expected row of. Rows
    that are not expected are findings, or handed to ``others``, some at a time.
    """
    columns = _columns(table)
    names = [str(column.name) for column in columns]
    kind = str(table.name)
    key_at = [names.index(column.name) for column in columns if column.primary_key]
    values_of = itemgetter(*names)
    texts = ", ".join(_as_text(column) for column in columns)
    seen: set[tuple[str, ...]] = set()
    with connection.cursor(name=f"compare_{table.name}") as cursor:
        cursor.execute(
            f"SELECT {texts} FROM {table.fullname} WHERE ledger_id = %s AND slot = %s".encode(),  # noqa: S608 - our own names
            place,
        )
        while rows := cursor.fetchmany(FETCH_ROWS):
            unexpected: list[Row] = []
            for row in rows:
                key = tuple(row[at] for at in key_at)
                if key in expected:
                    seen.add(key)
                    wanted = row_of(expected[key])
                    if _texts(values_of(wanted)) != row:
                        found = dict(zip(names, row, strict=True))
                        _report_row(table, key, wanted, found, findings)
                elif others is not None:
                    unexpected.append(row)
                else:
                    found = dict(zip(names, row, strict=True))
                    what = f"{_name(table, key)} is not in the log"
                    findings.add(kind, what, None, found, **_where(found))
            if others is not None:
                others(unexpected)
    for key in expected.keys() - seen:
        wanted = row_of(expected[key])
        findings.add(kind, f"{_name(table, key)} is missing", wanted, None, **_where(wanted))


def texts_of(table: Table) -> Callable[[Mapping[str, object]], Row]:
    """What makes of an expected row the texts that the database would give for it."""
    values_of = itemgetter(*(str(column.name) for column in _columns(table)))
    return lambda row: _texts(values_of(row))


def _columns(table: Table) -> list[Column[Any]]:
    """The columns that say more than which ledger and slot a row is of."""
    return [column for column in table.columns if column.name not in ("ledger_id", "slot")]


def _texts(values: Row) -> Row:
    """Expected values as the database's texts of them."""
    return tuple(
        [
            # The most frequent types first: this is done for every column of every account.
            value if type(value) is str else str(value) if type(value) is int else text_of(value)
            for value in values
        ]
    )


def _report_row(
    table: Table,
    key: tuple[str, ...],
    expected: Mapping[str, object],
    found: Mapping[str, str | None],
    findings: Findings,
) -> None:
    """Report each column that is not as expected."""
    for name, text in found.items():
        wanted = text_of(expected[name])
        if wanted != text:
            what = f"{_name(table, key)}, {name}"
            findings.add(str(table.name), what, wanted, text, **_where(expected))


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
    """The expression for a column's value as text."""
    if isinstance(column.type, ARRAY):
        return f"to_json({column.name})::text"
    return f"{column.name}::text"
