"""Deliberate bugs, each through the harness until caught: ``python -m tests.faults.mutations``.

A bug has caught whoever wrote the checker if no run finds anything: then exit code 1. Each run is
one of ``python -m tests.faults``, with a fault under which the bug can show. With ``--table`` what
came of it is written into a page.
"""

import argparse
import multiprocessing
import queue
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from tests.faults.bugs import DELIBERATE, NAMED, Bug
from tests.faults.run import run
from tests.faults.system import System
from tests.faults.table import END

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import Queue

BEGIN = "<!-- begin: made by make mutants -->"
RUNS_MAX = 6
_HARNESS = {"run", "death", "behind"}
"""Findings that say that the program failed openly: errors, an end, views that stand still."""


class Caught(msgspec.Struct, kw_only=True):
    """What became of a bug: the rules that it broke in the last of so many runs, if in any."""

    bug: str
    runs: int
    fault: str
    rules: list[str]
    example: str = ""
    command: str = ""
    seconds: float = 0.0

    @property
    def is_caught(self) -> bool:
        """Whether a run had findings."""
        return bool(self.rules)

    @property
    def is_telling(self) -> bool:
        """Whether the checker had findings; else the program only failed, if at all."""
        return bool(set(self.rules) - _HARNESS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt the bugs; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutations", description=__doc__)
    parser.add_argument("--bug", action="append", choices=sorted(NAMED), help="only this; else all")
    parser.add_argument("--seed", type=int, default=1, help="the first run's (1)")
    parser.add_argument("--runs", type=int, default=RUNS_MAX, help=f"at most, a bug ({RUNS_MAX})")
    parser.add_argument("--jobs", type=int, default=1, help="so many bugs at once (1)")
    parser.add_argument("--table", type=Path, help="the page whose table is to be written anew")
    parser.add_argument(
        "--json", type=Path, help="append what was caught here, one a line, and go on"
    )
    parser.add_argument("--kept", type=Path, default=Path("build/mutants"), help="for histories")
    options = parser.parse_args(arguments)
    known = {} if options.json is None else _read(options.json)
    names = [bug.name for bug in DELIBERATE if not options.bug or bug.name in options.bug]
    left = [name for name in names if name not in known or not known[name].is_caught]
    found = _hunt(left, options)
    everything = known | found
    if options.table is not None:
        write(options.table, everything)
    missed = [name for name in names if name not in everything or not everything[name].is_caught]
    survivors = [name for name in missed if not NAMED[name].harmless]
    print(f"{len(names) - len(missed)} of {len(names)} caught; not: {', '.join(missed) or '-'}")  # noqa: T201
    return 1 if survivors else 0


def write(path: Path, caught: dict[str, Caught]) -> None:
    """Put the table between its marks in a page.

    Raises:
        ValueError: the page has no such marks.
    """
    page = path.read_text()
    begin = page.index(BEGIN) + len(BEGIN)
    end = page.index(END, begin)
    path.write_text(f"{page[:begin]}\n{lines(caught)}\n{page[end:]}")


def lines(caught: dict[str, Caught]) -> str:
    """The table, a row a bug."""
    head = (
        "| bug | what is missing | in small, breaks | in the harness, breaks | under | runs |"
        "\n|---|---|---|---|---|--:|"
    )
    return "\n".join((head, *(_row(bug, caught.get(bug.name)) for bug in DELIBERATE)))


def _row(bug: Bug, caught: Caught | None) -> str:
    """What became of one bug."""
    small = f"`{bug.in_small}`" if bug.in_small else "nothing" if bug.harmless else "not tried"
    if caught is None:
        return f"| `{bug.name}` | {bug.what} | {small} | not run for this table | | |"
    by = ", ".join(f"`{rule}`" for rule in caught.rules)
    if not caught.is_caught:
        by = f"nothing: {bug.harmless}" if bug.harmless else "nothing in these runs"
    elif not caught.is_telling:
        by = f"fails openly: {by}"
    return f"| `{bug.name}` | {bug.what} | {small} | {by} | `{caught.fault}` | {caught.runs} |"


def _hunt(names: Sequence[str], options: argparse.Namespace) -> dict[str, Caught]:
    """What became of each bug."""
    context = multiprocessing.get_context("spawn")
    jobs, made = context.Queue(), context.Queue()
    for name in names:
        jobs.put(name)
    count = max(1, min(options.jobs, len(names)))
    for _ in range(count):
        jobs.put(None)
    given = (jobs, made, options.kept, options.seed, options.runs)
    workers = [context.Process(target=_work, args=given) for _ in range(count)]
    signal.signal(signal.SIGTERM, _stop)
    for worker in workers:
        worker.start()
    try:
        return _collected(made, workers, options)
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.join()


def _stop(_number: int, _frame: object) -> None:
    """End as by Ctrl-C: whatever was started is stopped on the way out."""
    raise KeyboardInterrupt


def _collected(
    made: "Queue[Caught | None]", workers: "Sequence[BaseProcess]", options: argparse.Namespace
) -> dict[str, Caught]:
    """What became of each bug, told and kept as it comes."""
    found: dict[str, Caught] = {}
    ended = 0
    while ended < len(workers) and (ended or any(worker.is_alive() for worker in workers)):
        try:
            caught = made.get(timeout=5)
        except queue.Empty:
            continue
        if caught is None:
            ended += 1
            continue
        found[caught.bug] = caught
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            with options.json.open("ab") as file:
                file.write(msgspec.json.encode(caught) + b"\n")
        print(f"{caught.bug}: {', '.join(caught.rules) or 'NOTHING'}", end="")  # noqa: T201
        print(f" after {caught.runs} runs under {caught.fault}, {caught.seconds} s", flush=True)  # noqa: T201
        if caught.is_caught:
            print(f"    {caught.example}\n    again: {caught.command}", flush=True)  # noqa: T201
    return found


def _work(
    jobs: "Queue[str | None]", made: "Queue[Caught | None]", kept: Path, seed: int, runs: int
) -> None:
    """One process: a system, and a bug after the other in its servers."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        while (name := jobs.get()) is not None:
            made.put(_catch(NAMED[name], seed, runs, kept))
    finally:
        made.put(None)


def _catch(bug: Bug, seed: int, runs: int, kept: Path) -> Caught:
    """Run until something telling is found, or often enough."""
    caught = Caught(bug=bug.name, runs=0, fault="", rules=[])
    while caught.runs < runs and not caught.is_telling:
        # A system whose servers did not even end is of no use for another run.
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True)
            system = stack.enter_context(System(Path(stack.enter_context(folder)), bug=bug.name))
            while caught.runs < runs and not caught.rules:
                _try(system, bug, seed + caught.runs, kept, caught)
            if "run" not in caught.rules:
                while caught.runs < runs and not caught.is_telling:
                    _try(system, bug, seed + caught.runs, kept, caught)
    return caught


def _try(system: System, bug: Bug, seed: int, kept: Path, caught: Caught) -> None:
    """Make one more run, and note what it found; what the checker says tells more than errors."""
    fault = bug.faults[caught.runs % len(bug.faults)]
    result = run(system, seed, fault, kept=kept / f"{bug.name}-{seed}.jsonl", bug=bug.name)
    caught.runs += 1
    caught.seconds = round(caught.seconds + result.seconds, 1)
    caught.fault = fault
    if not result.findings:
        return
    telling = [item for item in result.findings if item.rule not in _HARNESS]
    first = (telling or result.findings)[0]
    caught.command = result.command
    caught.rules = sorted({item.rule for item in result.findings})
    caught.example = f"{first.rule}: {first.detail.splitlines()[0][:200]}"


def _read(path: Path) -> dict[str, Caught]:
    """What was caught before."""
    if not path.exists():
        return {}
    decoder = msgspec.json.Decoder(Caught)
    return {item.bug: item for item in map(decoder.decode, path.read_bytes().splitlines())}


if __name__ == "__main__":
    sys.exit(main())
