"""Comparing tables that only grow without holding a snapshot of them: by sums of keyed hashes.

Rows up to a position never change, so they may be read page by page, each page in a transaction of
its own, in the order of the table's key. The hashes of what is read and of what the log says are
added up apart for every page of positions; where the sums differ, rows differ. The hash has a key
that is made anew for each run, so nobody can make rows whose sum is right. Knows no event.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from ledger_core.log import Connection
from projections.paging import PAGE_POSITIONS, begin_snapshot, page_of
from projections.sealing import TAG_TEXT
from projections.truth import HELD_LINE_TEXT, IDENTITY_TEXT, LINE_TEXT

WALK_ROWS = 5_000
"""Rows read at once: some milliseconds."""
SCOPE_MAX = 1_000
"""Keys looked for at once."""
_BITS = 128
_MASK = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table that only grows: its rows as texts, its key, and what a part of it is chosen by.

    ``projection`` is the one that keeps it; ``None`` for one that the log's writers keep.
    """

    name: str
    source: str
    projection: str | None
    text: str
    key: tuple[str, ...]
    scope: str
    where: str = ""


TABLES = (
    Table(
        "statement_lines",
        "views.statement_lines",
        "statements",
        LINE_TEXT,
        ("account_no", "position", "line"),
        "account_no",
    ),
    Table(
        "held_lines",
        "views.held_lines",
        "statements",
        HELD_LINE_TEXT,
        ("account_no", "position"),
        "account_no",
    ),
    Table("event_tags", "views.event_tags", "event_tags", TAG_TEXT, ("tag", "position"), "tag"),
    Table(
        "identities",
        "ledger.identities",
        None,
        IDENTITY_TEXT,
        ("kind", "name"),
        "name",
        " AND kind IN ('entry', 'reference', 'reversal')",
    ),
)


Span = tuple[int, int]
"""Positions after the first up to the second."""

Key = tuple[object, ...]
"""Where a row stands in the order of its table."""

_EVERYWHERE: Span = (-(2**63), 2**63 - 1)


class SlotMoved(Exception):  # noqa: N818 - no error: a rebuild took place meanwhile
    """A projection lives in another slot now: what was read of it is worth nothing."""


