"""General journal entries: any number of postings, balanced in every currency."""

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from ledger_core.booking import require_bookable, require_currency, require_entry_fields
from ledger_core.fields import require_id
from ledger_core.journal import (
    JournalEntryPosted,
    Posting,
    Side,
    require_balanced,
    require_posting_count,
)
from ledger_core.money import minor_from_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class PostingLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One leg as a caller writes it: ``amount`` > 0 minor units on one side of one account."""

    account_id: str
    side: Side
    amount: str
    currency: str


class PostEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="post_entry", forbid_unknown_fields=True
):
    """Book an entry of 2 to 1,000 postings."""

    key: str = ""
    postings: tuple[PostingLine, ...]
    value_date: date | None = None
    entry_id: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None

    def needs(self, wants: "Wants") -> None:
        """All accounts, and whether chosen identities are free."""
        wants.accounts.update(line.account_id for line in self.postings)
        if self.entry_id is not None:
            wants.entries.add(self.entry_id)
        if self.reference is not None:
            wants.references.add(self.reference)


def decide(books: "Books", command: PostEntry) -> tuple[JournalEntryPosted, ...]:
    """Book the entry.

    Raises:
        ValidationFailed: a malformed field.
        Unbalanced: debits and credits differ in some currency.
        AccountNotFound, UnknownCurrency, CurrencyMismatch: an account does not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, InsufficientFunds:
            see ``booking.require_bookable``.
    """
    require_posting_count(len(command.postings))
    require_entry_fields(command.entry_id, command.reference, command.description, command.metadata)
    postings = tuple(_posting(line, index) for index, line in enumerate(command.postings))
    require_balanced(postings)
    accounts = [
        books.account(posting.account_id, field=f"postings[{index}].account_id")
        for index, posting in enumerate(postings)
    ]
    for account, posting in zip(accounts, postings, strict=True):
        require_currency(books, account, posting.currency)
    entry = JournalEntryPosted(
        "journal",
        postings,
        command.value_date,
        command.entry_id,
        command.reference,
        command.description,
        command.metadata,
    )
    require_bookable(books, entry)
    return (entry,)


def command_of(event: JournalEntryPosted) -> PostEntry:
    """The command whose first answer this event was, without its key."""
    return PostEntry(
        postings=tuple(
            PostingLine(
                account_id=posting.account_id,
                side=posting.side,
                amount=str(posting.amount_minor),
                currency=posting.currency,
            )
            for posting in event.postings
        ),
        value_date=event.value_date,
        entry_id=event.entry_id,
        reference=event.reference,
        description=event.description,
        metadata=event.metadata,
    )


def _posting(line: PostingLine, index: int) -> Posting:
    """The posting behind a line, its shape checked.

    Raises:
        ValidationFailed: a malformed field, named with its index.
    """
    require_id(line.account_id, field=f"postings[{index}].account_id")
    amount_minor = minor_from_text(line.amount, field=f"postings[{index}].amount")
    return Posting(line.account_id, line.side, amount_minor, line.currency)
