"""Ways to spoil what a run left behind, as the database's superuser could: for the checker's tests.

What is appended is sealed properly, so that only the rule that it breaks can notice it.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

import psycopg
from tests.faults import log_rules
from tests.faults.fold import Row
from tests.faults.history import Attempt, History, Item, items_of

from ledger_core import merkle

Connection = psycopg.Connection[tuple[Any, ...]]
DatabaseCase = Callable[[Connection, History], None]
HistoryCase = Callable[[History], None]


def forge(connection: Connection, kind: str, data: dict[str, Any], key: str | None = None) -> None:
    """Append an event that nobody decided, and seal it."""
    rows = log_rules.read_log(connection)
    last = rows[-1]
    stored = json.dumps(data, separators=(",", ":"))
    row = Row(
        position=last.position + 1,
        recorded_at=last.recorded_at,
        type=kind,
        version=1,
        tags=[],
        key=key,
        actor="forger",
        stored=stored.encode(),
        leaf_hash=b"",
    )
    connection.execute(
        "INSERT INTO ledger.events SELECT ledger_id, %s, recorded_at, %s, 1, '{}', %s, 'forger',"
        " %s::json, %s FROM ledger.heads",
        (row.position, kind, key, stored, log_rules.leaf_hash_of(row)),
    )
    seal(connection)


def seal(connection: Connection) -> None:
    """Make the head that of the log as it is now: whoever tampers with the log could do so."""
    rows = log_rules.read_log(connection)
    frontier = merkle.extend(merkle.EMPTY, [row.leaf_hash for row in rows])
    connection.execute(
        "UPDATE ledger.heads SET position = %s, recorded_at = %s, frontier = %s",
        (len(rows), rows[-1].recorded_at, merkle.to_bytes(frontier)),
    )


def cut_tail(connection: Connection, history: History) -> None:
    """Take the last acknowledged command away, and all behind it, as if it had never been."""
    last = max(item.position or 0 for item in told(history))
    connection.execute("DELETE FROM ledger.events WHERE position >= %s", (last,))
    seal(connection)


def rewrite(connection: Connection, history: History) -> None:
    """Change an amount, with its leaf and the head, so that only its sender can know."""
    item = next(item for item in told(history) if item.operation == "open_account")
    connection.execute(
        "UPDATE ledger.events SET data ="
        " replace(data::text, '\"limit_minor\":', '\"limit_minor\":9')::json"
        " WHERE position = %s",
        (item.position,),
    )
    for row in log_rules.read_log(connection):
        connection.execute(
            "UPDATE ledger.events SET leaf_hash = %s WHERE position = %s",
            (log_rules.leaf_hash_of(row), row.position),
        )
    seal(connection)


def double(connection: Connection, history: History) -> None:
    """Let a transfer take effect once more, under the same key."""
    item = next(item for item in told(history) if item.operation == "transfer")
    found = connection.execute(
        "SELECT data::text FROM ledger.events WHERE position = %s", (item.position,)
    ).fetchone()
    assert found is not None
    connection.execute("DROP INDEX ledger.events_command_key")
    forge(connection, "JournalEntryPosted", json.loads(found[0]), item.key)


def entry(*legs: tuple[str, str, int], **more: object) -> dict[str, Any]:
    """A journal entry in euros."""
    return {
        "kind": "transfer",
        "postings": [
            {"account_id": name, "side": side, "amount_minor": amount, "currency": "EUR"}
            for name, side, amount in legs
        ],
        **more,
    }


def release_again(connection: Connection, history: History) -> None:
    """Free a hold that is resolved."""
    released = next(
        row for row in reversed(log_rules.read_log(connection)) if row.type == "HoldReleased"
    )
    del history
    forge(connection, "HoldReleased", released.data, "forged")


def reverse_twice(connection: Connection, history: History) -> None:
    """Reverse an entry once more."""
    reversed_ = next(
        row for row in log_rules.read_log(connection) if row.data.get("kind") == "reversal"
    )
    del history
    forge(connection, "JournalEntryPosted", reversed_.data, "forged")


def told(history: History) -> list[Item]:
    """Commands that were acknowledged, each time."""
    items = [item for attempt in history.attempts for item in items_of(attempt)]
    return [item for item in items if item.is_acknowledged]


def single(history: History, operation: str = "transfer") -> Attempt:
    """A command that was sent by itself and acknowledged."""
    return next(
        attempt
        for attempt in history.attempts
        if attempt.operation == operation and attempt.is_acknowledged and not attempt.is_replayed
    )


def more(history: History, like: Attempt, **changes: Any) -> Attempt:  # noqa: ANN401 - any field
    """One more attempt of something, sent at the end."""
    attempt = copy.deepcopy(like)
    at = max(item.completed_at or item.invoked_at for item in history.attempts)
    attempt.invoked_at, attempt.completed_at = at + 1.0, at + 2.0
    for name, value in changes.items():
        setattr(attempt, name, value)
    return history.add(attempt)
