"""``ledger import camt053``: bank statements as deposits and withdrawals through clearing.

All files of one call are imported together or not at all. Each statement must close exactly, and
must continue the statement before it and be continued by the one after it, whichever of them was
imported first. Only across a hole of more than ``HOLE_DAYS`` a new chain may begin: then the
difference is booked openly as a balance carried forward.

An account that a bank keeps in several currencies is one account for each: the first has the
bank's own number, the others have their currency behind it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import msgspec

from api.bulk import ImportRefused, ImportRefusedAt, import_atomically
from api.camt053 import (
    BankStatement,
    check_statement,
    entry_key,
    first_day,
    order_statements,
    read_camt053,
    statement_key,
)
from api.camt053_xml import Camt053Refused
from api.runtime import Runtime
from ledger_core import currencies
from ledger_core.account_terms import OpenAccount
from ledger_core.bank_statements import BankStatementImported, RecordStatement
from ledger_core.commands import Command
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.log import Connection

# A month without a statement is a statement that is missing; two are an account that was idle or
# kept elsewhere.
HOLE_DAYS = 60

_DECODER = msgspec.json.Decoder(BankStatementImported)


class CamtReport(msgspec.Struct, frozen=True):
    """What an import did: statements read, those new to the ledger, and its events."""

    files: int
    statements: int
    new_statements: int
    entries: int
    recorded: int
    replayed: int
    position: int
    carried_forward: tuple[str, ...]


class _Link(msgspec.Struct, frozen=True):
    """A statement in an account's chain; balances in minor units, positive in credit."""

    statement_id: str
    first_day: date
    last_day: date
    opening_minor: int
    closing_minor: int


class _Plan(msgspec.Struct):
    """The commands of an import, and for each the file that it comes from."""

    commands: list[Command] = []
    files: list[str] = []
    carried_forward: list[str] = []

    def add(self, file: str, command: Command) -> None:
        """Add a command of a file."""
        self.commands.append(command)
        self.files.append(file)


def import_camt053(
    runtime: Runtime,
    ledger_id: int,
    files: Sequence[Path],
    actor: str,
    progress: Callable[[int], None] = lambda _: None,
) -> CamtReport:
    """Import every statement of the files, or nothing.

    The views must be caught up with the log: they say which accounts exist and which statements
    were imported before.

    Raises:
        ImportRefused: naming the file, and what was expected and found.
    """
    statements: list[BankStatement] = []
    origin: dict[str, str] = {}
    for count, file in enumerate(files):
        for statement in _read(file):
            statements.append(statement)
            origin.setdefault(statement_key(statement), file.name)
        progress(count + 1)
    try:
        ordered = order_statements(statements)
    except Camt053Refused as refusal:
        raise ImportRefused(_named(refusal, statements, origin)) from None
    with runtime.connect("ledger_reader") as connection:
        ordered = _in_their_accounts(connection, ledger_id, ordered, origin)
        plan, new = _planned(connection, ledger_id, ordered, origin)
    try:
        outcomes = import_atomically(runtime, ledger_id, plan.commands, actor)
    except ImportRefusedAt as refusal:
        msg = f"{plan.files[refusal.index]}: {refusal.error} Nothing was imported."
        raise ImportRefused(msg) from None
    return CamtReport(
        files=len(files),
        statements=len(ordered),
        new_statements=new,
        entries=sum(len(statement.entries) for statement in ordered),
        recorded=sum(outcome.status == "recorded" for outcome in outcomes),
        replayed=sum(outcome.status == "replayed" for outcome in outcomes),
        position=max((outcome.position for outcome in outcomes), default=0),
        carried_forward=tuple(plan.carried_forward),
    )


def _read(file: Path) -> tuple[BankStatement, ...]:
    """The statements of one file, each closing exactly.

    Raises:
        ImportRefused: the file cannot be read, or a statement does not close.
    """
    try:
        statements = read_camt053(file.read_bytes())
        for statement in statements:
            check_statement(statement)
    except OSError as error:
        msg = f"{file.name}: cannot be read: {error.strerror}"
        raise ImportRefused(msg) from None
    except Camt053Refused as refusal:
        which = f"statement {refusal.statement_id}: " if refusal.statement_id else ""
        msg = f"{file.name}: {which}{refusal}. Nothing was imported."
        raise ImportRefused(msg) from None
    return statements


def _named(
    refusal: Camt053Refused, statements: Iterable[BankStatement], origin: dict[str, str]
) -> str:
    """A refusal about whole statements, with the file of the one it names."""
    for statement in statements:
        if statement.statement_id == refusal.statement_id:
            return f"{origin[statement_key(statement)]}: {refusal}. Nothing was imported."
    return f"{refusal}. Nothing was imported."


