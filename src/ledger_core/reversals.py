"""Reversal: a new entry that mirrors an earlier one, once.

Both the original and its reversal count in every report.
"""

from datetime import date
from typing import TYPE_CHECKING

import msgspec

from ledger_core.booking import require_bookable, require_entry_fields
from ledger_core.errors import AlreadyReversed, NotReversible, ValidationFailed
from ledger_core.fields import require_id
from ledger_core.journal import JournalEntryPosted, mirrored, value_date_at

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class ReverseEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="reverse_entry", forbid_unknown_fields=True
):
    """Mirror the entry ``reverses``, today unless a value date or the original's is asked for.

    ``force`` skips the limits, for a reversal that must happen although the money moved on.
    """

    key: str = ""
    reverses: str
    value_date: date | None = None
    on_original_date: bool = False
    force: bool = False
    entry_id: str | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None

    def needs(self, wants: "Wants") -> None:
        """The original (the shell loads its accounts), and whether identities are free."""
        wants.entries.add(self.reverses)
        if self.entry_id is not None:
            wants.entries.add(self.entry_id)
        if self.reference is not None:
            wants.references.add(self.reference)


def decide(books: "Books", command: ReverseEntry) -> tuple[JournalEntryPosted, ...]:
    """Book the mirror of the original.

    Raises:
        ValidationFailed: a malformed field.
        EntryNotFound: no such entry.
        NotReversible: it is itself a reversal.
        AlreadyReversed: it was reversed before.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, InsufficientFunds:
            see ``booking.require_bookable``.
    """
    require_id(command.reverses, field="reverses")
    require_entry_fields(command.entry_id, command.reference, command.description, command.metadata)
    if command.on_original_date and command.value_date is not None:
        raise ValidationFailed("value_date", "null where on_original_date is true")
    original = books.entry(command.reverses, field="reverses")
    if original.event.kind == "reversal":
        raise NotReversible(position=original.position)
    if original.is_reversed:
        raise AlreadyReversed(position=original.position)
    value_date = command.value_date
    if command.on_original_date:
        value_date = value_date_at(original.event, original.recorded_at)
    entry = JournalEntryPosted(
        "reversal",
        mirrored(original.event.postings),
        value_date,
        command.entry_id,
        command.reference,
        command.description,
        command.metadata,
        reverses=command.reverses,
        forced=command.force,
        on_original_date=command.on_original_date,
    )
    require_bookable(books, entry)
    return (entry,)


def command_of(event: JournalEntryPosted) -> ReverseEntry:
    """The command whose first answer this event was, without its key."""
    return ReverseEntry(
        reverses=event.reverses or "",
        value_date=None if event.on_original_date else event.value_date,
        on_original_date=event.on_original_date,
        force=event.forced,
        entry_id=event.entry_id,
        reference=event.reference,
        description=event.description,
        metadata=event.metadata,
    )
