"""Exchange: one currency sold for another at a stated rate, through the bank's own position.

The bank has one position account a currency, an asset without limit, which is opened by the first
exchange that needs it: ``bank:position:EUR``. What a customer sells in one currency and gets in
another leaves the bank with a position in both, and the entry balances in each.
"""

from fractions import Fraction
from typing import TYPE_CHECKING

from ledger_core.booking import (
    EntryFields,
    asked_of,
    book,
    book_opening,
    entry_of,
    open_bank_account,
    require_currency,
    require_fields,
)
from ledger_core.errors import SameAccount, ValidationFailed
from ledger_core.fields import SYSTEM_PREFIX, require_id
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.money import AMOUNT_DIGITS_MAX, minor_from_text, scale_of
from ledger_core.rounding import RoundingName, rate_from_text, rounded

if TYPE_CHECKING:
    from ledger_core.accounts import AccountOpened
    from ledger_core.books import Books, Wants


class Exchange(EntryFields, frozen=True, kw_only=True, tag="exchange", forbid_unknown_fields=True):
    """Sell ``amount`` minor units of one currency for another.

    The debited account is kept in ``currency``, the credited one in ``counter_currency``. ``rate``
    is how many whole units of the second one whole unit of the first brings; what it comes to is
    rounded to minor units. ``counter_amount`` says what it came to elsewhere: the rate must give it
    within one minor unit, or is left out.
    """

    debit_account_id: str
    credit_account_id: str
    amount: str
    currency: str
    counter_currency: str
    rate: str | None = None
    counter_amount: str | None = None
    rounding: RoundingName = "half_even"

    def needs(self, wants: "Wants") -> None:
        """Both accounts and both positions, and whether chosen identities are free."""
        wants.accounts.add(self.debit_account_id)
        wants.accounts.add(self.credit_account_id)
        wants.accounts.add(position_account_id(self.currency))
        wants.accounts.add(position_account_id(self.counter_currency))
        self.wants_identities(wants)


def position_account_id(currency: str) -> str:
    """The bank's own account for what it holds of a currency through exchanges."""
    return f"{SYSTEM_PREFIX}position:{currency}"


def decide(books: "Books", command: Exchange) -> "tuple[AccountOpened | JournalEntryPosted, ...]":
    """Book the exchange, opening the bank's positions if these are their first entries.

    Raises:
        ValidationFailed: a malformed field, neither rate nor counter amount, or an amount at that
            rate that is nothing, too large, or not the counter amount.
        AccountNotFound, SameAccount, UnknownCurrency, CurrencyMismatch: the accounts do not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, PeriodIsClosed,
        VersionConflict, ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    amount_minor, rate, counter_minor = _figures(command)
    debit = books.account(command.debit_account_id, field="debit_account_id")
    credit = books.account(command.credit_account_id, field="credit_account_id")
    sold_id = position_account_id(command.currency)
    bought_id = position_account_id(command.counter_currency)
    if debit is credit or {command.debit_account_id, command.credit_account_id} & {
        sold_id,
        bought_id,
    }:
        raise SameAccount
    require_currency(books, debit, command.currency)
    require_currency(books, credit, command.counter_currency)
    if rate is not None:
        counter_minor = _at_rate(books, command, amount_minor * rate, counter_minor)
    entry = entry_of(
        command,
        "exchange",
        (
            Posting(command.debit_account_id, "debit", amount_minor, command.currency),
            Posting(sold_id, "credit", amount_minor, command.currency),
            Posting(bought_id, "debit", counter_minor, command.counter_currency),
            Posting(command.credit_account_id, "credit", counter_minor, command.counter_currency),
        ),
        asked=asked_of(command),
        rate=command.rate,
    )
    openings = tuple(
        open_bank_account(books, account_id, currency, "position")
        for account_id, currency in (
            (sold_id, command.currency),
            (bought_id, command.counter_currency),
        )
        if account_id not in books.accounts
    )
    if not openings:
        return (book(books, command, entry),)
    return book_opening(books, command, entry, openings)


def _figures(command: Exchange) -> tuple[int, Fraction | None, int]:
    """The amount, the rate, and the counter amount (0: not given), of the form they must have.

    Raises:
        ValidationFailed: a malformed field, or neither rate nor counter amount.
    """
    amount_minor = minor_from_text(command.amount)
    require_id(command.debit_account_id, field="debit_account_id")
    require_id(command.credit_account_id, field="credit_account_id")
    require_fields(command)
    if command.currency == command.counter_currency:
        raise ValidationFailed("counter_currency", "another currency than currency")
    if command.rate is None and command.counter_amount is None:
        raise ValidationFailed("rate", "given where counter_amount is not")
    rate = None if command.rate is None else rate_from_text(command.rate, field="rate")
    if command.counter_amount is None:
        return amount_minor, rate, 0
    return amount_minor, rate, minor_from_text(command.counter_amount, field="counter_amount")


def _at_rate(books: "Books", command: Exchange, amount: Fraction, counter_minor: int) -> int:
    """What ``amount`` (minor units of the first currency times the rate) is in the second's.

    ``counter_minor`` is what it came to elsewhere, 0 where that is not known.

    Raises:
        ValidationFailed: it is nothing, too large, or not what it came to elsewhere.
    """
    scale = scale_of(command.counter_currency, books.units)
    exact = amount * Fraction(10) ** (scale - scale_of(command.currency, books.units))
    if counter_minor:
        if abs(exact - counter_minor) > 1:
            raise ValidationFailed("counter_amount", "within one minor unit of amount times rate")
        return counter_minor
    worked_out = rounded(exact, command.rounding)
    if not 0 < worked_out < 10**AMOUNT_DIGITS_MAX:
        raise ValidationFailed(
            "rate", f"one at which the amount comes to 1 minor unit to {AMOUNT_DIGITS_MAX} digits"
        )
    return worked_out
