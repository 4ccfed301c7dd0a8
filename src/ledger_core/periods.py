"""Closing and reopening periods: from when on the past no longer changes.

The events and the rule for entries are the kernel's (``period``); this module decides when a
period closes. Closing makes no entries: it only says which value dates are still taken.
"""

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_text
from ledger_core.period import (
    KIND,
    PERIOD_ID,
    LatePosting,
    Period,
    PeriodClosed,
    PeriodReopened,
)

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class ClosePeriod(
    msgspec.Struct, frozen=True, kw_only=True, tag="close_period", forbid_unknown_fields=True
):
    """Close the books through a day that is over.

    ``late_posting`` says what becomes of entries dated in the closed period: ``refuse`` or
    ``next_open``. Left out, it stays as it was; at first it is ``refuse``.
    """

    key: str = ""
    through: date
    late_posting: LatePosting | None = None
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The period is always loaded."""


class ReopenPeriod(
    msgspec.Struct, frozen=True, kw_only=True, tag="reopen_period", forbid_unknown_fields=True
):
    """Open every day after ``after`` again; null: no day stays closed."""

    key: str = ""
    after: date | None
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The period is always loaded."""


def decide_closing(books: "Books", command: ClosePeriod) -> tuple[PeriodClosed, ...]:
    """Close the period; ``()`` where those days are closed, and late postings treated, so already.

    Raises:
        ValidationFailed: a malformed reason, a day that is not over in UTC, or another rule for
            late postings with a day before the last closed one.
    """
    require_text(command.reason, field="reason")
    if command.through >= books.today:
        raise ValidationFailed("through", "a day that is over (UTC)")
    period = _period(books)
    closed_through = None if period is None else period.closed_through
    is_closed = closed_through is not None and command.through <= closed_through
    is_treated = command.late_posting is None or (
        period is not None and command.late_posting == period.late_posting
    )
    if is_closed and is_treated:
        return ()
    if closed_through is not None and command.through < closed_through:
        raise ValidationFailed(
            "through", "not before the last closed day, where the rule for late postings changes"
        )
    return (PeriodClosed(command.through, command.late_posting, command.reason),)


def decide_reopening(books: "Books", command: ReopenPeriod) -> tuple[PeriodReopened, ...]:
    """Reopen the period; ``()`` where all those days are open already.

    Raises:
        ValidationFailed: a malformed reason.
    """
    require_text(command.reason, field="reason")
    period = _period(books)
    if period is None or period.closed_through is None:
        return ()
    if command.after is not None and command.after >= period.closed_through:
        return ()
    return (PeriodReopened(command.after, command.reason),)


def closing_of(event: PeriodClosed) -> ClosePeriod:
    """The command whose first answer this event was, without its key."""
    return ClosePeriod(through=event.through, late_posting=event.late_posting, reason=event.reason)


def reopening_of(event: PeriodReopened) -> ReopenPeriod:
    """The command whose first answer this event was, without its key."""
    return ReopenPeriod(after=event.through, reason=event.reason)


def _period(books: "Books") -> Period | None:
    """The ledger's period; ``None`` where none was ever closed."""
    period = books.kept(KIND, PERIOD_ID)
    return period if isinstance(period, Period) else None
