"""``python -m tests.simulation``: run seeds until one fails, or a script; shrink what fails.

``--seed 17`` runs that one, ``--seeds 500`` so many from ``--first`` on, ``--seconds 60`` as many
as fit into that time, with ``--jobs 2`` on two cores. ``--script FILE`` runs a script again.
``--bug NAME`` puts a deliberate bug in; ``--bugs`` tries all of them, and says at which seed each
was found. Exits with 1 if a rule was broken.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.bugs import BUGS, SHOWN_BY, Bug
from tests.simulation.monitor import Finding
from tests.simulation.running import (
    STEPS,
    Result,
    Several,
    run_many,
    run_script,
    run_seed,
    shrink,
)
from tests.simulation.script import parse, text_of

CHUNK = 20
"""How many seeds a process is given at a time."""
BUG_SEEDS_MAX = 100


def main(arguments: list[str]) -> int:
    """Run what was asked for; 1 if a rule was broken."""
    given = _parser().parse_args(arguments)
    if given.bugs:
        return _try_bugs(given.steps)
    if given.script is not None:
        result = run_script(parse(Path(given.script).read_text("utf-8")), patch=_patch(given.bug))
        return _report(result, given.bug, seed=None)
    if given.seed is not None:
        result = run_seed(given.seed, steps=given.steps, patch=_patch(given.bug))
        _say(f"seed {given.seed}: {result.steps:,} steps, {result.events:,} events")
        return _report(result, given.bug, seed=given.seed)
    return _campaign(given)


def _parser() -> argparse.ArgumentParser:
    """What may be asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--first", type=int, default=0, help="the first of several (0)")
    parser.add_argument("--seeds", type=int, default=200, help="how many (200)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each ({STEPS})")
    parser.add_argument("--seconds", type=float, help="begin no more after so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--script", help="run the script in this file")
    parser.add_argument("--bug", choices=sorted(BUGS), help="put this deliberate bug in")
    parser.add_argument("--bugs", action="store_true", help="try every deliberate bug")
    return parser


def _patch(bug: str | None) -> Bug:
    """What puts the bug in."""
    return nullcontext if bug is None else BUGS[bug]


def _campaign(given: argparse.Namespace) -> int:
    """Run many seeds, until one fails."""
    began, totals = time.monotonic(), Several()
    for several in _chunks(given, began):
        totals.add(several)
        if totals.failed is not None:
            break
    a_minute = totals.steps / max(totals.cpu_s, 1e-9) * 60 / 1e6
    _say(
        f"{totals.seeds:,} seeds, {totals.steps:,} steps, {totals.commits:,} commits,"
        f" {totals.events:,} events, {totals.answers:,} answers"
        f" in {time.monotonic() - began:.1f} s ({totals.cpu_s:.1f} s of CPU:"
        f" {a_minute:.1f} million steps a minute and core)"
    )
    if totals.failed is None:
        _say("no rule was broken")
        return 0
    seed, result = totals.failed
    return _report(result, given.bug, seed=seed)


def _chunks(given: argparse.Namespace, began: float) -> Iterator[Several]:
    """The results of all seeds, some at a time."""
    starts = range(given.first, given.first + given.seeds, CHUNK)
    last = given.first + given.seeds
    chunks = iter([range(at, min(at + CHUNK, last)) for at in starts])

    def more() -> range | None:
        """The next seeds, while there is time."""
        is_late = given.seconds is not None and time.monotonic() - began >= given.seconds
        return None if is_late else next(chunks, None)

    if given.jobs == 1:
        while (seeds := more()) is not None:
            yield run_many(seeds, given.steps, _patch(given.bug))
        return
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[Several]] = set()
        while True:
            while len(waiting) < given.jobs and (seeds := more()) is not None:
                waiting.add(pool.submit(run_many, seeds, given.steps, _patch(given.bug)))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when="FIRST_COMPLETED")
            for future in done:
                yield future.result()


def _report(result: Result, bug: str | None, *, seed: int | None) -> int:
    """Say what was found, with the shortest script that still finds it."""
    if not result.findings:
        _say("no rule was broken")
        return 0
    where = "the script" if seed is None else f"seed {seed}"
    for finding in result.findings[:3]:
        _say(f"{where} breaks the rule {finding.rule}: {finding.detail}")
    shortest = shrink(result, patch=_patch(bug))
    _say(f"# {len(result.script.steps):,} steps shrunk to {len(shortest.script.steps)}:")
    _say(f"# {shortest.findings[0].rule}: {shortest.findings[0].detail}")
    _say(text_of(shortest.script).rstrip())
    return 1


def _try_bugs(steps: int) -> int:
    """Try every deliberate bug, by its script or by seeds; 1 if one is not found."""
    missed = 0
    for name, bug in BUGS.items():
        where, findings = _search(name, bug, steps)
        if findings:
            _say(f"{name}: {where} breaks the rule {findings[0].rule}")
        else:
            missed += 1
            _say(f"{name}: NOT FOUND")
    return 1 if missed else 0


def _say(text: str) -> None:
    """Print it."""
    sys.stdout.write(text + "\n")


def _search(name: str, bug: Bug, steps: int) -> tuple[str, tuple[Finding, ...]]:
    """Where a bug breaks a rule, and what was found."""
    path = SHOWN_BY.get(name)
    if path is not None:
        return path.name, run_script(parse(path.read_text("utf-8")), patch=bug).findings
    failed = run_many(range(BUG_SEEDS_MAX), steps, bug).failed
    return ("", ()) if failed is None else (f"seed {failed[0]}", failed[1].findings)


def _fix_hashes() -> None:
    """Begin anew where texts have other hashes in each process: sets would have other orders."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(command[0], command, {**os.environ, "PYTHONHASHSEED": "0"})


if __name__ == "__main__":
    _fix_hashes()
    sys.exit(main(sys.argv[1:]))
