"""A campaign of seeded fault runs: ``python -m tests.faults --runs 200 --seed 1 --jobs 2``.

Goes through the faults again and again, each round with the next seed. Results are appended to a
file as they come; a campaign that was stopped goes on where it was. Exit code 1 where a run found
something; it says the command that makes that run again, and keeps its history.
"""

import argparse
import contextlib
import multiprocessing
import queue
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from tests.faults import disk, table
from tests.faults.run import Result, kinds, run, why_not
from tests.faults.system import System

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import Queue

SHOWN = 12
# How long a worker that has made its last run may take to stop its PostgreSQL.
ENDING_S = 60.0
_Plan = tuple[int, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that are asked for; the exit code."""
    options = _options(arguments)
    chosen = [options.fault] if options.fault else kinds()
    rounds = range(options.seed, options.seed + -(-options.runs // len(chosen)))
    plans = [(seed, fault) for seed in rounds for fault in chosen][: options.runs]
    if options.json is not None and not options.afresh:
        done = {(item.seed, item.fault) for item in _read(options.json, options.bug)}
        plans = [plan for plan in plans if plan not in done]
    results: list[Result] = []
    with contextlib.suppress(KeyboardInterrupt):  # What was made is told, and the table written.
        _campaign(plans, options, results)
    bad = sum(bool(result.findings) for result in results)
    missing = len(plans) - len(results)
    left = f" {missing} were not made: give the same command again." if missing else ""
    print(f"{len(results)} runs, {bad} with findings.{left}")  # noqa: T201 - a command line
    if options.table is not None:
        everything = results if options.json is None else _read(options.json, options.bug)
        table.write(options.table, everything)
    return 1 if bad or missing else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how many (1)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--fault", choices=kinds(), help="only this fault; else each in turn")
    parser.add_argument("--jobs", type=int, default=1, help="so many runs at once (1)")
    parser.add_argument("--minutes", type=float, default=180.0, help="begin no run after (180)")
    parser.add_argument("--bug", help="a deliberate bug in every server: see bugs.py")
    parser.add_argument("--json", type=Path, help="append results here, one a line, and go on")
    parser.add_argument("--afresh", action="store_true", help="make runs that are there, too")
    parser.add_argument("--table", type=Path, help="the page whose table is to be written anew")
    parser.add_argument("--kept", type=Path, default=Path("build/faults"), help="for histories")
    return parser.parse_args(arguments)


def _campaign(plans: Sequence[_Plan], options: argparse.Namespace, results: list[Result]) -> None:
    """Make the runs, so many at once, each process with a system of its own."""
    context = multiprocessing.get_context("spawn")
    jobs, made = context.Queue(), context.Queue()
    for plan in plans:
        jobs.put(plan)
    count = max(1, min(options.jobs, len(plans)))
    for _ in range(count):
        jobs.put(None)
    signal.signal(signal.SIGTERM, _stop)
    until = time.time() + options.minutes * 60
    workers = [
        context.Process(target=_work, args=(jobs, made, options.kept, options.bug, until))
        for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        for result in _collected(made, workers):
            results.append(result)
            _tell(result, len(results), len(plans))
            _keep(result, options.json)
        # Each has made its last run, and stops its PostgreSQL.
        for worker in workers:
            worker.join(ENDING_S)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            worker.join()


def _stop(_number: int, _frame: object) -> None:
    """End as by Ctrl-C: whatever was started is stopped on the way out."""
    raise KeyboardInterrupt


def _collected(made: "Queue[Result | None]", workers: "Sequence[BaseProcess]") -> Iterator[Result]:
    """The results as they come, until the workers have ended."""
    ended = 0
    while ended < len(workers):
        try:
            result = made.get(timeout=5)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                return
            continue
        if result is None:
            ended += 1
        else:
            yield result


def _keep(result: Result, path: Path | None) -> None:
    """Append a result to the file."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")


def _work(
    jobs: "Queue[_Plan | None]",
    made: "Queue[Result | None]",
    kept: Path,
    bug: str | None,
    until: float,
) -> None:
    """One process of a campaign: runs, one after another."""
    signal.signal(signal.SIGTERM, _stop)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    # A small disk, where there can be one, is good for every run.
    has_disk = disk.why_not() is None
    system: System | None = None
    try:
        while (plan := jobs.get()) is not None and time.time() < until:
            seed, fault = plan
            skipped = why_not(fault)
            if skipped is not None:
                made.put(Result(seed=seed, fault=fault, bug=bug, skipped=skipped))
                continue
            if system is None:
                system = System(folder / f"{fault}-{seed}", disk=has_disk, bug=bug)
            result = run(system, seed, fault, kept=kept / f"{fault}-{seed}.jsonl", bug=bug)
            made.put(result)
            if any(finding.rule == "run" for finding in result.findings):
                # Whatever it was, the next run is not to suffer from it.
                system.close()
                system = None
    except KeyboardInterrupt:
        pass  # Asked to stop: by whoever sits there, or by the campaign.
    finally:
        if system is not None:
            system.close()
        shutil.rmtree(folder, ignore_errors=True)
        made.put(None)


def _tell(result: Result, number: int, count: int) -> None:
    """Say what came of a run."""
    if result.skipped is not None:
        outcome = f"skipped: {result.skipped}"
    else:
        outcome = (
            f"{result.acknowledged} acknowledged, {result.repeated} sent again,"
            f" {result.unknown} in doubt, {len(result.findings)} findings, {result.seconds} s"
        )
    print(f"{number}/{count} {result.fault} seed {result.seed}: {outcome}", flush=True)  # noqa: T201
    for finding in result.findings[:SHOWN]:
        print(f"    {finding.rule}: {finding.detail}")  # noqa: T201 - a command line
    if result.findings:
        print(f"    again: {result.command}", flush=True)  # noqa: T201 - a command line


def _read(path: Path, bug: str | None) -> list[Result]:
    """The results of earlier runs with that bug, or none; the last of each plan counts."""
    if not path.exists():
        return []
    decoder = msgspec.json.Decoder(Result)
    found = [decoder.decode(line) for line in path.read_bytes().splitlines()]
    return list({(item.seed, item.fault): item for item in found if item.bug == bug}.values())
