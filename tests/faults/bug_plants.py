"""Deliberate bugs: each takes one safeguard out of the program, so that it is seen who notices.

A bug replaces functions of the program under the names that their callers look up: nothing in the
program knows of it. Here are those of the writer; ``view_bugs`` has those of projectors and reads,
and ``bugs`` lists them all.
"""

# ruff: noqa: ANN401, SLF001 - they reach inside, and stand in for functions of any type

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from ledger_core import (
    appending,
    books,
    holds,
    ledger,
    loading,
    log,
    merkle,
    snapshots,
    transaction,
    writer,
)
from ledger_core.accounts import Account
from ledger_core.events import Recorded
from ledger_core.journal import JournalEntryPosted
from ledger_core.log import Connection, Head, Identity

WINDOW_S = 0.05
"""How long what must happen at once takes, where a bug parts it."""


@dataclass(slots=True)
class Patches:
    """Replacements, which can be taken back."""

    _undo: list[Callable[[], None]] = field(default_factory=list)

    def put(self, owner: Any, name: str, value: object) -> None:
        """Replace an attribute, or add one that shadows a built-in."""
        if name in vars(owner):
            self._undo.append(partial(setattr, owner, name, vars(owner)[name]))
        else:
            self._undo.append(partial(delattr, owner, name))
        setattr(owner, name, value)

    def take_back(self) -> None:
        """Leave everything as it was."""
        while self._undo:
            self._undo.pop()()


def lock_dropped(patches: Patches) -> None:
    """Nobody locks the head, and nobody looks whether it is still where it was."""

    def begin(connection: Connection, ledger_id: int) -> Head:
        """Read the head, and no more."""
        cursor = connection.execute(
            sql.SQL(
                "BEGIN; SELECT position, recorded_at, frontier FROM ledger.heads"
                " WHERE ledger_id = {}"
            ).format(sql.Literal(ledger_id)),
            prepare=False,
        )
        cursor.nextset()
        row = cursor.fetchone()
        assert row is not None
        return Head(row[0], row[1], merkle.from_bytes(row[2]))

    def lock(self: Any) -> None:
        """Begin a transaction, if there is none."""
        if not self.is_locked:
            self._connection.execute("BEGIN")
            self.is_locked = True

    def swap(self: Any) -> Head:
        """Append and commit, wherever the head is."""
        statement = f"BEGIN; {self._insertion()}; {self._move()}; COMMIT"
        self._connection.execute(statement.encode(), prepare=False)
        head: Head = self.head()
        return head

    patches.put(log, "begin", begin)
    patches.put(appending.Appending, "lock", lock)
    patches.put(appending.Appending, "_swap", swap)


def stale_decision(patches: Patches) -> None:
    """What others appended since a decision was taken does not have it taken again."""

    def lock(self: Any) -> None:
        """Lock the head, wherever it is, and go on from there."""
        if self.is_locked:
            return
        head = log.begin(self._connection, self._ledger_id)
        self.began = head
        self._position = head.position
        self._frontier = head.frontier
        self.is_locked = True

    def swap(self: Any) -> Head:
        """Append behind the head, wherever it is."""
        self.lock()
        statement = f"{self._insertion()}; {self._move()}; COMMIT"
        self._connection.execute(statement.encode(), prepare=False)
        head: Head = self.head()
        return head

    patches.put(appending.Appending, "lock", lock)
    patches.put(appending.Appending, "_swap", swap)


def key_check_skipped(patches: Patches) -> None:
    """Nobody looks whether a key was used before."""

    def load(
        connection: Connection, ledger_id: int, known: books.Books, commands: Sequence[Any]
    ) -> dict[str, Recorded]:
        """Load what commands need, and forget what their keys led to."""
        original(connection, ledger_id, known, commands)
        return {}

    original = loading.load
    patches.put(loading, "load", load)


