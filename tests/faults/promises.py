"""What was promised to the clients, held against the log: the rules of keys and acknowledgements.

An acknowledged command is in the log once, at the position and with the content that was told; what
was only refused is not; nothing is there that nobody sent; whoever asked later comes later.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tests.faults.content import answer_differences, differences
from tests.faults.fold import Row
from tests.faults.history import Attempt, Finding, History, Item, items_of

# Events that the ledger records by itself or beside a command's own.
_KEYLESS = frozenset({"CommandRefused", "HoldReleased", "AccountOpened", "BlockLifted"})


def check(history: History, rows: list[Row]) -> list[Finding]:
    """Every promise that the log does not keep."""
    by_key: dict[str, list[Item]] = defaultdict(list)
    for attempt in history.attempts:
        for item in items_of(attempt):
            by_key[item.key].append(item)
    recorded = {row.key: row for row in rows if row.key is not None}
    findings = [*_strangers(rows, by_key), *_order(by_key, recorded), *_answers(history.attempts)]
    for key, items in by_key.items():
        findings += _check_key(key, items, recorded.get(key))
    for attempts in history.commands().values():
        if attempts[0].operation == "batch":
            findings += _check_atomic(attempts, recorded)
        else:
            findings += _check_replays(attempts)
    return findings


def _check_key(key: str, items: list[Item], row: Row | None) -> Iterable[Finding]:
    """What the attempts under one key were told, against the event under that key."""
    told = [item for item in items if item.is_acknowledged]
    if not told and items[-1].status is None:
        yield Finding("unresolved", f"{key} was never answered")
    if row is None:
        for item in told[:1]:
            what = f"{key} ({item.operation}) was acknowledged at {item.position}"
            yield Finding("lost", f"{what} and is not in the log")
        return
    if told:
        yield from _check_told(key, told, row)
        yield from _check_later(key, items, row)
    elif all(item.status == "refused" for item in items):
        yield Finding("refused", f"{key} was refused every time and is in the log")
    elif all(differences(item.operation, item.command, row) for item in items):
        yield Finding("content", f"{key} at {row.position} is not what anybody sent")


def _check_told(key: str, told: list[Item], row: Row) -> Iterable[Finding]:
    """The acknowledgements of a key say what the log says, and only one says that it was new."""
    for item in told:
        if item.position != row.position:
            where = f"acknowledged at {item.position} and stands at {row.position}"
            yield Finding("position", f"{key} was {where}")
        if wrong := differences(item.operation, item.command, row):
            yield Finding("content", f"{key} at {row.position} differs in {', '.join(wrong)}")
        answer = item.attempt.answer or {}
        if item.attempt.operation != "batch" and (wrong := answer_differences(answer, row)):
            yield Finding("answer", f"{key}: the answer differs in {', '.join(wrong)}")
    firsts = [item for item in told if item.status != "replayed"]
    if len(firsts) > 1:
        yield Finding("doubled", f"{key} was answered {len(firsts)} times as if it were new")


def _check_later(key: str, items: list[Item], row: Row) -> Iterable[Finding]:
    """Whoever sends a key after its acknowledgement gets that answer, or a refusal of the key."""
    known_at = min(item.attempt.completed_at or 0.0 for item in items if item.is_acknowledged)
    for item in items:
        if item.attempt.invoked_at < known_at or item.status != "refused":
            continue
        is_same = not differences(item.operation, item.command, row)
        if item.code == "idempotency_conflict" and not is_same:
            seen = (item.attempt.answer or {}).get("seen", {})
            if item.attempt.operation != "batch" and seen.get("position") != row.position:
                yield Finding("conflict", f"{key}: the conflict names {seen.get('position')}")
        elif item.code not in {"too_many_requests", "batch_failed", "not_attempted"}:
            yield Finding("forgotten", f"{key} was acknowledged, and then refused: {item.code}")


def _check_replays(attempts: list[Attempt]) -> Iterable[Finding]:
    """Every acknowledgement of a key is the same answer."""
    told = [item for item in attempts if item.is_acknowledged]
    for item in told[1:]:
        if item.answer != told[0].answer or item.status != told[0].status:
            yield Finding("replay", f"{item.key}: two attempts were answered differently")


def _check_atomic(attempts: list[Attempt], recorded: dict[str, Row]) -> Iterable[Finding]:
    """Of an atomic batch all is there, or nothing."""
    if attempts[0].command["mode"] != "atomic":
        return
    keys = [command["key"] for command in attempts[0].command["commands"]]
    count = sum(key in recorded for key in keys)
    if 0 < count < len(keys):
        yield Finding("atomic", f"{attempts[0].key}: {count} of {len(keys)} are in the log")


def _strangers(rows: list[Row], by_key: dict[str, list[Item]]) -> Iterable[Finding]:
    """Events of commands that nobody sent, and refusals of what nobody was refused."""
    for row in rows:
        if row.type == "CommandRefused":
            yield from _check_refusal(row, by_key)
        elif row.key is None and row.type not in _KEYLESS:
            yield Finding("invented", f"position {row.position} ({row.type}) has no key")
        elif row.key is not None and row.key not in by_key:
            yield Finding("invented", f"nobody sent {row.key}, at position {row.position}")


def _check_refusal(row: Row, by_key: dict[str, list[Item]]) -> Iterable[Finding]:
    """A recorded refusal is of a command that was sent, and refused so, as far as is known."""
    data = row.data
    command: dict[str, Any] = data["command"]
    sent = [item for item in by_key.get(command["key"], ()) if item.operation == command["type"]]
    if not sent:
        yield Finding("invented", f"position {row.position} refuses what nobody sent")
    elif not any(item.code == data["code"] or item.status is None for item in sent):
        yield Finding("refusal", f"position {row.position}: nobody was told {data['code']}")


def _order(by_key: dict[str, list[Item]], recorded: dict[str, Row]) -> Iterable[Finding]:
    """What was sent after something was acknowledged stands behind it."""
    moments: list[tuple[float, int, str]] = []
    told: list[tuple[float, int]] = []
    for key, items in by_key.items():
        row = recorded.get(key)
        if row is None:
            continue
        moments.append((min(item.attempt.invoked_at for item in items), row.position, key))
        told += [
            (item.attempt.completed_at or 0.0, row.position)
            for item in items
            if item.is_acknowledged
        ]
    told.sort()
    reached, index = 0, 0
    for sent_at, position, key in sorted(moments):
        while index < len(told) and told[index][0] < sent_at:
            reached = max(reached, told[index][1])
            index += 1
        if position < reached:
            what = f"{key} stands at {position}, but was sent after {reached} was acknowledged"
            yield Finding("order", what)


def _answers(attempts: list[Attempt]) -> Iterable[Finding]:
    """A server that fails says so: 503 and 429 with when to come again, and never just 500."""
    for attempt in attempts:
        where = f"client {attempt.client}, attempt {attempt.number} ({attempt.operation})"
        if attempt.status in {503, 429} and attempt.retry_after is None:
            yield Finding("retry_after", f"{where}: {attempt.status} does not say when to retry")
        elif attempt.status is not None and attempt.status >= 500 and attempt.status != 503:
            yield Finding("server_error", f"{where}: {attempt.status} {attempt.code}")
        elif attempt.status in {400, 401, 403, 405, 413}:
            yield Finding("wrong_answer", f"{where}: {attempt.status} {attempt.code}")
