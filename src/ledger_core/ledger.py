"""The shell: load what commands need, decide them, append their events, answer.

One transaction serves many submissions: lock the head, take in what other writers appended, load
what is missing, decide one after another, append everything by one COPY. Nothing is answered
before the commit. A connection lost during commit leaves the outcome unknown: if the log shows
that the transaction was committed, its answers are given; if not, the work is done again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec
import psycopg

from ledger_core import commands, events, loading, log
from ledger_core.account_terms import OpenAccount
from ledger_core.books import Books, Event
from ledger_core.commands import Command
from ledger_core.customers import (
    PERSONAL_FIELDS,
    ChangeProfile,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    RegisterCustomer,
    Sealed,
    check_profile_change,
    check_registration,
)
from ledger_core.errors import (
    AccountExists,
    BatchFailed,
    CustomerExists,
    EntryExists,
    IdempotencyConflict,
    LedgerBusy,
    LedgerError,
    NotAttempted,
)
from ledger_core.fields import require_key
from ledger_core.journal import JournalEntryPosted
from ledger_core.log import Connection, Head, Identity, NewEvent
from ledger_core.unchanged import NothingChanged
from ledger_core.vault import Vault

ATTEMPTS_MAX = 3

Mode = Literal["each", "stop_on_error", "atomic"]
Status = Literal["recorded", "replayed", "unchanged", "refused"]


class Submission(msgspec.Struct, frozen=True):
    """Commands that one caller sent together, and how they depend on each other.

    ``each``: every one for itself; ``stop_on_error``: nothing after the first refusal is
    attempted; ``atomic``: all or none. ``actor`` says on whose behalf, in one printable word.
    """

    commands: Sequence[Command]
    actor: str
    mode: Mode = "each"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one command.

    ``position`` is where its event stands, or (refused) what the decision had seen. ``event`` is
    the command's own event, ``None`` where nothing changed; ``error`` is set when it was refused.
    """

    status: Status
    position: int
    recorded_at: datetime
    event: Event | None = None
    error: LedgerError | None = None


@dataclass(slots=True)
class _Work:
    """One transaction under way: what it has decided so far."""

    appends: list[NewEvent] = field(default_factory=list)
    identities: list[Identity] = field(default_factory=list)
    # Key -> the event it already led to, in the log or in this transaction.
    known: dict[str, events.Recorded] = field(default_factory=dict)
    decided: dict[int, events.Recorded] = field(default_factory=dict)


class _Attempt(msgspec.Struct, frozen=True):
    """A transaction about to be committed: its last event, where that will stand, its answers."""

    position: int
    recorded_at: datetime
    last: NewEvent
    outcomes: list[list[Outcome]]