def cache_not_refreshed(patches: Patches) -> None:
    """A writer takes note of how far others came, not of what they appended."""

    def synchronise(connection: Connection, ledger_id: int, known: books.Books, head: Head) -> None:
        """Believe to have taken in everything up to the head; but for keys."""
        while known.position < head.position:
            rows = log.read_appended(connection, ledger_id, known.position)
            known.recent_keys.update([row[5] for row in rows if row[5] is not None])
            known.position = rows[-1][0]

    patches.put(loading, "synchronise", synchronise)


def acked_before_commit(patches: Patches) -> None:
    """A transaction's commands are answered when they are decided, some time before the commit."""
    groups = threading.local()
    original_commit = ledger.Ledger._commit

    def commit(self: Any, connection: Any, deciding: Any, adding: Any, outcomes: Any) -> None:
        """Answer, wait a little, commit."""
        group, groups.group = getattr(groups, "group", None), None
        if group is not None and outcomes is not None:
            for (_, reply), told in zip(group, outcomes, strict=True):
                reply.set_result(told)
            groups.is_told = True
            time.sleep(WINDOW_S)
        else:
            groups.group = group
        original_commit(self, connection, deciding, adding, outcomes)

    def carry_out(self: Any, group: list[Any]) -> bool:
        """Carry out a group; who was answered already is not answered again."""
        groups.group, groups.is_told = group, False
        try:
            results = self._execute([submission for submission, _ in group])
        except BaseException as error:  # noqa: BLE001 - as the original
            if not groups.is_told:
                for _, reply in group:
                    reply.set_exception(error)
            return True
        if not groups.is_told:
            for (_, reply), told in zip(group, results, strict=True):
                reply.set_result(told)
        return True

    patches.put(ledger.Ledger, "_commit", commit)
    patches.put(writer.Writer, "_carry_out", carry_out)


def answered_though_failed(patches: Patches) -> None:
    """Where the connection is lost during a commit, it is taken to have succeeded."""
    original = ledger.Ledger._attempt

    def attempt(self: Any, submissions: Any) -> Any:
        """Give the answers of a transaction whose commit was not answered."""
        try:
            return original(self, submissions)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if self._in_doubt is None:
                raise
            outcomes = self._in_doubt.outcomes
            self.close()
            return outcomes

    patches.put(ledger.Ledger, "_attempt", attempt)


def in_doubt_done_again(patches: Patches) -> None:
    """Where the connection is lost during a commit, the work is done again without looking."""
    original = ledger.Ledger._is_recorded

    def is_recorded(self: Any, connection: Connection, attempt: Any) -> bool:
        """Not, as far as anybody looked, if it is what is in doubt."""
        return attempt is not self._in_doubt and original(self, connection, attempt)

    patches.put(ledger.Ledger, "_is_recorded", is_recorded)


def in_doubt_done_again_without_keys(patches: Patches) -> None:
    """The same, and a second attempt does not look at keys either."""
    in_doubt_done_again(patches)
    original_load = loading.load
    original_attempt = ledger.Ledger._attempt
    again = threading.local()

    def attempt(self: Any, submissions: Any) -> Any:
        """Note whether the outcome of an attempt before is in doubt."""
        again.is_so = self._in_doubt is not None
        return original_attempt(self, submissions)

    def load(
        connection: Connection, ledger_id: int, known: books.Books, commands: Sequence[Any]
    ) -> dict[str, Recorded]:
        """Load what commands need; in a second attempt, nothing of their keys."""
        found = original_load(connection, ledger_id, known, commands)
        return {} if again.is_so else found

    patches.put(ledger.Ledger, "_attempt", attempt)
    patches.put(loading, "load", load)


def not_rolled_back(patches: Patches) -> None:
    """What was decided behind a head that had moved stays in memory, though it is done again."""
    original = books.Books.rollback

    def rollback(self: Any, savepoint: tuple[int, int]) -> None:
        """Take the position back, and nothing else, where a whole transaction is taken back."""
        if savepoint[0] == 0:
            self.position = savepoint[1]
            self._undo.clear()
            return
        original(self, savepoint)

    patches.put(books.Books, "rollback", rollback)


