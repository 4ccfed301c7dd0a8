"""Questions about journal entries: which there are, by account, side, kind, code, metadata, dates.

Entries are found by position: through the tag index, through an account's statement lines, or by
walking the log itself. What no index tells (kind, value date) is read from the entries found that
way, and one request reads a bounded number of them: a page may then be short, or even empty, and
still have a next one.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import msgspec
import sqlalchemy
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Integer,
    Select,
    Text,
    and_,
    cast,
    column,
    func,
    select,
    true,
)

from ledger_core.events import Recorded
from ledger_core.journal import EntryKind, JournalEntryPosted, Side, entry_id_at
from projections.balances import accounts
from projections.event_tags import event_tags
from projections.reading import (
    EVENT_COLUMNS,
    NOW,
    AsOf,
    Page,
    Reading,
    log_events,
    page_size,
    recorded_of,
    resolve,
)
from projections.statements import statement_lines

PROJECTIONS_READ = ("balances", "statements", "event_tags")
METADATA_FILTERS_MAX = 5
"""Each is one more walk through the tag index."""
SCAN_POSITIONS_MAX = 20_000
"""How many candidates one request looks at: some 50 ms of the database's time."""
_SCAN_POSITIONS_FIRST = 500
_SCAN_GROWTH = 4

_SIDES: dict[Side, str] = {"debit": "D", "credit": "C"}
_identities = sqlalchemy.table(
    "identities",
    column("ledger_id", Integer),
    column("kind", Text),
    column("name", Text),
    column("position", BigInteger),
    schema="ledger",
)
booking_date: ColumnElement[date] = cast(
    func.timezone("UTC", log_events.c.recorded_at, type_=sqlalchemy.DateTime()), Date
)
value_date: ColumnElement[date] = func.coalesce(
    cast(log_events.c.data["value_date"].as_string(), Date), booking_date
)
"""As ``journal.value_date_at``, in SQL."""


class ListedEntry(msgspec.Struct, frozen=True):
    """A journal entry in its place, and where it was reversed, if it was by then."""

    entry: JournalEntryPosted
    position: int
    recorded_at: datetime
    reversed_position: int | None


class EntryFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to list: all that are so; ``None`` means any.

    ``side`` is that of ``account_id`` and means nothing without it. Positions and dates are
    inclusive; every pair of ``metadata`` is there, exactly so.
    """

    account_id: str | None = None
    side: Side | None = None
    kind: EntryKind | None = None
    code: str | None = None
    reference: str | None = None
    metadata: Mapping[str, str] = {}
    from_position: int | None = None
    to_position: int | None = None
    value_date_from: date | None = None
    value_date_to: date | None = None


EVERY = EntryFilters()


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """In which direction entries are listed, after which position, how many, and looking how far.

    ``after`` is the last position that was looked at, ``None`` at the beginning.
    """

    after: int | None = None
    limit: int = 100
    newest_first: bool = False
    scan_max: int = SCAN_POSITIONS_MAX


OLDEST_FIRST = Walk()


class Candidates(msgspec.Struct, frozen=True):
    """Positions among which to look for entries, from ``first`` to ``last``, inclusive.

    ``query`` gives each once, by its column ``position``; without it they are all of that range.
    """

    first: int
    last: int
    query: Select[tuple[int]] | None = None


NOTHING = Candidates(1, 0)


class _Chunk(msgspec.Struct, frozen=True):
    """Some candidates: what they are, and the last of them; ``None`` where no more follow."""

    positions: tuple[int, int] | list[int]
    last: int | None


def entries(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    as_of: AsOf = NOW,
    filters: EntryFilters = EVERY,
    walk: Walk = OLDEST_FIRST,
) -> Page[ListedEntry, int]:
    """A page of the entries recorded by then that are as the filters say.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    candidates = _candidates(conn, ledger_id, reading, filters)
    return listed(conn, ledger_id, reading, candidates, _matching(filters), walk)


