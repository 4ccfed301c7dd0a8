"""Holds: an amount reserved on two accounts until it is captured, voided, or expires.

What is held can no longer be spent by the account it will be debited to; it does not fund the
account that it will be credited to. A hold resolves once. Expiry is an event that says when it was
due, and it counts from that moment however late it was recorded.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from ledger_core.booking import (
    Balancing,
    EntryFields,
    MovementFields,
    asked_of,
    balanced_amount,
    book,
    entry_of,
    require_conditions,
    require_currency,
    require_currency_form,
    require_fields,
    require_limits,
    require_takes,
)
from ledger_core.errors import (
    ExceedsHold,
    HoldAlreadyCaptured,
    HoldAlreadyVoided,
    HoldHasExpired,
    HoldMismatch,
    HoldNotFound,
    NotAHold,
    SameAccount,
    ValidationFailed,
)
from ledger_core.fields import ENTRY_PREFIX, HOLD_PREFIX, require_id, require_new_id, require_text
from ledger_core.journal import (
    HoldPlaced,
    HoldReleased,
    JournalEntryPosted,
    Posting,
    hold_id_at,
)
from ledger_core.money import minor_from_text, whole_from_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

HoldStatus = Literal["open", "captured", "voided", "expired"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]

TIMEOUT_S_MAX = 100 * 365 * 86_400
"""A hundred years: beyond, a hold is one without expiry."""


class Hold(msgspec.Struct, frozen=True):
    """A hold as it stands; amounts in minor units of its currency, never negative.

    ``captured_minor`` was posted by captures, ``freed_minor`` is no longer held though never
    captured. The rest is still held, as long as the status is ``open``.
    """

    hold_id: str
    position: int
    debit_account_id: str
    credit_account_id: str
    amount_minor: int
    currency: str
    placed_at: datetime
    last_position: int
    status: HoldStatus = "open"
    captured_minor: int = 0
    freed_minor: int = 0
    expires_at: datetime | None = None
    multi_capture: bool = False
    resolved_at: datetime | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    code: str | None = None

    @property
    def remaining_minor(self) -> int:
        """What is still held, in minor units."""
        return self.amount_minor - self.captured_minor - self.freed_minor

    @property
    def due_at(self) -> datetime | None:
        """When it expires, if it is open and ever does."""
        return self.expires_at if self.status == "open" else None

    @property
    def tags(self) -> tuple[str, ...]:
        """What it is listed by."""
        return ("account:" + self.debit_account_id, "account:" + self.credit_account_id)


def ids(event: JournalEntryPosted | HoldPlaced | HoldReleased, position: int) -> tuple[str, ...]:
    """The hold that an event is about, if it is."""
    if isinstance(event, JournalEntryPosted):
        return () if event.hold_id is None else (event.hold_id,)
    return (hold_id_at(event, position),)


def evolve(
    hold: Hold | None,
    event: JournalEntryPosted | HoldPlaced | HoldReleased,
    position: int,
    recorded_at: datetime,
) -> Hold:
    """The hold after an event on it."""
    if isinstance(event, HoldPlaced):
        return Hold(
            hold_id=hold_id_at(event, position),
            position=position,
            debit_account_id=event.debit_account_id,
            credit_account_id=event.credit_account_id,
            amount_minor=event.amount_minor,
            currency=event.currency,
            placed_at=recorded_at,
            last_position=position,
            expires_at=event.expires_at,
            multi_capture=event.multi_capture,
            reference=event.reference,
            description=event.description,
            metadata=event.metadata,
            code=event.code,
        )
    if hold is None:
        msg = f"event {position} is about a hold that was never placed"
        raise ValueError(msg)
    captured_minor, freed_minor = hold.captured_minor, hold.freed_minor
    status: HoldStatus = "captured"
    if isinstance(event, JournalEntryPosted):
        captured_minor += event.postings[0].amount_minor
        freed_minor += event.freed_minor
    else:
        freed_minor += event.amount_minor
        status = event.cause
    is_open = captured_minor + freed_minor < hold.amount_minor
    resolved_at = event.due_at if isinstance(event, HoldReleased) else None
    return msgspec.structs.replace(
        hold,
        captured_minor=captured_minor,
        freed_minor=freed_minor,
        status="open" if is_open else status,
        resolved_at=None if is_open else resolved_at or recorded_at,
        last_position=position,
    )


def expiry_of(hold: Hold) -> HoldReleased:
    """The event that an open hold's due time amounts to."""
    return HoldReleased(
        hold.hold_id,
        hold.debit_account_id,
        hold.credit_account_id,
        hold.remaining_minor,
        hold.currency,
        "expired",
        due_at=hold.expires_at,
    )


