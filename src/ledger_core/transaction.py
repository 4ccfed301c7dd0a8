"""One transaction's decisions: commands on the books, one after another, and what they lead to.

Everything here can be taken back until the transaction is appended. The shell around it
(``ledger``) loads, appends and commits; the rules decide. What only the shell can do for a command
is done here: find the first answer to a repeated key, seal personal data, make a request of what
needs approval, run a stored command.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from ledger_core import (
    authority_amounts,
    commands,
    events,
    four_eyes,
    identities,
    kept,
    loading,
    order_runs,
    transfers,
)
from ledger_core.appending import STREAM_EVENTS, Appending
from ledger_core.approvals import ApprovalRequest, ApprovalRequested, ApproveRequest
from ledger_core.authority_amounts import AmountBounds
from ledger_core.blind_index import ProfileChange
from ledger_core.booking import asked_of
from ledger_core.books import Books, Caller, Event, Wants
from ledger_core.commands import Command, DecidedCommand, RequestApproval
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
    customer_id_at,
)
from ledger_core.errors import (
    ApprovalNeeded,
    BatchFailed,
    CustomerErasedAlready,
    EntryExists,
    HoldExists,
    IdempotencyConflict,
    LedgerBusy,
    LedgerError,
    NotAttempted,
    RepeatedInBatch,
    UnknownCurrency,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.fields import require_key
from ledger_core.journal import JournalEntryPosted
from ledger_core.log import Connection, Identity, NewEvent
from ledger_core.refusals import CommandRefused, RefusalBounds
from ledger_core.standing_orders import RunOrder
from ledger_core.transfers import Transfer
from ledger_core.unchanged import NothingChanged
from ledger_core.vault import KeyDestroyedError, Vault

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

    from ledger_core.commands import ApprovableCommand

SYSTEM_ACTOR = "ledger"
"""On whose behalf the ledger itself acts: what fell due."""

# Refusals that say what is wrong with the request, not what was seen in the ledger.
_UNRECORDED = (
    ValidationFailed,
    UnknownCurrency,
    IdempotencyConflict,
    EntryExists,
    HoldExists,
    LedgerBusy,
)

_NO_CHANGES: Mapping[int, ProfileChange] = MappingProxyType({})

Mode = Literal["each", "stop_on_error", "atomic"]
Status = Literal["recorded", "replayed", "unchanged", "refused", "pending_approval"]


class Submission(msgspec.Struct, frozen=True):
    """Commands that one caller sent together, and how they depend on each other.

    ``each``: every one for itself; ``stop_on_error``: nothing after the first refusal is
    attempted; ``atomic``: all or none. ``actor`` says on whose behalf, in one printable word;
    ``person`` who that is where several actors are one person, and ``permissions`` what that
    person may approve. A ``dry_run`` is answered alike, and nothing of it is recorded. With
    ``if_match`` there is one command, on one account, which must have one of these versions.
    ``amount_max`` bounds how much one command may move; ``None``: nothing does. ``mark`` is what
    its caller knows it by; nothing here looks at it.
    """

    commands: Sequence[Command]
    actor: str
    mode: Mode = "each"
    person: str | None = None
    permissions: frozenset[str] = frozenset()
    dry_run: bool = False
    if_match: tuple[int, ...] | None = None
    amount_max: AmountBounds | None = None
    mark: object = None


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


class Transaction:
    """What one transaction decides; everything it reads was loaded before.

    Without ``appending``, nothing can be recorded: then there may be dry runs only.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what one transaction works on
        self,
        connection: Connection,
        ledger_id: int,
        books: Books,
        vault: Vault,
        refusals: RefusalBounds,
        appending: Appending | None = None,
    ) -> None:
        """Begin with nothing decided."""
        self._own_connection = connection
        self._ledger_id = ledger_id
        self._books = books
        self._vault = vault
        self._refusals = refusals
        self._appending = appending
        self._amount_max: AmountBounds | None = None
        # Decided, and not handed on yet.
        self._appends: list[NewEvent] = []
        self.identities: list[Identity] = []
        # Key -> the event it already led to, in the log or in this transaction.
        self.known: dict[str, events.Recorded | Outcome] = {}
        self.decided: dict[int, events.Recorded] = {}
        # Position -> what its event changed of a person, for the index; in clear, until the commit.
        self.profiles: dict[int, ProfileChange] = {}
        # The ciphers of persons whose profiles are about to be changed.
        self._ciphers: dict[str, AESGCMSIV] = {}

    @property
    def _connection(self) -> Connection:
        """The connection, with nothing being streamed over it."""
        if self._appending is not None:
            self._appending.pause()
        return self._own_connection

    def load(self, commands: Sequence[Command]) -> None:
        """Load everything that the commands need.

        Raises:
            LedgerBusy: the state cannot be held in memory.
        """
        if loading.is_at_hand(self._books, commands):
            return
        self.known |= loading.load(self._connection, self._ledger_id, self._books, commands)
        customers = self._books.customers
        changed = [item.customer_id for item in commands if isinstance(item, ChangeProfile)]
        subjects = {customers[name].subject for name in changed if name in customers}
        if subjects:
            self._ciphers = self._vault.ciphers(self._connection, self._ledger_id, sorted(subjects))

    def hand_on(self) -> None:
        """Append what was decided so far: it can no longer be taken back but by a rollback."""
        if self._appending is not None:
            self._appending.add(self._appends)
            self._appends.clear()

    def fall_due(self) -> bool:
        """Record what is due, before anything is decided; whether there may be more of it."""
        books = self._books
        more = not books.is_due_known and loading.load_due(self._connection, self._ledger_id, books)
        if not books.is_any_due:
            return more
        if self._appending is not None:
            # No rollback puts back what is taken out of the order of due times.
            self._appending.lock()
        places = books.next_due()
        if places:
            loading.load_wanted(self._connection, self._ledger_id, books, Wants(kept=set(places)))
        for place in places:
            event = kept.due_event(place, books.states[place])
            self._record(event, None, SYSTEM_ACTOR)
        return more

    def submission(self, submission: Submission) -> list[Outcome]:
        """Decide the commands of one caller."""
        actor = submission.actor
        self._books.caller = Caller(actor, submission.person or actor, submission.permissions)
        self._amount_max = submission.amount_max
        decide = self._decide_all if submission.if_match is None else self._decide_matching
        if not submission.dry_run:
            return decide(submission)
        savepoint = self._books.savepoint()
        counts = len(self._appends), len(self.identities)
        self._connection.execute("SAVEPOINT dry_run")
        with self._refusals.uncounted(actor):
            outcomes = decide(submission)
        self._connection.execute("ROLLBACK TO SAVEPOINT dry_run")
        self._undo(savepoint, counts)
        return outcomes

    def _decide_matching(self, submission: Submission) -> list[Outcome]:
        """Decide the one command of a submission that names its account's version.

        As a precondition has to (RFC 9110, 13.2.1), it counts only where the command would take
        effect: an answer that is repeated and a refusal stay what they are.
        """
        (command,) = submission.commands
        account = self._books.accounts.get(getattr(command, "account_id", None) or "")
        savepoint = self._books.savepoint()
        counts = len(self._appends), len(self.identities)
        outcomes = self._decide_all(submission)
        if outcomes[0].status in ("replayed", "refused") or account is None:
            return outcomes
        if account.version in (submission.if_match or ()):
            return outcomes
        self._undo(savepoint, counts)
        conflict = VersionConflict(account_id=account.terms.account_id, version=account.version)
        return [self._refused(conflict)]

    def _decide_all(self, submission: Submission) -> list[Outcome]:
        """Decide the commands of a submission in its mode."""
        outcomes: list[Outcome] = []
        commands, mode, actor = submission.commands, submission.mode, submission.actor
        savepoint = self._books.savepoint()
        counts = len(self._appends), len(self.identities)
        is_final = (
            mode != "atomic"
            and not submission.dry_run
            and submission.if_match is None
            and self._appending is not None
            and self._appending.is_locked
        )
        while (index := len(outcomes)) < len(commands):
            if is_final and len(self._appends) >= STREAM_EVENTS:
                self.hand_on()
            command = commands[index]
            if type(command) is Transfer and self._amount_max is None:
                some = commands[index : index + STREAM_EVENTS]
                plain = self._plain(some, actor, is_final=is_final)
                if plain:
                    outcomes += plain
                    continue
            outcome = self._in_mode(command, submission, savepoint[1])
            outcomes.append(outcome)
            if outcome.error is None or mode == "each":
                continue
            rest = len(commands) - index - 1
            if mode == "stop_on_error":
                return outcomes + [self._refused(NotAttempted(item=index))] * rest
            self._undo(savepoint, counts)
            outcome = self._refused(_without_undone(outcome.error, self._books.position))
            failed = self._refused(BatchFailed(item=index))
            return [failed] * index + [outcome] + [failed] * rest
        return outcomes

    def _in_mode(self, command: Command, submission: Submission, begun_at: int) -> Outcome:
        """Decide one command of a submission that was begun at a position."""
        mode, actor = submission.mode, submission.actor
        outcome = self._command(command, actor)
        if mode != "atomic":
            if outcome.error is not None:
                self._record_refusal(command, outcome.error, actor)
            return outcome
        if four_eyes.waits(command, outcome.event):
            return self._refused(ApprovalNeeded())
        if outcome.status == "replayed" and outcome.position > begun_at:
            return self._refused(RepeatedInBatch())
        return outcome

    def _undo(self, savepoint: tuple[int, int], counts: tuple[int, int]) -> None:
        """Take back what an atomic submission had decided."""
        del self._appends[counts[0] :]
        del self.identities[counts[1] :]
        self._books.rollback(savepoint)
        last = self._books.position
        self.known = {key: item for key, item in self.known.items() if item.position <= last}
        self.decided = {at: item for at, item in self.decided.items() if at <= last}
        self.profiles = {at: item for at, item in self.profiles.items() if at <= last}

    def _plain(self, commands: Sequence[Command], actor: str, *, is_final: bool) -> list[Outcome]:
        """Decide and record transfers that nothing is special about, up to the first other command.

        The hot path: all that ``_command`` does comes to nothing else here. What ``is_final`` is
        never taken back.
        """
        books = self._books
        if four_eyes.is_used(books):
            return []
        position, recorded_at = books.position, books.recorded_at
        entries = transfers.book_plain(books, commands, self.known, is_final=is_final)
        keys = [command.key for command in commands[: len(entries)]]
        outcomes = [
            Outcome("recorded", at, recorded_at, entry)
            for at, entry in enumerate(entries, position + 1)
        ]
        self.known.update(zip(keys, outcomes, strict=True))
        books.recent_keys.update(keys)
        name, version = events.ENTRY_NAME
        tags = [events.tags_of(entry, 0) for entry in entries]
        self._appends += [
            NewEvent(name, version, about, key, actor, data)
            for about, key, data in zip(tags, keys, map(events.encode, entries), strict=True)
        ]
        return outcomes

    def _command(
        self,
        command: Command,
        actor: str,
        approved: ApprovalRequest | None = None,
    ) -> Outcome:
        """Decide one command, whose identity comes before everything else.

        ``approved`` is the request by which it runs: then no policy holds it up any more.
        """
        books = self._books
        if isinstance(command, RunOrder):
            return self._run_order(command, actor)
        try:
            require_key(command.key)
            command = four_eyes.with_one_key(command)
            may_wait = approved is None and four_eyes.is_used(books)
            keys = four_eyes.keys_of(command) if may_wait else (command.key,)
            first = next((self.known[key] for key in keys if key in self.known), None)
            if first is not None:
                return self._again(command, first)
            first = self._same_id(command)
            if first is not None:
                return self._same_identity(command, first)
            decided = self._decide(command, approved)
            request = self._held_up(command, decided, approved)
        except LedgerError as error:
            return self._refused(error)
        if request is not None:
            key = four_eyes.request_key(command.key)
            position = self._record(request, key, actor)
            self.known[key] = events.Recorded(position, books.recorded_at, request)
            return _told("pending_approval", self.known[key])
        if isinstance(command, ApproveRequest) and four_eyes.is_last(books, decided):
            decided = self._carry_out(command.request_id, decided, actor)
        status: Status = "recorded" if decided else "unchanged"
        decided = decided or (commands.nothing_changed(command),)
        last = len(decided) - 1
        key = four_eyes.recorded_key(command)
        for index, event in enumerate(decided):
            self._record(event, key if index == last else None, actor)
        position = books.position
        recorded = events.Recorded(position, books.recorded_at, decided[last])
        self.profiles |= _profile_changes(command, recorded)
        self.known[key] = recorded
        return _told(status, recorded)

    def _held_up(
        self,
        command: DecidedCommand,
        decided: tuple[Event, ...],
        approved: ApprovalRequest | None,
    ) -> ApprovalRequested | None:
        """The request that the command becomes, where policies hold it up.

        Raises:
            AmountAboveAuthority: it moves more than the caller may by one command.
            VersionConflict: it does not come to what was approved.
        """
        if approved is not None:
            four_eyes.require_as_approved(self._books, approved, decided)
            return None
        bounds = self._amount_max
        if bounds is not None:
            authority_amounts.require_within(self._books, command, decided, bounds)
        request = four_eyes.held_up(self._books, command, decided)
        if request is not None and bounds is not None:
            waiting = cast("ApprovableCommand", command)
            authority_amounts.require_later_within(self._books, waiting, bounds)
        return request

    def _run_order(self, command: RunOrder, actor: str) -> Outcome:
        """Run one occurrence of a standing order, unless that was done before."""
        books = self._books
        first = self.known.get(command.key)
        if first is not None:
            return _told("replayed", first)
        try:
            event = order_runs.run(books, command, lambda event: self._record(event, None, actor))
        except LedgerError as error:
            return self._refused(error)
        if event is None:
            return Outcome("unchanged", books.position, books.recorded_at)
        position = self._record(event, command.key, actor)
        self.known[command.key] = events.Recorded(position, books.recorded_at, event)
        return _told("recorded", self.known[command.key])

    def _carry_out(
        self,
        request_id: str,
        approval: tuple[Event, ...],
        actor: str,
    ) -> tuple[Event, ...]:
        """Record the last approval and run the command that waited for it; what came of that."""
        books = self._books
        for event in approval:
            self._record(event, None, actor)
        request = four_eyes.request_in(books, request_id)
        voter, books.caller = books.caller, four_eyes.maker_of(request)
        try:
            clear = self._unsealed(request.subject, request.sealed)
            command = four_eyes.command_of(request, clear)
            outcome = self._command(command, request.actor, request)
        except LedgerError as error:
            outcome = self._refused(error)
        books.caller = voter
        return (four_eyes.outcome_of(request, outcome.position, outcome.event, outcome.error),)

    def _decide(
        self,
        command: DecidedCommand,
        approved: ApprovalRequest | None = None,
    ) -> tuple[Event, ...]:
        """The command's events; personal data is sealed once the command is known to be good."""
        books = self._books
        if isinstance(command, RequestApproval):
            return four_eyes.decide_request(books, command, self._decide)
        if not isinstance(command, RegisterCustomer | ChangeProfile):
            return commands.decide(books, command)
        if approved is not None:
            return commands.decide_sealed(books, command, four_eyes.sealed_of(command, approved))
        if isinstance(command, RegisterCustomer):
            check_registration(books, command)
            subject = self._vault.create_subject(
                self._connection, self._ledger_id, books.recorded_at
            )
            given = command.profile
        else:
            subject = check_profile_change(books, command).subject
            given = {name: text for name, text in command.changes.items() if text is not None}
        sealed = self._sealed(subject, given)
        return commands.decide_sealed(books, command, sealed)

    def _sealed(self, subject: str, profile: dict[str, str]) -> Sealed:
        """A profile with its personal fields sealed.

        Raises:
            CustomerErasedAlready: on books of the past, a person who was forgotten since.
        """
        personal = {name: text for name, text in profile.items() if name in PERSONAL_FIELDS}
        public = {name: text for name, text in profile.items() if name not in PERSONAL_FIELDS}
        cipher = self._ciphers.get(subject)
        if cipher is None:
            try:
                sealed = self._vault.seal(self._connection, self._ledger_id, subject, personal)
            except KeyDestroyedError:
                raise CustomerErasedAlready from None
        else:
            sealed = self._vault.seal_with(cipher, subject, personal)
        return Sealed(subject, sealed, public)

    def _record(self, event: Event, key: str | None, actor: str) -> int:
        """Take a decided event into the books and the transaction; its position."""
        books = self._books
        position = books.record(event)
        self._append(event, position, key, actor)
        names = identities.names_of(event, position)
        if names:
            self.identities.extend(names)
        if names or not isinstance(event, JournalEntryPosted):
            self.decided[position] = events.Recorded(position, books.recorded_at, event)
        return position

    def _append(self, event: Event, position: int, key: str | None, actor: str) -> None:
        """Have an event appended that was taken into the books."""
        name, version = events.name_of(event)
        tags = events.tags_of(event, position)
        self._appends.append(NewEvent(name, version, tags, key, actor, events.encode(event)))
        if key is not None:
            self._books.recent_keys.add(key)

    def _record_refusal(self, command: Command, error: LedgerError, actor: str) -> None:
        """Record that a movement of money was refused, within the caller's bounds."""
        if type(command) not in commands.MOVEMENTS or isinstance(error, _UNRECORDED):
            return
        unrecorded = self._refusals.admit(actor, self._books.recorded_at)
        if unrecorded is None:
            return
        asked = asked_of(command) | {"key": command.key}
        self._record(CommandRefused(asked, error.code, dict(error.seen), unrecorded), None, actor)

    def _again(self, command: Command, first: events.Recorded | Outcome) -> Outcome:
        """The first answer once more, if the content is the same.

        Raises:
            IdempotencyConflict: naming the fields that differ and the first event's position.
        """
        assert first.event is not None  # noqa: S101 - an outcome that is known is an entry's
        fields = self._differences(command, first.event)
        fields += four_eyes.differing_voter(self._books, command, first.event)
        if fields:
            raise IdempotencyConflict(position=first.position, fields=list(fields))
        return _told("replayed", first)

    def _same_identity(self, command: Command, first: events.Recorded) -> Outcome:
        """The first answer once more, for something that has the chosen id and the same content.

        Raises:
            AccountExists, CustomerExists, EntryExists: it has other content.
        """
        fields = self._differences(command, first.event)
        if not fields:
            return _told("replayed", first)
        raise identities.taken(command, first.position, fields)

    def _same_id(self, command: Command) -> events.Recorded | None:
        """The event that took the id this command chooses, if any."""
        position = identities.taken_at(self._books, command)
        if position is None:
            return None
        if position in self.decided:
            return self.decided[position]
        return next(iter(loading.at_positions(self._connection, self._ledger_id, [position])), None)

    def _differences(self, command: Command, event: Event) -> tuple[str, ...]:
        """The fields in which the command differs from the one the event answered."""
        unsealed: dict[str, str] | None = {}
        if isinstance(event, CustomerRegistered | CustomerProfileChanged):
            subject = self._subject(event)
            unsealed = self._unsealed(subject, event.sealed)
        elif isinstance(event, ApprovalRequested):
            unsealed = self._unsealed(event.subject, event.sealed)
        return commands.differing_fields(command, event, unsealed)

    def _unsealed(self, subject: str | None, sealed: dict[str, str]) -> dict[str, str] | None:
        """What was sealed in clear; ``None`` where the subject's key was destroyed."""
        if subject is None:
            return {}
        return self._vault.unseal(self._connection, self._ledger_id, subject, sealed)

    def _subject(self, event: CustomerRegistered | CustomerProfileChanged) -> str:
        """The subject whose key sealed the event."""
        if isinstance(event, CustomerRegistered):
            return event.subject
        # Under a key used before, the event may be about another customer than the command.
        wants = Wants(customers={event.customer_id})
        loading.load_state(self._connection, self._ledger_id, self._books, wants)
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


def _profile_changes(command: Command, recorded: events.Recorded) -> Mapping[int, ProfileChange]:
    """By its position, what the command's event changed of a person, as the command gave it."""
    given: Mapping[str, str | None] = {}
    match recorded.event, command:
        case CustomerRegistered() as event, RegisterCustomer(profile=profile):
            customer_id, given = customer_id_at(event, recorded.position), profile
        case CustomerProfileChanged(customer_id=customer_id), ChangeProfile(changes=changes):
            given = changes
        case CustomerErased(customer_id=customer_id), _:
            return {recorded.position: ProfileChange(customer_id, is_erased=True)}
        case _:
            return _NO_CHANGES
    personal = {name: text for name, text in given.items() if name in PERSONAL_FIELDS}
    return {recorded.position: ProfileChange(customer_id, personal)}


def _told(status: Status, recorded: events.Recorded | Outcome) -> Outcome:
    """The outcome of a command whose event this is; that nothing changed is no event to show."""
    event = None if isinstance(recorded.event, NothingChanged) else recorded.event
    if status == "recorded" and isinstance(event, ApprovalRequested):
        status = "pending_approval"
    return Outcome(status, recorded.position, recorded.recorded_at, event)
