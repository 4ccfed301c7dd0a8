"""Given what happened, when a command comes, then these events or this refusal: no database.

``given(opened("A"), deposited("A", 100)).when(transfer("A", "B", 30)).then_refuses(...)``.
What is given are commands, decided by the rules themselves, so that no test starts from a state
that cannot be.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from tests.strategies import START

from ledger_core import commands, four_eyes, kept, transfers
from ledger_core.account_terms import OpenAccount
from ledger_core.books import Books, EntryFacts, Event
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import PERSONAL_FIELDS, ChangeProfile, RegisterCustomer, Sealed
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.errors import LedgerError
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.journal import JournalEntryPosted, entry_id_at
from ledger_core.standing_orders import RunOrder
from ledger_core.transfers import Transfer

AnyCommand = TypeVar("AnyCommand", bound=msgspec.Struct)


@dataclass(frozen=True)
class Answer:
    """What the rules said to one command, and the books as they are then."""

    books: Books
    events: tuple[Event, ...]
    error: LedgerError | None

    def then(self, *expected: Event) -> Books:
        """Exactly these events follow."""
        assert self.error is None, self.error
        assert self.events == expected
        assert expected, "for no events at all there is then_nothing"
        return self.books

    def then_nothing(self) -> Books:
        """It is so already: no event, no refusal."""
        assert self.error is None, self.error
        assert self.events == ()
        return self.books

    def then_refuses(self, kind: type[LedgerError], **seen: object) -> None:
        """Refused for this reason, and with these of the figures seen."""
        assert self.error is not None, self.events
        assert type(self.error) is kind, self.error
        assert seen.items() <= self.error.seen.items(), self.error.seen


@dataclass(frozen=True)
class Given:
    """Books on which a command can be decided."""

    books: Books

    def when(self, command: Command) -> Answer:
        """Decide the command and take in its events."""
        try:
            events = decide(self.books, command)
        except LedgerError as error:
            _require_own_field(command, error)
            return Answer(self.books, (), error)
        for event in events:
            record(self.books, event)
        return Answer(self.books, events, None)

    def at(self, moment: datetime) -> "Given":
        """The books once the clock has come to that time: what is due by then has happened."""
        fall_due(self.books, moment)
        return self


def given(*happened: Command) -> Given:
    """The books of a ledger on which these commands were carried out, in order."""
    books = Books()
    books.recorded_at = START
    for command in happened:
        for event in decide(books, command):
            record(books, event)
    return Given(books)


def _require_own_field(command: Command, error: LedgerError) -> None:
    """Where a refusal names a field, it is one of the command: the caller finds it there."""
    named = error.seen.get("field", command.__struct_fields__[0])
    assert re.split(r"[.\[]", str(named))[0] in command.__struct_fields__, named


def decide(books: Books, command: Command) -> tuple[Event, ...]:
    """As the shell does, with a seal that everybody can read.

    Raises:
        LedgerError: the command is refused.
    """
    match command:
        case RegisterCustomer(profile=profile):
            return commands.decide_sealed(books, command, sealed(f"sub_{books.position}", profile))
        case ChangeProfile(changes=changes):
            clear = {name: text for name, text in changes.items() if text is not None}
            return commands.decide_sealed(books, command, sealed("", clear))
        case RequestApproval():
            asked = cast("RequestApproval", four_eyes.with_one_key(command))
            return four_eyes.decide_request(books, asked, lambda waiting: decide(books, waiting))
        case RunOrder():
            raise AssertionError  # The shell runs it, in more than one step.
        case Transfer():
            return decide_transfer(books, command)
        case _:
            return commands.decide(books, command)


def decide_transfer(books: Books, command: Transfer) -> tuple[Event, ...]:
    """The long way, with which the short one must agree wherever it has an answer.

    Raises:
        LedgerError: the command is refused.
    """
    savepoint = books.savepoint()
    keyed = msgspec.structs.replace(command, key=command.key or "key")
    plain = transfers.book_plain(books, [keyed], (), is_final=False)
    names = (command.debit_account_id, command.credit_account_id)
    short_way = [books.accounts.get(name) for name in names], books.position
    books.rollback(savepoint)
    try:
        events = commands.decide(books, command)
    except LedgerError:
        assert not plain, command
        raise
    if plain:
        assert events == (plain[0],)
        books.record(events[0])
        assert short_way == ([books.accounts[name] for name in names], books.position)
        books.rollback(savepoint)
    return events


def sealed(subject: str, profile: dict[str, str]) -> Sealed:
    """A profile split as the shell splits it; the ciphertext is the text backwards."""
    return Sealed(
        subject,
        {name: text[::-1] for name, text in profile.items() if name in PERSONAL_FIELDS},
        {name: text for name, text in profile.items() if name not in PERSONAL_FIELDS},
    )


def record(books: Books, event: Event) -> int:
    """Take the event in, and remember an entry as the shell would load it for a later command."""
    position = books.record(event)
    if isinstance(event, JournalEntryPosted):
        name = entry_id_at(event, position)
        facts = EntryFacts(name, position, books.recorded_at, event, is_reversed=False)
        books.entries.setdefault(name, facts)
    return position


def fall_due(books: Books, moment: datetime) -> tuple[Event, ...]:
    """Take in what is due at that time, as the shell does before it decides anything."""
    books.recorded_at = max(books.recorded_at, moment)
    events: list[Event] = []
    for place in books.next_due():
        events.append(kept.due_event(place, books.states[place]))
        record(books, events[-1])
    return tuple(events)


def opened(account_id: str, **fields: Any) -> OpenAccount:  # noqa: ANN401 - the command's own
    """A euro account of a customer, unless said otherwise."""
    return OpenAccount(account_id=account_id, **{"currency": "EUR", **fields})


def deposited(account_id: str, amount_minor: int, **fields: Any) -> Deposit:  # noqa: ANN401
    """Cash paid in at the counter, in euro unless said otherwise."""
    return Deposit(account_id=account_id, amount=str(amount_minor), **{"currency": "EUR", **fields})


def withdrawn(account_id: str, amount_minor: int, **fields: Any) -> Withdraw:  # noqa: ANN401
    """Cash paid out at the counter, in euro unless said otherwise."""
    return Withdraw(
        account_id=account_id, amount=str(amount_minor), **{"currency": "EUR", **fields}
    )


def transfer(
    debit: str,
    credit: str,
    amount_minor: int,
    **fields: Any,  # noqa: ANN401
) -> Transfer:
    """A transfer from the first account to the second, in euro unless said otherwise."""
    return Transfer(
        debit_account_id=debit,
        credit_account_id=credit,
        amount=str(amount_minor),
        **{"currency": "EUR", **fields},
    )


def held(
    debit: str,
    credit: str,
    amount_minor: int,
    hold_id: str | None = "H",
    **fields: Any,  # noqa: ANN401
) -> PlaceHold:
    """A hold on what the first account will pay to the second, in euro unless said otherwise."""
    return PlaceHold(
        debit_account_id=debit,
        credit_account_id=credit,
        amount=str(amount_minor),
        hold_id=hold_id,
        **{"currency": "EUR", **fields},
    )


def captured(hold_id: str, amount: int | str = "all", **fields: Any) -> CaptureHold:  # noqa: ANN401
    """A capture of part of a hold, or of all that is left."""
    return CaptureHold(hold_id=hold_id, amount=str(amount), **fields)


def voided(hold_id: str, **fields: Any) -> VoidHold:  # noqa: ANN401
    """The end of a hold without a capture."""
    return VoidHold(hold_id=hold_id, **fields)


def with_field(command: AnyCommand, name: str, value: object) -> AnyCommand:
    """The command with one field changed."""
    return msgspec.structs.replace(command, **{name: value})