def listed(  # noqa: PLR0913, PLR0917 - which entries, of which moment, which page
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    candidates: Candidates,
    matching: ColumnElement[bool],
    walk: Walk,
) -> Page[ListedEntry, int]:
    """A page of the entries at the candidates' positions that match."""
    size = page_size(walk.limit)
    found: list[Recorded] = []
    after, scanned = walk.after, 0
    while True:
        count = max(_SCAN_POSITIONS_FIRST, size + 1, _SCAN_GROWTH * scanned)
        count = min(count, walk.scan_max - scanned)
        chunk = _next(conn, candidates, after, count, newest_first=walk.newest_first)
        found += _entries_among(conn, ledger_id, chunk, matching, size + 1 - len(found), walk)
        scanned += count
        if len(found) > size:
            found = found[:size]
            after = found[-1].position
            break
        after = chunk.last
        if after is None or scanned >= walk.scan_max:
            break
    items = _with_reversals(conn, ledger_id, reading, found)
    return Page(items, after, reading.position, reading.recorded_at)


def account_no_of(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, account_id: str
) -> int | None:
    """The number of the account of that id, if one was open by then."""
    number: int | None = conn.execute(
        select(accounts.c.account_no).where(
            accounts.c.ledger_id == ledger_id,
            accounts.c.slot == reading.slots["balances"],
            accounts.c.account_id == account_id,
            accounts.c.account_no <= reading.position,
        )
    ).scalar()
    return number


def _candidates(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, filters: EntryFilters
) -> Candidates:
    """The positions that the indexes give, within the range and the reading."""
    first, last = filters.from_position or 1, reading.position
    if filters.to_position is not None:
        last = min(last, filters.to_position)
    if filters.reference is not None:
        position = identity_position(conn, ledger_id, "reference", filters.reference)
        if position is None:
            return NOTHING
        first, last = max(first, position), min(last, position)
    tags = [f"metadata:{name}={text}" for name, text in filters.metadata.items()]
    if filters.code is not None:
        tags.append(f"code:{filters.code}")
    by_index = [_tagged(ledger_id, reading, tag) for tag in tags]
    if filters.account_id is not None:
        number = account_no_of(conn, ledger_id, reading, filters.account_id)
        if number is None:
            return NOTHING
        by_index.append(_posted_to(ledger_id, reading, number, filters.side))
    if not by_index:
        return Candidates(first, last)
    driver, *others = by_index
    place = driver.selected_columns[0]
    query = driver.where(*(place.in_(other.correlate(None)) for other in others))
    return Candidates(first, last, query.distinct())


def _tagged(ledger_id: int, reading: Reading, tag: str) -> Select[tuple[int]]:
    """The positions at which a tag stands."""
    tags = event_tags.alias()
    return select(tags.c.position).where(
        tags.c.ledger_id == ledger_id,
        tags.c.slot == reading.slots["event_tags"],
        tags.c.tag == tag,
    )


def _posted_to(
    ledger_id: int, reading: Reading, account_no: int, side: Side | None
) -> Select[tuple[int]]:
    """The positions at which an account was posted to (on one side, if one is named), once a line.

    The statements know: the tag index does not repeat it.
    """
    lines = statement_lines.alias()
    return select(lines.c.position).where(
        lines.c.ledger_id == ledger_id,
        lines.c.slot == reading.slots["statements"],
        lines.c.account_no == account_no,
        true() if side is None else lines.c.side == _SIDES[side],
    )


def _matching(filters: EntryFilters) -> ColumnElement[bool]:
    """What the entry itself must say, beside what the indexes told.

    Two pairs of metadata may make the same tag, so they are looked at once more.
    """
    data = log_events.c.data
    conditions = [
        data["metadata"][name].as_string() == text for name, text in filters.metadata.items()
    ]
    for wanted, found in ((filters.kind, "kind"), (filters.code, "code")):
        if wanted is not None:
            conditions.append(data[found].as_string() == wanted)
    if filters.value_date_from is not None:
        conditions.append(value_date >= filters.value_date_from)
    if filters.value_date_to is not None:
        conditions.append(value_date <= filters.value_date_to)
    return and_(true(), *conditions)


