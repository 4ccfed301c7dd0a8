"""The books as a plain-text journal that hledger or beancount reads, with balance assertions.

Every journal entry is a transaction dated on its value date; the position, the recorded time and
the entry's id stand beside it. At the end every account's balance is asserted, so the other program
checks that its own sums equal ours. Debits are positive. Holds move nothing and are left out.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Literal

import msgspec
import sqlalchemy
from sqlalchemy import func, select

from api.archives import ArchiveRefused
from api.export_reports import balances_at
from api.journal_names import (
    beancount_account,
    beancount_unit,
    hledger_account,
    hledger_unit,
)
from api.masking import without_card_numbers
from ledger_core.accounts import AccountType
from ledger_core.events import Recorded
from ledger_core.journal import JournalEntryPosted, Side, entry_id_at, value_date_at
from ledger_core.money import decimal_text
from projections.balance_queries import Balance
from projections.balances import accounts
from projections.balances import units as units_table
from projections.reading import EVENT_COLUMNS, Reading, log_events, recorded_of
from projections.statements import statement_lines

Format = Literal["hledger", "beancount"]

_ROWS = 2_000
_ENTRY = "JournalEntryPosted"
# Years that beancount can read.
_BEANCOUNT_YEARS = range(1000, 3000)
_TYPES: dict[AccountType, str] = {
    "asset": "A",
    "liability": "L",
    "equity": "E",
    "income": "R",
    "expense": "X",
}


class _Place(msgspec.Struct, frozen=True, gc=False):
    """An account as the journal writes it: its name, its unit, and the unit's decimals."""

    name: str
    unit: str
    scale: int


class _Books(msgspec.Struct, frozen=True):
    """What of the books is written, and the first and last day of it."""

    connection: sqlalchemy.Connection
    ledger_id: int
    ledger: str
    reading: Reading
    value_date: date | None
    first_day: date
    last_day: date
    units: dict[str, tuple[int, int | None]]

    def balances(self) -> Iterator[Balance]:
        """Every account's balance."""
        return balances_at(self.connection, self.ledger_id, self.reading, self.value_date)


def journal(  # noqa: PLR0913 - of what, when, in which form
    connection: sqlalchemy.Connection,
    ledger_id: int,
    ledger: str,
    reading: Reading,
    *,
    value_date: date | None,
    form: Format,
) -> Iterator[bytes]:
    """The journal's text, some lines at a time; with ``value_date`` only what counts by then.

    Raises:
        ArchiveRefused: a day lies in a year that beancount cannot read.
    """
    first, last = _days(connection, ledger_id, reading, value_date)
    units = _units(connection, ledger_id, reading)
    books = _Books(connection, ledger_id, ledger, reading, value_date, first, last, units)
    write = _hledger if form == "hledger" else _beancount
    return (text.encode() for text in write(books))


def _hledger(books: _Books) -> Iterator[str]:
    """The journal for hledger."""
    places: dict[str, _Place] = {}
    yield f"; {_about(books)}\ndecimal-mark .\n\n"
    for found in books.balances():
        unit = hledger_unit(found.currency)
        name = hledger_account(found.account_type, found.account_id)
        places[found.account_id] = _Place(name, unit, found.scale)
        yield f"account {name}  ; type:{_TYPES[found.account_type]}\n"
    for code, (scale, _) in sorted(books.units.items()):
        fraction = "0" * scale
        yield f"commodity 1000.{fraction} {hledger_unit(code)}\n"
    for item, entry, day in _entries(books):
        text = _text(entry).replace(";", ",")
        yield f"\n{day.isoformat()} * ({item.position}) {text}\n"
        yield f"    ; recorded: {item.recorded_at.isoformat()}\n"
        yield f"    ; entry: {_flat(entry_id_at(entry, item.position))}\n"
        for line in entry.postings:
            place = places[line.account_id]
            yield f"    {place.name}  {_signed(line.amount_minor, line.side, place)}\n"
    if places:
        yield f"\n{books.last_day.isoformat()} * Balances as the ledger has them\n"
    for found in books.balances():
        place = places[found.account_id]
        balance = f"{_net(found)} {place.unit}"
        yield f"    {place.name}  {decimal_text(0, place.scale)} {place.unit} == {balance}\n"