class Ledger:
    """The write side of one ledger. Not safe for use by several threads at once."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        ledger_id: int,
        clock: Callable[[], datetime],
        vault: Vault,
    ) -> None:
        """Nothing is read before the first command."""
        self._connect = connect
        self._connection: Connection | None = None
        self.ledger_id = ledger_id
        self._clock = clock
        self._vault = vault
        self._books = Books()
        self._is_loaded = False
        self._in_doubt: _Attempt | None = None

    def execute(self, submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Carry out submissions in one transaction; one outcome a command, in order.

        Every outcome is durable when this returns.

        Raises:
            LedgerBusy: the database was lost and could not be reached again, or the projectors
                are too far behind for the state to be held in memory.
        """
        self._in_doubt = None
        for attempt in range(ATTEMPTS_MAX):
            try:
                return self._attempt(submissions)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                self.close()
                if attempt == ATTEMPTS_MAX - 1:
                    raise LedgerBusy(reason="database_unreachable") from None
            except BaseException:
                self.close()
                raise
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def close(self) -> None:
        """Let go of the connection and of everything remembered."""
        connection, self._connection = self._connection, None
        self._books = Books()
        self._is_loaded = False
        if connection is not None:
            connection.close()

    def _attempt(self, submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """One transaction over all submissions."""
        if self._connection is None:
            self._connection = self._connect()
        connection, books = self._connection, self._books
        head = log.begin(connection, self.ledger_id)
        if self._in_doubt is not None and self._is_recorded(connection, self._in_doubt):
            connection.execute("ROLLBACK")
            return self._in_doubt.outcomes
        if not self._is_loaded:
            loading.first_load(connection, self.ledger_id, books)
            self._is_loaded = True
        loading.synchronise(connection, self.ledger_id, books, head)
        books.recorded_at = max(self._clock(), head.recorded_at)
        asked = (command for item in submissions for command in item.commands)
        work = _Work(known=loading.load(connection, self.ledger_id, books, asked))
        outcomes = [self._submission(connection, item, work) for item in submissions]
        self._append(connection, head, work, outcomes)
        books.settle()
        loading.evict(connection, self.ledger_id, books)
        return outcomes

    def _append(
        self, connection: Connection, head: Head, work: _Work, outcomes: list[list[Outcome]]
    ) -> None:
        """Append what was decided, and commit."""
        books = self._books
        if not work.appends:
            connection.execute("COMMIT")
            return
        head = log.append(connection, self.ledger_id, head, books.recorded_at, work.appends)
        for item in work.decided.values():
            if isinstance(item.event, CustomerErased):
                self._vault.destroy_subject(
                    connection, self.ledger_id, item.event.subject, item.recorded_at
                )
        if work.identities:
            log.take_identities(connection, self.ledger_id, work.identities)
        self._in_doubt = _Attempt(books.position, books.recorded_at, work.appends[-1], outcomes)
        log.commit(connection, self.ledger_id, head)

    def _is_recorded(self, connection: Connection, attempt: _Attempt) -> bool:
        """Whether a transaction whose commit was not answered was committed nevertheless."""
        last = attempt.last
        return any(
            (stored.recorded_at, stored.type, stored.command_key, stored.actor, stored.data)
            == (attempt.recorded_at, last.type, last.command_key, last.actor, last.data)
            for stored in log.read_events(connection, self.ledger_id, attempt.position - 1, 1)
        )

    def _submission(
        self, connection: Connection, submission: Submission, work: _Work
    ) -> list[Outcome]:
        """Decide the commands of one caller."""
        outcomes: list[Outcome] = []
        mode, actor = submission.mode, submission.actor
        savepoint = self._books.savepoint()
        counts = len(work.appends), len(work.identities)
        for index, command in enumerate(submission.commands):
            outcome = self._command(connection, command, actor, work)
            outcomes.append(outcome)
            if outcome.error is None or mode == "each":
                continue
            rest = len(submission.commands) - index - 1
            if mode == "stop_on_error":
                outcomes.extend([self._refused(NotAttempted(item=index))] * rest)
                break
            self._undo(work, savepoint, counts)
            outcome = self._refused(_without_undone(outcome.error, self._books.position))
            failed = self._refused(BatchFailed(item=index))
            return [failed] * index + [outcome] + [failed] * rest
        return outcomes

    def _undo(self, work: _Work, savepoint: tuple[int, int], counts: tuple[int, int]) -> None:
        """Take back what an atomic submission had decided."""
        del work.appends[counts[0] :]
        del work.identities[counts[1] :]
        self._books.rollback(savepoint)
        last = self._books.position
        work.known = {key: item for key, item in work.known.items() if item.position <= last}
        work.decided = {at: item for at, item in work.decided.items() if at <= last}

    def _command(
        self, connection: Connection, command: Command, actor: str, work: _Work
    ) -> Outcome:
        """Decide one command, whose identity comes before everything else."""
        books = self._books
        try:
            require_key(command.key)
            first = work.known.get(command.key)
            if first is not None:
                return self._again(connection, command, first)
            first = self._same_id(connection, command, work)
            if first is not None:
                return self._same_identity(connection, command, first)
            decided = self._decide(connection, command)
        except LedgerError as error:
            return self._refused(error)
        status: Status = "recorded" if decided else "unchanged"
        decided = decided or (commands.nothing_changed(command),)
        last = len(decided) - 1
        for index, event in enumerate(decided):
            self._record(event, command.key if index == last else None, actor, work)
        position = books.position
        recorded = events.Recorded(position, books.recorded_at, decided[last])
        work.known[command.key] = recorded
        return _told(status, recorded)

    def _decide(self, connection: Connection, command: Command) -> tuple[Event, ...]:
        """The command's events; personal data is sealed once the command is known to be good."""
        if not isinstance(command, RegisterCustomer | ChangeProfile):
            return commands.decide(self._books, command)
        books = self._books
        if isinstance(command, RegisterCustomer):
            check_registration(books, command)
            subject = self._vault.create_subject(connection, self.ledger_id, books.recorded_at)
            given = command.profile
        else:
            subject = check_profile_change(books, command).subject
            given = {name: text for name, text in command.changes.items() if text is not None}
        sealed = self._sealed(connection, subject, given)
        return commands.decide_sealed(books, command, sealed)

    def _sealed(self, connection: Connection, subject: str, profile: dict[str, str]) -> Sealed:
        """A profile with its personal fields sealed."""
        personal = {name: text for name, text in profile.items() if name in PERSONAL_FIELDS}
        public = {name: text for name, text in profile.items() if name not in PERSONAL_FIELDS}
        return Sealed(
            subject, self._vault.seal(connection, self.ledger_id, subject, personal), public
        )

    def _record(self, event: Event, key: str | None, actor: str, work: _Work) -> None:
        """Take a decided event into the books and the transaction."""
        books = self._books
        position = books.record(event)
        name, version = events.name_of(event)
        work.appends.append(
            NewEvent(
                name, version, events.tags_of(event, position), key, actor, events.encode(event)
            )
        )
        if not isinstance(event, JournalEntryPosted):
            work.decided[position] = events.Recorded(position, books.recorded_at, event)
        elif event.entry_id is not None or event.reference is not None or event.reverses:
            work.identities.extend(_identities(event, position))
            work.decided[position] = events.Recorded(position, books.recorded_at, event)

    def _again(self, connection: Connection, command: Command, first: events.Recorded) -> Outcome:
        """The first answer once more, if the content is the same.

        Raises:
            IdempotencyConflict: naming the fields that differ and the first event's position.
        """
        fields = self._differences(connection, command, first.event)
        if fields:
            raise IdempotencyConflict(position=first.position, fields=list(fields))
        return _told("replayed", first)

    def _same_identity(
        self, connection: Connection, command: Command, first: events.Recorded
    ) -> Outcome:
        """The first answer once more, for something that has the chosen id and the same content.

        Raises:
            AccountExists, CustomerExists, EntryExists: it has other content.
        """
        fields = self._differences(connection, command, first.event)
        if not fields:
            return _told("replayed", first)
        seen = {"position": first.position, "fields": list(fields)}
        match command:
            case OpenAccount():
                raise AccountExists(**seen)
            case RegisterCustomer():
                raise CustomerExists(**seen)
            case _:
                raise EntryExists(**seen)

    def _same_id(
        self, connection: Connection, command: Command, work: _Work
    ) -> events.Recorded | None:
        """The event that took the id this command chooses, if any."""
        position = self._id_position(command)
        if position is None:
            return None
        if position in work.decided:
            return work.decided[position]
        return next(iter(loading.at_positions(connection, self.ledger_id, [position])), None)

    def _id_position(self, command: Command) -> int | None:
        """Where the id that this command chooses was taken, if it was."""
        books = self._books
        if isinstance(command, OpenAccount):
            account = books.accounts.get(command.account_id or "")
            return None if account is None else account.terms.account_no
        if isinstance(command, RegisterCustomer):
            customer = books.customers.get(command.customer_id or "")
            return None if customer is None else customer.customer_no
        if not books.entries:
            return None
        entry = books.entries.get(getattr(command, "entry_id", None) or "")
        return None if entry is None else entry.position

    def _differences(
        self, connection: Connection, command: Command, event: Event
    ) -> tuple[str, ...]:
        """The fields in which the command differs from the one the event answered."""
        unsealed: dict[str, str] | None = {}
        if isinstance(event, CustomerRegistered | CustomerProfileChanged):
            subject = self._subject(event)
            unsealed = self._vault.unseal(connection, self.ledger_id, subject, event.sealed)
        return commands.differing_fields(command, event, unsealed)

    def _subject(self, event: CustomerRegistered | CustomerProfileChanged) -> str:
        """The subject whose key sealed the event."""
        if isinstance(event, CustomerRegistered):
            return event.subject
        return self._books.customers[event.customer_id].subject

    def _refused(self, error: LedgerError) -> Outcome:
        """A refusal, with what the decision had seen."""
        position = self._books.position
        if not isinstance(error, BatchFailed | NotAttempted):  # They are about another item.
            error.seen = {"position": position, **error.seen}
        return Outcome("refused", position, self._books.recorded_at, None, error)


def _without_undone(error: LedgerError, position: int) -> LedgerError:
    """The refusal without a position that was taken back: nothing stands there."""
    seen = error.seen.get("position")
    if isinstance(seen, int) and seen > position:
        error.seen = {name: value for name, value in error.seen.items() if name != "position"}
    return error


def _told(status: Status, recorded: events.Recorded) -> Outcome:
    """The outcome of a command whose event this is; that nothing changed is no event to show."""
    event = None if isinstance(recorded.event, NothingChanged) else recorded.event
    return Outcome(status, recorded.position, recorded.recorded_at, event)


def _identities(event: JournalEntryPosted, position: int) -> list[Identity]:
    """The names that an entry takes."""
    return [
        Identity(kind, name, position)
        for kind, name in (
            ("entry", event.entry_id),
            ("reference", event.reference),
            ("reversal", event.reverses),
        )
        if name is not None
    ]
