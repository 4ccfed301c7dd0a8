"""What moves or reserves money: journal entries, balanced in every currency, and holds.

An entry is ONE event, so half of it can never be there. Deposits, withdrawals, transfers, fees
and reversals are kinds of entry, so every report has one source. A hold reserves an amount on two
accounts until it is released or captured by an entry. Knows what an account *id* is, not what an
account is.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal

import msgspec

from ledger_core.errors import Unbalanced, ValidationFailed
from ledger_core.fields import ENTRY_PREFIX, HOLD_PREFIX

# Enough for a payroll run in one entry; larger runs are several entries in an atomic batch.
POSTINGS_MAX = 1_000
POSTINGS_MIN = 2

Side = Literal["debit", "credit"]
EntryKind = Literal[
    "deposit",
    "withdrawal",
    "transfer",
    "journal",
    "reversal",
    "capture",
    "allocation",
    "template",
    "exchange",
]
ReleaseCause = Literal["voided", "expired", "captured"]


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One leg of an entry: ``amount_minor`` > 0 minor units on one side of one account."""

    account_id: str
    side: Side
    amount_minor: int
    currency: str


class JournalEntryPosted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A balanced entry was booked; it is never changed, only reversed by another entry.

    ``value_date`` is the day from which the entry counts; absent, it is the booking date (the
    UTC date of ``recorded_at``). ``entry_id`` is the caller's own id; absent, the id is
    ``jrn_<position>``. ``reverses`` is the id of the entry that this one mirrors,
    ``on_original_date`` says that its value date was asked for, and ``forced`` that limits were
    not enforced. ``code`` is the caller's own code for what kind of business it is.

    An entry of kind ``capture`` settles the hold ``hold_id``: its amount, and ``freed_minor`` that
    will not be captured any more, cease to be held. ``original_value_date`` was asked for, but lies
    in a closed period. ``rate`` is that of an exchange, ``template`` the ``name@version`` that the
    postings follow. ``asked`` is the command (without its key) where the rest does not tell it.
    """

    kind: EntryKind
    postings: tuple[Posting, ...]
    value_date: date | None = None
    entry_id: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    channel: str | None = None
    reverses: str | None = None
    forced: bool = False
    on_original_date: bool = False
    code: str | None = None
    hold_id: str | None = None
    freed_minor: int = 0
    original_value_date: date | None = None
    rate: str | None = None
    template: str | None = None
    asked: dict[str, Any] | None = None


class HoldPlaced(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``amount_minor`` was reserved: it will be debited to one account and credited to another.

    It is 0 only where a balancing hold found nothing to reserve.

    ``hold_id`` absent means ``hld_<position>``. It expires at ``expires_at``, if that is set: at
    that moment it no longer holds. ``multi_capture``: what a capture leaves over stays held;
    otherwise the first capture frees it. ``asked`` as for an entry.
    """

    debit_account_id: str
    credit_account_id: str
    amount_minor: int
    currency: str
    hold_id: str | None = None
    expires_at: datetime | None = None
    multi_capture: bool = False
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    code: str | None = None
    forced: bool = False
    asked: dict[str, Any] | None = None


class HoldReleased(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a hold still held (``amount_minor``, 0 or more) was freed without being captured.

    ``cause``: it was voided, it expired at ``due_at`` (however late that was recorded), or a
    capture of nothing resolved it. The accounts are repeated, so that their sums need no hold.
    """

    hold_id: str
    debit_account_id: str
    credit_account_id: str
    amount_minor: int
    currency: str
    cause: ReleaseCause
    due_at: datetime | None = None
    reason: str | None = None
    asked: dict[str, Any] | None = None


HoldEvent = HoldPlaced | HoldReleased


def hold_id_at(event: HoldEvent, position: int) -> str:
    """The hold's id: the caller's own, else the one derived from its position."""
    return event.hold_id if event.hold_id is not None else f"{HOLD_PREFIX}{position}"


def entry_id_at(event: JournalEntryPosted, position: int) -> str:
    """The entry's id: the caller's own, else the one derived from its position."""
    return event.entry_id if event.entry_id is not None else f"{ENTRY_PREFIX}{position}"


def value_date_at(event: JournalEntryPosted, recorded_at: datetime) -> date:
    """The day from which the entry counts: as given, else the UTC day of its recording."""
    return event.value_date if event.value_date is not None else recorded_at.date()


def require_balanced(postings: Iterable[Posting]) -> None:
    """Debits equal credits in every currency.

    Raises:
        Unbalanced: with the currency and the difference, debits minus credits in minor units.
    """
    difference: dict[str, int] = {}
    for posting in postings:
        signed = posting.amount_minor if posting.side == "debit" else -posting.amount_minor
        difference[posting.currency] = difference.get(posting.currency, 0) + signed
    for currency, amount_minor in difference.items():
        if amount_minor:
            raise Unbalanced(currency=currency, debits_minus_credits_minor=str(amount_minor))


def require_posting_count(count: int) -> None:
    """An entry has at least two postings and a documented maximum.

    A single one is not of a wrong shape: it is not balanced, and is refused for that.

    Raises:
        ValidationFailed: too few or too many.
    """
    if not 1 <= count <= POSTINGS_MAX:
        raise ValidationFailed("postings", f"{POSTINGS_MIN} to {POSTINGS_MAX} postings")


def mirrored(postings: tuple[Posting, ...]) -> tuple[Posting, ...]:
    """The same postings with debit and credit exchanged: what a reversal books."""
    return tuple(
        Posting(
            posting.account_id,
            "credit" if posting.side == "debit" else "debit",
            posting.amount_minor,
            posting.currency,
        )
        for posting in postings
    )
