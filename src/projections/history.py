"""Accounts as they were: their terms and sums after any position.

Terms are folded by the kernel from the few events that changed them, sums are those after the last
statement line. Neither grows with the number of postings.
"""

from collections.abc import Sequence
from datetime import date

import msgspec
import sqlalchemy
from sqlalchemy import and_, func, select, true

from ledger_core import accounts as account_rules
from ledger_core.accounts import Account, AccountEvent, AccountOpened
from projections.balances import account_changes
from projections.reading import EVENT_COLUMNS, Reading, log_events, recorded_of
from projections.statements import statement_lines

PROJECTIONS_READ = ("balances", "statements")


class Sums(msgspec.Struct, frozen=True):
    """Sums of some postings of an account, in minor units."""

    debits_minor: int
    credits_minor: int


NOTHING = Sums(0, 0)


def accounts_at(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, stored: Sequence[Account]
) -> list[Account]:
    """The accounts as they were at the reading's position, in the same order.

    ``stored`` is what the balances hold now; every one was open by then.
    """
    position = reading.position
    numbers = [account.terms.account_no for account in stored if account.last_position > position]
    if not numbers:
        return list(stored)
    folded, changes = _fold_terms(conn, ledger_id, reading, numbers)
    for row in _last_lines(conn, ledger_id, reading, numbers):
        account = folded[row.account_no]
        later = sum(changed > row.position for changed in changes[row.account_no])
        folded[row.account_no] = msgspec.structs.replace(
            account,
            debits_posted_minor=int(row.debits_after_minor),
            credits_posted_minor=int(row.credits_after_minor),
            version=row.version + later,
            last_position=max(account.last_position, row.position),
        )
    return [folded.get(account.terms.account_no, account) for account in stored]


def sums_valued_until(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account_nos: Sequence[int],
    value_date: date,
) -> dict[int, Sums]:
    """Sums of the postings known at the reading that count by the end of ``value_date``."""
    lines = statement_lines.c
    amount = lines.amount_minor
    rows = conn.execute(
        select(
            lines.account_no,
            func.coalesce(func.sum(amount).filter(lines.side == "D"), 0).label("debits"),
            func.coalesce(func.sum(amount).filter(lines.side == "C"), 0).label("credits"),
        )
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.account_no == func.any(list(account_nos)),
            lines.position <= reading.position,
            lines.value_date <= value_date,
        )
        .group_by(lines.account_no)
    )
    return {row.account_no: Sums(int(row.debits), int(row.credits)) for row in rows}


def _fold_terms(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> tuple[dict[int, Account], dict[int, list[int]]]:
    """The accounts folded from their own events alone, and where those stand."""
    rows = conn.execute(
        select(account_changes.c.account_no, *EVENT_COLUMNS)
        .join(
            log_events,
            and_(
                log_events.c.ledger_id == account_changes.c.ledger_id,
                log_events.c.position == account_changes.c.position,
            ),
        )
        .where(
            account_changes.c.ledger_id == ledger_id,
            account_changes.c.slot == reading.slots["balances"],
            account_changes.c.account_no == func.any(account_nos),
            account_changes.c.position <= reading.position,
            log_events.c.ledger_id == ledger_id,
        )
        .order_by(account_changes.c.position)
    )
    folded: dict[int, Account] = {}
    changes: dict[int, list[int]] = {}
    for row in rows:
        item = recorded_of(row)
        changes.setdefault(row.account_no, []).append(item.position)
        if isinstance(item.event, AccountOpened):
            folded[row.account_no] = account_rules.opened(
                item.event, item.position, item.recorded_at
            )
        elif isinstance(item.event, AccountEvent):
            folded[row.account_no] = account_rules.evolve(
                folded[row.account_no], item.event, item.position
            )
    return folded, changes


def _last_lines(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> Sequence[sqlalchemy.Row[tuple[object, ...]]]:
    """The last statement line of each account up to the reading's position."""
    wanted = (
        func.unnest(sqlalchemy.cast(account_nos, _NUMBERS))
        .table_valued("account_no")
        .render_derived()
    )
    lines = statement_lines.c
    last = (
        select(
            lines.account_no,
            lines.position,
            lines.debits_after_minor,
            lines.credits_after_minor,
            lines.version,
        )
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.account_no == wanted.c.account_no,
            lines.position <= reading.position,
        )
        .order_by(lines.position.desc(), lines.line.desc())
        .limit(1)
        .lateral("last")
    )
    return conn.execute(select(last).select_from(wanted.join(last, true()))).all()


_NUMBERS = sqlalchemy.ARRAY(sqlalchemy.BigInteger)
