"""Statements of one account: its lines with a running balance, by page, on either axis of time.

In booking order the balance after a line is what the account held once it was booked; by value
date it is what counts by then, as it is known at the moment asked about.
"""

from collections.abc import Sequence
from datetime import date, datetime

import msgspec

from ledger_core import events
from ledger_core.accounts import Account
from ledger_core.journal import JournalEntryPosted, Side, entry_id_at
from projections.balance_queries import account_at
from projections.history import PROJECTIONS_READ
from projections.reading import NOW, AnyConnection, AsOf, Reading, driver_of, page_size, resolve
from projections.statement_pages import Asked, Axis, LineKey, Order, Period, Row, page_of
from projections.value_dates import (
    Days,
    Part,
    Sums,
    booked_before_line,
    sums,
    valued_before,
    valued_before_line,
    valued_until,
)

_SIDES: dict[str, Side] = {"D": "debit", "C": "credit"}


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One posting on the account.

    ``balance_minor`` is the balance after it on the normal side, over the lines that count, in the
    order of the statement's axis. ``counterparties`` are the other accounts of the entry.
    """

    position: int
    line: int
    entry_id: str
    kind: str
    recorded_at: datetime
    booking_date: date
    value_date: date
    side: Side
    amount_minor: int
    balance_minor: int
    counterparties: tuple[str, ...]
    reference: str | None
    description: str | None


class StatementPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines of a statement, and the balances before the first and after the last of all.

    ``opening_minor`` is what counts before ``from_date``, ``closing_minor`` what counts by the end
    of ``to_date``, both on the account's normal side.
    """

    account_id: str
    account_type: str
    currency: str
    scale: int
    normal_side: Side
    name: str | None
    opening_minor: int
    closing_minor: int
    lines: tuple[StatementLine, ...]
    next_after: LineKey | None
    position: int
    recorded_at: datetime | None
    value_date: date | None
    from_date: date | None
    to_date: date | None
    axis: Axis


def statement(  # noqa: PLR0913 - which account and moment, which lines, which page
    conn: AnyConnection,
    ledger_id: int,
    account_id: str,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
    from_date: date | None = None,
    to_date: date | None = None,
    after: LineKey | None = None,
    limit: int = 100,
    axis: Axis = "booking",
    newest_first: bool = False,
) -> StatementPage:
    """A page of an account's statement, in the order of the axis or (``newest_first``) against it.

    ``value_date`` leaves out what counts only after that day; ``after`` is the place of the last
    line of the page before.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        AccountNotFound: no such account at that moment.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    account = account_at(conn, ledger_id, reading, account_id)
    last = min((day for day in (value_date, to_date) if day is not None), default=None)
    period = Period(from_date, last)
    size = page_size(limit)
    asked = Asked(account, Days(conn, ledger_id, reading), period, Order(axis, newest_first))
    rows = page_of(conn, ledger_id, reading, asked, after, size + 1)
    shown = rows[:size]
    upwards = shown[::-1] if newest_first else shown
    opening_minor, before_minor, closing_minor = _balances(
        conn, ledger_id, reading, asked, upwards[0] if shown else None
    )
    details = _entries(conn, ledger_id, [row.position for row in shown])
    lines: list[StatementLine] = []
    for row in upwards:
        side = _SIDES[row.side]
        amount_minor = int(row.amount_minor)
        before_minor += amount_minor if side == account.terms.normal_side else -amount_minor
        lines.append(_line(account, row, details[row.position], before_minor))
    if newest_first:
        lines.reverse()
    return StatementPage(
        account_id=account.terms.account_id,
        account_type=account.terms.account_type,
        currency=account.terms.currency,
        scale=account.terms.scale,
        normal_side=account.terms.normal_side,
        name=account.terms.name,
        opening_minor=opening_minor,
        closing_minor=closing_minor,
        lines=tuple(lines),
        next_after=asked.order.key_of(shown[-1]) if len(rows) > size else None,
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
        from_date=from_date,
        to_date=to_date,
        axis=axis,
    )


def entries_at(
    conn: AnyConnection, ledger_id: int, positions: Sequence[int]
) -> dict[int, JournalEntryPosted]:
    """The journal entries at those positions."""
    return _entries(conn, ledger_id, list(positions))


def _balances(
    conn: AnyConnection,
    ledger_id: int,
    reading: Reading,
    asked: Asked,
    lowest: Row | None,
) -> tuple[int, int, int]:
    """Balances of the account: before the period, before the page's lowest line, after the period.

    The last is the balance at the end also where the page is empty.
    """
    account, days, period = asked.account, asked.days, asked.period
    if asked.is_booking:
        return 0, _balance_before(account, lowest), account.posted_minor
    parts: dict[str, Part] = {}
    if period.first is not None:
        parts["opening"] = valued_before(days, period.first)
    if period.last is not None:
        parts["closing"] = valued_until(days, period.last)
    if lowest is not None:
        place = (lowest.position, lowest.line)
        parts["before"] = (
            booked_before_line(days, period.first, period.last, place)
            if asked.order.axis == "booking"
            else valued_before_line(
                lowest.value_date,
                place,
                days.within(lowest.value_date, place) if lowest.is_dated else place,
            )
        )
    number = account.terms.account_no
    found = sums(conn, ledger_id, reading, [number], list(parts.values()))
    minor = {
        name: by_account[number].on_normal_side(account)
        for name, by_account in zip(parts, found, strict=True)
    }
    opening_minor = minor.get("opening", 0)
    before_minor = minor.get("before", 0)
    if asked.order.axis == "booking":
        before_minor += opening_minor
    closing_minor = minor.get("closing", account.posted_minor)
    return opening_minor, before_minor, closing_minor


def _balance_before(account: Account, lowest: Row | None) -> int:
    """The balance before a line, from the sums after it."""
    if lowest is None:
        return account.posted_minor
    after = Sums(int(lowest.debits_after_minor), int(lowest.credits_after_minor))
    amount_minor = int(lowest.amount_minor)
    grows = _SIDES[lowest.side] == account.terms.normal_side
    return after.on_normal_side(account) - (amount_minor if grows else -amount_minor)


def _entries(
    conn: AnyConnection, ledger_id: int, positions: list[int]
) -> dict[int, JournalEntryPosted]:
    """The journal entries at those positions."""
    found: dict[int, JournalEntryPosted] = {}
    for position, kind, version, data in (
        driver_of(conn).execute(_EVENTS, (ledger_id, positions)).fetchall()
    ):
        event = events.decode(kind, version, data)
        if isinstance(event, JournalEntryPosted):
            found[position] = event
    return found


_EVENTS = (
    b"SELECT position, type, version, data FROM ledger.events"
    b" WHERE ledger_id = %s AND position = ANY(%s)"
)


def _line(
    account: Account,
    row: Row,
    entry: JournalEntryPosted,
    balance_minor: int,
) -> StatementLine:
    """The answer about one line."""
    account_id = account.terms.account_id
    others = dict.fromkeys(posting.account_id for posting in entry.postings)
    return StatementLine(
        position=row.position,
        line=row.line,
        entry_id=entry_id_at(entry, row.position),
        kind=row.kind,
        recorded_at=row.recorded_at,
        booking_date=row.recorded_at.date(),
        value_date=row.value_date,
        side=_SIDES[row.side],
        amount_minor=int(row.amount_minor),
        balance_minor=balance_minor,
        counterparties=tuple(other for other in others if other != account_id),
        reference=entry.reference,
        description=entry.description,
    )
