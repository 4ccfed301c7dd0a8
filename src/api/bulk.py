"""Many commands from a file: loaded in bounded memory, or imported all or none.

Both are the batch route without HTTP: the same commands, the same keys, the same outcomes.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import Any, BinaryIO

import msgspec

from api import collector
from api.problems import Problem
from api.runtime import Runtime
from api.wire import decode, require_unique_members
from ledger_core.commands import Command, WireCommand
from ledger_core.errors import BatchFailed, LedgerError
from ledger_core.ledger import Outcome, Submission

# Large enough for COPY to be at its best, small enough that others are not kept waiting.
LOAD_BATCH = 2_000
# One batch is decided while the next is being read.
BATCHES_IN_FLIGHT = 2
LINE_BYTES_MAX = 1024 * 1024
REFUSALS_KEPT = 100

_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(WireCommand)


class LineRefused(msgspec.Struct, frozen=True):
    """A line that did not lead to an event: its number from 1, and why."""

    line: int
    code: str
    reason: str


class LoadReport(msgspec.Struct):
    """What became of the lines of a file. ``refusals`` holds the first hundred."""

    lines: int = 0
    recorded: int = 0
    replayed: int = 0
    unchanged: int = 0
    refused: int = 0
    pending_approval: int = 0
    position: int = 0
    refusals: list[LineRefused] = []

    def refuse(self, line: int, code: str, reason: str) -> None:
        """Count a refusal."""
        self.refused += 1
        if len(self.refusals) < REFUSALS_KEPT:
            self.refusals.append(LineRefused(line, code, reason))


class ImportRefused(Exception):  # noqa: N818 - a refusal, named as the ledger's refusals are.
    """Nothing of the files was imported; the message names the file, and what was expected."""


def load(
    runtime: Runtime,
    ledger_id: int,
    lines: Iterable[bytes],
    actor: str,
    progress: Callable[[int], None],
) -> LoadReport:
    """Carry out one command a line; ``progress`` is told how many lines are durable.

    A malformed or refused line is counted and does not hold up the others. Keys make it safe to
    load a file again: what was recorded is replayed.
    """
    collector.tune()
    report = LoadReport()
    in_flight: deque[tuple[list[int], Future[list[Outcome]]]] = deque()
    numbered = enumerate(lines, start=1)
    while batch := list(islice(numbered, LOAD_BATCH)):
        numbers, commands = _decoded(batch, report)
        in_flight.append((numbers, runtime.submit(ledger_id, Submission(commands, actor))))
        if len(in_flight) >= BATCHES_IN_FLIGHT:
            _settle(*in_flight.popleft(), report)
            progress(report.lines)
    while in_flight:
        _settle(*in_flight.popleft(), report)
        progress(report.lines)
    report.refusals.sort(key=lambda refusal: refusal.line)
    return report


def import_atomically(
    runtime: Runtime, ledger_id: int, commands: list[Command], actor: str
) -> list[Outcome]:
    """Carry out all commands or none.

    Raises:
        ImportRefusedAt: a command was refused; nothing was recorded.
    """
    outcomes = runtime.execute(ledger_id, commands, actor, "atomic")
    for index, outcome in enumerate(outcomes):
        if outcome.error is not None and not isinstance(outcome.error, BatchFailed):
            raise ImportRefusedAt(index, outcome.error)
    return outcomes


class ImportRefusedAt(Exception):  # noqa: N818 - a refusal, named as the ledger's refusals are.
    """The command at ``index`` was refused with ``error``, so nothing was recorded."""

    def __init__(self, index: int, error: LedgerError) -> None:
        """Keep both."""
        super().__init__(str(error))
        self.index = index
        self.error = error


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, each in bounded memory.

    A line over the limit comes cut off, and so as malformed JSON; its rest is passed over.
    """
    while line := file.readline(LINE_BYTES_MAX):
        yield line
        while not line.endswith(b"\n") and len(line) == LINE_BYTES_MAX:
            line = file.readline(LINE_BYTES_MAX)


def _decoded(batch: list[tuple[int, bytes]], report: LoadReport) -> tuple[list[int], list[Command]]:
    """The commands of a batch of lines, and their line numbers; blank lines are passed over."""
    together = _decoded_together([line for _, line in batch])
    if together is not None:
        return [number for number, _ in batch], together
    numbers: list[int] = []
    commands: list[Command] = []
    for number, line in batch:
        try:
            commands.append(decode(_DECODER, line))
            numbers.append(number)
        except Problem as problem:
            if not line.isspace():
                report.lines += 1
                report.refuse(number, problem.kind.code, _reason(problem))
    return numbers, commands


def _decoded_together(lines: list[bytes]) -> list[Command] | None:
    """The commands of lines that hold one good command each and nothing else, from one decoding.

    ``None``: something is wrong with one of them, or it is not clear at once that nothing is. No
    text of JSON has a line's end between ``}`` and ``{``: where every line ends so and there are as
    many commands as lines, each line is one command.
    """
    text = b"".join(lines)
    if not text.startswith(b"{") or text.count(b"}\n{") != len(lines) - 1:
        return None
    try:
        commands: list[Command] = _DECODER.decode_lines(text)
        require_unique_members(b"[%b]" % text.replace(b"}\n{", b"},{"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Problem):
        return None
    return commands if len(commands) == len(lines) else None


def _reason(problem: Problem) -> str:
    """What is wrong with a line, without repeating it."""
    fields = "; ".join(f"{found.field or 'the line'}: {found.rule}" for found in problem.fields)
    return fields or problem.kind.sentence


def _settle(numbers: list[int], future: Future[list[Outcome]], report: LoadReport) -> None:
    """Wait for a batch and count its outcomes."""
    outcomes = future.result()
    statuses = Counter(outcome.status for outcome in outcomes)
    report.lines += len(outcomes)
    report.recorded += statuses["recorded"]
    report.replayed += statuses["replayed"]
    report.unchanged += statuses["unchanged"]
    report.pending_approval += statuses["pending_approval"]
    for number, outcome in zip(numbers, outcomes, strict=True):
        report.position = max(report.position, outcome.position)
        if outcome.error is not None:
            report.refuse(number, outcome.error.code, str(outcome.error))
