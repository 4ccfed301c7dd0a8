"""What the log says: everything that the views and the log's own indexes should hold, folded.

Rows of which there are many (statement lines, tags, identities) are compared as texts in order of
position; the queries here and the functions below make the same texts.
"""

from dataclasses import dataclass, field
from datetime import datetime

from ledger_core import merkle
from ledger_core.identities import names_of
from ledger_core.journal import HoldPlaced, JournalEntryPosted
from ledger_core.units import UnitRegistered
from projections import balances, customer_360, risk_flags, trial_balance
from projections.comparing import day_text, epoch_text
from projections.customer_360 import Link, Profile
from projections.folding import Batch, HeldLine, Line
from projections.memory import Memory
from projections.risk_rules import Flag

LINES = (
    "SELECT position, concat_ws(' ', account_no, position, line, extract(epoch FROM recorded_at),"
    " to_char(value_date, 'FMYYYY-MM-DD BC'), side, amount_minor, debits_after_minor,"
    " credits_after_minor, version, kind)"
    " FROM views.statement_lines WHERE ledger_id = %s AND slot = %s ORDER BY position, line"
)
HELD_LINES = (
    "SELECT position, concat_ws(' ', account_no, position, extract(epoch FROM recorded_at),"
    " coalesce(extract(epoch FROM due_at)::text, '-'), side, change_minor, debits_held_after_minor,"
    " credits_held_after_minor, version)"
    " FROM views.held_lines WHERE ledger_id = %s AND slot = %s ORDER BY position, side DESC"
)
TAGS = (
    "SELECT position, concat_ws(' ', position, tag) FROM views.event_tags"
    ' WHERE ledger_id = %s AND slot = %s ORDER BY position, tag COLLATE "C"'
)
IDENTITIES = (
    "SELECT position, concat_ws(' ', position, kind, name) FROM ledger.identities"
    ' WHERE ledger_id = %s ORDER BY position, kind COLLATE "C", name COLLATE "C"'
)


@dataclass(slots=True)
class Truth:
    """What the log says, folded so far."""

    memory: Memory = field(default_factory=lambda: Memory(is_complete=True))
    frontier: merkle.Frontier = merkle.EMPTY
    events: int = 0
    position: int = 0
    recorded_at: datetime | None = None
    changes: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    units: dict[tuple[str, ...], dict[str, object]] = field(default_factory=dict)
    totals: trial_balance.Totals = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    links: dict[Link, int] = field(default_factory=dict)
    flags: dict[str, Flag] = field(default_factory=dict)

    def take(self, batch: Batch) -> None:
        """Take in a batch whose accounts are folded."""
        for account_no, position in batch.changes:
            self.changes[str(account_no), str(position)] = (account_no, position)
        for item in batch.others:
            if isinstance(item.event, UnitRegistered):
                self.units[item.event.code,] = balances.unit_row(item, item.event)
        trial_balance.add_to(self.totals, batch)
        customer_360.evolve_links(self.links, batch.others)
        for flag in risk_flags.raise_flags(self.memory, batch).values():
            self.flags.setdefault(flag.flag_id, flag)


def line_texts(lines: list[Line]) -> list[str]:
    """The lines as ``LINES`` has them."""
    texts: list[str] = []
    before, times = None, ("", "")
    for line in lines:
        if before is None or (line.recorded_at, line.value_date) != before:
            before = line.recorded_at, line.value_date
            times = epoch_text(line.recorded_at), day_text(line.value_date)
        after, posting = line.after, line.posting
        texts.append(
            f"{after.terms.account_no} {line.position} {line.index} {times[0]} {times[1]}"
            f" {'D' if posting.side == 'debit' else 'C'} {posting.amount_minor}"
            f" {after.debits_posted_minor} {after.credits_posted_minor} {after.version}"
            f" {line.kind}"
        )
    return texts


def held_line_texts(lines: list[HeldLine]) -> list[str]:
    """The changes of what is held as ``HELD_LINES`` has them."""
    return [
        f"{line.after.terms.account_no} {line.position} {epoch_text(line.recorded_at)}"
        f" {'-' if line.due_at is None else epoch_text(line.due_at)}"
        f" {'D' if line.side == 'debit' else 'C'} {line.change_minor}"
        f" {line.after.debits_held_minor} {line.after.credits_held_minor} {line.after.version}"
        for line in lines
    ]


def held_line_key(text: str) -> str:
    """Account number and position, with which a held line's text begins."""
    return " ".join(text.split(" ", 2)[:2])


def line_key(text: str) -> str:
    """Account number, position and line, with which a line's text begins."""
    return " ".join(text.split(" ", 3)[:3])


def identity_texts(event: JournalEntryPosted | HoldPlaced, position: int) -> list[str]:
    """The names that an entry or hold takes, as ``IDENTITIES`` has them."""
    return [f"{taken.position} {taken.kind} {taken.name}" for taken in names_of(event, position)]