def _planned(
    connection: Connection,
    ledger_id: int,
    ordered: list[BankStatement],
    origin: dict[str, str],
) -> tuple[_Plan, int]:
    """The commands that book the statements, in order, and how many statements are new."""
    plan = _Plan()
    imported = _imported_keys(connection, ledger_id, [statement_key(s) for s in ordered])
    chains: dict[str, list[_Link]] = {}
    for statement in ordered:
        account_id = statement.account_id
        key = statement_key(statement)
        file = origin[key]
        if account_id not in chains:
            chains[account_id] = _chain(connection, ledger_id, account_id)
            if _account_currency(connection, ledger_id, account_id) is None:
                plan.add(file, _opening(statement))
        if key not in imported:
            _link(plan, file, statement, chains[account_id])
        _book(plan, file, statement)
    return plan, len(ordered) - len(imported)


def _link(plan: _Plan, file: str, statement: BankStatement, chain: list[_Link]) -> None:
    """Put a new statement in its place in the chain, carrying balances forward where it begins one.

    Raises:
        ImportRefused: it overlaps a neighbour, or does not continue one.
    """
    link = _Link(
        statement.statement_id,
        first_day(statement),
        statement.closing.balance_date,
        _minor(statement.opening.amount, statement),
        _minor(statement.closing.amount, statement),
    )
    place = bisect_right(chain, (link.first_day, link.last_day), key=_days)
    before = chain[place - 1] if place else None
    after = chain[place] if place < len(chain) else None
    if before is not None:
        _check_neighbours(before, link, file, statement, new=link)
    if after is not None:
        _check_neighbours(link, after, file, statement, new=link)
    previous_minor = before.closing_minor if before is not None else 0
    opening_minor = link.opening_minor - previous_minor
    _carry(plan, file, statement, ("opening", opening_minor, link.first_day))
    if after is not None:
        # What was carried forward to the next statement is from now on explained by this one.
        onward_minor = previous_minor - link.closing_minor
        _carry(plan, file, statement, ("onward", onward_minor, after.first_day))
    chain.insert(place, link)


def _check_neighbours(
    earlier: _Link, later: _Link, file: str, statement: BankStatement, new: _Link
) -> None:
    """Two statements next to each other follow on, unless a long hole lies between them.

    Raises:
        ImportRefused: they overlap, or the balances differ.
    """
    name = f"{file}: statement {statement.statement_id}"
    are_pages = earlier.statement_id == later.statement_id and _days(earlier) == _days(later)
    if later.first_day < earlier.last_day and not are_pages:
        msg = (
            f"{name} overlaps a statement imported before: {later.first_day} is before"
            f" {earlier.last_day}. Nothing was imported."
        )
        raise ImportRefused(msg)
    hole_days = (later.first_day - earlier.last_day).days - 1
    if earlier.closing_minor == later.opening_minor or hole_days > HOLE_DAYS:
        return
    expected, found = (
        (earlier.closing_minor, later.opening_minor)
        if new is later
        else (later.opening_minor, earlier.closing_minor)
    )
    what = "opening" if new is later else "closing"
    msg = (
        f"{name} does not continue its account's chain of statements: expected {what} balance"
        f" {_decimal(expected, statement)}, found {_decimal(found, statement)}."
        " Nothing was imported."
    )
    raise ImportRefused(msg)


def _book(plan: _Plan, file: str, statement: BankStatement) -> None:
    """The statement's entries, and the record that they are complete."""
    for entry in statement.entries:
        if not entry.amount:
            continue
        references = {
            "booking_date": entry.booking_date.isoformat(),
            "entry_reference": entry.entry_reference,
            "servicer_reference": entry.servicer_reference,
            "end_to_end_id": entry.end_to_end_id,
            "transaction_id": entry.transaction_id,
            "bank_transaction_code": entry.bank_transaction_code,
        }
        make = Deposit if entry.side == "credit" else Withdraw
        plan.add(
            file,
            make(
                key=entry_key(statement, entry),
                account_id=statement.account_id,
                amount=str(_minor(entry.amount, statement)),
                currency=statement.currency,
                channel="clearing",
                value_date=entry.value_date,
                description=f"Statement {statement.statement_id}",
                metadata={name: text for name, text in references.items() if text},
            ),
        )
    plan.add(
        file,
        RecordStatement(
            key=statement_key(statement),
            account_id=statement.account_id,
            statement_id=statement.statement_id,
            currency=statement.currency,
            opening=str(_minor(statement.opening.amount, statement)),
            closing=str(_minor(statement.closing.amount, statement)),
            opening_date=first_day(statement),
            closing_date=statement.closing.balance_date,
            entry_count=len(statement.entries),
        ),
    )


