"""Whether what the clients of a run were told is what one bank, doing one thing at a time, says.

Two checks, and what each of them proves:

* By search: operations on one account, one hold or one profile are linearizable (``check``). What
  counts is times and answers; positions only say which order is tried first, of all that there
  are. A transfer is one operation on each of its accounts. Reads take part whose ``min_position``
  is at least what anybody had been told before they began; nothing else promises to be as new.
* By witness: the positions in the answers are one order of everything. It must keep to the clock
  (what began after an answer stands behind it), and the models, taken through it, must give every
  answer: what was booked could be, a refusal was right at the position that it saw, a read shows
  what stood at its position, and that is no less than was asked for. This covers transfers as one
  operation on two accounts, and all reads.

What is not claimed: a read without ``min_position`` may be older than what its reader was told by
another way; it never shows what never was, and never goes back behind an earlier read's position.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from tests.faults.bank_history import BankOperation, Place, Recording, record
from tests.faults.bank_rules import ACCOUNT, HOLD, PROFILE, Ask, Told
from tests.faults.history import Finding, History
from tests.faults.linearizability import Model, check

MODELS: dict[str, Model[Any, Ask, Told]] = {"account": ACCOUNT, "hold": HOLD, "customer": PROFILE}


def findings(history: History) -> list[Finding]:
    """Everything that the clients were told and that no order of what they did explains."""
    recording = record(history)
    return [*_by_search(recording), *_by_clock(recording), *_by_witness(recording)]


def _by_search(recording: Recording) -> Iterator[Finding]:
    """Objects whose operations have no order; an open verdict is a finding, too."""
    for place, operations in recording.searched().items():
        # An answer without an effect, of which the model knows nothing more, takes no part.
        strict = [item for item in operations if item.input.is_strict]
        verdict = check(strict, MODELS[place[0]], hint=_tried)
        if not verdict.ok:
            yield Finding("linearizability", f"{place[0]} {place[1]}: {verdict}")


def _tried(item: BankOperation) -> float:
    """When an operation is tried: where it stands in the log, if it says so; else, last."""
    if item.output is None or item.output.position is None:
        return inf
    return item.output.position + 0.5 * _order(item)[1]


@dataclass(frozen=True, slots=True)
class _Mark:
    """A position that somebody was told, and what that says of the log's length at the time."""

    at: float
    position: int
    operation: BankOperation


def _by_clock(recording: Recording) -> Iterator[Finding]:
    """Answers whose positions go against the clock."""
    operations = {
        id(item.output): item
        for mine in recording.operations.values()
        for item in mine
        if item.output is not None and item.output.position is not None
    }
    begun = sorted(operations.values(), key=lambda item: item.invoked_at)
    ended = sorted(operations.values(), key=lambda item: item.completed_at or 0)
    newest: dict[bool, _Mark | None] = {True: None, False: None}
    index = 0
    for item in begun:
        while (ended[index].completed_at or 0) < item.invoked_at:
            _advance(newest, ended[index])
            index += 1
        finding = _against(item, newest)
        if finding is not None:
            yield Finding("position_order", finding)


def _advance(newest: dict[bool, _Mark | None], item: BankOperation) -> None:
    """Note the position of an answer that was given; reads are compared with reads, too."""
    assert item.output is not None
    position = item.output.position or 0
    is_read = item.input.what == "read"
    for kind in (False, True) if is_read else (False,):
        mark = newest[kind]
        if mark is None or mark.position < position:
            newest[kind] = _Mark(item.completed_at or 0, position, item)


def _against(item: BankOperation, newest: dict[bool, _Mark | None]) -> str | None:
    """What is wrong with the position of an answer, after the newest that were told before."""
    told = item.output
    assert told is not None
    position = told.position or 0
    if told.outcome == "read":
        mark = newest[True]
        if item.input.least is not None and position < item.input.least:
            return f"{_shown(item)}: it asked for {item.input.least}"
        is_before = mark is not None and position < mark.position
    else:
        mark = newest[False]
        is_new = told.outcome in {"done", "unchanged"}
        is_before = mark is not None and position < mark.position + is_new
    return (
        f"{_shown(item)} began after the answer to {_shown(mark.operation)}"
        if (is_before and mark is not None)
        else None
    )


def _by_witness(recording: Recording) -> Iterator[Finding]:
    """Answers that the models do not give when they are taken through the positions in order."""
    for place, operations in recording.searched().items():
        if any(item.output is None for item in operations):
            continue  # It may have taken effect anywhere: the search sees to that.
        placed = [item for item in operations if item.output and item.output.position is not None]
        placed.sort(key=_order)
        model = MODELS[place[0]]
        states = frozenset((model.initial,))
        for item in placed:
            after = frozenset(
                new for state in states for new in model.step(state, item.input, item.output)
            )
            if not after:
                known = " or ".join(sorted(map(str, states)))
                yield Finding("answer_at_position", f"{_named(place)}: {_shown(item)}, but {known}")
                break
            states = after


def _order(item: BankOperation) -> tuple[int, bool]:
    """Where an operation stands in the log: what only saw a position comes after its event."""
    assert item.output is not None
    return item.output.position or 0, item.output.outcome not in {"done", "unchanged"}


def _named(place: Place) -> str:
    """An object's kind and id."""
    return " ".join(place)


def _shown(item: BankOperation) -> str:
    """An operation in a line."""
    return f"client {item.client}: {item.input} -> {item.output}"
