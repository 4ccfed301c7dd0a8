"""Totals over accounts: what a branch of the chart, a type or a customer comes to, by currency.

Ids and codes may be hierarchical (``A:Assets:Receivable:S1``): a prefix is a branch of them. The
sums are made by the database when they are asked for, of any moment and value date.
"""

from datetime import date, datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import ColumnElement, FromClause, and_, case, func, not_, select, true

from ledger_core.accounts import AccountType
from projections.balances import accounts
from projections.history import PROJECTIONS_READ, recorded_late
from projections.links import linked_accounts
from projections.reading import NOW, AsOf, Reading, resolve
from projections.statements import held_lines, statement_lines


class TotalFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which accounts to sum up: all that are so; ``None`` means any."""

    prefix: str | None = None
    code_prefix: str | None = None
    account_type: AccountType | None = None
    currency: str | None = None
    customer_id: str | None = None


EVERY = TotalFilters()


class AccountTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What the accounts in one currency come to, in minor units.

    ``net_minor`` is credits less debits: positive where the accounts together are owed by the
    bank. Held sums are those at the position, whatever the value date.
    """

    currency: str
    scale: int
    accounts: int
    debits_posted_minor: int
    credits_posted_minor: int
    net_minor: int
    debits_held_minor: int
    credits_held_minor: int


class _Sums(msgspec.Struct, frozen=True):
    """Sums of each account: named columns, and what to join the accounts with for them."""

    columns: dict[str, ColumnElement[Any]]
    laterals: tuple[FromClause, ...]


class AccountTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of the accounts open by then, by currency."""

    totals: tuple[AccountTotal, ...]
    position: int
    recorded_at: datetime | None
    value_date: date | None


def totals(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
    filters: TotalFilters = EVERY,
) -> AccountTotals:
    """Sums over all accounts that are as the filters say; with ``value_date``, by its end.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    names: tuple[str, ...] = PROJECTIONS_READ
    if filters.customer_id is not None:
        names = (*PROJECTIONS_READ, "customer_360", "event_tags")
    reading = resolve(conn, ledger_id, as_of, *names)
    posted = _posted(ledger_id, reading, value_date)
    held = _held(ledger_id, reading)
    sums = {**posted.columns, **held.columns}
    source: FromClause = accounts
    for lateral in (*posted.laterals, *held.laterals):
        source = source.outerjoin(lateral, true())
    query = (
        select(
            accounts.c.currency,
            accounts.c.scale,
            func.count().label("accounts"),
            *(func.sum(column).label(name) for name, column in sums.items()),
        )
        .select_from(source)
        .where(*_matched(conn, ledger_id, reading, filters))
        .group_by(accounts.c.currency, accounts.c.scale)
        .order_by(accounts.c.currency)
    )
    return AccountTotals(
        totals=tuple(_total(row) for row in conn.execute(query)),
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
    )


def _matched(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, filters: TotalFilters
) -> list[ColumnElement[bool]]:
    """The accounts that were open by then and are as the filters say."""
    conditions: list[ColumnElement[bool]] = [
        accounts.c.ledger_id == ledger_id,
        accounts.c.slot == reading.slots["balances"],
        accounts.c.account_no <= reading.position,
    ]
    if filters.prefix is not None:
        conditions.append(accounts.c.account_id.startswith(filters.prefix, autoescape=True))
    if filters.code_prefix is not None:
        conditions.append(accounts.c.code.startswith(filters.code_prefix, autoescape=True))
    if filters.account_type is not None:
        conditions.append(accounts.c.account_type == filters.account_type)
    if filters.currency is not None:
        conditions.append(accounts.c.currency == filters.currency)
    if filters.customer_id is not None:
        links = linked_accounts(conn, ledger_id, reading, filters.customer_id)
        conditions.append(accounts.c.account_id == func.any(list(links)))
    return conditions


def _posted(ledger_id: int, reading: Reading, value_date: date | None) -> _Sums:
    """What was posted to each account: all of it, or what counts by the end of a day."""
    lines = statement_lines.c
    of_account = and_(
        lines.ledger_id == ledger_id,
        lines.slot == reading.slots["statements"],
        lines.account_no == accounts.c.account_no,
        lines.position <= reading.position,
    )
    if value_date is not None:
        valued = (
            select(
                func.sum(lines.amount_minor).filter(lines.side == "D").label("debits"),
                func.sum(lines.amount_minor).filter(lines.side == "C").label("credits"),
            )
            .where(of_account, lines.value_date <= value_date)
            .correlate(accounts)
            .lateral("valued")
        )
        return _Sums(
            {"debits_posted": valued.c.debits, "credits_posted": valued.c.credits}, (valued,)
        )
    unchanged = accounts.c.last_position <= reading.position
    last = (
        select(lines.debits_after_minor, lines.credits_after_minor)
        .where(of_account, not_(unchanged))
        .order_by(lines.position.desc(), lines.line.desc())
        .limit(1)
        .correlate(accounts)
        .lateral("last")
    )
    return _Sums(
        {
            "debits_posted": case(
                (unchanged, accounts.c.debits_posted_minor), else_=last.c.debits_after_minor
            ),
            "credits_posted": case(
                (unchanged, accounts.c.credits_posted_minor), else_=last.c.credits_after_minor
            ),
        },
        (last,),
    )


def _held(ledger_id: int, reading: Reading) -> _Sums:
    """What was held on each account, without what had expired by the time asked about."""
    lines = held_lines.c
    unchanged = accounts.c.last_position <= reading.position
    last = (
        select(lines.debits_held_after_minor, lines.credits_held_after_minor)
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.account_no == accounts.c.account_no,
            lines.position <= reading.position,
            not_(unchanged),
        )
        .order_by(lines.position.desc())
        .limit(1)
        .correlate(accounts)
        .lateral("last_held")
    )
    debits = case((unchanged, accounts.c.debits_held_minor), else_=last.c.debits_held_after_minor)
    credits_ = case(
        (unchanged, accounts.c.credits_held_minor), else_=last.c.credits_held_after_minor
    )
    if reading.asked_at is None:
        return _Sums({"debits_held": debits, "credits_held": credits_}, (last,))
    due = (
        select(
            func.sum(lines.change_minor).filter(lines.side == "D").label("debits"),
            func.sum(lines.change_minor).filter(lines.side == "C").label("credits"),
        )
        .where(
            *recorded_late(ledger_id, reading, reading.asked_at),
            lines.account_no == accounts.c.account_no,
            not_(unchanged),
        )
        .correlate(accounts)
        .lateral("due")
    )
    return _Sums(
        {
            "debits_held": debits + func.coalesce(due.c.debits, 0),
            "credits_held": credits_ + func.coalesce(due.c.credits, 0),
        },
        (last, due),
    )


def _total(row: Any) -> AccountTotal:  # noqa: ANN401 - a row of the query
    """The answer about one currency."""
    debits_minor, credits_minor = int(row.debits_posted or 0), int(row.credits_posted or 0)
    return AccountTotal(
        currency=row.currency,
        scale=row.scale,
        accounts=row.accounts,
        debits_posted_minor=debits_minor,
        credits_posted_minor=credits_minor,
        net_minor=credits_minor - debits_minor,
        debits_held_minor=int(row.debits_held or 0),
        credits_held_minor=int(row.credits_held or 0),
    )
