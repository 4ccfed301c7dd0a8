"""What the log says: everything that the views and the log's own indexes should hold, folded.

Rows of which there are many (statement lines, tags, identities) are compared as texts in order of
position; the queries here and the functions below make the same texts.
"""

from dataclasses import dataclass, field
from datetime import datetime

from ledger_core import merkle
from ledger_core.journal import JournalEntryPosted
from ledger_core.units import UnitRegistered
from projections import balances, customer_360, risk_flags, trial_balance
from projections.comparing import day_text, epoch_text
from projections.customer_360 import Link, Profile
from projections.folding import Batch, Line
from projections.memory import Memory
from projections.risk_rules import Flag

LINES = (
    "SELECT position, concat_ws(' ', account_no, position, line, extract(epoch FROM recorded_at),"
    " to_char(value_date, 'FMYYYY-MM-DD BC'), side, amount_minor, debits_after_minor,"
    " credits_after_minor, version, kind)"
    " FROM views.statement_lines WHERE ledger_id = %s AND slot = %s ORDER BY position, line"
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


def line_key(text: str) -> str:
    """Account number, position and line, with which a line's text begins."""
    return " ".join(text.split(" ", 3)[:3])


def identity_texts(event: JournalEntryPosted, position: int) -> list[str]:
    """The names that an entry takes, as ``IDENTITIES`` has them."""
    return [
        f"{position} {kind} {name}"
        for kind, name in (
            ("entry", event.entry_id),
            ("reference", event.reference),
            ("reversal", event.reverses),
        )
        if name is not None
    ]
