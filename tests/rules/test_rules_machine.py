"""The stateful machine on the rules alone: no database, many steps."""

from hypothesis import settings
from tests.rules.harness import decide, record
from tests.rules.machine import LedgerMachine
from tests.strategies import START

from ledger_core import commands
from ledger_core.account_terms import OpenAccount
from ledger_core.books import Books, Event
from ledger_core.commands import Command, nothing_changed
from ledger_core.customers import CustomerProfileChanged, CustomerRegistered, RegisterCustomer
from ledger_core.errors import (
    AccountExists,
    CustomerExists,
    EntryExists,
    IdempotencyConflict,
    LedgerError,
)
from ledger_core.ledger import Mode


class RulesMachine(LedgerMachine):
    """Identity kept in a dictionary, everything else by the rules on one ``Books``."""

    def __init__(self) -> None:
        """Begin with an empty ledger."""
        super().__init__()
        self.books = Books()
        self.books.recorded_at = START
        self.log: list[Event] = []
        self.used: dict[str, int] = {}

    def submit(self, batch: list[Command], mode: Mode) -> list[tuple[str, int]]:
        """Decide one after another; an atomic batch goes back to where it began."""
        savepoint, used = self.books.savepoint(), dict(self.used)
        answers: list[tuple[str, int]] = []
        for index, command in enumerate(batch):
            try:
                answers.append(self._answer(command))
            except LedgerError as error:
                answers.append((error.code, 0))
                rest = len(batch) - index - 1
                if mode == "stop_on_error":
                    return answers + [("not_attempted", 0)] * rest
                if mode == "atomic":
                    self.books.rollback(savepoint)
                    self.used = used
                    self._forget()
                    failed = [("batch_failed", 0)]
                    return failed * index + [(error.code, 0)] + failed * rest
        return answers

    def state(self) -> Books:
        """Both ways of folding the log, which must agree with the books and each other."""
        folded, followed = Books(), Books()
        for position, event in enumerate(self.log, start=1):
            folded.recorded_at = START
            folded.record(event)
            followed.catch_up(event, position, START)
        assert folded.accounts == followed.accounts == self.books.accounts
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
            record(self.books, event)
            self.log.append(event)
        self.used[command.key] = self.books.position
        return "recorded" if decided else "unchanged", self.books.position

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
                case _:
                    entry = books.entries.get(getattr(command, "entry_id", None) or "")
                    error, position = EntryExists, 0 if entry is None else entry.position
        if not position:
            return 0
        first = self.log[position - 1]
        unsealed: dict[str, str] = {}
        if isinstance(first, CustomerRegistered | CustomerProfileChanged):
            unsealed = {name: text[::-1] for name, text in first.sealed.items()}
        if commands.differing_fields(command, first, unsealed):
            raise error
        return position

    def _forget(self) -> None:
        """Drop what was noted of events that were taken back."""
        del self.log[self.books.position :]
        for name, facts in list(self.books.entries.items()):
            if facts.position > self.books.position:
                del self.books.entries[name]


TestRulesMachine = RulesMachine.TestCase
TestRulesMachine.settings = settings(stateful_step_count=30)
