"""Runs a seed or a script, and shrinks what fails to what it takes."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from random import Random  # noqa: TID251 - all that is drawn comes from the seed

import msgspec
from tests.simulation.monitor import Finding
from tests.simulation.script import Script, Step
from tests.simulation.workload import Workload
from tests.simulation.world import Setting, World

STEPS = 1_500
"""How many steps a world lives, by default; after that it heals."""
GARBAGE_OBJECTS = 50_000

Patch = Callable[[], AbstractContextManager[None]]


class Result(msgspec.Struct, frozen=True):
    """What came of a run; ``script`` is what it did, as far as it went."""

    findings: tuple[Finding, ...]
    script: Script
    steps: int
    commits: int
    events: int
    answers: int


class Several(msgspec.Struct):
    """What several runs came to together; ``failed`` is the seed that broke a rule, if one did."""

    seeds: int = 0
    steps: int = 0
    commits: int = 0
    events: int = 0
    answers: int = 0
    cpu_s: float = 0.0
    failed: tuple[int, Result] | None = None

    def add(self, others: "Several") -> None:
        """Add others."""
        self.seeds += others.seeds
        self.steps += others.steps
        self.commits += others.commits
        self.events += others.events
        self.answers += others.answers
        self.cpu_s += others.cpu_s
        if others.failed is not None and (self.failed is None or others.failed[0] < self.failed[0]):
            self.failed = others.failed


def run_seed(
    seed: int,
    *,
    steps: int = STEPS,
    patch: Patch = nullcontext,
    begin: Callable[[Setting], World] = World,
) -> Result:
    """Run a world as the seed draws it; ``begin`` makes it."""
    workload = Workload(Random(seed))
    world = begin(workload.setting)
    taken: list[Step] = []
    take, append, findings = world.take, taken.append, world.monitor.findings
    with patch(), world.surroundings():
        step = workload.opening()
        for _ in range(steps):
            if take(step):
                append(step)
            if findings:
                break
            step = workload.next(world)
        else:
            world.heal()
    return _result(world, Script(workload.script(), taken))


def run_many(seeds: range, steps: int, patch: Patch = nullcontext) -> "Several":
    """Run seeds up to the first that fails, and say how much CPU time it took."""
    began = time.process_time()
    done = Several()
    # Every world is garbage that refers to itself: it need not be looked for so often.
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_OBJECTS)
    try:
        for seed in seeds:
            result = run_seed(seed, steps=steps, patch=patch)
            done.seeds += 1
            done.steps += result.steps
            done.commits += result.commits
            done.events += result.events
            done.answers += result.answers
            if result.findings:
                done.failed = (seed, result)
                break
    finally:
        gc.set_threshold(*before)
    done.cpu_s = time.process_time() - began
    return done


def run_script(
    script: Script,
    *,
    patch: Patch = nullcontext,
    begin: Callable[[Setting], World] = World,
) -> Result:
    """Run a script; the result has those of its steps that could be taken."""
    world = begin(msgspec.convert(script.setting, Setting))
    taken: list[Step] = []
    with patch(), world.surroundings():
        for step in script.steps:
            if world.take(step):
                taken.append(step)
            if world.monitor.findings:
                break
        else:
            world.heal()
    return _result(world, Script(script.setting, taken))


def shrink(result: Result, *, patch: Patch = nullcontext, runs_max: int = 4_000) -> Result:
    """The shortest script found that breaks the same rule: nothing can be left out of it."""
    shrinking = _Shrinking(result, patch, runs_max)
    while True:
        before = shrinking.best.script
        for candidate in _simpler_settings(before):
            shrinking.fails(candidate)
        shrinking.replace(("quiet",))
        shrinking.replace()
        shrinking.simplify()
        if shrinking.best.script == before or shrinking.is_over:
            best = shrinking.best
            return msgspec.structs.replace(best, script=_joined(best.script))


class _Shrinking:
    """A failure that becomes shorter: delta debugging (Zeller and Hildebrandt, 2002)."""

    def __init__(self, result: Result, patch: Patch, runs_max: int) -> None:
        """Begin with what was found."""
        self.best = result
        self._rule = result.findings[0].rule
        self._patch = patch
        self._left = runs_max

    @property
    def is_over(self) -> bool:
        """Whether it was tried often enough."""
        return self._left <= 0

    def fails(self, script: Script) -> None:
        """Have a script that breaks the rule too as the best so far."""
        self._left -= 1
        found = run_script(script, patch=self._patch)
        if any(item.rule == self._rule for item in found.findings):
            self.best = found

    def replace(self, *instead: Step) -> None:
        """Have fewer steps in the place of many, or none; ever fewer at a time."""
        size = max(1, len(self.best.script.steps) // 2)
        while size > len(instead) and not self.is_over:
            start = len(self.best.script.steps) - size
            while start > -size and not self.is_over:
                script = self.best.script
                kept = [*script.steps[: max(start, 0)], *instead, *script.steps[start + size :]]
                self.fails(Script(script.setting, kept))
                start = min(start, len(self.best.script.steps)) - size
            size //= 2

    def simplify(self) -> None:
        """Have fewer commands in a request."""
        for index in range(len(self.best.script.steps)):
            if index < len(self.best.script.steps):
                for step in _simpler(self.best.script.steps[index]):
                    script = self.best.script
                    steps = [*script.steps[:index], step, *script.steps[index + 1 :]]
                    self.fails(Script(script.setting, steps))


def _joined(script: Script) -> Script:
    """The script with turns of one task that follow each other as one step."""
    steps: list[Step] = []
    for step in script.steps:
        if steps and step[0] == "run" and steps[-1][:2] == step[:2]:
            times = [int(item[2]) if len(item) > 2 else 1 for item in (steps[-1], step)]  # type: ignore[arg-type] # how often
            steps[-1] = (*step[:2], sum(times))
        else:
            steps.append(step)
    return Script(script.setting, steps)


def _simpler_settings(script: Script) -> Iterator[Script]:
    """The same steps in simpler worlds."""
    for name, values in (("small", (0,)), ("projectors", (0, 1)), ("servers", (1,))):
        for value in values:
            if script.setting[name] > value:
                yield Script({**script.setting, name: value}, script.steps)


def _simpler(step: Step) -> Iterator[Step]:
    """The step with fewer commands."""
    if step[0] != "send":
        return
    *words, submission = step
    if not isinstance(submission, str | int | float) and len(submission.commands) > 1:
        for index in range(len(submission.commands)):
            commands = submission.commands[:index], submission.commands[index + 1 :]
            fewer = msgspec.structs.replace(submission, commands=(*commands[0], *commands[1]))
            yield (*words, fewer)


def _result(world: World, script: Script) -> Result:
    """What a world came to."""
    monitor = world.monitor
    return Result(
        tuple(monitor.findings),
        script,
        world.steps,
        monitor.commits,
        monitor.events,
        monitor.answers,
    )
