"""Statements of one account: its lines with a running balance, by page, on either axis of time.

In booking order the balance after a line is what the account held once it was booked; by value
date it is what counts by then, as it is known at the moment asked about.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import ColumnElement, and_, func, select, tuple_

from ledger_core.accounts import Account
from ledger_core.journal import JournalEntryPosted, Side, entry_id_at
from projections.balance_queries import account_at
from projections.history import PROJECTIONS_READ
from projections.reading import (
    EVENT_COLUMNS,
    NOW,
    AsOf,
    Reading,
    log_events,
    page_size,
    recorded_of,
    resolve,
)
from projections.statements import statement_lines

Axis = Literal["booking", "value_date"]
"""The order of the lines: as they were booked, or by value date and then as they were booked."""
LineKey = tuple[int, int] | tuple[date, int, int]
"""The place of a line on its axis: position and line, by value date with that in front."""
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


class Period(msgspec.Struct, frozen=True):
    """Which lines a statement has: those with a value date from one day to another, inclusive."""

    first: date | None
    last: date | None


class Order(msgspec.Struct, frozen=True):
    """In which order a statement's lines come."""

    axis: Axis
    newest_first: bool

    @property
    def place(self) -> Any:  # noqa: ANN401 - SQLAlchemy's type of a row of columns
        """The place of a line, as SQL compares it."""
        lines = statement_lines.c
        booked = (lines.position, lines.line)
        return tuple_(*booked) if self.axis == "booking" else tuple_(lines.value_date, *booked)

    @property
    def columns(self) -> list[ColumnElement[Any]]:
        """What to order by."""
        lines = statement_lines.c
        booked = [lines.position, lines.line]
        columns = booked if self.axis == "booking" else [lines.value_date, *booked]
        return [column.desc() for column in columns] if self.newest_first else list(columns)

    def key_of(self, row: Any) -> LineKey:  # noqa: ANN401 - a row of the lines
        """The place of a line that was read."""
        if self.axis == "booking":
            return row.position, row.line
        return row.value_date, row.position, row.line


def statement(  # noqa: PLR0913 - which account and moment, which lines, which page
    conn: sqlalchemy.Connection,
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
    order = Order(axis, newest_first)
    rows = _page(conn, _lines_of(ledger_id, reading, account), period, after, size, order)
    shown = rows[:size]
    upwards = shown[::-1] if newest_first else shown
    opening_minor, before_minor, closing_minor = _balances(
        conn,
        ledger_id,
        reading,
        account,
        period,
        order,
        order.key_of(upwards[0]) if shown else None,
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
        next_after=order.key_of(shown[-1]) if len(rows) > size else None,
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
        from_date=from_date,
        to_date=to_date,
        axis=axis,
    )


def entries_at(
    conn: sqlalchemy.Connection, ledger_id: int, positions: Sequence[int]
) -> dict[int, JournalEntryPosted]:
    """The journal entries at those positions."""
    return _entries(conn, ledger_id, list(positions))


def _lines_of(ledger_id: int, reading: Reading, account: Account) -> ColumnElement[bool]:
    """The lines of the account that were known at the reading."""
    return and_(
        statement_lines.c.ledger_id == ledger_id,
        statement_lines.c.slot == reading.slots["statements"],
        statement_lines.c.account_no == account.terms.account_no,
        statement_lines.c.position <= reading.position,
    )


def _counting(period: Period) -> ColumnElement[bool]:
    """The lines within the period."""
    conditions: list[ColumnElement[bool]] = [sqlalchemy.true()]
    if period.first is not None:
        conditions.append(statement_lines.c.value_date >= period.first)
    if period.last is not None:
        conditions.append(statement_lines.c.value_date <= period.last)
    return and_(*conditions)


def _page(  # noqa: PLR0913, PLR0917 - which lines, which page
    conn: sqlalchemy.Connection,
    known: ColumnElement[bool],
    period: Period,
    after: LineKey | None,
    size: int,
    order: Order,
) -> Sequence[Any]:
    """The page's lines and one more, if there are more."""
    query = (
        select(statement_lines)
        .where(known, _counting(period))
        .order_by(*order.columns)
        .limit(size + 1)
    )
    if after is not None:
        key = tuple_(*map(sqlalchemy.literal, after))
        query = query.where(order.place < key if order.newest_first else order.place > key)
    return conn.execute(query).all()


def _balances(  # noqa: PLR0913, PLR0917 - of what, when, and before which line
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account: Account,
    period: Period,
    order: Order,
    lowest: LineKey | None,
) -> tuple[int, int, int]:
    """Balances of the account: before the period, before the page's lowest line, after the period.

    In booking order and without a period the sums after each line say it, whatever the number of
    lines; otherwise the account's lines are added up.
    """
    known = _lines_of(ledger_id, reading, account)
    if period == Period(None, None) and order.axis == "booking":
        return 0, _balance_before(conn, known, account, lowest), account.posted_minor
    credit = account.terms.normal_side == "credit"
    signed = statement_lines.c.amount_minor * sqlalchemy.case(
        (statement_lines.c.side == ("C" if credit else "D"), 1), else_=-1
    )
    before = (
        sqlalchemy.false()
        if period.first is None
        else (statement_lines.c.value_date < period.first)
    )
    earlier = (
        _counting(period)
        if lowest is None
        else and_(_counting(period), order.place < tuple_(*map(sqlalchemy.literal, lowest)))
    )
    row = conn.execute(
        select(
            func.coalesce(func.sum(signed).filter(before), 0).label("opening"),
            func.coalesce(func.sum(signed).filter(earlier), 0).label("earlier"),
            func.coalesce(func.sum(signed).filter(_counting(period)), 0).label("within"),
        ).where(known)
    ).one()
    opening_minor = int(row.opening)
    return opening_minor, opening_minor + int(row.earlier), opening_minor + int(row.within)


def _balance_before(
    conn: sqlalchemy.Connection,
    known: ColumnElement[bool],
    account: Account,
    lowest: LineKey | None,
) -> int:
    """The balance before a line, from the sums after the line before it."""
    if lowest is None:
        return account.posted_minor
    row = conn.execute(
        select(statement_lines.c.debits_after_minor, statement_lines.c.credits_after_minor)
        .where(
            known,
            tuple_(statement_lines.c.position, statement_lines.c.line)
            < tuple_(*map(sqlalchemy.literal, lowest)),
        )
        .order_by(statement_lines.c.position.desc(), statement_lines.c.line.desc())
        .limit(1)
    ).first()
    if row is None:
        return 0
    difference = int(row.credits_after_minor) - int(row.debits_after_minor)
    return difference if account.terms.normal_side == "credit" else -difference


def _entries(
    conn: sqlalchemy.Connection, ledger_id: int, positions: list[int]
) -> dict[int, JournalEntryPosted]:
    """The journal entries at those positions."""
    rows = conn.execute(
        select(*EVENT_COLUMNS).where(
            log_events.c.ledger_id == ledger_id, log_events.c.position == func.any(positions)
        )
    )
    recorded = [recorded_of(row) for row in rows]
    return {
        item.position: item.event for item in recorded if isinstance(item.event, JournalEntryPosted)
    }


def _line(
    account: Account,
    row: Any,  # noqa: ANN401 - a row of the lines
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
