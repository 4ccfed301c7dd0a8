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
from sqlalchemy import ColumnElement

from ledger_core import accounts as account_rules
from ledger_core.accounts import Account, AccountEvent, AccountOpened, LimitSet
from ledger_core.events import Recorded
from projections.reading import EVENT_NAMES, AnyConnection, Reading, driver_of, recorded
from projections.statements import held_lines
from projections.value_dates import Days, sums, valued_until

PROJECTIONS_READ = ("balances", "statements")


def accounts_at(
    conn: AnyConnection, ledger_id: int, reading: Reading, stored: Sequence[Account]
) -> list[Account]:
    """The accounts as they were at the reading's position, in the same order.

    ``stored`` is what the balances hold now; every one was open by then.
    """
    position = reading.position
    numbers = [account.terms.account_no for account in stored if account.last_position > position]
    if not numbers:
        return list(stored)
    folded, changes = _fold_terms(conn, ledger_id, reading, numbers)
    for number, posted, held in _last_lines(conn, ledger_id, reading, numbers):
        folded[number] = _with_sums(folded[number], posted, held, changes[number])
    if reading.asked_at is not None:
        _take_in_what_was_due(conn, ledger_id, reading, folded)
    return [folded.get(account.terms.account_no, account) for account in stored]


def accounts_valued_until(
    conn: AnyConnection,
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


class _Last(msgspec.Struct, frozen=True):
    """The last line of an account: the sums after it, its place, the account's version by then."""

    debits_minor: int
    credits_minor: int
    position: int
    version: int


_CHANGES = (
    f"SELECT c.account_no, {EVENT_NAMES}"  # noqa: S608 - our own names
    " FROM views.account_changes c"
    " JOIN ledger.events e ON e.ledger_id = c.ledger_id AND e.position = c.position"
    " WHERE c.ledger_id = %(ledger_id)s AND c.slot = %(balances)s"
    " AND c.account_no = ANY(%(account_nos)s) AND c.position <= %(position)s"
    " AND e.ledger_id = %(ledger_id)s ORDER BY c.position"
).encode()
_LAST_LINES = (
    b"SELECT w.account_no,"
    b" p.debits_after_minor::text, p.credits_after_minor::text, p.position, p.version,"
    b" h.debits_held_after_minor::text, h.credits_held_after_minor::text, h.position, h.version"
    b" FROM unnest(%(account_nos)s::bigint[]) AS w(account_no)"
    b" LEFT JOIN LATERAL (SELECT * FROM views.statement_lines l"
    b" WHERE l.ledger_id = %(ledger_id)s AND l.slot = %(statements)s"
    b" AND l.account_no = w.account_no AND l.position <= %(position)s"
    b" ORDER BY l.position DESC, l.line DESC LIMIT 1) p ON true"
    b" LEFT JOIN LATERAL (SELECT * FROM views.held_lines l"
    b" WHERE l.ledger_id = %(ledger_id)s AND l.slot = %(statements)s"
    b" AND l.account_no = w.account_no AND l.position <= %(position)s"
    b" ORDER BY l.position DESC LIMIT 1) h ON true"
)


_RELEASES = (
    b"SELECT account_no, coalesce(sum(change_minor) FILTER (WHERE side = 'D'), 0)::text,"
    b" coalesce(sum(change_minor) FILTER (WHERE side = 'C'), 0)::text FROM views.held_lines"
    b" WHERE ledger_id = %(ledger_id)s AND slot = %(statements)s AND position > %(position)s"
    b" AND due_at <= %(asked_at)s AND account_no = ANY(%(account_nos)s) GROUP BY account_no"
)
_DUE_LIMITS = (
    f"SELECT c.account_no, {EVENT_NAMES}"  # noqa: S608 - our own names
    " FROM views.account_changes c"
    " JOIN ledger.events e ON e.ledger_id = c.ledger_id AND e.position = c.position"
    " WHERE c.ledger_id = %(ledger_id)s AND c.slot = %(balances)s"
    " AND c.account_no = ANY(%(account_nos)s) AND c.position > %(position)s"
    f" AND e.ledger_id = %(ledger_id)s AND e.type = '{LimitSet.__name__}'"
    " AND e.command_key IS NULL AND (e.data ->> 'due_at')::timestamptz <= %(asked_at)s"
    " ORDER BY c.position"
).encode()


def _fold_terms(
    conn: AnyConnection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> tuple[dict[int, Account], dict[int, list[int]]]:
    """The accounts folded from their own events alone, and where those stand."""
    rows = driver_of(conn).execute(_CHANGES, _wanted(ledger_id, reading, account_nos))
    folded: dict[int, Account] = {}
    changes: dict[int, list[int]] = {}
    for number, *values in rows.fetchall():
        item = recorded(*values)
        changes.setdefault(number, []).append(item.position)
        if isinstance(item.event, AccountOpened):
            folded[number] = account_rules.opened(item.event, item.position, item.recorded_at)
        elif isinstance(item.event, AccountEvent):
            folded[number] = account_rules.evolve(folded[number], item.event, item.position)
    return folded, changes


def _last_lines(
    conn: AnyConnection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> list[tuple[int, _Last | None, _Last | None]]:
    """The last line, and the last change of what is held, of each account up to the reading."""
    rows = driver_of(conn).execute(_LAST_LINES, _wanted(ledger_id, reading, account_nos))
    return [(row[0], _last(row[1:5]), _last(row[5:9])) for row in rows.fetchall()]


def _last(values: Sequence[Any]) -> _Last | None:
    """A last line, if there is one."""
    debits, credits_, position, version = values
    return None if position is None else _Last(int(debits), int(credits_), position, version)


def _wanted(ledger_id: int, reading: Reading, account_nos: list[int]) -> dict[str, object]:
    """Which accounts are asked about, and when."""
    return {
        "ledger_id": ledger_id,
        **reading.slots,
        "account_nos": account_nos,
        "position": reading.position,
        "asked_at": reading.asked_at,
    }


def _with_sums(
    account: Account, posted: _Last | None, held: _Last | None, changes: list[int]
) -> Account:
    """The account folded from its terms, with the sums after its last lines.

    Its version is that of the newer line, and grew by each change of its terms after that.
    """
    if posted is not None:
        account = msgspec.structs.replace(
            account,
            debits_posted_minor=posted.debits_minor,
            credits_posted_minor=posted.credits_minor,
        )
    if held is not None:
        account = msgspec.structs.replace(
            account,
            debits_held_minor=held.debits_minor,
            credits_held_minor=held.credits_minor,
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
    conn: AnyConnection, ledger_id: int, reading: Reading, folded: dict[int, Account]
) -> None:
    """Change the accounts by what fell due by the time asked about, and was recorded later.

    Versions and last positions stay those of what had been recorded.
    """
    for number, item in due_limits(conn, ledger_id, reading, list(folded)):
        if isinstance(item.event, LimitSet):
            account = folded[number]
            changed = account_rules.evolve(account, item.event, item.position)
            folded[number] = msgspec.structs.replace(account, terms=changed.terms)
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
    conn: AnyConnection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> Mapping[int, tuple[int, int]]:
    """By how much less was held on each side of accounts, as holds had expired."""
    if reading.asked_at is None:
        return {}
    rows = driver_of(conn).execute(_RELEASES, _wanted(ledger_id, reading, account_nos))
    return {row[0]: (int(row[1]), int(row[2])) for row in rows.fetchall()}


def due_limits(
    conn: AnyConnection, ledger_id: int, reading: Reading, account_nos: list[int]
) -> list[tuple[int, Recorded]]:
    """The limits that had come into force, in order.

    A limit that somebody set has a key, and counts from when it was set; one that the ledger put
    into force on its day has none.
    """
    rows = driver_of(conn).execute(_DUE_LIMITS, _wanted(ledger_id, reading, account_nos))
    return [(number, recorded(*values)) for number, *values in rows.fetchall()]
