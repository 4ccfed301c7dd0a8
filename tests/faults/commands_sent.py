"""The commands that clients sent, one by one, out of attempts and batches; what came of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.faults.history import Attempt

_POINTS_TO_ANOTHER = {
    "hold_already_captured",
    "hold_already_voided",
    "hold_expired",
    "reference_conflict",
    "entry_exists",
    "hold_exists",
    "idempotency_conflict",
}
"""Refusals whose position is not what the decision had seen, but where the other event stands."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A command in one attempt, and what it came to: ``done``, ``unchanged``, a code, or nothing.

    ``outcome`` is ``None`` where it is unknown.
    """

    client: int
    key: str
    operation: str
    command: Mapping[str, Any]
    invoked_at: float
    completed_at: float | None
    outcome: str | None
    position: int | None
    answer: Mapping[str, Any]
    if_match: tuple[int, ...] | None


def sent_in(attempt: Attempt) -> Iterator[Sent]:
    """The commands of an attempt, each with what it came to; none of a read."""
    if attempt.is_read or attempt.key is None:
        return
    answer = attempt.answer or {}
    is_known = attempt.status is not None and attempt.status < 500
    if attempt.operation != "batch":
        yield _one(attempt, attempt.key, attempt.operation, attempt.command, answer, is_known)
        return
    commands = attempt.command["commands"]
    results: Sequence[Mapping[str, Any]] = answer.get("results") or ()
    for index, item in enumerate(commands):
        result = results[index] if index < len(results) else {}
        document = result.get("error") or result
        command = {name: value for name, value in item.items() if name not in {"type", "key"}}
        key = item.get("key") or f"{attempt.key}/{index}"
        one = _one(attempt, key, item["type"], command, document, is_known)
        # A refusal in a batch of which nothing is left judged what is not there any more.
        is_undone = is_known and (attempt.status or 0) >= 400
        yield replace(one, outcome="batch_failed") if is_undone else one


def merged(attempts: Sequence[Sent]) -> Iterator[Sent]:
    """The operations that the attempts of one key amount to: its refusals, and the command."""
    for one in attempts:
        if one.outcome not in {None, "done", "unchanged"}:
            yield one
    open_since = [one for one in attempts if one.outcome in {None, "done", "unchanged"}]
    if not open_since:
        return
    first = min(open_since, key=lambda one: one.invoked_at)
    answered = [one for one in open_since if one.completed_at is not None]
    if not answered:
        yield first
        return
    answer = min(answered, key=lambda one: one.completed_at or 0)
    yield replace(answer, invoked_at=first.invoked_at)


def _one(  # noqa: PLR0913, PLR0917 - where in the attempt it stands
    attempt: Attempt,
    key: str,
    operation: str,
    command: Mapping[str, Any],
    document: Mapping[str, Any],
    is_known: bool,  # noqa: FBT001 - whether the attempt as a whole was answered
) -> Sent:
    """One command of an attempt, and the document that answers it."""
    outcome: str | None = None
    position = document.get("position")
    if is_known:
        outcome = {"recorded": "done", "replayed": "done", "unchanged": "unchanged"}.get(
            str(document.get("status")), str(document.get("code") or "refused")
        )
        if document.get("status") == "replayed" and "id" not in document:
            outcome = "unchanged"
        if outcome not in {"done", "unchanged"}:
            seen = document.get("seen") or {}
            position = None if outcome in _POINTS_TO_ANOTHER else seen.get("position")
    versions = None
    if attempt.if_match is not None:
        versions = tuple(int(tag.strip(' "')) for tag in attempt.if_match.split(","))
    return Sent(
        attempt.client,
        key,
        operation,
        command,
        attempt.invoked_at,
        attempt.completed_at if is_known else None,
        outcome,
        position,
        document,
        versions,
    )
