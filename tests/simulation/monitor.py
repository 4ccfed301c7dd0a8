"""Looks at every commit and every answer, and says what cannot be.

The log is folded once more as it grows: by the kernel, to compare the writers' and the projectors'
memory with, and by a model of its own (``model``), to judge the events themselves.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from tests.simulation.model import Model
from tests.simulation.statements import tags_of
from tests.simulation.store import LogRow, Row, Store, Transaction

from ledger_core import events, log, merkle
from ledger_core.accounts import Account, AccountEvent, accounts_of
from ledger_core.books import Books, Event
from ledger_core.errors import LedgerBusy
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted
from ledger_core.ledger import Outcome, Submission
from projections import balances, kept

_SUMS = (
    "debits_posted_minor",
    "credits_posted_minor",
    "debits_held_minor",
    "credits_held_minor",
    "version",
    "last_position",
)


class Finding(msgspec.Struct, frozen=True):
    """Something that must not be: the rule that it breaks, and how."""

    rule: str
    detail: str


class Request:
    """What a client asked for, how often it still waits for an answer, and what it was told."""

    __slots__ = ("answers", "in_flight", "is_answered", "name", "submission")

    def __init__(self, name: str, submission: Submission) -> None:
        """Not sent yet."""
        self.name = name
        self.submission = submission
        self.in_flight = 0
        self.is_answered = False
        # Where each of its commands was recorded, by what was answered first.
        self.answers: dict[int, int] = {}


class Monitor:
    """The log as it should be, and whatever is not so."""

    def __init__(self, store: Store) -> None:
        """Watch a store that is empty."""
        self._store = store
        self.findings: list[Finding] = []
        self.books = Books()
        self.model = Model()
        self.events = 0
        self.commits = 0
        self.answers = 0
        self._frontier = merkle.EMPTY
        # Every account after each event about it; what was debited and posted after each event.
        self._history: dict[str, list[Account]] = {}
        self._debits: list[dict[str, int]] = [{}]
        self._lines = [0]
        self._standings: dict[str, int] = {}
        store.on_commit = self._committed

    def find(self, rule: str, detail: str) -> None:
        """Note what cannot be."""
        self.findings.append(Finding(rule, detail))

    def _committed(self, transaction: Transaction) -> None:
        """Look at what a transaction changed."""
        self.commits += 1
        for row in transaction.log:
            self._event(row)
        if transaction.log or transaction.head is not None:
            self._head(transaction)
        if transaction.views or transaction.standings:
            self._views(transaction)

    def _event(self, row: LogRow) -> None:
        """An event was appended."""
        self.events += 1
        books = self.books
        if row.position != books.position + 1:
            self.find("no-gaps", f"{row.position} follows {books.position}")
        if row.recorded_at < books.recorded_at:
            self.find("time-goes-on", f"at position {row.position}")
        event = events.decode(row.type, row.version, row.data)
        stored = log.StoredEvent(*row[:4], tags_of(row), *row[5:])
        if log.leaf_hash_of(stored) != row.leaf_hash:
            self.find("sealed", f"the leaf at position {row.position} is another's")
        self._frontier = merkle.extend(self._frontier, [row.leaf_hash])
        for what in self.model.take_in(event, row.recorded_at):
            self.find("money", f"position {row.position}: {what}")
        if self.findings:
            return
        books.recorded_at = row.recorded_at
        position = books.record(event)
        books.settle()
        for name in _touched(event, position):
            self._history.setdefault(name, []).append(books.accounts[name])
        self._debits.append(dict(self.model.debits))
        self._lines.append(self.model.lines)

    def _head(self, transaction: Transaction) -> None:
        """The head was moved."""
        head = self._store.head
        if not transaction.log or transaction.head is None:
            self.find("head", "the head and the log are not moved together")
        elif head.position != self.books.position and not self.findings:
            self.find("head", f"it stands at {head.position}, the log at {self.books.position}")
        elif head.frontier != merkle.to_bytes(self._frontier):
            self.find("sealed", f"the frontier at position {head.position}")

    def _views(self, transaction: Transaction) -> None:
        """Views were changed: they stand where they say."""
        before = dict(self._standings)
        for name, standing in transaction.standings.items():
            if standing.position < self._standings.get(name, 0):
                self.find("projection", f"{name} went back to {standing.position}")
            if standing.position > self.books.position:
                self.find("projection", f"{name} is ahead of the log")
            self._standings[name] = standing.position
        if transaction.views and self._standings == before:
            self.find("projection", "rows were changed, and the position was not")
        if self.findings:
            return
        at = self._standings.get("balances", 0)
        for (name,), row in transaction.views.get("accounts", {}).items():
            self._account_row(name, row, at)
        lines = len(self._store.views.get("statement_lines", ()))
        if lines != self._lines[self._standings.get("statements", 0)]:
            self.find("projection", f"there are {lines} statement lines at position {at}")
        self._totals(self._debits[self._standings.get("trial_balance", 0)])

    def _account_row(self, name: str, row: Row, at: int) -> None:
        """A row of the balances is the account as it was at that position."""
        history = self._history.get(name, [])
        account = next((item for item in reversed(history) if item.last_position <= at), None)
        if account is None or any(row[column] != getattr(account, column) for column in _SUMS):
            self.find("projection", f"account {name} at position {at}: {row}, but {account}")

    def _totals(self, debits: dict[str, int]) -> None:
        """The trial balance ties, and is the sum of all entries."""
        sides: dict[str, list[int]] = {}
        for (currency, _), row in self._store.views.get("trial_balance", {}).items():
            sums = sides.setdefault(currency, [0, 0])
            sums[0] += row["debits_posted_minor"]
            sums[1] += row["credits_posted_minor"]
        for currency, (debited, credited) in sides.items():
            if not debited == credited == debits.get(currency, 0):
                self.find("projection", f"trial balance in {currency}: {debited}, {credited}")

    def answered(self, request: Request, outcomes: Sequence[Outcome]) -> bool:
        """A client was answered; whether it has to ask no more."""
        self.answers += 1
        submission = request.submission
        if len(outcomes) != len(submission.commands):
            self.find("answers", f"{request.name} has {len(outcomes)} answers")
        is_done = True
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome.error, LedgerBusy):
                is_done = False
            elif not submission.dry_run:
                self._outcome(request, index, outcome)
        refused = [outcome.error is not None for outcome in outcomes]
        if submission.mode == "atomic" and any(refused) and not all(refused):
            self.find("atomic", f"{request.name} was carried out in part")
        return is_done

    def _outcome(self, request: Request, index: int, outcome: Outcome) -> None:
        """An answer to one command is what the log says."""
        key = request.submission.commands[index].key
        where = f"{request.name}[{index}] under key {key}"
        position = self._store.keys.get(key)
        if outcome.error is not None:
            if position is not None and position <= outcome.position:
                self.find("refused", f"{where} was refused, and stands at {position}: {outcome}")
            return
        if position != outcome.position:
            self.find("acknowledged", f"{where}: {outcome.position} was told, it is at {position}")
            return
        row = self._store.log[position - 1]
        event = outcome.event
        if row.recorded_at != outcome.recorded_at or (
            event is not None and events.encode(event) != row.data
        ):
            self.find("acknowledged", f"{where}: {outcome}, but it is {row}")
        if request.answers.setdefault(index, position) != position:
            self.find("same-answer", f"{where}: {request.answers[index]}, then {position}")

    def compare_books(self, books: Books, who: str) -> None:
        """What a writer has in memory is what the log amounts to."""
        if books.position != self.books.position or self.findings:
            return
        for name, account in books.accounts.items():
            if account != self.books.accounts.get(name):
                expected = self.books.accounts.get(name)
                self.find("books", f"{who} has {account}, the log {expected}")

    def compare_all(self, books: Books, who: str) -> None:
        """The same, with every kept state; the writer has seen all of the log, or is to load it."""
        if not books.position:
            return
        if books.position != self.books.position:
            self.find("books", f"{who} is at {books.position}, the log at {self.books.position}")
        self.compare_books(books, who)
        for place, state in books.states.items():
            if state != self.books.states.get(place):
                self.find("books", f"{who} has {state}, the log {self.books.states.get(place)}")
        for place, due_at in books.due.items():
            if self.books.due.get(place) != due_at:
                self.find("books", f"{who} has {place} due at {due_at}")

    def compare_views(self) -> None:
        """The views, at the log's end, are what the log amounts to."""
        rows = {
            (account.terms.account_id,): _plain(balances.account_row(account))
            for account in self.books.accounts.values()
        }
        if self._store.views.get("accounts", {}) != rows:
            self.find("projection", "balances are not what the log amounts to")
        states = {
            place: _plain(kept.kept_row((place, s))) for place, s in self.books.states.items()
        }
        if self._store.views.get("kept", {}) != states:
            self.find("projection", "kept states are not what the log amounts to")
        numbers = {item.terms.account_no: item for item in self.books.accounts.values()}
        lines = self._store.views.get("statement_lines", {})
        for number, position, line in lines:
            row = lines[number, position, line]
            history = self._history[numbers[number].terms.account_id]
            after = next(item for item in history if item.last_position == position)
            if (row["debits_after_minor"], row["credits_after_minor"]) != (
                after.debits_posted_minor,
                after.credits_posted_minor,
            ):
                self.find("projection", f"statement line {row}, but {after}")


def _touched(event: Event, position: int) -> Sequence[str]:
    """The accounts that an event changes."""
    if isinstance(event, JournalEntryPosted | HoldPlaced | HoldReleased | AccountEvent):
        return tuple(accounts_of(event, position))
    return ()


def _plain(row: dict[str, Any]) -> Row:
    """A row as it is once it went through JSON."""
    plain: Row = msgspec.json.decode(msgspec.json.encode(row, order="deterministic"))
    return plain