def _next(
    conn: sqlalchemy.Connection,
    candidates: Candidates,
    after: int | None,
    count: int,
    *,
    newest_first: bool,
) -> _Chunk:
    """The next candidates after a position, at most so many."""
    first, last = candidates.first, candidates.last
    if after is not None:
        first, last = (
            (first, min(last, after - 1)) if newest_first else (max(first, after + 1), last)
        )
    if candidates.query is None:
        if last - first < count:
            return _Chunk((first, last), None)
        if newest_first:
            return _Chunk((last - count + 1, last), last - count + 1)
        return _Chunk((first, first + count - 1), first + count - 1)
    place = candidates.query.selected_columns[0]
    query = candidates.query.where(place.between(first, last)).limit(count)
    query = query.order_by(place.desc() if newest_first else place)
    positions: list[int] = [row.position for row in conn.execute(query)]
    return _Chunk(positions, positions[-1] if len(positions) == count else None)


def _entries_among(  # noqa: PLR0913, PLR0917 - among which, which, and how many
    conn: sqlalchemy.Connection,
    ledger_id: int,
    chunk: _Chunk,
    matching: ColumnElement[bool],
    limit: int,
    walk: Walk,
) -> list[Recorded]:
    """The first entries at the chunk's positions that match."""
    place = log_events.c.position
    among: ColumnElement[bool]
    if isinstance(chunk.positions, tuple):
        among = place.between(*chunk.positions)
    elif chunk.positions:
        # Positions as an array: the planner then always goes to each by the primary key.
        among = place == func.any(chunk.positions)
    else:
        return []
    rows = conn.execute(
        select(*EVENT_COLUMNS)
        .where(
            log_events.c.ledger_id == ledger_id,
            among,
            log_events.c.type == JournalEntryPosted.__name__,
            matching,
        )
        .order_by(place.desc() if walk.newest_first else place)
        .limit(limit)
    )
    return [recorded_of(row) for row in rows]


def _with_reversals(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, found: Sequence[Recorded]
) -> tuple[ListedEntry, ...]:
    """The entries, each with where it was reversed by then."""
    placed = [(item, item.event) for item in found if isinstance(item.event, JournalEntryPosted)]
    names = [entry_id_at(entry, item.position) for item, entry in placed]
    reversed_at = reversals_of(conn, ledger_id, reading, names)
    return tuple(
        ListedEntry(entry, item.position, item.recorded_at, reversed_at.get(name))
        for (item, entry), name in zip(placed, names, strict=True)
    )


def reversals_of(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, names: list[str]
) -> dict[str, int]:
    """Where entries of these ids were reversed by then."""
    rows = conn.execute(
        select(_identities.c.name, _identities.c.position).where(
            _identities.c.ledger_id == ledger_id,
            _identities.c.kind == "reversal",
            _identities.c.name == func.any(names),
            _identities.c.position <= reading.position,
        )
    )
    return {row.name: row.position for row in rows}


def entry_positions(
    conn: sqlalchemy.Connection, ledger_id: int, names: Sequence[str]
) -> dict[str, int]:
    """Where the entries of these ids stand, as far as they chose the id themselves."""
    rows = conn.execute(
        select(_identities.c.name, _identities.c.position).where(
            _identities.c.ledger_id == ledger_id,
            _identities.c.kind == "entry",
            _identities.c.name == func.any(list(names)),
        )
    )
    return {row.name: row.position for row in rows}


def identity_position(
    conn: sqlalchemy.Connection, ledger_id: int, kind: str, name: str
) -> int | None:
    """Where an entry took that name."""
    position: int | None = conn.execute(
        select(_identities.c.position).where(
            _identities.c.ledger_id == ledger_id,
            _identities.c.kind == kind,
            _identities.c.name == name,
        )
    ).scalar()
    return position
