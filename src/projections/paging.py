"""Reading a whole ledger fast: the log in pages, and the rows of other tables in the same pages.

The database packs a page into one row of arrays, which costs the driver next to nothing a value,
and packs the next while this one is looked at. Times come as the database writes them, so that no
value a damaged row may hold can fail to load. Knows no event.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from psycopg import ServerCursor

from ledger_core.log import Connection

PAGE_POSITIONS = 2_000
"""A page of transfers is 1 MB; of entries with the most postings there may be, some 250 MB."""

SORT_MEMORY = "64MB"
"""Of each sort in the database; what is more goes through its temporary files."""

Columns = tuple[list[Any], ...]
_Item = TypeVar("_Item")


def begin_snapshot(connection: Connection) -> None:
    """Let the transaction, which must have just begun, see one moment, and its times be in UTC."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.execute("SET LOCAL timezone = 'UTC'")
    connection.execute("SET LOCAL datestyle = 'ISO'")
    connection.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'".encode())


def ahead(thread: ThreadPoolExecutor, items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, each fetched by the thread while the one before is looked at."""
    fetch: Callable[[], _Item | None] = partial(next, items, None)
    upcoming = thread.submit(fetch)

    def fetched() -> Iterator[_Item]:
        nonlocal upcoming
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(fetch)
            yield item

    return fetched()


def log_pages(connection: Connection, ledger_id: int, columns: Sequence[str]) -> Iterator[Columns]:
    """These columns of the log in order of position, a list each; pages without events left out."""
    packed = ", ".join(f"array_agg({column})" for column in columns)
    # Bounds on both sides: by a LIMIT the planner may be led to sort the whole rest of the log.
    read = (
        f"SELECT {packed} FROM (SELECT * FROM ledger.events WHERE ledger_id = %s"  # noqa: S608 - our own names
        " AND position BETWEEN %s AND %s ORDER BY position) e"
    ).encode()
    find = (
        b"SELECT position FROM ledger.events WHERE ledger_id = %s AND position > %s"
        b" ORDER BY position LIMIT 1"
    )
    first = 0
    with connection.cursor(binary=True) as cursor:
        while True:
            last = first + PAGE_POSITIONS - 1
            row = cursor.execute(read, (ledger_id, first, last)).fetchone()
            if row is not None and row[0] is not None:
                yield row
            first += PAGE_POSITIONS
            if row is None or row[0] is None or len(row[0]) < PAGE_POSITIONS:
                found = cursor.execute(find, (ledger_id, last)).fetchone()
                if found is None:
                    return
                first = page_of(found[0]) * PAGE_POSITIONS


def page_of(position: int) -> int:
    """The page that a position is on."""
    return position // PAGE_POSITIONS


class Rows:
    """The texts of a table's rows, in pages as those of the log."""

    def __init__(
        self,
        thread: ThreadPoolExecutor,
        cursor: ServerCursor[Any],
        query: str,
        place: tuple[int, ...],
    ) -> None:
        """Begin to read (``query``: see ``paged``); the caller closes the cursor, a binary one."""
        self._pages = ahead(thread, _row_pages(cursor, query, place))
        self._page: tuple[int, list[str]] | None = (-1, [])

    def until(self, page: int) -> list[str]:
        """The texts of the rows up to the end of a page that were not handed out yet."""
        texts: list[str] = []
        while self._page is not None and self._page[0] <= page:
            texts += self._page[1]
            self._page = next(self._pages, None)
        return texts


def _row_pages(
    cursor: ServerCursor[Any], query: str, place: tuple[int, ...]
) -> Iterator[tuple[int, list[str]]]:
    """The pages of a query's rows."""
    cursor.execute(query.encode(), place)
    while (row := cursor.fetchone()) is not None:
        yield row


def paged(text: str, table: str, order: str, where: str) -> str:
    """The query for a table's rows as texts, in pages; ``order`` is that within a position."""
    return (
        f"SELECT position / {PAGE_POSITIONS} AS page,"  # noqa: S608 - our own names
        f" array_agg({text} ORDER BY position, {order})"
        f" FROM {table} WHERE {where} GROUP BY page ORDER BY page"
    )


def moments(texts: Sequence[str]) -> list[datetime | None]:
    """The times that the database wrote so; ``None`` where Python can hold no such time.

    Many that follow each other are the same: those are read once.
    """
    found: list[datetime | None] = []
    before, moment = "", None
    for text in texts:
        if text != before:
            before, moment = text, _moment(text)
        found.append(moment)
    return found


def _moment(text: str) -> datetime | None:
    """The time, or ``None`` for one that is infinite, before Christ or after 9999."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
