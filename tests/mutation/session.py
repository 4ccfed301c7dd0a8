"""The tests of the rules in one process, which forks for every mutant: a pytest plugin.

mutmut makes the mutants and would start pytest anew for each, which costs ten times what the tests
themselves take. Here everything is imported and collected once. First every test runs on the rules
as they are, and what functions it enters is noted (mutmut's own switch); then, for each mutant, a
child switches it on and runs the tests that enter its function, until one fails.

A mutant must die each time or never: examples are derived from the test alone. The machine at
random (``test_rules_machine``) takes no part: what only chance finds is no rule that a test states.
"""

import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

EXAMPLES = 10
"""Of each property; the tests of every day draw more."""

CPU_S_FACTOR, CPU_S_LEAST = 10, 10
"""What a mutant may take: so many times what its tests took, and this at least."""

ABOUT_ALL = frozenset(
    {
        "test_booking",
        "test_commands",
        "test_conditions",
        "test_field_forms",
        "test_needs",
        "test_order_of_checks",
    }
)
"""Tests about every command: they come next after those of the mutant's own module."""

ASKED = "LEDGER_MUTANTS"
"""Environment variable: a file with the names of mutants to test and where results go."""

hypothesis.settings.register_profile(
    "mutants",  # Chosen by LEDGER_TEST_PROFILE, as tests.strategies has it.
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    suppress_health_check=list(hypothesis.HealthCheck),
)

_trampoline: Any = importlib.import_module("mutmut.mutation.trampoline")
_state: Any = importlib.import_module("mutmut.state")


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of running the tests once: once as they are, then for each mutant.

    Raises:
        pytest.UsageError: a test fails on the rules as they are.
    """
    asked = json.loads(Path(os.environ[ASKED]).read_text())
    entered, seconds = _entered(session.items, Path(asked["known"]))
    results: dict[str, int] = {}
    running: dict[int, str] = {}
    begun = time.monotonic()
    gc.collect()
    gc.freeze()
    for number, mutant in enumerate(asked["mutants"]):
        items = entered.get(mutant.partition("__mutmut_")[0], [])
        if not items:
            results[mutant] = 33  # mutmut's word for "no tests".
            continue
        while len(running) >= asked["jobs"]:
            _reap(running, results)
        limit_s = CPU_S_LEAST + CPU_S_FACTOR * sum(seconds[item.nodeid] for item in items)
        order = _in_order(items, mutant, seconds)[: asked["tests_max"]]
        running[_start(mutant, order, int(limit_s))] = mutant
        if number % 50 == 0:
            rate, total = number / max(time.monotonic() - begun, 1), len(asked["mutants"])
            print(f"{number} of {total}, {rate:.1f}/s", file=sys.stderr, flush=True)
            _save(asked["results"], results)
    while running:
        _reap(running, results)
    _save(asked["results"], results)
    return True


def _entered(
    items: Sequence[pytest.Item], known: Path
) -> tuple[dict[str, list[pytest.Item]], dict[str, float]]:
    """Which tests enter each function, and the CPU seconds of each test.

    ``known`` keeps it: what a test entered once is not looked at again until all is made anew.

    Raises:
        pytest.UsageError: one fails.
    """
    seen: dict[str, tuple[float, list[str]]] = {}
    if known.exists():
        seen = json.loads(known.read_text())
    hits: set[str] = _state.state()._stats  # noqa: SLF001 - mutmut has no other way to it
    _trampoline.set_mutant_under_test("stats")
    for item in items:
        if item.nodeid in seen:
            continue
        hits.clear()
        begun = time.process_time()
        if not _passes(item):
            msg = f"{item.nodeid} fails without any mutant"
            raise pytest.UsageError(msg)
        seen[item.nodeid] = (time.process_time() - begun, sorted(hits))
    _trampoline.set_mutant_under_test("")
    known.write_text(json.dumps(seen))
    entered: dict[str, list[pytest.Item]] = {}
    for item in items:
        for function in seen[item.nodeid][1]:
            entered.setdefault(function, []).append(item)
    return entered, {name: seconds for name, (seconds, _) in seen.items()}


def _passes(item: pytest.Item) -> bool:
    """Run one test, without the report that pytest would write of it."""
    state = item.session._setupstate  # noqa: SLF001 - as pytest's own runner
    try:
        state.setup(item)
        item.runtest()
    except pytest.skip.Exception:
        return True
    except BaseException:  # noqa: BLE001 - whatever a mutant raises, the test has failed
        return False
    finally:
        state.teardown_exact(None)
    return True


def _in_order(
    items: Sequence[pytest.Item], mutant: str, seconds: dict[str, float]
) -> list[pytest.Item]:
    """The tests most likely to kill it first.

    Those of what the mutant's module is about; then those about all commands, then the rest, and of
    these the quickest of each file, the next quickest of each, and so on.
    """
    words = [word.rstrip("s") for word in mutant.split(".")[1].split("_")]
    turns: dict[str, int] = {}

    def turn(item: pytest.Item) -> int:
        """The how manieth of its file it is."""
        turns[item.path.stem] = turns.get(item.path.stem, -1) + 1
        return turns[item.path.stem]

    def near(item: pytest.Item) -> int:
        """How near to the module the test's file is by its name: 0 is nearest."""
        file = item.path.stem
        if "_".join(words) in file:
            return 0
        return 1 if file in ABOUT_ALL or any(word in file for word in words) else 2

    quickest = sorted(items, key=lambda item: (_is_property(item), seconds[item.nodeid]))
    ranked = [(near(item), turn(item), number) for number, item in enumerate(quickest)]
    return [quickest[number] for *_, number in sorted(ranked)]


def _is_property(item: pytest.Item) -> bool:
    """Whether hypothesis draws its examples."""
    return bool(hypothesis.is_hypothesis_test(getattr(item, "obj", None)))


def _start(mutant: str, items: Sequence[pytest.Item], limit_s: int) -> int:
    """A child that tests the mutant; its process id."""
    child = os.fork()
    if child:
        return child
    status = 3
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 2))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        _trampoline.set_mutant_under_test(mutant)
        status = 0 if all(_passes(item) for item in items) else 1
    finally:
        os._exit(status)


def _reap(running: dict[int, str], results: dict[str, int]) -> None:
    """Wait for the next child to end, and note how."""
    child, status = os.wait()
    results[running.pop(child)] = os.waitstatus_to_exitcode(status)


def _save(path: str, results: dict[str, int]) -> None:
    """Write down the results so far."""
    Path(path).write_text(json.dumps(results))
