"""What the log says: everything that the views and the log's own indexes should hold, folded.

Rows of which there are many (statement lines, identities) are compared as texts in order of
position; the queries here and the functions below make the same texts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from ledger_core.events import Recorded
from ledger_core.identities import names_of
from ledger_core.journal import HoldPlaced, JournalEntryPosted
from ledger_core.units import UnitRegistered
from projections import balances, customer_360, kept, risk_flags, trial_balance
from projections.customer_360 import Link, Profile
from projections.findings import moment_text
from projections.folding import Batch, HeldLine, Line
from projections.memory import Memory
from projections.paging import paged
from projections.risk_rules import Flag
from projections.writing import Stored

_VIEW = "ledger_id = %s AND slot = %s"
LINE_TEXT = (
    "concat_ws(' ', account_no, position, line, recorded_at, value_date, side, amount_minor,"
    " debits_after_minor, credits_after_minor, version, kind)"
)
LINES = paged(
    LINE_TEXT,
    "views.statement_lines",
    "line",
    _VIEW,
)
HELD_LINE_TEXT = (
    "concat_ws(' ', account_no, position, recorded_at, coalesce(due_at::text, '-'), side,"
    " change_minor, debits_held_after_minor, credits_held_after_minor, version)"
)
HELD_LINES = paged(
    HELD_LINE_TEXT,
    "views.held_lines",
    "side DESC",
    _VIEW,
)
IDENTITY_TEXT = "concat_ws(' ', position, kind, name)"
IDENTITIES = paged(
    IDENTITY_TEXT,
    "ledger.identities",
    'kind COLLATE "C", name COLLATE "C"',
    "ledger_id = %s",
)


Expectation = tuple[Table, Mapping[tuple[str, ...], Any], Callable[[Any], Mapping[str, object]]]
"""A table, what it should hold by the texts of the key, and what makes a row of that."""


@dataclass(slots=True)
class Truth:
    """What the log says, folded so far.

    ``stored`` is where movements are read back that a memory which is not complete has not.
    """

    memory: Memory = field(default_factory=lambda: Memory(is_complete=True))
    stored: Stored | None = None
    changes: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    units: dict[tuple[str, ...], dict[str, object]] = field(default_factory=dict)
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
        customer_360.evolve_links(self.links, batch.others)
        for flag in risk_flags.raise_flags(self.memory, batch, self.stored).values():
            self.flags.setdefault(flag.flag_id, flag)
        self.memory.trim_movements()

    def tables(self) -> dict[str, list[Expectation]]:
        """What the tables should hold, by projection."""
        memory = self.memory
        return {
            "balances": [
                (balances.accounts, _keyed(memory.accounts), balances.account_row),
                (balances.account_changes, self.changes, _change_row),
                (balances.units, self.units, dict),
            ],
            "kept": [
                (
                    kept.kept,
                    {place: (place, state) for place, state in memory.states.items()},
                    kept.kept_row,
                )
            ],
            "trial_balance": [
                (
                    trial_balance.trial_balance,
                    {
                        (str(row["currency"]), str(row["account_type"])): row
                        for row in trial_balance.total_rows(self.totals())
                    },
                    dict,
                )
            ],
            "customer_360": [
                (customer_360.customers, _keyed(self.profiles), customer_360.profile_row),
                (
                    customer_360.customer_accounts,
                    {
                        (link.customer_id, link.account_id, link.role): (link, since)
                        for link, since in self.links.items()
                    },
                    lambda pair: customer_360.link_row(*pair),
                ),
            ],
            "risk_flags": [
                (risk_flags.risk_flags, _keyed(self.flags), risk_flags.flag_row),
                (
                    risk_flags.risk_rules,
                    {(str(row["rule"]),): row for row in risk_flags.rule_rows(memory.rules)},
                    dict,
                ),
            ],
        }

    def totals(self) -> trial_balance.Totals:
        """The control totals, as the accounts add up to them."""
        totals: trial_balance.Totals = {}
        for account in self.memory.accounts.values():
            key = (account.terms.currency, account.terms.account_type)
            total = totals.setdefault(key, [0, 0, 0])
            total[0] += account.debits_posted_minor
            total[1] += account.credits_posted_minor
            total[2] += 1
        return totals


def line_texts(lines: Iterable[Line]) -> list[str]:
    """The lines as ``LINES`` has them."""
    texts: list[str] = []
    before, time, day_before, day = None, "", None, ""
    for after, posting, position, index, recorded_at, value_date, kind in lines:
        if recorded_at is not before:
            before, time = recorded_at, moment_text(recorded_at)
        if value_date is not day_before:
            day_before, day = value_date, value_date.isoformat()
        texts.append(
            f"{after.terms.account_no} {position} {index} {time} {day}"
            f" {'D' if posting.side == 'debit' else 'C'} {posting.amount_minor}"
            f" {after.debits_posted_minor} {after.credits_posted_minor} {after.version} {kind}"
        )
    return texts


def held_line_texts(lines: Iterable[HeldLine]) -> list[str]:
    """The changes of what is held as ``HELD_LINES`` has them."""
    return [
        f"{line.after.terms.account_no} {line.position} {moment_text(line.recorded_at)}"
        f" {'-' if line.due_at is None else moment_text(line.due_at)}"
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


def identity_texts(recorded: Iterable[Recorded]) -> list[str]:
    """The names that entries and holds take, as ``IDENTITIES`` has them."""
    texts: list[str] = []
    for item in recorded:
        event = item.event
        if type(event) is JournalEntryPosted:
            if event.entry_id is None and event.reference is None and event.reverses is None:
                continue  # The hot path.
        elif type(event) is not HoldPlaced:
            continue
        texts += [
            f"{taken.position} {taken.kind} {taken.name}"
            for taken in names_of(event, item.position)
        ]
    return texts


def _keyed(objects: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """The same objects by the key of their rows, which is their id alone."""
    return {(identifier,): item for identifier, item in objects.items()}


def _change_row(change: tuple[int, int]) -> dict[str, object]:
    """The row of ``account_changes``."""
    return {"account_no": change[0], "position": change[1]}
