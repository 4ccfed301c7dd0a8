"""Refused movements of money, recorded so that an auditor can ask why: who, what, what was seen.

A refusal changes nothing and does not use up its command's key. How many are recorded of one
caller in a time is bounded: beyond, they are counted, and the next one recorded says how many.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec

# A caller that is refused more often than this is a fault or an attack, not a question.
RECORDED_MAX = 100
WINDOW = timedelta(minutes=1)
CALLERS_MAX = 10_000
"""Callers remembered at one time; the one longest silent makes room."""


class CommandRefused(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command that moves money was refused; ``command`` is it, with its key.

    ``code`` and ``seen`` are what its caller was answered. ``unrecorded`` refusals of the same
    caller before this one were not recorded.
    """

    command: dict[str, Any]
    code: str
    seen: dict[str, Any]
    unrecorded: int = 0


class _Count(msgspec.Struct):
    """How many refusals of a caller were recorded since a moment, and how many were not."""

    since: datetime
    recorded: int = 0
    unrecorded: int = 0


class RefusalBounds:
    """Which refusals are recorded: up to ``RECORDED_MAX`` a caller in each ``WINDOW``.

    In memory: a writer that starts anew counts anew.
    """

    def __init__(self) -> None:
        """Nobody was refused yet."""
        self._counts: dict[str, _Count] = {}

    def admit(self, actor: str, at: datetime) -> int | None:
        """How many refusals went unrecorded before this one; ``None``: nor is this one."""
        count = self._counts.pop(actor, None)
        if count is None or at - count.since >= WINDOW:
            count = _Count(at, unrecorded=0 if count is None else count.unrecorded)
        self._counts[actor] = count
        if len(self._counts) > CALLERS_MAX:
            del self._counts[next(iter(self._counts))]
        if count.recorded >= RECORDED_MAX:
            count.unrecorded += 1
            return None
        count.recorded += 1
        unrecorded, count.unrecorded = count.unrecorded, 0
        return unrecorded

    @contextmanager
    def uncounted(self, actor: str) -> Iterator[None]:
        """What is refused to a caller meanwhile does not count: it is only tried."""
        count = self._counts.get(actor)
        before = None if count is None else msgspec.structs.replace(count)
        yield
        self._counts.pop(actor, None)
        if before is not None:
            self._counts[actor] = before


def tags_of(event: CommandRefused) -> list[str]:
    """What the refused command was about, and why it was refused."""
    names = ("account_id", "debit_account_id", "credit_account_id")
    accounts = [event.command[name] for name in names if name in event.command]
    accounts += [line["account_id"] for line in event.command.get("postings", ())]
    seen = event.seen.get("account_id")
    if seen is not None:
        accounts.append(seen)
    hold_id = event.command.get("hold_id")
    holds = [] if hold_id is None else ["hold:" + hold_id]
    tags = ["account:" + name for name in accounts]
    return ["refusal:" + event.code, *dict.fromkeys(tags), *holds]
