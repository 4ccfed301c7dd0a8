"""The stateful machine on the rules alone: no database, many steps."""

from typing import TYPE_CHECKING

from hypothesis import settings
from tests.rules.harness import decide, fall_due, record
from tests.rules.machine import LedgerMachine
from tests.rules.model import Answers

from ledger_core import commands
from ledger_core.account_terms import OpenAccount
from ledger_core.books import Books, Event
from ledger_core.commands import Command, nothing_changed
from ledger_core.customers import CustomerProfileChanged, CustomerRegistered, RegisterCustomer
from ledger_core.errors import (
    AccountExists,
    CustomerExists,
    EntryExists,
    HoldExists,
    IdempotencyConflict,
    LedgerError,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.ledger import Mode
from ledger_core.refusals import CommandRefused

if TYPE_CHECKING:
    from datetime import datetime

UNRECORDED = (ValidationFailed, UnknownCurrency, IdempotencyConflict, EntryExists, HoldExists)


class RulesMachine(LedgerMachine):
    """Identity kept in a dictionary, everything else by the rules on one ``Books``."""

    def __init__(self) -> None:
        """Begin with an empty ledger."""
        super().__init__()
        self.books = Books()
        self.log: list[tuple[Event, datetime]] = []
        self.used: dict[str, int] = {}

    def submit(self, batch: list[Command], mode: Mode, *, dry_run: bool) -> Answers:
        """What is due first; then one after another, and back if it was only tried."""
        moment = max(self.model.now, self.log[-1][1]) if self.log else self.model.now
        self.books.recorded_at = moment
        self.log += [(event, moment) for event in fall_due(self.books, moment)]
        savepoint, used = self.books.savepoint(), dict(self.used)
        answers = self._answer_all(batch, mode)
        if dry_run:
            self._go_back(savepoint, used)
        return answers

    def _answer_all(self, batch: list[Command], mode: Mode) -> Answers:
        """Decide one after another; an atomic batch goes back to where it began."""
        savepoint, used = self.books.savepoint(), dict(self.used)
        answers: Answers = []
        for index, command in enumerate(batch):
            try:
                answers.append(self._answer(command))
            except LedgerError as error:
                answers.append((error.code, 0))
                rest = len(batch) - index - 1
                if mode == "atomic":
                    self._go_back(savepoint, used)
                    failed = [("batch_failed", 0)]
                    return failed * index + [(error.code, 0)] + failed * rest
                if type(command) in commands.MOVEMENTS and not isinstance(error, UNRECORDED):
                    self._record(CommandRefused({"key": command.key}, error.code, {}))
                if mode == "stop_on_error":
                    return answers + [("not_attempted", 0)] * rest
        return answers

    def state(self) -> Books:
        """Both ways of folding the log, which must agree with the books and each other."""
        folded, followed = Books(), Books()
        for position, (event, moment) in enumerate(self.log, start=1):
            folded.recorded_at = moment
            folded.record(event)
            followed.catch_up(event, position, moment)
        assert folded.accounts == followed.accounts == self.books.accounts
        assert folded.states == followed.states == self.books.states
        assert folded.due == followed.due == self.books.due
        assert {name: item.erased for name, item in followed.customers.items()} == {
            name: item.erased for name, item in self.books.customers.items()
        }
        assert folded.units == followed.units == self.books.units
        return folded

    def _answer(self, command: Command) -> tuple[str, int]:
        """Identity, then the rules."""
        again = self._same(command)
        if again:
            return "replayed", again
        decided = decide(self.books, command)
        for event in decided or (nothing_changed(command),):
            self._record(event)
        self.used[command.key] = self.books.position
        return "recorded" if decided else "unchanged", self.books.position

    def _record(self, event: Event) -> None:
        """Take the event into the books and the log."""
        record(self.books, event)
        self.log.append((event, self.books.recorded_at))

    def _same(self, command: Command) -> int:
        """The position of the event that this command already led to, or 0.

        Raises:
            LedgerError: its key or chosen id was used for something else.
        """
        books = self.books
        error: type[LedgerError] = IdempotencyConflict
        position = self.used.get(command.key)
        if position is None:
            match command:
                case OpenAccount(account_id=str() as name) if name in books.accounts:
                    error, position = AccountExists, books.accounts[name].terms.account_no
                case RegisterCustomer(customer_id=str() as name) if name in books.customers:
                    error, position = CustomerExists, books.customers[name].customer_no
                case _ if type(command) in commands.CHOSEN_IDS:
                    kind, field, error = commands.CHOSEN_IDS[type(command)]
                    state = books.kept(kind, getattr(command, field) or "")
                    position = 0 if state is None else state.position
                case _:
                    entry = books.entries.get(getattr(command, "entry_id", None) or "")
                    error, position = EntryExists, 0 if entry is None else entry.position
        if not position:
            return 0
        first, _ = self.log[position - 1]
        unsealed: dict[str, str] = {}
        if isinstance(first, CustomerRegistered | CustomerProfileChanged):
            unsealed = {name: text[::-1] for name, text in first.sealed.items()}
        if commands.differing_fields(command, first, unsealed):
            raise error
        return position

    def _go_back(self, savepoint: tuple[int, int], used: dict[str, int]) -> None:
        """Take back all that happened since, and what was noted of it."""
        self.books.rollback(savepoint)
        self.used = used
        del self.log[self.books.position :]
        for name, facts in list(self.books.entries.items()):
            if facts.position > self.books.position:
                del self.books.entries[name]


TestRulesMachine = RulesMachine.TestCase
TestRulesMachine.settings = settings(stateful_step_count=30)
