"""Deliberate bugs: each is put into the product for a while, and the simulation must find it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType

import psycopg
from tests.simulation.session import Session
from tests.simulation.tasks import replaced
from tests.strategies import START

from ledger_core import kept, loading, log
from ledger_core import ledger as ledger_module
from ledger_core import writer as writer_module
from ledger_core.appending import Appending, HeadMoved
from ledger_core.books import Books, Wants
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Ledger
from ledger_core.log import Connection, Head, Identity
from ledger_core.recent_keys import RecentKeys
from ledger_core.transaction import SYSTEM_ACTOR, Transaction
from ledger_core.writer import Item, Writer
from projections import batches, runner
from projections.feed import PIECES
from projections.folding import Batch
from projections.memory import Memory
from projections.writing import Projection, lane

Bug = Callable[[], AbstractContextManager[None]]


def _head_not_locked() -> AbstractContextManager[None]:
    """An append takes the head as it is, and nobody is kept out."""

    def begin(connection: Connection, ledger_id: int) -> Head:
        connection.execute("BEGIN")
        return log.read_head(connection, ledger_id)

    return replaced((log, "begin", begin))


def _key_check_skipped() -> AbstractContextManager[None]:
    """Whether a key was used before is not looked up."""
    return replaced(
        (RecentKeys, "is_new", lambda *_: True),
        (RecentKeys, "not_new", lambda *_: []),
    )


def _recent_keys_not_caught_up() -> AbstractContextManager[None]:
    """Keys that another writer used are not among the recent ones."""

    def synchronise(connection: Connection, ledger_id: int, books: Books, head: Head) -> None:
        known, books.recent_keys = books.recent_keys, RecentKeys()
        genuine(connection, ledger_id, books, head)
        books.recent_keys = known

    genuine = loading.synchronise
    return replaced((loading, "synchronise", synchronise))


def _failed_commit_answered() -> AbstractContextManager[None]:
    """Answers are given though the commit may have failed."""
    genuine = Appending.commit

    def commit(self: Appending, identities: Sequence[Identity] = ()) -> Head:
        try:
            return genuine(self, identities)
        except psycopg.OperationalError:
            return self.head()

    return replaced((Appending, "commit", commit))


def _doubt_taken_for_success() -> AbstractContextManager[None]:
    """A commit that was not answered is taken for one that succeeded."""
    return replaced((Ledger, "_is_recorded", lambda *_: True))


def _doubt_settled_by_last_event() -> AbstractContextManager[None]:
    """Of a commit that was not answered, only the last event is looked for (found here first)."""

    def is_recorded(self: Ledger, connection: Connection, attempt: ledger_module._Attempt) -> bool:
        last = attempt.appending.last
        at = attempt.appending.began.position, attempt.position
        if last is None or attempt.appending.head().position != at[1]:
            return False
        stored = log.read_events(connection, self.ledger_id, at[1] - 1, 1)
        return any(
            (item.type, item.command_key, item.actor, item.data)
            == (last.type, last.command_key, last.actor, last.data)
            for item in stored
        )

    return replaced((Ledger, "_is_recorded", is_recorded))


def _books_not_rolled_back() -> AbstractContextManager[None]:
    """What was decided before another writer was seen stays in memory."""

    def rollback(self: Books, savepoint: tuple[int, int]) -> None:
        self.position = savepoint[1]

    return replaced((Books, "rollback", rollback))


def _books_kept_after_loss() -> AbstractContextManager[None]:
    """A lost connection does not make the writer forget what it had not committed."""

    def close(self: Ledger) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    return replaced((Ledger, "close", close))


def _others_not_caught_up() -> AbstractContextManager[None]:
    """What another writer appended is passed over."""

    def synchronise(_connection: Connection, _ledger_id: int, books: Books, head: Head) -> None:
        books.position = head.position

    return replaced((loading, "synchronise", synchronise))


def _due_forgotten() -> AbstractContextManager[None]:
    """What falls due is taken out of its order before the head is locked (found here first)."""

    def fall_due(self: Transaction) -> bool:
        books = self._books
        more = not books.is_due_known and loading.load_due(self._connection, self._ledger_id, books)
        places = books.next_due()
        if places:
            wants = Wants(kept=set(places))
            loading.load_wanted(self._connection, self._ledger_id, books, wants)
        for place in places:
            self._record(kept.due_event(place, books.states[place]), None, SYSTEM_ACTOR)
        return more

    return replaced((Transaction, "fall_due", fall_due))


def _released_twice() -> AbstractContextManager[None]:
    """A hold that expires is freed twice."""
    genuine = Books.next_due
    return replaced((Books, "next_due", lambda self: genuine(self) * 2))


def _swap_unchecked() -> AbstractContextManager[None]:
    """That the head has moved is taken for success."""
    genuine = Appending.commit

    def commit(self: Appending, identities: Sequence[Identity] = ()) -> Head:
        try:
            return genuine(self, identities)
        except HeadMoved:
            return self.head()

    return replaced((Appending, "commit", commit))


def _nobody_woken() -> AbstractContextManager[None]:
    """What is queued wakes nobody."""

    def submit_all(self: Writer, items: Sequence[Item]) -> None:
        with self._has_work:
            for item in items:
                if not self._queue(item):
                    item[1].set_exception(LedgerBusy(reason="queue_full"))

    return replaced((writer_module.Writer, "submit_all", submit_all))


def _stopped_undrained() -> AbstractContextManager[None]:
    """A writer that is stopped leaves what is queued."""
    genuine = vars(Writer)["_next_group"]

    def next_group(self: Writer) -> list[Item]:
        group: list[Item] = genuine(self)
        return [] if self._is_stopping else group

    return replaced((Writer, "_next_group", next_group))


def _position_not_stored() -> AbstractContextManager[None]:
    """The projector writes a batch, and not how far it is."""
    return replaced((batches, "_move", lambda *_: None))


def _batch_without_transaction() -> AbstractContextManager[None]:
    """A batch and its position are written in no transaction."""
    return replaced((Session, "transaction", lambda _: nullcontext()))


def _position_first() -> AbstractContextManager[None]:
    """The projector stores how far it is in a transaction before that of the batch."""

    def take_batch(
        connection: Connection,
        ledger_id: int,
        targets: Sequence[tuple[Projection, int]],
        memory: Memory,
        limit: int,
    ) -> int:
        first, last = memory.position, memory.position + 1
        if not connection.execute(PIECES.encode(), (ledger_id, first, last)).fetchall():
            return 0
        with lane(connection) as opened:
            move(opened, ledger_id, targets, Batch(last, last, START))
            opened.execute("COMMIT", ())
            opened.execute("BEGIN", ())
        with replaced((batches, "_move", lambda *_: None)):
            return genuine(connection, ledger_id, targets, memory, min(limit, 1))

    move, genuine = vars(batches)["_move"], batches.take_batch
    return replaced((runner, "take_batch", take_batch))


BUGS: Mapping[str, Bug] = MappingProxyType(
    {
        "head-not-locked": _head_not_locked,
        "key-check-skipped": _key_check_skipped,
        "recent-keys-not-caught-up": _recent_keys_not_caught_up,
        "failed-commit-answered": _failed_commit_answered,
        "doubt-taken-for-success": _doubt_taken_for_success,
        "doubt-settled-by-last-event": _doubt_settled_by_last_event,
        "books-not-rolled-back": _books_not_rolled_back,
        "books-kept-after-loss": _books_kept_after_loss,
        "others-not-caught-up": _others_not_caught_up,
        "due-forgotten": _due_forgotten,
        "released-twice": _released_twice,
        "swap-unchecked": _swap_unchecked,
        "nobody-woken": _nobody_woken,
        "stopped-undrained": _stopped_undrained,
        "position-not-stored": _position_not_stored,
        "batch-without-transaction": _batch_without_transaction,
        "position-first": _position_first,
    }
)

SCRIPTS = Path(__file__).parent / "scripts"
SHOWN_BY: Mapping[str, Path] = MappingProxyType(
    {
        "due-forgotten": SCRIPTS / "due_forgotten.txt",
        "doubt-settled-by-last-event": SCRIPTS / "doubt_settled_by_last_event.txt",
    }
)
"""Scripts that break a rule with the bug, and none without."""
