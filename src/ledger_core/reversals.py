"""Reversal: a new entry that mirrors an earlier one, once.

Both the original and its reversal count in every report.
"""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.booking import EntryFields, book, entry_of, fields_of, require_fields
from ledger_core.errors import AlreadyReversed, NotReversible, ValidationFailed
from ledger_core.fields import require_id
from ledger_core.journal import JournalEntryPosted, mirrored, value_date_at

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class ReverseEntry(
    EntryFields, frozen=True, kw_only=True, tag="reverse_entry", forbid_unknown_fields=True
):
    """Mirror the entry ``reverses``, today unless a value date or the original's is asked for.

    ``force`` skips the limits, for a reversal that must happen although the money moved on.
    """

    reverses: str
    on_original_date: bool = False

    def needs(self, wants: "Wants") -> None:
        """The original (the shell loads its accounts), and whether identities are free."""
        wants.entries.add(self.reverses)
        wants.kept.add(("hold", self.reverses))
        self.wants_identities(wants)


def decide(books: "Books", command: ReverseEntry) -> tuple[JournalEntryPosted, ...]:
    """Book the mirror of the original.

    Raises:
        ValidationFailed: a malformed field.
        EntryNotFound: no such entry.
        NotReversible: it is a hold, or itself a reversal.
        AlreadyReversed: it was reversed before.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, PeriodIsClosed,
        VersionConflict, ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    require_id(command.reverses, field="reverses")
    require_fields(command)
    if command.on_original_date and command.value_date is not None:
        raise ValidationFailed("value_date", "null where on_original_date is true")
    if books.kept("hold", command.reverses) is not None:
        raise NotReversible(hold_id=command.reverses)
    original = books.entry(command.reverses, field="reverses")
    if original.event.kind == "reversal":
        raise NotReversible(position=original.position)
    if original.is_reversed:
        raise AlreadyReversed(position=original.position)
    entry = entry_of(
        command,
        "reversal",
        mirrored(original.event.postings),
        reverses=command.reverses,
        on_original_date=command.on_original_date,
    )
    if command.on_original_date:
        entry = msgspec.structs.replace(
            entry, value_date=value_date_at(original.event, original.recorded_at)
        )
    return (book(books, command, entry),)


def command_of(event: JournalEntryPosted) -> ReverseEntry:
    """The command whose first answer this event was, without its key."""
    fields = fields_of(event)
    if event.on_original_date:
        fields["value_date"] = None
    return ReverseEntry(
        reverses=event.reverses or "",
        on_original_date=event.on_original_date,
        **fields,
    )
