"""What all kinds of entry share: their commands' fields, and the checks before they are booked.

The order of checks is pinned: shape → accounts exist, differ, are kept in the currency → (hold) →
open and not blocked for their side → identities free → period open → conditions → amount against
the hold → limits. The first that fails is the answer.
"""

from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ledger_core.accounts import (
    Account,
    AccountOpened,
    Movement,
    headroom,
    held,
    held_changes,
    opened,
    posted,
    require_not_blocked,
    require_open,
    require_within_limit,
)
from ledger_core.errors import (
    ConditionFailed,
    CurrencyMismatch,
    ExceedsHold,
    UnknownCurrency,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.fields import (
    ENTRY_PREFIX,
    HOLD_PREFIX,
    require_id,
    require_metadata,
    require_new_id,
    require_text,
)
from ledger_core.group import require_within_groups
from ledger_core.journal import (
    EntryKind,
    HoldPlaced,
    JournalEntryPosted,
    Posting,
    Side,
)
from ledger_core.money import UNIT_CODE_CHARACTERS_MAX, scale_of, signed_from_text
from ledger_core.period import PERIOD_ID, open_value_date

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

CONDITIONS_MAX = 20
"""Accounts that one command may set conditions on."""

Balancing = Literal["debit", "credit", "both"]


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a balance must be: minor units as text, possibly negative; all that are given hold."""

    gte: str | None = None
    gt: str | None = None
    lte: str | None = None
    lt: str | None = None
    eq: str | None = None
    ne: str | None = None


class BalanceCondition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account's balance must be once the movement is booked, on its normal side.

    ``posted`` counts postings alone, ``pending`` open holds of both sides as well; ``available`` is
    posted less outgoing holds plus the limit, where an account without limit counts as one with a
    limit of zero.
    """

    posted: Bounds | None = None
    pending: Bounds | None = None
    available: Bounds | None = None


class MovementFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every command that moves or reserves money may say beside the movement itself.

    ``code`` is the caller's own code for the kind of business. ``if_version`` and ``if_balance``
    are conditions on accounts: their version before, their balance after. ``force`` skips the
    limits, and nothing else.
    """

    key: str = ""
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    code: str | None = None
    if_version: dict[str, int] | None = None
    if_balance: dict[str, BalanceCondition] | None = None
    force: bool = False


class EntryFields(MovementFields, frozen=True, kw_only=True):
    """What every command that books an entry may say beside its postings."""

    value_date: date | None = None
    entry_id: str | None = None

    def wants_identities(self, wants: "Wants") -> None:
        """Whether chosen identities are free, and the accounts that conditions name."""
        if self.entry_id is not None:
            wants.entries.add(self.entry_id)
            wants.kept.add(("hold", self.entry_id))
        if self.reference is not None:
            wants.references.add(self.reference)
        if self.if_version is not None:
            wants.accounts.update(self.if_version)
        if self.if_balance is not None:
            wants.accounts.update(self.if_balance)


def require_fields(command: MovementFields) -> None:
    """The shape of what any movement may carry beside the movement itself.

    Raises:
        ValidationFailed: a malformed field.
        UnknownCurrency: a text that could never be a currency's or unit's code.
    """
    if isinstance(command, EntryFields) and command.entry_id is not None:
        require_new_id(command.entry_id, field="entry_id", prefix=ENTRY_PREFIX)
        if command.entry_id.startswith(HOLD_PREFIX):
            raise ValidationFailed("entry_id", f"an id may not start with {HOLD_PREFIX}")
    if command.reference is not None:
        require_text(command.reference, field="reference")
    if command.description is not None:
        require_text(command.description, field="description")
    if command.metadata is not None:
        require_metadata(command.metadata)
    if command.code is not None:
        require_id(command.code, field="code")
    if command.if_version is not None or command.if_balance is not None:
        _require_conditions_shape(command)
    for field in ("currency", "counter_currency"):
        require_currency_form(getattr(command, field, None))


def require_currency_form(currency: str | None) -> None:
    """A text that could be the code of a currency or unit, registered or not: or none was given.

    Whatever is refused for another reason is recorded, so no text of any length gets past this.

    Raises:
        UnknownCurrency: no unit could ever have that code.
    """
    if currency is None:
        return
    if len(currency) > UNIT_CODE_CHARACTERS_MAX:
        raise UnknownCurrency
    try:
        require_id(currency, field="currency")
    except ValidationFailed:
        raise UnknownCurrency from None


def entry_of(
    command: EntryFields,
    kind: EntryKind,
    postings: tuple[Posting, ...],
    *,
    asked: dict[str, Any] | None = None,
    **more: Any,  # noqa: ANN401 - fields of the event
) -> JournalEntryPosted:
    """The entry that a command amounts to; ``more`` are fields that only its kind has.

    ``asked`` is ``asked_of(command)`` where the entry's own fields would not tell the command;
    conditions alone make it so.
    """
    if asked is None and (command.if_version is not None or command.if_balance is not None):
        asked = asked_of(command)
    if not more and asked is None and command.code is None and not command.force:
        return JournalEntryPosted(  # The hot path: by position, no more than is there.
            kind,
            postings,
            command.value_date,
            command.entry_id,
            command.reference,
            command.description,
            command.metadata,
        )
    return JournalEntryPosted(
        kind,
        postings,
        command.value_date,
        command.entry_id,
        command.reference,
        command.description,
        command.metadata,
        forced=command.force,
        code=command.code,
        asked=asked,
        **more,
    )


def fields_of(event: JournalEntryPosted) -> dict[str, Any]:
    """The shared fields of the command whose first answer an entry was."""
    return {
        "value_date": event.original_value_date or event.value_date,
        "entry_id": event.entry_id,
        "reference": event.reference,
        "description": event.description,
        "metadata": event.metadata,
        "code": event.code,
        "force": event.forced,
    }


def asked_of(command: msgspec.Struct) -> dict[str, Any]:
    """The command as it was put, without its key and what was left out, in plain JSON values."""
    fields: dict[str, Any] = msgspec.to_builtins(command)
    for name, default in _defaults(type(command)):
        if name == "key" or getattr(command, name) == default:
            fields.pop(name, None)
    return fields


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, object], ...]:
    """The fields of a command and what they are where they are left out."""
    return tuple((field.name, field.default) for field in msgspec.structs.fields(kind))


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


def book(
    books: "Books",
    command: EntryFields,
    entry: JournalEntryPosted,
    *,
    within_hold: int | None = None,
) -> JournalEntryPosted:
    """The entry as it is booked: it passed every check from the accounts' status on.

    Its value date may have moved out of a closed period. Accounts and currencies were checked.
    ``within_hold`` is what the hold that a capture settles still holds, in minor units.

    Raises:
        AccountIsClosed, AccountIsBlocked: an account does not take its posting.
        EntryExists, ReferenceConflict: a chosen id or reference is taken.
        PeriodIsClosed: the value date lies in a closed period.
        VersionConflict, ConditionFailed: a condition of the command does not hold.
        ExceedsHold: the entry captures more than the hold holds.
        InsufficientFunds, LimitExceeded: an account or group would go beyond its limit.
    """
    accounts = books.accounts
    for posting in entry.postings:
        require_takes(accounts[posting.account_id], posting.side)
    if entry.entry_id is not None or entry.reference is not None:
        books.require_free_identities(entry.entry_id, entry.reference)
    entry = in_open_period(books, entry)
    if command.if_version is not None or command.if_balance is not None:
        require_conditions(books, command, entry)
    if within_hold is not None and entry.postings[0].amount_minor > within_hold:
        raise ExceedsHold(hold_id=entry.hold_id, remaining_minor=str(within_hold))
    if not entry.forced:
        require_limits(books, entry)
    return entry


def require_takes(account: Account, side: Side) -> None:
    """The account is open and takes postings on that side.

    Raises:
        AccountIsClosed, AccountIsBlocked: it does not.
    """
    require_open(account)
    require_not_blocked(account, side)


def in_open_period(books: "Books", entry: JournalEntryPosted) -> JournalEntryPosted:
    """The entry with a value date in an open period, as the ledger's late-posting rule has it.

    Raises:
        PeriodIsClosed: the period is closed, and late postings are refused.
    """
    period = books.kept("period", PERIOD_ID)
    if period is None:
        return entry
    value_date, original = open_value_date(period, entry.value_date, books.today)
    if original is None:
        return entry
    return msgspec.structs.replace(entry, value_date=value_date, original_value_date=original)


def require_conditions(books: "Books", command: MovementFields, movement: Movement) -> None:
    """What the command demands of accounts holds: their version before, their balance after.

    Raises:
        AccountNotFound: an account that a condition names does not exist.
        VersionConflict: an account has another version.
        ConditionFailed: a balance would not be within its bounds.
    """
    for account_id, version in (command.if_version or {}).items():
        account = books.account(account_id, field="if_version")
        if account.version != version:
            raise VersionConflict(account_id=account_id, version=account.version)
    if not command.if_balance:
        return
    after = _after(books, movement)
    for account_id, condition in command.if_balance.items():
        account = books.account(account_id, field="if_balance")
        account = after.get(account_id, account)
        limit_minor = account.terms.limit_minor or 0
        spendable_minor = account.posted_minor - account.outgoing_held_minor
        available_minor = spendable_minor + limit_minor
        pending_minor = spendable_minor + account.incoming_held_minor
        for name, bounds, balance_minor in (
            ("posted", condition.posted, account.posted_minor),
            ("pending", condition.pending, pending_minor),
            ("available", condition.available, available_minor),
        ):
            if bounds is not None and not _is_within(balance_minor, bounds):
                raise ConditionFailed(
                    account_id=account_id, balance=name, would_be_minor=str(balance_minor)
                )


def require_limits(books: "Books", movement: JournalEntryPosted | HoldPlaced) -> None:
    """The movement as a whole leaves every account and group within its limits, or closer to them.

    Raises:
        InsufficientFunds, LimitExceeded: some account or group would go beyond its limit.
    """
    accounts = books.accounts
    after: dict[str, Account] = {}
    grouped = False
    position = books.position + 1
    if isinstance(movement, JournalEntryPosted):
        for posting in movement.postings:
            account_id = posting.account_id
            account = after.get(account_id) or accounts[account_id]
            terms = account.terms
            if terms.limit_minor is not None or terms.ceiling_minor is not None or terms.groups:
                after[account_id] = posted(account, posting, position)
                grouped = grouped or bool(terms.groups)
    if not isinstance(movement, JournalEntryPosted) or movement.hold_id is not None:
        for account_id, side, change_minor in held_changes(movement):
            account = after.get(account_id) or accounts[account_id]
            after[account_id] = held(account, side, change_minor, position)
            grouped = grouped or bool(account.terms.groups)
    for account_id, account in after.items():
        require_within_limit(accounts[account_id], account)
    if grouped:
        require_within_groups(books, after)


def balanced_amount(
    debit: Account, credit: Account, amount_minor: int, balancing: Balancing
) -> int:
    """What a balancing movement moves: up to ``amount_minor``, as far as the named side allows.

    May be 0: see ``accounts.headroom``.
    """
    if balancing in {"debit", "both"}:
        amount_minor = min(amount_minor, headroom(debit, "debit"))
    if balancing in {"credit", "both"}:
        amount_minor = min(amount_minor, headroom(credit, "credit"))
    return amount_minor


def open_bank_account(
    books: "Books", account_id: str, currency: str, name: str | None
) -> AccountOpened:
    """The opening of one of the bank's own accounts, an asset without limit, by its first entry."""
    return AccountOpened(
        account_type="asset",
        currency=currency,
        scale=scale_of(currency, books.units),
        account_id=account_id,
        name=name,
    )


def book_opening(
    books: "Books",
    command: EntryFields,
    entry: JournalEntryPosted,
    openings: tuple[AccountOpened, ...],
) -> tuple[AccountOpened | JournalEntryPosted, ...]:
    """The openings and the entry, judged as if those accounts were open already.

    Raises:
        As ``book``.
    """
    begun = [
        opened(opening, books.position + 1 + index, books.recorded_at)
        for index, opening in enumerate(openings)
    ]
    for account in begun:
        books.accounts[account.terms.account_id] = account
    try:
        return *openings, book(books, command, entry)
    finally:
        for account in begun:
            del books.accounts[account.terms.account_id]


def _require_conditions_shape(command: MovementFields) -> None:
    """The form of the conditions.

    Raises:
        ValidationFailed: too many, an impossible version, no bounds, or a malformed amount.
    """
    for field, named in (("if_version", command.if_version), ("if_balance", command.if_balance)):
        if named is not None and not 1 <= len(named) <= CONDITIONS_MAX:
            raise ValidationFailed(field, f"1 to {CONDITIONS_MAX} accounts")
        for account_id in named or ():
            require_id(account_id, field=field)
    for version in (command.if_version or {}).values():
        if version < 1:
            raise ValidationFailed("if_version", "versions from 1 on")
    for condition in (command.if_balance or {}).values():
        bounds = [item for item in msgspec.structs.astuple(condition) if item is not None]
        given = [text for item in bounds for text in msgspec.structs.astuple(item)]
        texts = [text for text in given if text is not None]
        if not texts:
            raise ValidationFailed(
                "if_balance", "bounds on the posted, pending or available balance"
            )
        for text in texts:
            signed_from_text(text, field="if_balance")


def _is_within(balance_minor: int, bounds: Bounds) -> bool:
    """Whether a balance meets all bounds that are given."""
    return (
        (bounds.gte is None or balance_minor >= int(bounds.gte))
        and (bounds.gt is None or balance_minor > int(bounds.gt))
        and (bounds.lte is None or balance_minor <= int(bounds.lte))
        and (bounds.lt is None or balance_minor < int(bounds.lt))
        and (bounds.eq is None or balance_minor == int(bounds.eq))
        and (bounds.ne is None or balance_minor != int(bounds.ne))
    )


def _after(books: "Books", movement: Movement) -> dict[str, Account]:
    """The accounts as they would be after the movement."""
    after: dict[str, Account] = {}
    position = books.position + 1
    if isinstance(movement, JournalEntryPosted):
        for posting in movement.postings:
            account = after.get(posting.account_id) or books.accounts[posting.account_id]
            after[posting.account_id] = posted(account, posting, position)
    for account_id, side, change_minor in held_changes(movement):
        account = after.get(account_id) or books.accounts[account_id]
        after[account_id] = held(account, side, change_minor, position)
    return after
