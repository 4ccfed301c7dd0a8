"""The shell: load what commands need, decide them, append their events, answer.

One transaction serves many submissions: lock the head, take in what other writers appended, load
what is missing, decide one after another, and append what is decided meanwhile (``appending``). A
writer that is alone puts the lock off until it is needed: a few plain commands never need it.
Nothing is answered before the commit. A connection lost during commit leaves the outcome unknown:
if the log shows that the transaction was committed, its answers are given; if not, the work is done
again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import psycopg

from ledger_core import four_eyes, loading, log, merkle
from ledger_core.appending import STATEMENT_EVENTS_MAX, Appending, HeadMoved
from ledger_core.approvals import ApproveRequest
from ledger_core.blind_index import BlindIndex
from ledger_core.books import Books
from ledger_core.database import LOST
from ledger_core.errors import LedgerBusy
from ledger_core.log import Connection, Head
from ledger_core.refusals import RefusalBounds
from ledger_core.transaction import Mode, Outcome, Status, Submission, Transaction
from ledger_core.vault import Vault

__all__ = ["Ledger", "Mode", "Outcome", "Status", "Submission"]

ATTEMPTS_MAX = 3
# A server that is a standby now may have a successor, which the next connection finds.
_UNAVAILABLE = (*LOST, psycopg.errors.ReadOnlySqlTransaction)


class _Attempt(msgspec.Struct, frozen=True):
    """A transaction about to be committed: where it will end, its events, and its answers."""

    position: int
    appending: Appending
    outcomes: list[list[Outcome]]


class Ledger:
    """The write side of one ledger. Not safe for use by several threads at once."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        ledger_id: int,
        clock: Callable[[], datetime],
        vault: Vault,
        index: BlindIndex | None = None,
    ) -> None:
        """Nothing is read before the first command; without ``index`` nobody is found by name."""
        self._connect = connect
        self._connection: Connection | None = None
        self.ledger_id = ledger_id
        self._clock = clock
        self._vault = vault
        self._index = index
        # Who is told that all of a transaction is decided and its commit begins, if anybody is.
        self.committing: Callable[[], None] | None = None
        self._books = Books()
        self._is_loaded = False
        self._in_doubt: _Attempt | None = None
        # The last transaction that was answered: no log that is this ledger's lacks it.
        self._answered: _Attempt | None = None
        # Where this writer left the log, as long as nobody else was seen to write.
        self._left_at: Head | None = None
        self._refusals = RefusalBounds()

    def execute(self, submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """Carry out submissions in one transaction; one outcome a command, in order.

        Every outcome is durable when this returns.

        Raises:
            LedgerBusy: the database was lost and could not be reached again, or takes no changes,
                or the projectors are too far behind for the state to be held in memory.
        """
        self._in_doubt = None
        for attempt in range(ATTEMPTS_MAX):
            try:
                return self._attempt(submissions)
            except _UNAVAILABLE as error:
                self.close()
                if attempt == ATTEMPTS_MAX - 1:
                    raise LedgerBusy(reason=_reason(error)) from None
            except BaseException:
                self.close()
                raise
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def judge(self, submission: Submission, books: Books) -> list[Outcome]:
        """Answer as if the ledger stood where these books do; nothing is recorded.

        The books must hold all that the commands need: see ``projections.past_books``.

        Raises:
            LedgerBusy: the database cannot be reached.
        """
        try:
            connection = self._connection = self._connect()
            connection.execute("BEGIN")
            keys = [command.key for command in submission.commands]
            for command in submission.commands:
                keys += four_eyes.more_keys(command)
            votes = [item for item in submission.commands if isinstance(item, ApproveRequest)]
            keys += [str(item.command["key"]) for item in four_eyes.waiting(books, votes)]
            known = loading.by_key(connection, self.ledger_id, keys)
            self._books = books
            transaction = self._begun(connection)
            transaction.known = {
                key: first for key, first in known.items() if first.position <= books.position
            }
            return transaction.submission(msgspec.structs.replace(submission, dry_run=True))
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise LedgerBusy(reason="database_unreachable") from None
        finally:
            self.close()  # Which rolls back: a dry run's keys of persons are never stored.

    def close(self) -> None:
        """Let go of the connection and of everything remembered."""
        connection, self._connection = self._connection, None
        self._books = Books()
        self._is_loaded = False
        self._left_at = None
        if connection is not None:
            connection.close()

    def _attempt(self, submissions: Sequence[Submission]) -> list[list[Outcome]]:
        """One transaction over all submissions."""
        if self._connection is None:
            self._connection = self._connect()
        while True:
            outcomes = self._transaction(self._connection, submissions)
            if outcomes is not None:
                return outcomes

    def _transaction(
        self, connection: Connection, submissions: Sequence[Submission]
    ) -> list[list[Outcome]] | None:
        """Carry out the submissions; ``None`` where only some of much that was due was recorded."""
        books = self._books
        assumed, self._left_at = self._left_at, None
        if assumed is not None and _is_little(submissions):
            savepoint = books.savepoint()
            books.recorded_at = max(self._clock(), assumed.recorded_at)
            try:
                return self._carried_out(connection, submissions, assumed, is_locked=False)
            except HeadMoved:
                books.rollback(savepoint)
                self._in_doubt = None
        head = log.begin(connection, self.ledger_id)
        if not self._is_loaded:
            self._require_continued(connection)
        if self._in_doubt is not None and self._is_recorded(connection, self._in_doubt):
            connection.execute("ROLLBACK")
            self._answered = msgspec.structs.replace(self._in_doubt, outcomes=[])
            return self._in_doubt.outcomes
        if not self._is_loaded:
            loading.first_load(connection, self.ledger_id, books)
            self._is_loaded = True
        is_alone = books.position == head.position
        loading.synchronise(connection, self.ledger_id, books, head)
        books.recorded_at = max(self._clock(), head.recorded_at)
        outcomes = self._carried_out(connection, submissions, head, is_locked=True)
        if not is_alone:
            self._left_at = None
        return outcomes

    def _carried_out(
        self,
        connection: Connection,
        submissions: Sequence[Submission],
        head: Head,
        *,
        is_locked: bool,
    ) -> list[list[Outcome]] | None:
        """Decide and append after the head, which is locked, or taken to be there still.

        Raises:
            HeadMoved: it was not there any more; the books are to be rolled back.
        """
        books = self._books
        appending = Appending(
            connection, self.ledger_id, head, books.recorded_at, is_locked=is_locked
        )
        transaction = self._begun(connection, appending)
        if books.recent_keys.is_over(books.recorded_at):
            appending.lock()
            loading.load_recent_keys(connection, self.ledger_id, books)
        if transaction.fall_due():
            self._commit(connection, transaction, appending, None)
            books.settle()
            loading.evict(connection, self.ledger_id, books)
            return None
        asked = [command for item in submissions for command in item.commands]
        transaction.load(asked)
        outcomes = [transaction.submission(item) for item in submissions]
        self._commit(connection, transaction, appending, outcomes)
        books.settle()
        loading.evict(connection, self.ledger_id, books)
        return outcomes

    def _begun(self, connection: Connection, appending: Appending | None = None) -> Transaction:
        """A transaction on these books that has decided nothing yet."""
        return Transaction(
            connection, self.ledger_id, self._books, self._vault, self._refusals, appending
        )

    def _commit(
        self,
        connection: Connection,
        transaction: Transaction,
        appending: Appending,
        outcomes: list[list[Outcome]] | None,
    ) -> None:
        """Append what was decided, and commit."""
        books = self._books
        transaction.hand_on()
        if self.committing is not None:
            self.committing()
        if appending.last is None:
            # An answer is given on where the ledger stands now, not where it was left.
            appending.lock()
            connection.execute("COMMIT")
            return
        for item in transaction.decided.values():
            forgotten = four_eyes.forgotten_subject(item.event)
            if forgotten is not None:
                appending.pause()
                self._vault.destroy_subject(connection, self.ledger_id, forgotten, item.recorded_at)
        if transaction.profiles and self._index is not None:
            appending.pause()
            self._index.record(connection, self.ledger_id, transaction.profiles.values())
        if outcomes is not None:
            self._in_doubt = _Attempt(books.position, appending, outcomes)
        self._left_at = appending.commit(transaction.identities)
        self._answered = _Attempt(books.position, appending, [])

    def _require_continued(self, connection: Connection) -> None:
        """The log that was connected to anew still has what was answered last.

        It has not where a replica that lagged behind took the place of a lost server, or an old
        server came back: what was acknowledged is lost there, and going on would hide it.

        Raises:
            LedgerBusy: it has not; nothing is recorded until people have decided.
        """
        if self._answered is not None and not self._is_recorded(connection, self._answered):
            raise LedgerBusy(
                reason="log_not_continued", acknowledged_position=self._answered.position
            )

    def _is_recorded(self, connection: Connection, attempt: _Attempt) -> bool:
        """Whether a transaction whose commit was not answered was committed nevertheless.

        Then the log has every event of it. That its last one is there says too little: another
        writer may have carried out the same request, in a transaction with others than these.
        """
        began, ended = attempt.appending.began, attempt.appending.head()
        if ended.position != attempt.position:
            return False
        reached, frontier = began.position, began.frontier
        while reached < ended.position:
            limit = min(log.READ_ROWS_MAX, ended.position - reached)
            stored = log.read_events(connection, self.ledger_id, reached, limit)
            if not stored:
                return False
            frontier = merkle.extend(frontier, [item.leaf_hash for item in stored])
            reached = stored[-1].position
        return frontier == ended.frontier


def _reason(error: psycopg.Error) -> str:
    """Why the database does not take what was decided."""
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return "database_read_only"
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "locked_by_another_writer"
    return "database_unreachable"


def _is_little(submissions: Sequence[Submission]) -> bool:
    """Whether the submissions' events probably fit into one statement."""
    return sum(len(item.commands) for item in submissions) <= STATEMENT_EVENTS_MAX
