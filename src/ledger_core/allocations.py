"""Allocations: one amount from several sources to several destinations, as data.

The arithmetic is in ``allocation``; here are the accounts. A source is debited and a destination
credited, as in a transfer: between customers the payer is debited and the payee credited.
"""

from typing import TYPE_CHECKING

from ledger_core.accounts import Account, headroom, require_not_blocked, require_open
from ledger_core.allocation import Movement, Rounding, given, matched, taken
from ledger_core.allocation_legs import (
    Destination,
    Level,
    Source,
    account_ids,
    destination_level,
    require_legs,
    require_no_shares,
    source_level,
)
from ledger_core.booking import (
    EntryFields,
    asked_of,
    book,
    entry_of,
    require_currency,
    require_fields,
)
from ledger_core.errors import InsufficientFunds, SameAccount, ValidationFailed
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.money import minor_from_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

ALL = "all"


class Allocate(EntryFields, frozen=True, kw_only=True, tag="allocate", forbid_unknown_fields=True):
    """Split ``amount`` minor units (or ``"all"`` that the sources have) over the destinations.

    Sources give in order, each as far as what it has available goes, unless a share or a fixed
    amount says otherwise. Under ``largest_remainder`` the units that rounding leaves over go to the
    largest remainders, under ``first`` to the first legs.
    """

    amount: str
    currency: str
    sources: tuple[Source, ...]
    destinations: tuple[Destination, ...]
    rounding: Rounding = "largest_remainder"

    def needs(self, wants: "Wants") -> None:
        """All accounts at whatever depth, and whether chosen identities are free."""
        wants.accounts |= account_ids(self.sources) | account_ids(self.destinations)
        self.wants_identities(wants)


def decide(books: "Books", command: Allocate) -> tuple[JournalEntryPosted, ...]:
    """Book the allocation; ``()`` where there is nothing to move.

    Raises:
        ValidationFailed: a malformed field, or legs that do not take the amount exactly.
        AccountNotFound, SameAccount, UnknownCurrency, CurrencyMismatch: the accounts do not fit.
        AccountIsClosed, AccountIsBlocked: an account does not give or take, even if its part
            would be nothing.
        EntryExists, ReferenceConflict, PeriodIsClosed, VersionConflict, ConditionFailed,
        InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    require_fields(command)
    amount_minor = None if command.amount == ALL else minor_from_text(command.amount)
    sources = source_level(command.sources)
    destinations = destination_level(command.destinations)
    require_legs(sources, destinations)
    if amount_minor is None:
        require_no_shares(sources)
    else:
        # Before any account is looked at: what does not fit now never will.
        taken(amount_minor, destinations, command.rounding, _does_not_fit)
    _require_accounts(books, command.currency, sources, destinations)
    try:
        movements = _movements(books, command, amount_minor, sources, destinations)
    except InsufficientFunds:
        book(books, command, entry_of(command, "allocation", ()))  # What precedes the limits.
        raise
    postings = tuple(
        posting for movement in movements for posting in _postings(movement, command.currency)
    )
    entry = entry_of(command, "allocation", postings, asked=asked_of(command))
    entry = book(books, command, entry)
    return (entry,) if postings else ()


def _movements(
    books: "Books",
    command: Allocate,
    amount_minor: int | None,
    sources: Level,
    destinations: Level,
) -> list[Movement]:
    """What goes from where to where on the accounts as they stand.

    Raises:
        ValidationFailed: legs do not take what there is exactly.
        InsufficientFunds: the sources cannot give it, or all they have is not enough.
    """
    can_give = {
        account_id: _can_give(books.accounts[account_id], command, amount_minor)
        for account_id in account_ids(command.sources)
    }
    parts = given(amount_minor, sources, command.rounding, can_give)
    total_minor = sum(part.amount_minor for part in parts)
    # An amount that was named fits, as ``decide`` saw: what can fall short is all that is there.
    return matched(parts, taken(total_minor, destinations, command.rounding, _falls_short))


def _can_give(account: Account, command: Allocate, amount_minor: int | None) -> int | None:
    """How much an account can be debited; ``None``: whatever it is asked for.

    What is available, for an account with a limit. One without gives whatever it is asked for, and
    its positive balance where it is asked for all; forced, every account counts as without limit.
    """
    terms = account.terms
    limit_minor = terms.limit_minor if terms.normal_side == "credit" else terms.ceiling_minor
    if amount_minor is not None and (limit_minor is None or command.force):
        return None
    return headroom(account, "debit")


def _require_accounts(books: "Books", currency: str, sources: Level, destinations: Level) -> None:
    """Every account exists, stands on one side, is kept in the currency and takes its posting.

    Raises:
        AccountNotFound, SameAccount, UnknownCurrency, CurrencyMismatch: an account does not fit.
        AccountIsClosed, AccountIsBlocked: one takes no posting on its side.
    """
    debited, credited = (
        {
            account_id: books.account(account_id, field=f"{path}.account_id")
            for account_id, path in level.accounts()
        }
        for level in (sources, destinations)
    )
    for account_id in credited:
        if account_id in debited:
            raise SameAccount(account_id=account_id)
    for account in (*debited.values(), *credited.values()):
        require_currency(books, account, currency)
    for account in debited.values():
        require_open(account)
        require_not_blocked(account, "debit")
    for account in credited.values():
        require_open(account)
        require_not_blocked(account, "credit")


def _postings(movement: Movement, currency: str) -> tuple[Posting, Posting]:
    """The two legs of a movement."""
    return (
        Posting(movement.from_id, "debit", movement.amount_minor, currency),
        Posting(movement.to_id, "credit", movement.amount_minor, currency),
    )


def _does_not_fit(path: str, available_minor: int, needed_minor: int) -> ValidationFailed:
    """The command contradicts itself."""
    return ValidationFailed(
        path,
        f"fixed amounts and shares of at most {available_minor} minor units, not {needed_minor}",
    )


def _falls_short(path: str, available_minor: int, needed_minor: int) -> InsufficientFunds:
    """All that the sources have is less than what is fixed."""
    return InsufficientFunds(
        field=path, available_minor=str(available_minor), needed_minor=str(needed_minor)
    )