class PlaceHold(
    MovementFields, frozen=True, kw_only=True, tag="place_hold", forbid_unknown_fields=True
):
    """Reserve ``amount`` minor units, to be debited to one account and credited to another.

    It expires at ``expires_at`` (later than now, with a time zone) or ``timeout_s`` seconds from
    now, or never. ``multi_capture`` keeps the rest held after a capture. ``balancing`` reserves up
    to the amount, as far as the named side allows.
    """

    debit_account_id: str
    credit_account_id: str
    amount: str
    currency: str
    hold_id: str | None = None
    expires_at: Moment | None = None
    timeout_s: int | None = None
    multi_capture: bool = False
    balancing: Balancing | None = None

    def needs(self, wants: "Wants") -> None:
        """Both accounts, and whether chosen identities are free."""
        wants.accounts.add(self.debit_account_id)
        wants.accounts.add(self.credit_account_id)
        if self.hold_id is not None:
            wants.kept.add(("hold", self.hold_id))
            wants.entries.add(self.hold_id)
        if self.reference is not None:
            wants.references.add(self.reference)
        wants.accounts.update(self.if_version or ())
        wants.accounts.update(self.if_balance or ())


class CaptureHold(
    EntryFields, frozen=True, kw_only=True, tag="capture_hold", forbid_unknown_fields=True
):
    """Book what a hold reserved: ``amount`` minor units of it, or ``all`` that is still held.

    The rest is freed, or stays held if the hold allows several captures; so a capture of 0 frees
    everything, or nothing. What the command says of accounts, currency and code must be as the hold
    has it.
    """

    hold_id: str
    amount: str = "all"
    debit_account_id: str | None = None
    credit_account_id: str | None = None
    currency: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The hold (the shell loads its accounts), and whether identities are free."""
        wants.kept.add(("hold", self.hold_id))
        wants.entries.add(self.hold_id)
        self.wants_identities(wants)


class VoidHold(
    msgspec.Struct, frozen=True, kw_only=True, tag="void_hold", forbid_unknown_fields=True
):
    """Free all that a hold still holds.

    What the command says of amount, accounts, currency and code must be as the hold has it.
    """

    key: str = ""
    hold_id: str
    amount: str = "all"
    debit_account_id: str | None = None
    credit_account_id: str | None = None
    currency: str | None = None
    code: str | None = None
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The hold; the shell loads its accounts."""
        wants.kept.add(("hold", self.hold_id))
        wants.entries.add(self.hold_id)


