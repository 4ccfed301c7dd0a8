"""What people see, held against the checker's own fold: views, indexes, key store, every read.

The program's own verification, which compares every row and column of every projection, is run as
well; what is compared here is what it must not get wrong in the same way as the projections.
"""

from collections.abc import Iterable
from typing import Any

import psycopg
from tests.faults.fold import Fold, Row, states_at
from tests.faults.history import Attempt, Finding

from ledger_core.log import Connection
from projections import verification

_Tuples = psycopg.Connection[tuple[Any, ...]]
_SHOWN = 20


def check_product(connection: Connection) -> Iterable[Finding]:
    """The program's own verification of everything; it brings every projection to the head."""
    ledger_id = 1
    verdict = verification.verify(connection, ledger_id)
    for found in verdict.findings[:_SHOWN]:
        yield Finding("verify", f"{found.kind}: {found.message}")
    if not verdict.ok and not verdict.findings:
        yield Finding("verify", "the ledger does not verify")


def check_behind(connection: _Tuples, rows: list[Row]) -> Iterable[Finding]:
    """Every projection has reached the last command by itself.

    Not the head: what falls due is recorded to the last moment before the servers stop.
    """
    last = max((row.position for row in rows if row.key is not None), default=0)
    found = connection.execute("SELECT name, position FROM views.projections WHERE live")
    for name, position in found.fetchall():
        if position < last:
            yield Finding("behind", f"{name} stands at {position}, the last command at {last}")


def check_views(connection: _Tuples, fold: Fold) -> Iterable[Finding]:
    """Accounts, their sums per currency, customers, ids and keys, after the whole log."""
    yield from fold.findings
    for currency, (debits, credits_) in fold.totals().items():
        if debits != credits_:
            yield Finding("money", f"{currency}: {debits} was debited and {credits_} credited")
    yield from _check_accounts(connection, fold)
    yield from _check_totals(connection, fold)
    yield from _check_indexes(connection, fold)


def _check_accounts(connection: _Tuples, fold: Fold) -> Iterable[Finding]:
    """The view of balances, row by row."""
    found = connection.execute(
        "SELECT account_id, debits_posted_minor, credits_posted_minor, debits_held_minor,"
        " credits_held_minor, version, limit_minor FROM views.accounts a JOIN views.projections p"
        " ON p.ledger_id = a.ledger_id AND p.slot = a.slot AND p.name = 'balances' AND p.live"
    )
    shown = {row[0]: tuple(row[1:]) for row in found}
    for name in shown.keys() ^ fold.accounts.keys():
        where = "only in the view" if name in shown else "not in the view"
        yield Finding("balance", f"{name} is {where}")
    for name in shown.keys() & fold.accounts.keys():
        at = fold.accounts[name]
        folded = (at.debits, at.credits, at.debits_held, at.credits_held, at.version, at.limit)
        if shown[name] != folded:
            yield Finding("balance", f"{name} is {shown[name]} in the view, {folded} by the log")


def _check_totals(connection: _Tuples, fold: Fold) -> Iterable[Finding]:
    """The trial balance: equal on both sides, and what the accounts come to."""
    found = connection.execute(
        "SELECT currency, sum(debits_posted_minor), sum(credits_posted_minor)"
        " FROM views.trial_balance t JOIN views.projections p"
        " ON p.ledger_id = t.ledger_id AND p.slot = t.slot"
        " AND p.name = 'trial_balance' AND p.live GROUP BY currency"
    )
    totals = fold.totals()
    for currency, debits, credits_ in found:
        if (debits, credits_) != totals.get(currency):
            yield Finding("money", f"{currency}: the trial balance says {debits} and {credits_}")


def _check_indexes(connection: _Tuples, fold: Fold) -> Iterable[Finding]:
    """Chosen ids, keys of persons and search tokens: each has its event, each event them."""
    found = connection.execute("SELECT kind, name, position FROM ledger.identities").fetchall()
    taken = {(row[0], row[1], row[2]) for row in found}
    for kind, name, position in sorted(taken ^ fold.identities)[:_SHOWN]:
        where = "in the log" if (kind, name, position) in fold.identities else "among the ids"
        yield Finding("identity", f"{kind} {name} at {position} is only {where}")
    subjects = {
        row[0] for row in connection.execute("SELECT subject FROM keystore.subject_keys").fetchall()
    }
    for subject in sorted(subjects ^ fold.subjects)[:_SHOWN]:
        where = "in the log" if subject in fold.subjects else "among the keys"
        yield Finding("keystore", f"{subject} is only {where}")
    indexed = connection.execute("SELECT DISTINCT customer_id FROM keystore.blind_indexes")
    for (customer_id,) in indexed.fetchall():
        if customer_id not in fold.customers:
            yield Finding("keystore", f"tokens of {customer_id}, who is not in the log")


def check_reads(rows: list[Row], reads: list[Attempt]) -> tuple[Fold, list[Finding]]:
    """Every read against the log as it was at the position that the read says; the whole fold."""
    findings: list[Finding] = []
    at: dict[int, list[Attempt]] = {}
    for read in reads:
        where = f"client {read.client}, attempt {read.number}"
        answer = read.answer or {}
        if read.is_acknowledged:
            position = int(answer["position"])
            asked = read.command.get("min_position")
            if asked is not None and position < asked:
                findings.append(Finding("read", f"{where}: asked for {asked}, is of {position}"))
            at.setdefault(position, []).append(read)
        elif read.code in {"account_not_found", "customer_not_found"}:
            findings += _check_missing(read, rows, where)
    fold = Fold()
    for position, state in states_at(rows, set(at)):
        fold = state
        for read in at.pop(position, ()):
            wrong = _wrong_in(read, state)
            if wrong:
                where = f"client {read.client}, attempt {read.number} of {position}"
                findings.append(Finding("read", f"{where}: {', '.join(wrong)} not as in the log"))
    findings += [Finding("read", f"a read is of {late}, beyond the log") for late in at]
    return fold, findings


def _wrong_in(read: Attempt, fold: Fold) -> list[str]:
    """The members of an answer that are not what the log comes to there."""
    answer = read.answer or {}
    if read.operation == "read_customer":
        profile = fold.customers.get(read.command["customer_id"])
        if profile is None:
            return ["customer_id"]
        return [name for name, value in profile.items() if answer["profile"].get(name) != value]
    account = fold.accounts.get(read.command["account_id"])
    if account is None:
        return ["account_id"]
    told = {**answer, "blocks": sorted((at["cause"], at["effect"]) for at in answer["blocks"])}
    return [name for name, value in account.seen().items() if told[name] != value]


def _check_missing(read: Attempt, rows: list[Row], where: str) -> Iterable[Finding]:
    """What is not found is not there at the position that was asked for."""
    asked = read.command.get("min_position")
    name = read.command.get("account_id") or read.command.get("customer_id")
    if asked is None:
        return
    for row in rows[:asked]:
        if row.type in {"AccountOpened", "CustomerRegistered"}:
            data = row.data
            if name in {data.get("account_id"), data.get("customer_id")}:
                yield Finding("read", f"{where}: {name} is not found, and is there at {asked}")