def _beancount(books: _Books) -> Iterator[str]:
    """The journal for beancount."""
    places: dict[str, _Place] = {}
    # A balance is asserted as of the beginning of its day.
    if not {books.first_day.year, books.last_day.year} <= set(_BEANCOUNT_YEARS):
        msg = "The journal has value dates that beancount cannot read: it knows the years 1000 to"
        raise ArchiveRefused(f"{msg} 2999. Use --value-date, or --format hledger.")
    asserted_on = (books.last_day + timedelta(days=1)).isoformat()
    first = books.first_day.isoformat()
    yield f"; {_about(books)}\n\n"
    for code, (scale, number) in sorted(books.units.items()):
        yield f"{first} commodity {beancount_unit(code, number)}\n"
        yield f"  ledger-unit: {_quoted(code)}\n  ledger-scale: {scale}\n"
    for found in books.balances():
        _, number = books.units[found.currency]
        unit = beancount_unit(found.currency, number)
        name = beancount_account(found.account_type, found.account_id, found.account_no)
        places[found.account_id] = _Place(name, unit, found.scale)
        yield f"{first} open {name} {unit}\n  ledger-account: {_quoted(found.account_id)}\n"
    for item, entry, day in _entries(books):
        text = _quoted(_text(entry))
        yield f"\n{day.isoformat()} * {text}\n  position: {item.position}\n"
        yield f'  recorded: "{item.recorded_at.isoformat()}"\n'
        yield f"  entry: {_quoted(entry_id_at(entry, item.position))}\n"
        for line in entry.postings:
            place = places[line.account_id]
            yield f"  {place.name}  {_signed(line.amount_minor, line.side, place)}\n"
    yield "\n"
    for found in books.balances():
        place = places[found.account_id]
        # Exactly: beancount would take a difference in the last decimal for rounding.
        yield f"{asserted_on} balance {place.name}  {_net(found)} ~ 0 {place.unit}\n"


def _entries(books: _Books) -> Iterator[tuple[Recorded, JournalEntryPosted, date]]:
    """Every entry that counts, in the order of the log, with its value date."""
    query = (
        select(*EVENT_COLUMNS)
        .where(
            log_events.c.ledger_id == books.ledger_id,
            log_events.c.position <= books.reading.position,
            log_events.c.type == _ENTRY,
        )
        .order_by(log_events.c.position)
    )
    options = {"stream_results": True, "max_row_buffer": _ROWS}
    for row in books.connection.execute(query, execution_options=options):
        item = recorded_of(row)
        if isinstance(item.event, JournalEntryPosted):
            day = value_date_at(item.event, item.recorded_at)
            if books.value_date is None or day <= books.value_date:
                yield item, item.event, day


def _days(
    connection: sqlalchemy.Connection, ledger_id: int, reading: Reading, value_date: date | None
) -> tuple[date, date]:
    """The first and last day on which something counts; that of the reading if nothing does."""
    lines = statement_lines.c
    query = select(func.min(lines.value_date), func.max(lines.value_date)).where(
        lines.ledger_id == ledger_id,
        lines.slot == reading.slots["statements"],
        lines.position <= reading.position,
    )
    if value_date is not None:
        query = query.where(lines.value_date <= value_date)
    first, last = connection.execute(query).one()
    otherwise = date(1970, 1, 1) if reading.recorded_at is None else reading.recorded_at.date()
    return first or otherwise, last or otherwise


def _units(
    connection: sqlalchemy.Connection, ledger_id: int, reading: Reading
) -> dict[str, tuple[int, int | None]]:
    """Each currency and unit that accounts have: its decimals, and where it was registered."""
    registered = {
        row.code: row.position
        for row in connection.execute(
            select(units_table.c.code, units_table.c.position).where(
                units_table.c.ledger_id == ledger_id,
                units_table.c.slot == reading.slots["balances"],
            )
        )
    }
    return {
        row.currency: (row.scale, registered.get(row.currency))
        for row in connection.execute(
            select(accounts.c.currency, accounts.c.scale)
            .distinct()
            .where(
                accounts.c.ledger_id == ledger_id,
                accounts.c.slot == reading.slots["balances"],
                accounts.c.account_no <= reading.position,
            )
        )
    }


def _about(books: _Books) -> str:
    """What the journal is of."""
    text = f"Ledger {books.ledger} as of position {books.reading.position}"
    if books.value_date is not None:
        text += f", what counts by {books.value_date.isoformat()}"
    return f"{text}. Holds are not in it."


def _signed(amount_minor: int, side: Side, place: _Place) -> str:
    """An amount with its unit; a debit is positive."""
    signed = amount_minor if side == "debit" else -amount_minor
    return f"{decimal_text(signed, place.scale)} {place.unit}"


def _net(found: Balance) -> str:
    """Debits less credits."""
    return decimal_text(found.debits_posted_minor - found.credits_posted_minor, found.scale)


def _flat(text: str) -> str:
    """Text for a comment of hledger's, where some marks mean something."""
    return "".join(mark if mark.isalnum() or mark in "._-@/" else "?" for mark in text)


def _text(entry: JournalEntryPosted) -> str:
    """What the entry says, without numbers of cards."""
    return without_card_numbers(entry.description or entry.kind)


def _quoted(text: str) -> str:
    """A string of beancount's."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