def decide_placing(books: "Books", command: PlaceHold) -> tuple[HoldPlaced, ...]:
    """Place the hold; a balancing one that finds nothing to reserve holds 0, until it is resolved.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound, SameAccount, UnknownCurrency, CurrencyMismatch: the accounts do not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, VersionConflict,
        ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    capped = command.balancing is not None
    amount_minor = (whole_from_text if capped else minor_from_text)(command.amount)
    require_id(command.debit_account_id, field="debit_account_id")
    require_id(command.credit_account_id, field="credit_account_id")
    require_new_id(command.hold_id, field="hold_id", prefix=HOLD_PREFIX)
    if command.hold_id is not None and command.hold_id.startswith(ENTRY_PREFIX):
        raise ValidationFailed("hold_id", f"an id may not start with {ENTRY_PREFIX}")
    require_fields(command)
    expires_at = _expiry(books, command)
    debit = books.account(command.debit_account_id, field="debit_account_id")
    credit = books.account(command.credit_account_id, field="credit_account_id")
    if debit is credit:
        raise SameAccount
    require_currency(books, debit, command.currency)
    require_currency(books, credit, command.currency)
    if command.balancing is not None:
        amount_minor = balanced_amount(debit, credit, amount_minor, command.balancing)
    require_takes(debit, "debit")
    require_takes(credit, "credit")
    books.require_free_identities(command.hold_id, command.reference)
    placed = HoldPlaced(
        command.debit_account_id,
        command.credit_account_id,
        amount_minor,
        command.currency,
        command.hold_id,
        expires_at,
        command.multi_capture,
        command.reference,
        command.description,
        command.metadata,
        command.code,
        command.force,
        asked_of(command),
    )
    require_conditions(books, command, placed)
    if not command.force:
        require_limits(books, placed)
    return (placed,)


def decide_capture(
    books: "Books", command: CaptureHold
) -> tuple[JournalEntryPosted | HoldReleased, ...]:
    """Book the capture; a capture of nothing only frees the hold.

    Raises:
        ValidationFailed: a malformed field.
        HoldNotFound, NotAHold, HoldMismatch: it is not such a hold.
        HoldAlreadyCaptured, HoldAlreadyVoided, HoldHasExpired: it is resolved.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, PeriodIsClosed,
        VersionConflict, ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
        ExceedsHold: more than is still held.
    """
    _require_ids(command)
    asked_minor = None if command.amount == "all" else _amount(command.amount)
    require_fields(command)
    hold = _hold(books, command)
    amount_minor = hold.remaining_minor if asked_minor is None else asked_minor
    if amount_minor == 0:
        return _captured_nothing(books, command, hold)
    freed_minor = 0 if hold.multi_capture else hold.remaining_minor - amount_minor
    entry = entry_of(
        command,
        "capture",
        (
            Posting(hold.debit_account_id, "debit", amount_minor, hold.currency),
            Posting(hold.credit_account_id, "credit", amount_minor, hold.currency),
        ),
        asked=asked_of(command),
        hold_id=hold.hold_id,
        freed_minor=max(freed_minor, 0),
    )
    if hold.code is not None:  # The command names no other.
        entry = msgspec.structs.replace(entry, code=hold.code)
    return (book(books, command, entry, within_hold=hold.remaining_minor),)


def _captured_nothing(books: "Books", command: CaptureHold, hold: Hold) -> tuple[HoldReleased, ...]:
    """What a capture of 0 comes to: all is freed, or (where more captures may follow) nothing.

    Raises:
        EntryExists, ReferenceConflict, VersionConflict, ConditionFailed: see ``booking.book``.
    """
    released = _released(hold, "captured", command)
    if hold.multi_capture:
        released = msgspec.structs.replace(released, amount_minor=0)
    books.require_free_identities(command.entry_id, command.reference)
    require_conditions(books, command, released)
    return () if hold.multi_capture else (released,)


def decide_void(books: "Books", command: VoidHold) -> tuple[HoldReleased, ...]:
    """Void the hold.

    Raises:
        ValidationFailed: a malformed field.
        UnknownCurrency: a text that is no currency's code.
        HoldNotFound, NotAHold, HoldMismatch: it is not such a hold.
        HoldAlreadyCaptured, HoldAlreadyVoided, HoldHasExpired: it is resolved.
        ExceedsHold, HoldMismatch: another amount than is still held.
    """
    _require_ids(command)
    require_text(command.reason, field="reason")
    if command.code is not None:
        require_id(command.code, field="code")
    require_currency_form(command.currency)
    amount_minor = None if command.amount == "all" else _amount(command.amount)
    hold = _hold(books, command)
    if amount_minor is not None and amount_minor > hold.remaining_minor:
        raise ExceedsHold(hold_id=hold.hold_id, remaining_minor=str(hold.remaining_minor))
    if amount_minor is not None and amount_minor < hold.remaining_minor:
        raise HoldMismatch(hold_id=hold.hold_id, remaining_minor=str(hold.remaining_minor))
    return (_released(hold, "voided", command),)


def whole_of(command: PlaceHold) -> HoldPlaced:
    """The most that a good command can come to reserve, whatever a balancing one finds today."""
    return HoldPlaced(
        command.debit_account_id,
        command.credit_account_id,
        int(command.amount),
        command.currency,
    )


def as_captured(first: CaptureHold, again: CaptureHold, event: JournalEntryPosted) -> CaptureHold:
    """The first command, with what ``all`` came to where the repetition names that amount."""
    if first.amount != "all" or again.amount != str(event.postings[0].amount_minor):
        return first
    return msgspec.structs.replace(first, amount=again.amount)


def _expiry(books: "Books", command: PlaceHold) -> datetime | None:
    """When the hold expires, in UTC.

    Raises:
        ValidationFailed: both forms are given, or a moment that is not later than now, or too late.
    """
    latest = books.recorded_at + timedelta(seconds=TIMEOUT_S_MAX)
    if command.timeout_s is not None:
        if command.expires_at is not None:
            raise ValidationFailed("timeout_s", "null where expires_at is given")
        if not 1 <= command.timeout_s <= TIMEOUT_S_MAX:
            raise ValidationFailed("timeout_s", f"seconds from 1 to {TIMEOUT_S_MAX}")
        return books.recorded_at + timedelta(seconds=command.timeout_s)
    if command.expires_at is None:
        return None
    if not books.recorded_at < command.expires_at <= latest:
        raise ValidationFailed("expires_at", f"later than now, by at most {TIMEOUT_S_MAX} seconds")
    return command.expires_at.astimezone(UTC)


def _amount(text: str) -> int:
    """An amount of which nothing may be left: zero is allowed.

    Raises:
        ValidationFailed: neither ``all`` nor an amount.
    """
    return whole_from_text(text)


def _require_ids(command: CaptureHold | VoidHold) -> None:
    """The form of the ids that a command on a hold names: a refusal of it is found by them.

    Raises:
        ValidationFailed: a malformed one.
    """
    require_id(command.hold_id, field="hold_id")
    for field in ("debit_account_id", "credit_account_id"):
        said: str | None = getattr(command, field)
        if said is not None:
            require_id(said, field=field)


def _hold(books: "Books", command: CaptureHold | VoidHold) -> Hold:
    """The open hold that a command means.

    Raises:
        HoldNotFound, NotAHold: no such hold, or a journal entry.
        HoldMismatch: accounts, currency or code are not as the command says.
        HoldAlreadyCaptured, HoldAlreadyVoided, HoldHasExpired: it is resolved.
    """
    hold: Hold | None = books.kept("hold", command.hold_id)
    if hold is None:
        if command.hold_id in books.entries:
            raise NotAHold(position=books.entries[command.hold_id].position)
        raise HoldNotFound(field="hold_id")
    for field in ("debit_account_id", "credit_account_id", "currency", "code"):
        said = getattr(command, field)
        if said is not None and said != getattr(hold, field):
            raise HoldMismatch(hold_id=hold.hold_id, field=field)
    match hold.status:
        case "captured":
            raise HoldAlreadyCaptured(hold_id=hold.hold_id, position=hold.last_position)
        case "voided":
            raise HoldAlreadyVoided(hold_id=hold.hold_id, position=hold.last_position)
        case "expired":
            raise HoldHasExpired(hold_id=hold.hold_id, position=hold.last_position)
        case "open":
            return hold


def _released(
    hold: Hold, cause: Literal["voided", "captured"], command: CaptureHold | VoidHold
) -> HoldReleased:
    """The event that frees all that is still held."""
    return HoldReleased(
        hold.hold_id,
        hold.debit_account_id,
        hold.credit_account_id,
        hold.remaining_minor,
        hold.currency,
        cause,
        reason=command.reason if isinstance(command, VoidHold) else command.description,
        asked=asked_of(command),
    )