def _carry(
    plan: _Plan, file: str, statement: BankStatement, balance: tuple[str, int, date]
) -> None:
    """Book a balance carried forward (why, minor units, value date), if there is any."""
    what, minor, value_date = balance
    if not minor:
        return
    make = Deposit if minor > 0 else Withdraw
    plan.add(
        file,
        make(
            key=f"{statement_key(statement)}:{what}",
            account_id=statement.account_id,
            amount=str(abs(minor)),
            currency=statement.currency,
            channel="clearing",
            value_date=value_date,
            description="Balance carried forward",
        ),
    )
    plan.carried_forward.append(
        f"{statement.account_id} {value_date} {_decimal(minor, statement)} {statement.currency}"
    )


def _opening(statement: BankStatement) -> OpenAccount:
    """Open the statement's account: a customer's, without limit, because history is history."""
    return OpenAccount(
        key=f"camt053-account:{sha256(statement.account_id.encode()).hexdigest()}",
        account_id=statement.account_id,
        currency=statement.currency,
        limit=None,
    )


def _chain(connection: Connection, ledger_id: int, account_id: str) -> list[_Link]:
    """The statements of an account that were imported before, in order."""
    rows = connection.execute(
        "SELECT e.data FROM views.projections p"
        " JOIN views.event_tags t ON t.ledger_id = p.ledger_id AND t.slot = p.slot"
        " JOIN ledger.events e ON e.ledger_id = t.ledger_id AND e.position = t.position"
        " WHERE p.ledger_id = %s AND p.name = 'event_tags' AND p.live"
        " AND t.ledger_id = %s AND t.tag = %s AND e.ledger_id = %s"
        " ORDER BY e.position",
        (ledger_id, ledger_id, f"bank_statement:{account_id}", ledger_id),
    )
    events = [_DECODER.decode(row[0]) for row in rows]
    links = [
        _Link(
            event.statement_id,
            event.opening_date,
            event.closing_date,
            event.opening_minor,
            event.closing_minor,
        )
        for event in events
    ]
    return sorted(links, key=_days)


def _imported_keys(connection: Connection, ledger_id: int, keys: list[str]) -> set[str]:
    """Those of the keys that were used before."""
    rows = connection.execute(
        "SELECT command_key FROM ledger.events WHERE ledger_id = %s AND command_key = ANY(%s)",
        (ledger_id, keys),
    )
    return {row[0] for row in rows}


def _in_their_accounts(
    connection: Connection, ledger_id: int, ordered: list[BankStatement], origin: dict[str, str]
) -> list[BankStatement]:
    """The statements with the ledger's accounts for them; ``origin`` then knows these as well."""
    kept_in: dict[str, str] = {}
    placed: list[BankStatement] = []
    for statement in ordered:
        number, currency = statement.account_id, statement.currency
        if number not in kept_in:
            kept_in[number] = _account_currency(connection, ledger_id, number) or currency
        account_id = number if kept_in[number] == currency else f"{number}:{currency}"
        placed.append(msgspec.structs.replace(statement, account_id=account_id))
        origin[statement_key(placed[-1])] = origin[statement_key(statement)]
    return placed


def _account_currency(connection: Connection, ledger_id: int, account_id: str) -> str | None:
    """The currency of an account of the ledger; ``None`` if it is not open."""
    row = connection.execute(
        "SELECT a.currency FROM views.projections p"
        " JOIN views.accounts a ON a.ledger_id = p.ledger_id AND a.slot = p.slot"
        " WHERE p.ledger_id = %s AND p.name = 'balances' AND p.live"
        " AND a.ledger_id = %s AND a.account_id = %s",
        (ledger_id, ledger_id, account_id),
    ).fetchone()
    return None if row is None else str(row[0])


def _days(link: _Link) -> tuple[date, date]:
    """Where a link stands in its chain."""
    return link.first_day, link.last_day


def _scale(statement: BankStatement) -> int:
    """The decimals of the statement's currency, which the reader has checked."""
    return currencies.ISO_4217[statement.currency]


def _minor(amount: Decimal, statement: BankStatement) -> int:
    """An amount of the statement in minor units; the reader has checked its decimals."""
    return int(amount.scaleb(_scale(statement)))


def _decimal(minor: int, statement: BankStatement) -> Decimal:
    """Minor units as the statement writes them."""
    return Decimal(minor).scaleb(-_scale(statement))
