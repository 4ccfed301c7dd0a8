"""Why a balance is what it is: the events behind it, one by one, and their sum.

Postings, open holds and the limit come from the log and its lines, the figures that they must add
up to from the account as ``balance_queries`` shows it. What is too long to be shown is carried
forward as an exact sum.
"""

from datetime import date, datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import and_, func, select

from ledger_core.accounts import Account, AccountOpened, LimitSet
from ledger_core.errors import CurrencyMismatch
from ledger_core.fields import ENTRY_PREFIX, position_of
from ledger_core.journal import Side
from projections.balance_queries import account_at, balances_of
from projections.balances import account_changes
from projections.entry_queries import entry_positions, reversals_of
from projections.explained_holds import ExplainedHold, open_holds
from projections.history import due_limits
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
from projections.statement_queries import StatementLine, entries_at, statement
from projections.value_dates import Days, Sums, booked_before_line, sums

PROJECTIONS_READ = ("balances", "statements", "kept", "event_tags")

LineKey = tuple[int, int]
"""Position and line of a posting."""


class ExplainedPosting(msgspec.Struct, frozen=True, kw_only=True):
    """A posting behind a balance: what it changed it by, and the balance after it.

    Both on the account's normal side. Where the entry reverses another, or was reversed by then,
    the position of that one.
    """

    position: int
    line: int
    entry_id: str
    kind: str
    recorded_at: datetime
    value_date: date
    side: Side
    amount_minor: int
    change_minor: int
    balance_minor: int
    counterparties: tuple[str, ...]
    reference: str | None
    description: str | None
    reverses_position: int | None
    reversed_position: int | None