def hold_released_twice(patches: Patches) -> None:
    """A hold that is resolved can be captured and voided once more."""
    original = holds._hold

    def hold(known: books.Books, command: Any) -> holds.Hold:
        """The hold, open whatever became of it."""
        place = ("hold", command.hold_id)
        state = known.states.get(place)
        if not isinstance(state, holds.Hold) or state.status == "open":
            return original(known, command)
        return msgspec.structs.replace(state, status="open", captured_minor=0, freed_minor=0)

    patches.put(holds, "_hold", hold)


def limit_skipped_after_reload(patches: Patches) -> None:
    """An account that was loaded from its snapshot has no limits."""
    original = snapshots.load_accounts

    def load_accounts(*arguments: Any) -> list[Account]:
        """The stored accounts, without what bounds them."""
        return [
            msgspec.structs.replace(
                account, terms=msgspec.structs.replace(account.terms, limit_minor=None)
            )
            for account in original(*arguments)
        ]

    patches.put(snapshots, "load_accounts", load_accounts)


def replay_of_another(patches: Patches) -> None:
    """A repeated key is answered with what stands beside its event."""
    original = loading.by_key

    def by_key(connection: Connection, ledger_id: int, keys: list[str]) -> dict[str, Recorded]:
        """What the keys led to, one entry off."""
        found = original(connection, ledger_id, keys)
        after = [item.position + 1 for item in found.values()]
        beside = {
            item.position: item for item in loading.at_positions(connection, ledger_id, after)
        }
        return {
            key: other
            if isinstance(other := beside.get(item.position + 1), Recorded)
            and isinstance(other.event, JournalEntryPosted)
            and isinstance(item.event, JournalEntryPosted)
            else item
            for key, item in found.items()
        }

    def again(_self: Any, _command: Any, first: Any) -> Any:
        """The answer, whatever is asked."""
        return transaction._told("replayed", first)

    patches.put(loading, "by_key", by_key)
    patches.put(transaction.Transaction, "_again", again)


def recorded_at_back(patches: Patches) -> None:
    """Events bear the time of the clock, even where it is behind the log's."""
    original = appending.Appending.__init__

    def begun(
        self: Any, connection: Any, ledger_id: int, head: Head, *rest: Any, **named: Any
    ) -> None:
        """Begin at any time."""
        early = msgspec.structs.replace(head, recorded_at=min(head.recorded_at, rest[0]))
        original(self, connection, ledger_id, early, *rest, **named)

    def first(moment: Any, *_others: Any) -> Any:
        """Not the latest, but what the clock says."""
        return moment

    patches.put(appending.Appending, "__init__", begun)
    patches.put(ledger, "max", first)


def frontier_not_updated(patches: Patches) -> None:
    """The head moves on, and the tree's frontier beside it stays."""

    def move(self: Any) -> str:
        """The statement that moves the head, but for its frontier."""
        return (
            f"UPDATE ledger.heads SET position = {self._position},"
            f" recorded_at = '{self._recorded_at.isoformat()}'"
            f" WHERE ledger_id = {self._ledger_id}"
        )

    patches.put(appending.Appending, "_move", move)


def atomic_half_kept(patches: Patches) -> None:
    """Of an atomic batch that failed, what came before the item at fault is kept."""

    def undo(self: Any, _savepoint: Any, _counts: Any) -> None:
        """Take nothing back."""

    patches.put(transaction.Transaction, "_undo", undo)


def identities_not_taken(patches: Patches) -> None:
    """Chosen ids and references are not written down, so that they can be used again."""
    original = appending.Appending.commit

    def commit(self: Any, _identities: Sequence[Identity] = ()) -> Head:
        """Commit without the names that entries take."""
        return original(self, ())

    patches.put(appending.Appending, "commit", commit)
