"""Bank statements that were imported: the chain of balances from one to the next.

A statement's entries are ordinary journal entries; this event, appended with them, says that they
are complete from its opening to its closing balance.
"""

import re
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from ledger_core.booking import require_currency
from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_id, require_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

# As the ledger itself would write it: a retry of the same text must not differ.
_SIGNED = re.compile(r"0|-?[1-9][0-9]{0,35}")


class BankStatementImported(msgspec.Struct, frozen=True, omit_defaults=True):
    """A statement was imported whole; balances in minor units, positive means in credit."""

    account_id: str
    statement_id: str
    currency: str
    opening_minor: int
    closing_minor: int
    opening_date: date
    closing_date: date
    entry_count: int


class RecordStatement(
    msgspec.Struct, frozen=True, kw_only=True, tag="record_statement", forbid_unknown_fields=True
):
    """Record that a statement's entries are all booked; sent with them in an atomic batch."""

    key: str = ""
    account_id: str
    statement_id: str
    currency: str
    opening: str
    closing: str
    opening_date: date
    closing_date: date
    entry_count: int

    def needs(self, wants: "Wants") -> None:
        """The account."""
        wants.accounts.add(self.account_id)


def decide(books: "Books", command: RecordStatement) -> tuple[BankStatementImported, ...]:
    """Record the statement.

    Raises:
        ValidationFailed: a malformed field, or a closing date before the opening date.
        AccountNotFound, UnknownCurrency, CurrencyMismatch: the account does not fit.
    """
    require_id(command.account_id, field="account_id")
    require_text(command.statement_id, field="statement_id")
    opening_minor = _signed_minor(command.opening, field="opening")
    closing_minor = _signed_minor(command.closing, field="closing")
    if command.closing_date < command.opening_date:
        raise ValidationFailed("closing_date", "not before the opening date")
    if command.entry_count < 0:
        raise ValidationFailed("entry_count", "not negative")
    require_currency(books, books.account(command.account_id), command.currency)
    return (
        BankStatementImported(
            command.account_id,
            command.statement_id,
            command.currency,
            opening_minor,
            closing_minor,
            command.opening_date,
            command.closing_date,
            command.entry_count,
        ),
    )


def command_of(event: BankStatementImported) -> RecordStatement:
    """The command whose first answer this event was, without its key."""
    return RecordStatement(
        account_id=event.account_id,
        statement_id=event.statement_id,
        currency=event.currency,
        opening=str(event.opening_minor),
        closing=str(event.closing_minor),
        opening_date=event.opening_date,
        closing_date=event.closing_date,
        entry_count=event.entry_count,
    )


def _signed_minor(text: str, *, field: str) -> int:
    """A balance in minor units, which may be negative.

    Raises:
        ValidationFailed: not an optional minus and 1 to 36 digits.
    """
    if _SIGNED.fullmatch(text) is None:
        raise ValidationFailed(
            field, "an optional minus and 1 to 36 digits, in minor units, no leading zero"
        )
    return int(text)
