"""Deposits to and withdrawals from an account, against the bank's own account of the channel.

Each channel (counter cash, ATM, card, clearing) has one system account a currency, an asset of
the bank, which is opened by the first entry that needs it: ``bank:counter:EUR``.
"""

from typing import TYPE_CHECKING, Literal, cast

from ledger_core.accounts import AccountOpened
from ledger_core.booking import (
    EntryFields,
    book,
    book_opening,
    entry_of,
    fields_of,
    open_bank_account,
    require_currency,
    require_fields,
)
from ledger_core.errors import SameAccount
from ledger_core.fields import SYSTEM_PREFIX, require_id
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.money import minor_from_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

Channel = Literal["counter", "atm", "card", "clearing"]


class Deposit(EntryFields, frozen=True, kw_only=True, tag="deposit", forbid_unknown_fields=True):
    """Credit ``amount`` minor units to an account, debiting the channel's account."""

    account_id: str
    amount: str
    currency: str
    channel: Channel = "counter"

    def needs(self, wants: "Wants") -> None:
        """The account and the channel's, and whether chosen identities are free."""
        _needs(self, wants)


class Withdraw(EntryFields, frozen=True, kw_only=True, tag="withdraw", forbid_unknown_fields=True):
    """Debit ``amount`` minor units from an account, crediting the channel's account."""

    account_id: str
    amount: str
    currency: str
    channel: Channel = "counter"

    def needs(self, wants: "Wants") -> None:
        """The account and the channel's, and whether chosen identities are free."""
        _needs(self, wants)


def channel_account_id(channel: str, currency: str) -> str:
    """The bank's own account for a channel and currency."""
    return f"{SYSTEM_PREFIX}{channel}:{currency}"


def decide(
    books: "Books", command: Deposit | Withdraw
) -> tuple[AccountOpened | JournalEntryPosted, ...]:
    """Book the deposit or withdrawal, opening the channel's account if this is its first entry.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound, SameAccount, UnknownCurrency, CurrencyMismatch: the account does not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, PeriodIsClosed,
        VersionConflict, ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    amount_minor = minor_from_text(command.amount)
    require_id(command.account_id, field="account_id")
    require_fields(command)
    account = books.account(command.account_id)
    channel_id = channel_account_id(command.channel, command.currency)
    if command.account_id == channel_id:
        raise SameAccount
    require_currency(books, account, command.currency)
    deposit = isinstance(command, Deposit)
    debited, credited = (
        (channel_id, command.account_id) if deposit else (command.account_id, channel_id)
    )
    entry = entry_of(
        command,
        "deposit" if deposit else "withdrawal",
        (
            Posting(debited, "debit", amount_minor, command.currency),
            Posting(credited, "credit", amount_minor, command.currency),
        ),
        channel=command.channel,
    )
    if channel_id in books.accounts:
        return (book(books, command, entry),)
    opening = open_bank_account(books, channel_id, command.currency, command.channel)
    return book_opening(books, command, entry, (opening,))


def command_of(event: JournalEntryPosted) -> Deposit | Withdraw:
    """The command whose first answer this event was, without its key."""
    deposit = event.kind == "deposit"
    leg = event.postings[1] if deposit else event.postings[0]
    make = Deposit if deposit else Withdraw
    return make(
        account_id=leg.account_id,
        amount=str(leg.amount_minor),
        currency=leg.currency,
        channel=cast("Channel", event.channel),
        **fields_of(event),
    )


def _needs(command: Deposit | Withdraw, wants: "Wants") -> None:
    """The account and the channel's, and whether chosen identities are free."""
    wants.accounts.add(command.account_id)
    wants.accounts.add(channel_account_id(command.channel, command.currency))
    command.wants_identities(wants)
