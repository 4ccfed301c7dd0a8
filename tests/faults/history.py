"""What the clients of a fault run did and were answered: what everything is held against.

One attempt is one request that was sent. A command has one key and one or more attempts; what came
of an attempt without an answer is not known until an attempt with the same key is answered. Times
are those of one process's monotonic clock, in seconds since the workload began. This module knows
neither the program under test nor what its answers ought to be.
"""

import copy
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

READS = frozenset({"read_balance", "read_account", "read_customer"})


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something that must not be: the rule that it breaks, and where."""

    rule: str
    detail: str


class Attempt(msgspec.Struct, kw_only=True, tag="attempt", tag_field="what"):
    """One request, and its answer once there is one.

    ``operation`` is the command's type as in a batch (``transfer``, ``place_hold``, …), ``batch``,
    or one of ``READS``. ``command`` holds the fields of the command with what its route has in its
    address (``account_id``, ``hold_id``, ``customer_id``) but without key and type; of a batch the
    whole body, whose items have type and key; of a read ``account_id``, and ``min_position`` where
    it was asked for (of a customer, ``customer_id``). ``completed_at`` is when the answer was
    there, or when the client gave up. ``status`` and ``answer`` are ``None`` where no answer came:
    the outcome is unknown.
    """

    client: int
    number: int
    operation: str
    key: str | None
    command: dict[str, Any]
    url_index: int
    invoked_at: float
    completed_at: float | None = None
    status: int | None = None
    answer: dict[str, Any] | None = None
    if_match: str | None = None
    etag: str | None = None
    is_replayed: bool = False
    # Seconds from the header Retry-After.
    retry_after: float | None = None

    @property
    def is_read(self) -> bool:
        """Whether it asks only."""
        return self.operation in READS

    @property
    def is_acknowledged(self) -> bool:
        """Whether it was answered with success: a command is durable from then on."""
        return self.status is not None and self.status < 300

    @property
    def is_unknown(self) -> bool:
        """Whether nobody knows what came of it: no answer, or one that does not say.

        503 is among them: a server that lost its database may have lost it after a commit.
        """
        return self.status is None or self.status >= 500

    @property
    def is_refused(self) -> bool:
        """Whether it was answered, and the answer says that it had no effect."""
        return not self.is_acknowledged and not self.is_unknown

    @property
    def code(self) -> str | None:
        """The refusal's code, where it was refused."""
        return None if self.answer is None else self.answer.get("code")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One command of an attempt, and what became of it there: a batch has many, others one.

    ``status`` is ``None`` where that is unknown; else ``recorded``, ``replayed``, ``unchanged`` or
    ``refused``, of which the last says ``code``. ``position`` is the answered one.
    """

    attempt: Attempt
    key: str
    operation: str
    command: dict[str, Any]
    status: str | None
    position: int | None
    code: str | None

    @property
    def is_acknowledged(self) -> bool:
        """Whether its outcome was told, and is success."""
        return self.status is not None and self.status != "refused"


class Strike(msgspec.Struct, kw_only=True, tag="strike", tag_field="what"):
    """A fault that struck: which, from when to when."""

    fault: str
    began_at: float
    ended_at: float


class About(msgspec.Struct, kw_only=True, tag="run", tag_field="what"):
    """Which run a history is of, so that it can be run again."""

    seed: int
    fault: str
    bug: str | None = None


def items_of(attempt: Attempt) -> list[Item]:
    """The commands of an attempt, and what became of each by its answer."""
    if attempt.is_read:
        return []
    answer = attempt.answer or {}
    if attempt.operation != "batch":
        return [_single(attempt, answer)]
    results = answer.get("results")
    commands = attempt.command["commands"]
    if attempt.is_unknown:
        results = [{}] * len(commands)
    elif results is None:  # The batch as a whole was refused.
        results = [{"status": "refused", "error": answer}] * len(commands)
    return [
        Item(
            attempt=attempt,
            key=command["key"],
            operation=command["type"],
            command={name: value for name, value in command.items() if name not in _NAMING},
            status=result.get("status"),
            position=result.get("position"),
            code=result.get("error", {}).get("code"),
        )
        for command, result in zip(commands, results, strict=True)
    ]


_NAMING = frozenset({"key", "type"})


def _single(attempt: Attempt, answer: dict[str, Any]) -> Item:
    """The command of an attempt that is no batch."""
    status: str | None = None
    if attempt.is_refused:
        status = "refused"
    elif attempt.is_acknowledged:
        status = "replayed" if attempt.is_replayed else str(answer.get("status"))
    assert attempt.key is not None
    return Item(
        attempt=attempt,
        key=attempt.key,
        operation=attempt.operation,
        command=attempt.command,
        status=status,
        position=answer.get("position") if attempt.is_acknowledged else None,
        code=attempt.code,
    )


_Line = Attempt | Strike | About


class History:
    """Every attempt of a run in the order in which they were sent, and the faults that struck."""

    def __init__(self) -> None:
        """Nothing was sent."""
        self.attempts: list[Attempt] = []
        self.strikes: list[Strike] = []
        self.about: About | None = None
        self._lock = threading.Lock()

    def add(self, attempt: Attempt) -> Attempt:
        """Keep an attempt that is about to be sent; its answer is filled in where it is kept."""
        with self._lock:
            self.attempts.append(attempt)
        return attempt

    def copy(self) -> "History":
        """The same, which may be changed by itself."""
        other = History()
        other.attempts = copy.deepcopy(self.attempts)
        other.strikes, other.about = list(self.strikes), self.about
        return other

    def commands(self) -> dict[str, list[Attempt]]:
        """The attempts of each key, in the order in which they were sent; batches by their own."""
        by_key: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            if attempt.key is not None:
                by_key[attempt.key].append(attempt)
        return by_key

    def reads(self) -> list[Attempt]:
        """The reads that were answered with what they asked for."""
        return [item for item in self.attempts if item.is_read and item.is_acknowledged]

    def write(self, path: Path) -> None:
        """Write everything as lines of JSON."""
        lines: list[_Line] = [*self.strikes, *self.attempts]
        if self.about is not None:
            lines.insert(0, self.about)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    @classmethod
    def read(cls, path: Path) -> "History":
        """What ``write`` wrote."""
        history = cls()
        decoder = msgspec.json.Decoder(_Line)
        for line in path.read_bytes().splitlines():
            match decoder.decode(line):
                case Attempt() as attempt:
                    history.attempts.append(attempt)
                case Strike() as strike:
                    history.strikes.append(strike)
                case About() as about:
                    history.about = about
        return history
