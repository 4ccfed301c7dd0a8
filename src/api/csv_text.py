"""CSV that spreadsheets open without running anything: RFC 4180, UTF-8.

A text that a spreadsheet could take for a formula (it begins with = + - @, a tab or a line end, or
the wide forms of these) gets an apostrophe before it; so does one that begins with an apostrophe.
Taking one leading apostrophe off gives every text back as it was. All texts are quoted, so that a
separator within one never begins another cell. Amounts are decimals, never texts.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime

Cell = str | int | date | datetime | None

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")  # noqa: RUF001 - the wide forms are meant


class Amount(str):
    """A decimal as people write it, such as ``-12.50``: a number, not a text."""

    __slots__ = ()


def lines(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """The file's lines, as bytes: the names of the columns, then the rows."""
    yield _line(header)
    for row in rows:
        yield _line(row)


def safe(text: str) -> str:
    """The text as no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_DANGEROUS) else text


def _line(cells: Sequence[Cell]) -> bytes:
    """One line."""
    return (",".join(_cell(cell) for cell in cells) + "\r\n").encode()


def _cell(cell: Cell) -> str:
    """One cell."""
    match cell:
        case None:
            return ""
        case Amount():
            return str(cell)
        case str():
            return '"' + safe(cell).replace('"', '""') + '"'
        case datetime() | date():
            return cell.isoformat()
        case _:
            return str(cell)
