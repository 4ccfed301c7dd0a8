"""Transfers between two accounts in one currency.

The command names the account to debit and the account to credit. Between two customers (both
liabilities of the bank) the payer is debited and the payee credited.
"""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from ledger_core.accounts import posted_plainly
from ledger_core.booking import (
    Balancing,
    EntryFields,
    asked_of,
    balanced_amount,
    book,
    entry_of,
    fields_of,
    require_currency,
    require_fields,
)
from ledger_core.errors import SameAccount
from ledger_core.fields import is_key, require_id
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.money import is_whole, minor_from_text, whole_from_text
from ledger_core.period import PERIOD_ID, is_open_today

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class Transfer(EntryFields, frozen=True, kw_only=True, tag="transfer", forbid_unknown_fields=True):
    """Move ``amount`` minor units from the debited to the credited account.

    ``balancing`` moves up to the amount, as far as what the named side (or both) has allows; that
    may be nothing.
    """

    debit_account_id: str
    credit_account_id: str
    amount: str
    currency: str
    balancing: Balancing | None = None

    def needs(self, wants: "Wants") -> None:
        """Both accounts, and whether chosen identities are free."""
        wants.accounts.add(self.debit_account_id)
        wants.accounts.add(self.credit_account_id)
        self.wants_identities(wants)


def decide(books: "Books", command: Transfer) -> tuple[JournalEntryPosted, ...]:
    """Book the transfer; ``()`` where a balancing one finds nothing to move.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound, SameAccount, UnknownCurrency, CurrencyMismatch: the accounts do not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, PeriodIsClosed,
        VersionConflict, ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    capped = command.balancing is not None
    amount_minor = (whole_from_text if capped else minor_from_text)(command.amount)
    require_id(command.debit_account_id, field="debit_account_id")
    require_id(command.credit_account_id, field="credit_account_id")
    require_fields(command)
    debit = books.account(command.debit_account_id, field="debit_account_id")
    credit = books.account(command.credit_account_id, field="credit_account_id")
    if debit is credit:
        raise SameAccount
    require_currency(books, debit, command.currency)
    require_currency(books, credit, command.currency)
    asked = None
    if command.balancing is not None:
        asked = asked_of(command)
        amount_minor = balanced_amount(debit, credit, amount_minor, command.balancing)
    postings = (
        Posting(command.debit_account_id, "debit", amount_minor, command.currency),
        Posting(command.credit_account_id, "credit", amount_minor, command.currency),
    )
    entry = book(books, command, entry_of(command, "transfer", postings, asked=asked))
    return (entry,) if amount_minor else ()


def not_at_hand(books: "Books", commands: Sequence[Any]) -> list[Any]:
    """The commands but for those transfers whose every need is in memory already: the hot path."""
    accounts, grouped = books.accounts, books.has_groups
    return [
        command
        for command in commands
        if grouped
        or type(command) is not Transfer
        or command.debit_account_id not in accounts
        or command.credit_account_id not in accounts
        or command.entry_id is not None
        or command.reference is not None
        or command.if_version is not None
        or command.if_balance is not None
    ]


def book_plain(
    books: "Books", commands: Sequence[object], known: Container[str], *, is_final: bool
) -> list[JournalEntryPosted]:
    """Book transfers that nothing is special about, up to the first command that is not such a one.

    The hot path: what key checks, ``decide`` and ``Books.record`` come to where the key was not
    used, the command names nothing but accounts, amount and currency, the accounts have no blocks,
    ceilings or groups, and nothing refuses it. Returns the entries of the first commands, one
    position each from the next on. The books have taken them in; what ``is_final`` cannot be rolled
    back.
    """
    booked: list[JournalEntryPosted] = []
    if not is_open_today(books.kept("period", PERIOD_ID), books.recorded_at):
        return booked
    accounts, position = books.accounts, books.position
    for command in _plain(commands, known):
        debit = accounts.get(command.debit_account_id)
        credit = accounts.get(command.credit_account_id)
        if debit is None or credit is None or debit is credit:
            break
        amount_minor, currency = int(command.amount), command.currency
        out = Posting(command.debit_account_id, "debit", amount_minor, currency)
        into = Posting(command.credit_account_id, "credit", amount_minor, currency)
        payer = posted_plainly(debit, out, position + 1)
        payee = posted_plainly(credit, into, position + 1)
        if payer is None or payee is None:
            break
        position += 1
        if not is_final:
            books.note_accounts(out.account_id, into.account_id)
        accounts[out.account_id], accounts[into.account_id] = payer, payee
        booked.append(JournalEntryPosted("transfer", (out, into)))
    books.position = position
    return booked


def command_of(event: JournalEntryPosted) -> Transfer:
    """The command whose first answer this event was, without its key."""
    debit, credit = event.postings
    return Transfer(
        debit_account_id=debit.account_id,
        credit_account_id=credit.account_id,
        amount=str(debit.amount_minor),
        currency=debit.currency,
        **fields_of(event),
    )


def _plain(commands: Sequence[object], known: Container[str]) -> list[Transfer]:
    """The first commands, as far as each says nothing but accounts, amount and currency.

    Keys and amounts are well formed, and no key was used before.
    """
    plain: list[Transfer] = []
    keys: set[str] = set()
    for command in commands:
        if type(command) is not Transfer:
            break
        key, amount = command.key, command.amount
        if (
            command.value_date is not None
            or command.entry_id is not None
            or command.reference is not None
            or command.description is not None
            or command.metadata is not None
            or command.code is not None
            or command.if_version is not None
            or command.if_balance is not None
            or command.balancing is not None
            or command.force
            or not is_whole(amount)
            or amount == "0"
            or not is_key(key)
            or key in known
            or key in keys
        ):
            break
        keys.add(key)
        plain.append(command)
    return plain
