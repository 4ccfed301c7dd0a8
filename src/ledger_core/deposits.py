"""Deposits to and withdrawals from an account, against the bank's own account of the channel.

Each channel (counter cash, ATM, card, clearing) has one system account a currency, an asset of
the bank, which is opened by the first entry that needs it: ``bank:counter:EUR``.
"""

from datetime import date
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from ledger_core.accounts import AccountOpened, opened
from ledger_core.booking import require_bookable, require_currency, require_entry_fields
from ledger_core.errors import SameAccount
from ledger_core.fields import SYSTEM_PREFIX, require_id
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.money import minor_from_text, scale_of

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

Channel = Literal["counter", "atm", "card", "clearing"]


class Deposit(msgspec.Struct, frozen=True, kw_only=True, tag="deposit", forbid_unknown_fields=True):
    """Credit ``amount`` minor units to an account, debiting the channel's account."""

    key: str = ""
    account_id: str
    amount: str
    currency: str
    channel: Channel = "counter"
    value_date: date | None = None
    entry_id: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None

    def needs(self, wants: "Wants") -> None:
        """The account and the channel's, and whether chosen identities are free."""
        _needs(self, wants)


class Withdraw(
    msgspec.Struct, frozen=True, kw_only=True, tag="withdraw", forbid_unknown_fields=True
):
    """Debit ``amount`` minor units from an account, crediting the channel's account."""

    key: str = ""
    account_id: str
    amount: str
    currency: str
    channel: Channel = "counter"
    value_date: date | None = None
    entry_id: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None

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
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, InsufficientFunds:
            see ``booking.require_bookable``.
    """
    amount_minor = minor_from_text(command.amount)
    require_id(command.account_id, field="account_id")
    require_entry_fields(command.entry_id, command.reference, command.description, command.metadata)
    account = books.account(command.account_id)
    channel_id = channel_account_id(command.channel, command.currency)
    if command.account_id == channel_id:
        raise SameAccount
    require_currency(books, account, command.currency)
    deposit = isinstance(command, Deposit)
    debited, credited = (
        (channel_id, command.account_id) if deposit else (command.account_id, channel_id)
    )
    entry = JournalEntryPosted(
        "deposit" if deposit else "withdrawal",
        (
            Posting(debited, "debit", amount_minor, command.currency),
            Posting(credited, "credit", amount_minor, command.currency),
        ),
        command.value_date,
        command.entry_id,
        command.reference,
        command.description,
        command.metadata,
        command.channel,
    )
    if channel_id in books.accounts:
        require_bookable(books, entry)
        return (entry,)
    return _with_channel_account(books, entry, channel_id, command.currency)


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
        value_date=event.value_date,
        entry_id=event.entry_id,
        reference=event.reference,
        description=event.description,
        metadata=event.metadata,
    )


def _needs(command: Deposit | Withdraw, wants: "Wants") -> None:
    """The account and the channel's, and whether chosen identities are free."""
    wants.accounts.add(command.account_id)
    wants.accounts.add(channel_account_id(command.channel, command.currency))
    if command.entry_id is not None:
        wants.entries.add(command.entry_id)
    if command.reference is not None:
        wants.references.add(command.reference)


def _with_channel_account(
    books: "Books", entry: JournalEntryPosted, channel_id: str, currency: str
) -> tuple[AccountOpened | JournalEntryPosted, ...]:
    """The opening of the channel's account and the entry, judged as if it were open."""
    opening = AccountOpened(
        account_type="asset",
        currency=currency,
        scale=scale_of(currency, books.units),
        account_id=channel_id,
        name=entry.channel,
    )
    books.accounts[channel_id] = opened(opening, books.position + 1, books.recorded_at)
    try:
        require_bookable(books, entry)
    finally:
        del books.accounts[channel_id]
    return opening, entry
