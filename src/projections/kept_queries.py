"""Questions about kept states: one by its id, or many, now and as of any earlier position.

What a state was is folded from the few events that changed it, which the tag index knows. What
fell due by a time that was asked about counts at that time, though it was recorded after it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import and_, func, or_, select, tuple_

from ledger_core import kept as states
from ledger_core.kept import KEEPERS, State
from projections.event_tags import event_tags
from projections.kept import kept
from projections.reading import (
    EVENT_COLUMNS,
    NOW,
    AnyConnection,
    AsOf,
    Page,
    Reading,
    driver_of,
    log_events,
    page_size,
    recorded_of,
    resolve,
)

PROJECTIONS_READ = ("kept", "event_tags")
SCANNED_MAX = 5_000
"""States looked at for one page of a past listing; a page may then be short, and goes on."""

KeptKey = tuple[int, str]


class Kept(msgspec.Struct, frozen=True):
    """A kept state at a moment: its id, the core's own state, and what moment that is."""

    kept_id: str
    state: State
    position: int
    recorded_at: Any


def kept_item(
    conn: sqlalchemy.Connection, ledger_id: int, kind: str, kept_id: str, *, as_of: AsOf = NOW
) -> Kept | None:
    """The state of that kind and id; ``None`` where there was none by then.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    query = _stored(ledger_id, reading, kind).where(kept.c.kept_id == kept_id)
    found = _as_they_were(conn, ledger_id, reading, kind, conn.execute(query).all())
    return Kept(kept_id, found[0], reading.position, reading.recorded_at) if found else None


def kept_items(  # noqa: PLR0913 - which states, which moment, which page
    conn: sqlalchemy.Connection,
    ledger_id: int,
    kind: str,
    *,
    status: str | None = None,
    tag: str | None = None,
    as_of: AsOf = NOW,
    after: KeptKey | None = None,
    limit: int = 100,
) -> Page[tuple[str, State], KeptKey]:
    """Ids and states of a kind that began by then, in order of their beginning, after ``after``.

    ``status`` and ``tag`` (such as ``account:anna``) are as they were at that moment.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    size = page_size(limit)
    place = tuple_(kept.c.position, kept.c.kept_id)
    shown: list[tuple[KeptKey, State]] = []
    scanned, has_more = 0, True
    while has_more and len(shown) <= size and scanned < SCANNED_MAX:
        query = _stored(ledger_id, reading, kind).order_by(kept.c.position, kept.c.kept_id)
        # What was changed since may have had another status or tag: it is looked at below.
        changed = kept.c.last_position > reading.position
        if status is not None:
            query = query.where(or_(kept.c.status == status, changed))
        if tag is not None:
            query = query.where(or_(kept.c.tags.contains([tag]), changed))
        if after is not None:
            query = query.where(place > tuple_(*map(sqlalchemy.literal, after)))
        rows = conn.execute(query.limit(size + 1)).all()
        has_more = len(rows) > size
        scanned += len(rows)
        for row, state in zip(
            rows, _as_they_were(conn, ledger_id, reading, kind, rows), strict=True
        ):
            if len(shown) > size:
                break
            if status in {None, state.status} and (tag is None or tag in states.tags(state)):
                shown.append(((row.position, row.kept_id), state))
            after = (row.position, row.kept_id)
    page = shown[:size]
    more = after if has_more else None
    return Page(
        tuple((name, state) for (_, name), state in page),
        page[-1][0] if len(shown) > size else more,
        reading.position,
        reading.recorded_at,
    )


def next_due(conn: AnyConnection, ledger_id: int) -> datetime | None:
    """When the next of the kept states falls due that nothing was recorded of yet."""
    row = driver_of(conn).execute(_NEXT_DUE, {"ledger_id": ledger_id}).fetchone()
    return None if row is None else row[0]


_NEXT_DUE = (
    b"SELECT k.due_at FROM views.kept k WHERE k.ledger_id = %(ledger_id)s"
    b" AND k.slot = (SELECT p.slot FROM views.projections p"
    b" WHERE p.ledger_id = %(ledger_id)s AND p.live AND p.name = 'kept')"
    b" AND k.due_at IS NOT NULL ORDER BY k.due_at LIMIT 1"
)


def states_at(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    kind: str,
    kept_ids: Iterable[str] | None = None,
) -> dict[str, State]:
    """The states of a kind that began by the reading, as they were then: all, or some of them."""
    query = _stored(ledger_id, reading, kind)
    if kept_ids is not None:
        query = query.where(kept.c.kept_id == func.any(list(kept_ids)))
    rows = conn.execute(query).all()
    names = [row.kept_id for row in rows]
    return dict(zip(names, _as_they_were(conn, ledger_id, reading, kind, rows), strict=True))


def _stored(ledger_id: int, reading: Reading, kind: str) -> sqlalchemy.Select[tuple[Any, ...]]:
    """The stored states of a kind that began by the reading."""
    return select(kept.c.kept_id, kept.c.position, kept.c.last_position, kept.c.state).where(
        kept.c.ledger_id == ledger_id,
        kept.c.slot == reading.slots["kept"],
        kept.c.kind == kind,
        kept.c.position <= reading.position,
    )


def _as_they_were(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    kind: str,
    rows: Iterable[Any],
) -> list[State]:
    """The states behind rows as they were at the reading, in the same order."""
    present = {row.kept_id: states.decode(kind, row.state) for row in rows}
    past = [name for name, state in present.items() if state.last_position > reading.position]
    if not past:
        return list(present.values())
    keeper = KEEPERS[kind]
    found = conn.execute(
        select(event_tags.c.tag, *EVENT_COLUMNS)
        .join(
            log_events,
            and_(
                log_events.c.ledger_id == event_tags.c.ledger_id,
                log_events.c.position == event_tags.c.position,
            ),
        )
        .where(
            event_tags.c.ledger_id == ledger_id,
            event_tags.c.slot == reading.slots["event_tags"],
            event_tags.c.tag == func.any([f"{kind}:{name}" for name in past]),
            event_tags.c.position <= reading.position,
            log_events.c.ledger_id == ledger_id,
        )
        .order_by(event_tags.c.position)
    )
    folded: dict[str, State] = {}
    for row in found:
        item = recorded_of(row)
        name = row.tag.removeprefix(f"{kind}:")
        if type(item.event) in keeper.events and name in keeper.ids(item.event, item.position):
            folded[name] = keeper.evolve(
                folded.get(name), item.event, item.position, item.recorded_at
            )
    folded = {name: _fallen_due(kind, state, reading) for name, state in folded.items()}
    return [folded.get(name, state) for name, state in present.items()]


def _fallen_due(kind: str, state: State, reading: Reading) -> State:
    """The state after its due time, if a time was asked about that is not before it.

    For a state that something was recorded about later: that began with what had fallen due.
    """
    due_at, keeper = states.due_at(state), KEEPERS[kind]
    if reading.asked_at is None or due_at is None or due_at > reading.asked_at:
        return state
    if keeper.due is None:
        return state
    return keeper.evolve(state, keeper.due(state), state.last_position, due_at)
