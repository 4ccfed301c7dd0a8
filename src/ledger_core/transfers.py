"""Transfers between two accounts in one currency.

The command names the account to debit and the account to credit. Between two customers (both
liabilities of the bank) the payer is debited and the payee credited.
"""

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from ledger_core.booking import require_bookable, require_currency, require_entry_fields
from ledger_core.errors import SameAccount
from ledger_core.fields import require_id
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.money import minor_from_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class Transfer(
    msgspec.Struct, frozen=True, kw_only=True, tag="transfer", forbid_unknown_fields=True
):
    """Move ``amount`` minor units from the debited to the credited account."""

    key: str = ""
    debit_account_id: str
    credit_account_id: str
    amount: str
    currency: str
    value_date: date | None = None
    entry_id: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None

    def needs(self, wants: "Wants") -> None:
        """Both accounts, and whether chosen identities are free."""
        wants.accounts.add(self.debit_account_id)
        wants.accounts.add(self.credit_account_id)
        if self.entry_id is not None:
            wants.entries.add(self.entry_id)
        if self.reference is not None:
            wants.references.add(self.reference)


def decide(books: "Books", command: Transfer) -> tuple[JournalEntryPosted, ...]:
    """Book the transfer.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound, SameAccount, UnknownCurrency, CurrencyMismatch: the accounts do not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, InsufficientFunds:
            see ``booking.require_bookable``.
    """
    amount_minor = minor_from_text(command.amount)
    require_id(command.debit_account_id, field="debit_account_id")
    require_id(command.credit_account_id, field="credit_account_id")
    require_entry_fields(command.entry_id, command.reference, command.description, command.metadata)
    debit = books.account(command.debit_account_id, field="debit_account_id")
    credit = books.account(command.credit_account_id, field="credit_account_id")
    if debit is credit:
        raise SameAccount
    require_currency(books, debit, command.currency)
    require_currency(books, credit, command.currency)
    entry = JournalEntryPosted(
        "transfer",
        (
            Posting(command.debit_account_id, "debit", amount_minor, command.currency),
            Posting(command.credit_account_id, "credit", amount_minor, command.currency),
        ),
        command.value_date,
        command.entry_id,
        command.reference,
        command.description,
        command.metadata,
    )
    require_bookable(books, entry)
    return (entry,)


def command_of(event: JournalEntryPosted) -> Transfer:
    """The command whose first answer this event was, without its key."""
    debit, credit = event.postings
    return Transfer(
        debit_account_id=debit.account_id,
        credit_account_id=credit.account_id,
        amount=str(debit.amount_minor),
        currency=debit.currency,
        value_date=event.value_date,
        entry_id=event.entry_id,
        reference=event.reference,
        description=event.description,
        metadata=event.metadata,
    )
