"""General journal entries: any number of postings, balanced in every currency."""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.booking import (
    EntryFields,
    book,
    entry_of,
    fields_of,
    require_currency,
    require_fields,
)
from ledger_core.fields import require_id
from ledger_core.journal import (
    JournalEntryPosted,
    Posting,
    Side,
    require_balanced,
    require_posting_count,
)
from ledger_core.money import minor_from_text, scale_of

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class PostingLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One leg as a caller writes it: ``amount`` > 0 minor units on one side of one account."""

    account_id: str
    side: Side
    amount: str
    currency: str


class PostEntry(
    EntryFields, frozen=True, kw_only=True, tag="post_entry", forbid_unknown_fields=True
):
    """Book an entry of 2 to 1,000 postings."""

    postings: tuple[PostingLine, ...]

    def needs(self, wants: "Wants") -> None:
        """All accounts, and whether chosen identities are free."""
        wants.accounts.update(line.account_id for line in self.postings)
        self.wants_identities(wants)


def decide(books: "Books", command: PostEntry) -> tuple[JournalEntryPosted, ...]:
    """Book the entry.

    Raises:
        ValidationFailed: a malformed field.
        UnknownCurrency: a posting's currency is none.
        Unbalanced: debits and credits differ in some currency.
        AccountNotFound, CurrencyMismatch: an account does not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, PeriodIsClosed,
        VersionConflict, ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    require_posting_count(len(command.postings))
    require_fields(command)
    postings = tuple(_posting(line, index) for index, line in enumerate(command.postings))
    for posting in postings:
        scale_of(posting.currency, books.units)  # Before a refusal could name what is none.
    require_balanced(postings)
    accounts = [
        books.account(posting.account_id, field=f"postings[{index}].account_id")
        for index, posting in enumerate(postings)
    ]
    for account, posting in zip(accounts, postings, strict=True):
        require_currency(books, account, posting.currency)
    return (book(books, command, entry_of(command, "journal", postings)),)


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
        **fields_of(event),
    )


def _posting(line: PostingLine, index: int) -> Posting:
    """The posting behind a line, its shape checked.

    Raises:
        ValidationFailed: a malformed field, named with its index.
    """
    require_id(line.account_id, field=f"postings[{index}].account_id")
    amount_minor = minor_from_text(line.amount, field=f"postings[{index}].amount")
    return Posting(line.account_id, line.side, amount_minor, line.currency)
