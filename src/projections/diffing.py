"""What changed from one moment to another: what appeared, what is different, what vanished.

Only what the events between the two moments are about is looked at, by their tags; it is then read
as of both. So a difference is exactly what the views' own answers differ by, and the cost is that
of the events between. Personal fields are named, and their values not read.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from projections import history
from projections.diffed_states import KIND_OF, KINDS, PERSONAL, TAG_OF, Kind, State, states_of
from projections.reading import AsOf, Reading, page_size, resolve
from projections.risk_flags import risk_flags

PROJECTIONS_READ = (
    *history.PROJECTIONS_READ,
    "customer_360",
    "event_tags",
    "kept",
    "risk_flags",
)
_LATE_EVENTS = 500
"""How many events after a moment are looked at at once for what had been due by then."""

How = Literal["appeared", "changed", "vanished"]


class FieldChange(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A field that is different: ``before`` (in JSON ``from``) and ``after`` (``to``).

    Amounts in minor units are strings; ``None`` where there is, or was, nothing.
    """

    field: str
    before: Any
    after: Any


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that appeared, is different, or vanished, with every field that differs.

    ``personal`` are the names of personal fields that were given, changed or removed.
    ``account_id`` or ``customer_id`` say whom it is about; ``currency`` and ``scale`` are those of
    an account.
    """

    kind: Kind
    id: str
    change: How
    fields: tuple[FieldChange, ...]
    personal: tuple[str, ...] = ()
    account_id: str | None = None
    customer_id: str | None = None
    currency: str | None = None
    scale: int | None = None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """Changes from one moment to another, by kind and id; a page may be short and yet go on."""

    from_position: int
    from_recorded_at: datetime | None
    to_position: int
    to_recorded_at: datetime | None
    value_date: date | None
    changes: tuple[Change, ...]
    next_after: str | None


class Between(msgspec.Struct, frozen=True, kw_only=True):
    """From which moment to which, what of it, and about which value date.

    With a ``value_date``, accounts are compared by what counts by the end of that day.
    """

    begin: AsOf
    end: AsOf
    kinds: tuple[Kind, ...] = KINDS
    value_date: date | None = None


def diff(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    between: Between,
    *,
    after: str | None = None,
    limit: int = 100,
) -> Diff:
    """A page of what changed, beginning after ``after``.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: one of the positions is not projected yet.
    """
    readings = _readings(conn, ledger_id, between)
    size = page_size(limit)
    found = _candidates(conn, ledger_id, between, readings, after, size + 1)
    shown = found[:size]
    more = shown[-1] if len(found) > size else None
    return _diff(between, readings, _changes(conn, ledger_id, between, readings, shown), more)


def whole_diff(
    conn: sqlalchemy.Connection, ledger_id: int, between: Between, chunk: int = 1_000
) -> Diff:
    """All that changed, of one look at the events between.

    Raises:
        As ``diff``.
    """
    readings = _readings(conn, ledger_id, between)
    found = _candidates(conn, ledger_id, between, readings, None, None)
    changes: list[Change] = []
    for at in range(0, len(found), chunk):
        some = found[at : at + chunk]
        changes += _changes(conn, ledger_id, between, readings, some)
    return _diff(between, readings, changes, None)


def _diff(
    between: Between,
    readings: tuple[Reading, Reading],
    changes: Sequence[Change],
    next_after: str | None,
) -> Diff:
    """The answer."""
    begin, end = readings
    return Diff(
        from_position=begin.position,
        from_recorded_at=begin.recorded_at,
        to_position=end.position,
        to_recorded_at=end.recorded_at,
        value_date=between.value_date,
        changes=tuple(changes),
        next_after=next_after,
    )


def _readings(
    conn: sqlalchemy.Connection, ledger_id: int, between: Between
) -> tuple[Reading, Reading]:
    """Both moments."""
    return (
        resolve(conn, ledger_id, between.begin, *PROJECTIONS_READ),
        resolve(conn, ledger_id, between.end, *PROJECTIONS_READ),
    )


_TAGS = text(
    'SELECT DISTINCT t.tag COLLATE "C" AS tag'
    " FROM ledger.events e CROSS JOIN unnest(e.tags) AS t(tag)"
    " WHERE e.ledger_id = :ledger_id AND e.position > :low AND e.position <= :high"
    " AND split_part(t.tag, ':', 1) = ANY(:kinds)"
    ' AND t.tag COLLATE "C" > :after ORDER BY 1 LIMIT :most'
).bindparams(bindparam("kinds", type_=ARRAY(sqlalchemy.Text)))
_LATE = text(
    "SELECT e.position, e.type IN ('HoldReleased', 'LimitSet') AND e.command_key IS NULL AS is_due"
    " FROM ledger.events e WHERE e.ledger_id = :ledger_id"
    " AND e.position > :after AND e.position <= :after + :most ORDER BY e.position"
)


def _candidates(  # noqa: PLR0913, PLR0917 - between which moments, and which page
    conn: sqlalchemy.Connection,
    ledger_id: int,
    between: Between,
    readings: tuple[Reading, Reading],
    after: str | None,
    most: int | None,
) -> list[str]:
    """What may have changed, as ``kind:id`` in the order of bytes, after one, at most so many."""
    low, high = sorted(reading.position for reading in readings)
    spans = [(low, high)]
    spans += [(item.position, _late(conn, ledger_id, item)) for item in readings]
    kinds = [TAG_OF[kind] for kind in between.kinds if kind != "flag"]
    found: set[str] = set()
    for first, last in spans:
        if first < last:
            rows = conn.execute(
                _TAGS,
                {
                    "ledger_id": ledger_id,
                    "low": first,
                    "high": last,
                    "kinds": kinds,
                    "after": after or "",
                    "most": most,
                },
            )
            found.update(row.tag for row in rows)
    if "flag" in between.kinds:
        query = select(risk_flags.c.flag_id).where(
            risk_flags.c.ledger_id == ledger_id,
            risk_flags.c.slot == readings[0].slots["risk_flags"],
            risk_flags.c.raised_position > low,
            risk_flags.c.raised_position <= high,
        )
        flags = (f"flag:{row.flag_id}" for row in conn.execute(query))
        found.update(name for name in flags if after is None or name.encode() > after.encode())
    return sorted(found, key=str.encode)[:most]


def _late(conn: sqlalchemy.Connection, ledger_id: int, reading: Reading) -> int:
    """The last of the events after a moment by which the ledger recorded what had been due.

    It records those before anything else; they count from their due time where a time was asked.
    """
    last = reading.position
    if reading.asked_at is None:
        return last
    while True:
        rows = conn.execute(
            _LATE, {"ledger_id": ledger_id, "after": last, "most": _LATE_EVENTS}
        ).all()
        for row in rows:
            if not row.is_due:
                return last
            last = row.position
        if not rows:
            return last


def _changes(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    between: Between,
    readings: tuple[Reading, Reading],
    candidates: Iterable[str],
) -> list[Change]:
    """What of the candidates is not the same at both moments, in their order."""
    ids: dict[Kind, list[str]] = {}
    for name in candidates:
        tag, _, identifier = name.partition(":")
        ids.setdefault(KIND_OF[tag], []).append(identifier)
    changes: list[Change] = []
    for kind, names in ids.items():
        before, after = (
            states_of(conn, ledger_id, reading, kind, names, between.value_date)
            for reading in readings
        )
        for name in names:
            change = _change(kind, name, before.get(name), after.get(name))
            if change is not None:
                changes.append(change)
    return changes


def _change(kind: Kind, name: str, before: State | None, after: State | None) -> Change | None:
    """How something changed; ``None`` where it did not."""
    if before == after:
        return None
    how: How = "changed"
    if before is None:
        how = "appeared"
    elif after is None:
        how = "vanished"
    one, other = before or {}, after or {}
    names = [*one, *(field for field in other if field not in one)]
    personal = one.get(PERSONAL, {}), other.get(PERSONAL, {})
    about = other or one
    is_account = kind == "account"
    return Change(
        kind=kind,
        id=name,
        change=how,
        fields=tuple(
            FieldChange(field, one.get(field), other.get(field))
            for field in names
            if field != PERSONAL and one.get(field) != other.get(field)
        ),
        personal=tuple(
            sorted(
                field
                for field in {**personal[0], **personal[1]}
                if personal[0].get(field) != personal[1].get(field)
            )
        ),
        account_id=about.get("account_id"),
        customer_id=name if kind == "customer" else None,
        currency=about["currency"] if is_account else None,
        scale=about["scale"] if is_account else None,
    )
