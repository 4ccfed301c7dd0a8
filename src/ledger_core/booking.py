"""The checks that every journal entry passes before it is booked, in their fixed order.

Shared by all kinds of entry: accounts exist and are kept in the postings' currencies → open and
not blocked for their side → identities free → limits. The first that fails is the answer.
"""

from typing import TYPE_CHECKING

from ledger_core.accounts import (
    Account,
    posted,
    require_not_blocked,
    require_open,
    require_within_limit,
)
from ledger_core.errors import CurrencyMismatch
from ledger_core.fields import ENTRY_PREFIX, require_metadata, require_new_id, require_text
from ledger_core.money import scale_of

if TYPE_CHECKING:
    from ledger_core.books import Books
    from ledger_core.journal import JournalEntryPosted, Posting


def require_entry_fields(
    entry_id: str | None,
    reference: str | None,
    description: str | None,
    metadata: dict[str, str] | None,
) -> None:
    """The shape of what any entry may carry beside its postings.

    Raises:
        ValidationFailed: a malformed field.
    """
    if entry_id is not None:
        require_new_id(entry_id, field="entry_id", prefix=ENTRY_PREFIX)
    if reference is not None:
        require_text(reference, field="reference")
    if description is not None:
        require_text(description, field="description")
    if metadata is not None:
        require_metadata(metadata)


def require_currency(books: "Books", account: Account, currency: str) -> None:
    """The account is kept in that currency.

    Raises:
        UnknownCurrency: no such currency at all.
        CurrencyMismatch: another one than the account's.
    """
    if account.terms.currency != currency:
        scale_of(currency, books.units)
        raise CurrencyMismatch(
            account_id=account.terms.account_id, account_currency=account.terms.currency
        )


def require_bookable(books: "Books", entry: "JournalEntryPosted") -> None:
    """The entry can be booked on the accounts as they stand: the order of checks is pinned.

    ``entry.forced`` skips the limits and nothing else. Accounts and currencies were checked.

    Raises:
        AccountIsClosed, AccountIsBlocked: an account does not take its posting.
        EntryExists, ReferenceConflict: a chosen id or reference is taken.
        InsufficientFunds: an account would go below its limit.
    """
    accounts = books.accounts
    for posting in entry.postings:
        account = accounts[posting.account_id]
        require_open(account)
        require_not_blocked(account, posting.side)
    if entry.entry_id is not None or entry.reference is not None:
        books.require_free_identities(entry.entry_id, entry.reference)
    if not entry.forced:
        require_limits(books, entry.postings)


def require_limits(books: "Books", postings: "tuple[Posting, ...]") -> None:
    """The entry as a whole leaves every account within its limit, or closer to it.

    Raises:
        InsufficientFunds: some account would go below its limit.
    """
    accounts = books.accounts
    after: dict[str, Account] = {}
    for posting in postings:
        account_id = posting.account_id
        account = after.get(account_id) or accounts[account_id]
        if account.terms.limit_minor is not None:
            after[account_id] = posted(account, posting, books.position + 1)
    for account_id, account in after.items():
        require_within_limit(accounts[account_id], account)
