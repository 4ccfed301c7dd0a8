"""Accounts as they were: their terms, sums and what was held after any position.

Terms are folded by the kernel from the few events that changed them, sums are those after the last
statement line, what is held that after the last change of it. None grows with the number of
postings. What fell due by a time that was asked about counts at that time, though it was recorded
after it: holds that expired, and limits that came into force.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import ColumnElement, DateTime, Table, and_, cast, func, select, true

from ledger_core import accounts as account_rules
from ledger_core.accounts import Account, AccountEvent, AccountOpened, LimitSet
from projections.balances import account_changes
from projections.reading import EVENT_COLUMNS, Reading, log_events, recorded_of
from projections.statements import held_lines, statement_lines
from projections.value_dates import Days, sums, valued_until

PROJECTIONS_READ = ("balances", "statements")


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
    posted = _last_lines(conn, ledger_id, reading, numbers, statement_lines)
    held = _last_lines(conn, ledger_id, reading, numbers, held_lines)
    for number, account in folded.items():
        folded[number] = _with_sums(account, posted.get(number), held.get(number), changes[number])
    if reading.asked_at is not None:
        _take_in_what_was_due(conn, ledger_id, reading, folded)
    return [folded.get(account.terms.account_no, account) for account in stored]


def accounts_valued_until(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    shown: Sequence[Account],
    value_date: date,
) -> list[Account]:
    """The accounts with what counts by the end of ``value_date`` for their posted sums."""
    numbers = [account.terms.account_no for account in shown]
    part = valued_until(Days(conn, ledger_id, reading), value_date)
    (found,) = sums(conn, ledger_id, reading, numbers, [part])
    return [
        msgspec.structs.replace(
            account,
            debits_posted_minor=found[account.terms.account_no].debits_minor,
            credits_posted_minor=found[account.terms.account_no].credits_minor,
        )
        for account in shown
    ]


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


def _with_sums(account: Account, posted: Any, held: Any, changes: list[int]) -> Account:  # noqa: ANN401 - rows
    """The account folded from its terms, with the sums after its last lines.

    Its version is that of the newer line, and grew by each change of its terms after that.
    """
    if posted is not None:
        account = msgspec.structs.replace(
            account,
            debits_posted_minor=int(posted.debits_after_minor),
            credits_posted_minor=int(posted.credits_after_minor),
        )
    if held is not None:
        account = msgspec.structs.replace(
            account,
            debits_held_minor=int(held.debits_held_after_minor),
            credits_held_minor=int(held.credits_held_after_minor),
        )
    lines = [line for line in (posted, held) if line is not None]
    if not lines:
        return account
    newest = max(lines, key=lambda line: line.position)
    later = sum(changed > newest.position for changed in changes)
    return msgspec.structs.replace(
        account,
        version=newest.version + later,
        last_position=max(account.last_position, newest.position),
    )


def _take_in_what_was_due(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, folded: dict[int, Account]
) -> None:
    """Change the accounts by what fell due by the time asked about, and was recorded later.

    Versions and last positions stay those of what had been recorded.
    """
    for row in _due_limits(conn, ledger_id, reading, list(folded)):
        event = recorded_of(row).event
        if isinstance(event, LimitSet):
            account = folded[row.account_no]
            changed = account_rules.evolve(account, event, row.position)
            folded[row.account_no] = msgspec.structs.replace(account, terms=changed.terms)
    for number, (debits_minor, credits_minor) in _due_releases(
        conn, ledger_id, reading, list(folded)
    ).items():
        account = folded[number]
        folded[number] = msgspec.structs.replace(
            account,
            debits_held_minor=account.debits_held_minor + debits_minor,
            credits_held_minor=account.credits_held_minor + credits_minor,
        )


def recorded_late(
    ledger_id: int, reading: Reading, asked_at: datetime
) -> tuple[ColumnElement[bool], ...]:
    """The changes of what is held that were due by then, and recorded after the reading."""
    return (
        held_lines.c.ledger_id == ledger_id,
        held_lines.c.slot == reading.slots["statements"],
        held_lines.c.position > reading.position,
        held_lines.c.due_at <= asked_at,
    )


def _due_releases(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> Mapping[int, tuple[int, int]]:
    """By how much less was held on each side of accounts, as holds had expired."""
    if reading.asked_at is None:
        return {}
    change = held_lines.c.change_minor
    rows = conn.execute(
        select(
            held_lines.c.account_no,
            func.coalesce(func.sum(change).filter(held_lines.c.side == "D"), 0).label("debits"),
            func.coalesce(func.sum(change).filter(held_lines.c.side == "C"), 0).label("credits"),
        )
        .where(
            *recorded_late(ledger_id, reading, reading.asked_at),
            held_lines.c.account_no == func.any(account_nos),
        )
        .group_by(held_lines.c.account_no)
    )
    return {row.account_no: (int(row.debits), int(row.credits)) for row in rows}


def _due_limits(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> Sequence[Any]:
    """The limits that had come into force, in order.

    A limit that somebody set has a key, and counts from when it was set; one that the ledger put
    into force on its day has none.
    """
    return conn.execute(
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
            account_changes.c.position > reading.position,
            log_events.c.ledger_id == ledger_id,
            log_events.c.type == LimitSet.__name__,
            log_events.c.command_key.is_(None),
            cast(log_events.c.data["due_at"].as_string(), DateTime(timezone=True))
            <= reading.asked_at,
        )
        .order_by(account_changes.c.position)
    ).all()


def _last_lines(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account_nos: list[int],
    table: Table,
) -> dict[int, Any]:
    """The last line of each account up to the reading's position, by account number."""
    wanted = (
        func.unnest(sqlalchemy.cast(account_nos, _NUMBERS))
        .table_valued("account_no")
        .render_derived()
    )
    last = (
        select(table)
        .where(
            table.c.ledger_id == ledger_id,
            table.c.slot == reading.slots["statements"],
            table.c.account_no == wanted.c.account_no,
            table.c.position <= reading.position,
        )
        .order_by(*(column.desc() for column in table.primary_key if column.name in _PLACE))
        .limit(1)
        .lateral("last")
    )
    rows = conn.execute(select(last).select_from(wanted.join(last, true())))
    return {row.account_no: row for row in rows}


_PLACE = ("position", "line")
_NUMBERS = sqlalchemy.ARRAY(sqlalchemy.BigInteger)