class CarriedForward(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of all postings that count and come before the first that is shown."""

    before_position: int
    before_line: int
    debits_minor: int
    credits_minor: int
    balance_minor: int


class ExplainedLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The event since which the limit and the ceiling are what they are."""

    position: int
    recorded_at: datetime
    event: str
    limit_minor: int | None
    ceiling_minor: int | None


class BalanceExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """A balance and the events behind it.

    ``posted_minor`` is what is carried forward and the changes of the postings, in all pages;
    ``held_minor`` and ``incoming_held_minor`` are what is carried forward of holds and the changes
    of those shown; ``available_minor`` is posted less held plus the limit. ``adds_up`` says that
    they were so added up and came to the figures of the account's balance.

    Postings are in the order of booking, the newest of all on the first page; ``next_after`` is
    where the page before them (the older ones, which are carried forward) begins.
    """

    account_id: str
    currency: str
    scale: int
    normal_side: Side
    posted_minor: int
    debits_posted_minor: int
    credits_posted_minor: int
    held_minor: int
    incoming_held_minor: int
    limit_minor: int | None
    available_minor: int | None
    carried_forward: CarriedForward | None
    postings: tuple[ExplainedPosting, ...]
    held_carried_minor: int
    incoming_held_carried_minor: int
    holds: tuple[ExplainedHold, ...]
    limit: ExplainedLimit | None
    adds_up: bool
    next_after: LineKey | None
    position: int
    recorded_at: datetime | None
    value_date: date | None


def explain_balance(  # noqa: PLR0913 - which balance, and which page
    conn: sqlalchemy.Connection,
    ledger_id: int,
    account_id: str,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
    currency: str | None = None,
    after: LineKey | None = None,
    limit: int = 100,
) -> BalanceExplanation:
    """The events behind an account's balance, the newest ``limit`` postings before ``after``.

    ``currency`` is what the account is expected to be kept in.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        AccountNotFound: no such account at that moment.
        CurrencyMismatch: it is kept in another currency.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    account = account_at(conn, ledger_id, reading, account_id)
    terms = account.terms
    if currency is not None and currency != terms.currency:
        raise CurrencyMismatch(account_id=account_id, account_currency=terms.currency)
    (shown,) = balances_of(conn, ledger_id, reading, [account], value_date)
    page = statement(
        conn,
        ledger_id,
        account_id,
        as_of=AsOf(reading.position, as_of.recorded_at),
        value_date=value_date,
        after=after,
        limit=limit,
        newest_first=True,
    )
    lines = page.lines[::-1]
    carried = None
    if page.next_after is not None:
        carried = _carried(conn, ledger_id, reading, account, lines[0], value_date)
    postings = _postings(conn, ledger_id, reading, account, lines)
    carried_held, holds = open_holds(conn, ledger_id, reading, account_id, page_size(limit))
    of_limit = None if value_date is not None else _limit(conn, ledger_id, reading, account)
    explained = BalanceExplanation(
        account_id=account_id,
        currency=terms.currency,
        scale=terms.scale,
        normal_side=terms.normal_side,
        posted_minor=shown.posted_minor,
        debits_posted_minor=shown.debits_posted_minor,
        credits_posted_minor=shown.credits_posted_minor,
        held_minor=shown.held_minor,
        incoming_held_minor=shown.incoming_held_minor,
        limit_minor=shown.limit_minor,
        available_minor=shown.available_minor,
        carried_forward=carried,
        postings=postings,
        held_carried_minor=carried_held[_outgoing(terms.normal_side)],
        incoming_held_carried_minor=carried_held[terms.normal_side],
        holds=holds,
        limit=of_limit,
        adds_up=True,
        next_after=None if carried is None else (carried.before_position, carried.before_line),
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
    )
    return msgspec.structs.replace(explained, adds_up=_adds_up(explained, is_first=after is None))


def _adds_up(explained: BalanceExplanation, *, is_first: bool) -> bool:
    """Whether what is shown comes to the figures of the balance.

    Of a page that is not the first: whether its balances run on from what is carried forward.
    """
    carried = explained.carried_forward
    posted_minor = 0 if carried is None else carried.balance_minor
    for line in explained.postings:
        posted_minor += line.change_minor
        if line.balance_minor != posted_minor:
            return False
    held = {
        _outgoing(explained.normal_side): explained.held_carried_minor,
        explained.normal_side: explained.incoming_held_carried_minor,
    }
    for item in explained.holds:
        held[item.side] += item.change_minor
    available_minor = None
    of_limit = explained.limit
    if of_limit is not None and of_limit.limit_minor is not None:
        available_minor = posted_minor - held[_outgoing(explained.normal_side)]
        available_minor += of_limit.limit_minor
    return (
        held[_outgoing(explained.normal_side)] == explained.held_minor
        and held[explained.normal_side] == explained.incoming_held_minor
        and (
            not is_first
            or (
                posted_minor == explained.posted_minor
                and available_minor == explained.available_minor
            )
        )
    )


def _outgoing(normal_side: Side) -> Side:
    """The side on which an account shrinks."""
    return "debit" if normal_side == "credit" else "credit"


def _carried(  # noqa: PLR0913, PLR0917 - before which line, of what, when
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account: Account,
    first: StatementLine,
    value_date: date | None,
) -> CarriedForward:
    """The sum of what counts before a line."""
    days = Days(conn, ledger_id, reading)
    part = booked_before_line(days, None, value_date, (first.position, first.line))
    number = account.terms.account_no
    (found,) = sums(conn, ledger_id, reading, [number], [part])
    before: Sums = found[number]
    return CarriedForward(
        before_position=first.position,
        before_line=first.line,
        debits_minor=before.debits_minor,
        credits_minor=before.credits_minor,
        balance_minor=before.on_normal_side(account),
    )


def _postings(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account: Account,
    lines: tuple[StatementLine, ...],
) -> tuple[ExplainedPosting, ...]:
    """The lines, each with the entry that it reverses, or is reversed by."""
    entries = entries_at(conn, ledger_id, [line.position for line in lines])
    reversed_at = reversals_of(conn, ledger_id, reading, [line.entry_id for line in lines])
    mirrored = {entry.reverses for entry in entries.values() if entry.reverses is not None}
    chosen = entry_positions(conn, ledger_id, sorted(mirrored)) if mirrored else {}
    explained: list[ExplainedPosting] = []
    for line in lines:
        reverses = entries[line.position].reverses
        grows = line.side == account.terms.normal_side
        explained.append(
            ExplainedPosting(
                position=line.position,
                line=line.line,
                entry_id=line.entry_id,
                kind=line.kind,
                recorded_at=line.recorded_at,
                value_date=line.value_date,
                side=line.side,
                amount_minor=line.amount_minor,
                change_minor=line.amount_minor if grows else -line.amount_minor,
                balance_minor=line.balance_minor,
                counterparties=line.counterparties,
                reference=line.reference,
                description=line.description,
                reverses_position=None
                if reverses is None
                else chosen.get(reverses, position_of(reverses, ENTRY_PREFIX)),
                reversed_position=reversed_at.get(line.entry_id),
            )
        )
    return tuple(explained)


def _limit(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, account: Account
) -> ExplainedLimit:
    """The event that set the limit in force: the last that set one, or the opening."""
    number = account.terms.account_no
    row: Any = conn.execute(
        select(*EVENT_COLUMNS)
        .join(
            account_changes,
            and_(
                log_events.c.ledger_id == account_changes.c.ledger_id,
                log_events.c.position == account_changes.c.position,
            ),
        )
        .where(
            account_changes.c.ledger_id == ledger_id,
            account_changes.c.slot == reading.slots["balances"],
            account_changes.c.account_no == number,
            account_changes.c.position <= reading.position,
            log_events.c.ledger_id == ledger_id,
            log_events.c.type == func.any([AccountOpened.__name__, LimitSet.__name__]),
        )
        .order_by(account_changes.c.position.desc())
        .limit(1)
    ).one()
    item = recorded_of(row)
    if reading.asked_at is not None:  # What came into force by then, though recorded later.
        late = due_limits(conn, ledger_id, reading, [number])
        item = late[-1][1] if late else item
    return ExplainedLimit(
        position=item.position,
        recorded_at=item.recorded_at,
        event=type(item.event).__name__,
        limit_minor=account.terms.limit_minor,
        ceiling_minor=account.terms.ceiling_minor,
    )
