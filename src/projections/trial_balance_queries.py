"""The trial balance: every account's balance on its side, and totals that must be equal."""

from datetime import date, datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Select, and_, case, func, select, true

from ledger_core.accounts import AccountType
from projections.balances import accounts
from projections.history import PROJECTIONS_READ
from projections.reading import NOW, AsOf, Reading, resolve
from projections.statements import statement_lines
from projections.trial_balance import trial_balance as control_totals_table


class TrialBalanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One account: its balance stands on one side, the other is 0; in minor units."""

    account_id: str
    account_type: AccountType
    code: str | None
    name: str | None
    currency: str
    scale: int
    debits_posted_minor: int
    credits_posted_minor: int
    debit_minor: int
    credit_minor: int


class CurrencyTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of one currency: of everything posted, and of the balances on each side."""

    currency: str
    scale: int
    debits_posted_minor: int
    credits_posted_minor: int
    debit_minor: int
    credit_minor: int
    accounts: int


class TrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts open by then, by currency, code and id, with the totals of each currency."""

    rows: tuple[TrialBalanceRow, ...]
    totals: tuple[CurrencyTotals, ...]
    position: int
    recorded_at: datetime | None
    value_date: date | None


class ControlTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What was posted to all accounts of one type in one currency, kept apart from the accounts."""

    currency: str
    account_type: AccountType
    debits_posted_minor: int
    credits_posted_minor: int
    accounts: int


def trial_balance(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
) -> TrialBalance:
    """The trial balance at a moment; with ``value_date``, of what counts by the end of that day.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    if value_date is None:
        query = _as_known(ledger_id, reading)
    else:
        query = _as_valued(ledger_id, reading, value_date)
    rows = tuple(_row(row) for row in conn.execute(query))
    return TrialBalance(
        rows=rows,
        totals=_totals(rows),
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
    )


def control_totals(conn: sqlalchemy.Connection, ledger_id: int) -> tuple[ControlTotal, ...]:
    """The control totals as they stand: a few rows, whatever the number of accounts.

    Raises:
        LedgerNotFound: no such ledger.
    """
    reading = resolve(conn, ledger_id, NOW, "trial_balance")
    rows = conn.execute(
        select(control_totals_table)
        .where(
            control_totals_table.c.ledger_id == ledger_id,
            control_totals_table.c.slot == reading.slots["trial_balance"],
        )
        .order_by(control_totals_table.c.currency, control_totals_table.c.account_type)
    )
    return tuple(
        ControlTotal(
            currency=row.currency,
            account_type=row.account_type,
            debits_posted_minor=int(row.debits_posted_minor),
            credits_posted_minor=int(row.credits_posted_minor),
            accounts=row.accounts,
        )
        for row in rows
    )


def _accounts(
    ledger_id: int,
    reading: Reading,
    debits: sqlalchemy.ColumnElement[Any],
    credits_: sqlalchemy.ColumnElement[Any],
) -> Select[Any]:
    """The accounts open by the reading, with the sums given."""
    return (
        select(
            accounts.c.account_id,
            accounts.c.account_type,
            accounts.c.code,
            accounts.c.name,
            accounts.c.currency,
            accounts.c.scale,
            func.coalesce(debits, 0).label("debits"),
            func.coalesce(credits_, 0).label("credits"),
        )
        .where(
            accounts.c.ledger_id == ledger_id,
            accounts.c.slot == reading.slots["balances"],
            accounts.c.account_no <= reading.position,
        )
        .order_by(accounts.c.currency, accounts.c.code, accounts.c.account_id)
    )


def _as_known(ledger_id: int, reading: Reading) -> Select[Any]:
    """Sums after the last line up to the reading; the account's own where none came later."""
    lines = statement_lines.c
    last = (
        select(lines.debits_after_minor, lines.credits_after_minor)
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.account_no == accounts.c.account_no,
            lines.position <= reading.position,
            accounts.c.last_position > reading.position,
        )
        .order_by(lines.position.desc(), lines.line.desc())
        .limit(1)
        .correlate(accounts)
        .lateral("last")
    )
    unchanged = accounts.c.last_position <= reading.position
    return _accounts(
        ledger_id,
        reading,
        case((unchanged, accounts.c.debits_posted_minor), else_=last.c.debits_after_minor),
        case((unchanged, accounts.c.credits_posted_minor), else_=last.c.credits_after_minor),
    ).select_from(accounts.outerjoin(last, true()))


def _as_valued(ledger_id: int, reading: Reading, value_date: date) -> Select[Any]:
    """Sums over the lines that count by the end of the day."""
    lines = statement_lines.c
    sums = (
        select(
            lines.account_no,
            func.sum(lines.amount_minor).filter(lines.side == "D").label("debits"),
            func.sum(lines.amount_minor).filter(lines.side == "C").label("credits"),
        )
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.position <= reading.position,
            lines.value_date <= value_date,
        )
        .group_by(lines.account_no)
        .subquery("sums")
    )
    return _accounts(ledger_id, reading, sums.c.debits, sums.c.credits).select_from(
        accounts.outerjoin(sums, and_(sums.c.account_no == accounts.c.account_no))
    )


def _row(row: Any) -> TrialBalanceRow:  # noqa: ANN401 - a row of the query
    """The answer about one account."""
    debits, credits_ = int(row.debits), int(row.credits)
    return TrialBalanceRow(
        account_id=row.account_id,
        account_type=row.account_type,
        code=row.code,
        name=row.name,
        currency=row.currency,
        scale=row.scale,
        debits_posted_minor=debits,
        credits_posted_minor=credits_,
        debit_minor=max(debits - credits_, 0),
        credit_minor=max(credits_ - debits, 0),
    )


def _totals(rows: tuple[TrialBalanceRow, ...]) -> tuple[CurrencyTotals, ...]:
    """The totals of each currency, in the order of the rows."""
    by_currency: dict[str, list[TrialBalanceRow]] = {}
    for row in rows:
        by_currency.setdefault(row.currency, []).append(row)
    return tuple(
        CurrencyTotals(
            currency=currency,
            scale=group[0].scale,
            debits_posted_minor=sum(row.debits_posted_minor for row in group),
            credits_posted_minor=sum(row.credits_posted_minor for row in group),
            debit_minor=sum(row.debit_minor for row in group),
            credit_minor=sum(row.credit_minor for row in group),
            accounts=len(group),
        )
        for currency, group in by_currency.items()
    )