@dataclass(slots=True)
class Sums:
    """The sums of the rows' hashes, by page of positions."""

    key: bytes
    pages: dict[int, int] = field(default_factory=dict)

    def add(self, positions: Iterable[int], texts: Iterable[str]) -> None:
        """Take in rows, given with their positions."""
        pages, key = self.pages, self.key
        for position, text in zip(positions, texts, strict=True):
            page = page_of(position)
            digest = blake2b(text.encode(), digest_size=_BITS // 8, key=key).digest()
            pages[page] = (pages.get(page, 0) + int.from_bytes(digest)) & _MASK

    def differing(self, other: "Sums") -> list[int]:
        """The pages that do not add up to the same."""
        one, two = self.pages, other.pages
        return sorted(page for page in {*one, *two} if one.get(page, 0) != two.get(page, 0))


@dataclass(slots=True)
class Expected:
    """What the log says that the tables hold of some events: the sums, and the keys concerned.

    ``scopes`` are those keys by table; ``None`` where they need not be known.
    """

    key: bytes
    sums: dict[str, Sums] = field(default_factory=dict)
    scopes: dict[str, set[int | str]] | None = None

    def add(self, table: str, rows: Sequence[tuple[int, str]], scope: Iterable[int | str]) -> None:
        """Take in rows of a table: position and text of each, and their keys."""
        sums = self.sums.setdefault(table, Sums(self.key))
        sums.add([position for position, _ in rows], [text for _, text in rows])
        if self.scopes is not None:
            self.scopes.setdefault(table, set()).update(scope)

    def of(self, table: str) -> Sums:
        """The sums of one table."""
        return self.sums.get(table) or Sums(self.key)


def positions_of(page: int) -> tuple[int, int]:
    """The first and last position of a page."""
    return max(1, page * PAGE_POSITIONS), (page + 1) * PAGE_POSITIONS - 1


class Walker:
    """Reads the tables of one ledger, from the slots in which their projections live."""

    def __init__(self, connection: Connection, ledger_id: int, slots: Mapping[str, int]) -> None:
        """Nothing is read yet; ``strange`` are rows beyond what there can be."""
        self._connection = connection
        self._ledger_id = ledger_id
        self._slots = slots
        self.strange: list[str] = []

    def all_rows(self, table: Table, last: int, found: Sums) -> Iterator[None]:
        """Add up all rows up to a position, page by page; between two no transaction is open.

        Rows beyond what the projection, or the log, has reached when they are read are strange.

        Raises:
            SlotMoved: the projection was rebuilt meanwhile.
        """
        after: Key | None = None
        while True:
            with self._connection.transaction():
                begin_snapshot(self._connection)
                reached = self._reached(table)
                positions, texts, after = self._read(table, _EVERYWHERE, after, None)
            rows = list(zip(positions, texts, strict=True))
            found.add(*_unzipped([row for row in rows if row[0] <= last]))
            beyond = [row[0] for row in rows if row[0] > reached]
            if beyond:
                self.strange.append(f"rows of {table.name} of positions that are not there")
            yield
            if after is None:
                return

    def rows_of(
        self, table: Table, span: Span, found: Sums, scope: Iterable[int | str]
    ) -> Iterator[None]:
        """Add up the rows of a span that have one of these keys, in the caller's transaction."""
        keys = sorted(scope, key=str)
        for first in range(0, len(keys), SCOPE_MAX):
            after: Key | None = None
            while True:
                some = keys[first : first + SCOPE_MAX]
                positions, texts, after = self._read(table, span, after, some)
                found.add(positions, texts)
                yield
                if after is None:
                    break

    def _read(
        self, table: Table, span: Span, after: Key | None, scope: Sequence[int | str] | None
    ) -> tuple[list[int], list[str], Key | None]:
        """A page of rows: positions, texts, and the key of the last, ``None`` at the end."""
        key = ", ".join(table.key)
        last = ", ".join(f"(array_agg({column}))[count(*)::int]" for column in table.key)
        rest = "".join(f", {column}" for column in table.key if column != "position")
        where = "ledger_id = %s"
        parameters: list[object] = [self._ledger_id]
        if table.projection is not None:
            where += " AND slot = %s"
            parameters.append(self._slots[table.projection])
        if scope is not None:
            where += f" AND {table.scope} = ANY(%s)"
            parameters.append(list(scope))
        if after is not None:
            where += f" AND ({key}) > ({', '.join(['%s'] * len(after))})"
            parameters += after
        query = (
            f"SELECT array_agg(position), array_agg(text), {last} FROM"  # noqa: S608 - our own names
            f" (SELECT {table.text} AS text, position{rest} FROM {table.source}"
            f" WHERE {where}{table.where} AND position > %s AND position <= %s"
            f" ORDER BY {key} LIMIT {WALK_ROWS}) rows"
        )
        row = self._connection.execute(query.encode(), (*parameters, *span)).fetchone()
        if row is None or row[0] is None:
            return [], [], None
        return row[0], row[1], tuple(row[2:]) if len(row[0]) == WALK_ROWS else None

    def _reached(self, table: Table) -> int:
        """The position that the table reflects.

        Raises:
            SlotMoved: its projection does not live any more where it did.
        """
        if table.projection is None:
            query = "SELECT position FROM ledger.heads WHERE ledger_id = %s"
            row = self._connection.execute(query, (self._ledger_id,)).fetchone()
        else:
            row = self._connection.execute(
                "SELECT position FROM views.projections"
                " WHERE ledger_id = %s AND name = %s AND slot = %s AND live",
                (self._ledger_id, table.projection, self._slots[table.projection]),
            ).fetchone()
        if row is None:
            raise SlotMoved
        return int(row[0])


def _unzipped(rows: Sequence[tuple[int, str]]) -> tuple[list[int], list[str]]:
    """Positions and texts apart."""
    return [position for position, _ in rows], [text for _, text in rows]
