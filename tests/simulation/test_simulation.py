"""The simulation: the product passes it, it can be repeated, and what fails is shrunk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulation.bugs import BUGS, SHOWN_BY
from tests.simulation.running import run_many, run_script, run_seed, shrink
from tests.simulation.script import parse, text_of
from tests.simulation.statements import UnknownStatement, understand

SEEDS = 40
STEPS = 1_000
ROOT = Path(__file__).parents[2]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the simulation in a process of its own, where every seed comes to the same each time."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_no_rule_is_broken() -> None:
    """Whatever happens, nothing acknowledged is lost or doubled, and everybody is answered."""
    done = simulate("--seeds", str(SEEDS), "--steps", str(STEPS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} seeds" in done.stdout
    assert "no rule was broken" in done.stdout


def test_a_seed_always_comes_to_the_same() -> None:
    """The same seed takes the same steps to the same log; so does the script it wrote."""
    first, again = run_seed(5), run_seed(5)
    assert text_of(first.script) == text_of(again.script)
    assert (first.steps, first.events) == (again.steps, again.events)
    read = parse(text_of(first.script))
    assert text_of(read) == text_of(first.script)
    replayed = run_script(read)
    assert (replayed.events, replayed.answers) == (first.events, first.answers)


def test_every_deliberate_bug_is_found() -> None:
    """Each of them breaks a rule within few seeds, or by a script of its own."""
    done = simulate("--bugs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("breaks the rule") == len(BUGS)


@pytest.mark.parametrize("name", sorted(SHOWN_BY))
def test_a_bug_that_was_mended_stays_so(name: str) -> None:
    """The script that showed it breaks a rule with the bug put back, and none without."""
    script = parse(SHOWN_BY[name].read_text("utf-8"))
    assert run_script(script, patch=BUGS[name]).findings
    assert not run_script(script).findings


def test_what_fails_is_shrunk() -> None:
    """A failure of many steps becomes a script of few, of which nothing can be left out."""
    bug = BUGS["failed-commit-answered"]
    failed = run_many(range(100), 1_500, bug).failed
    assert failed is not None
    found = failed[1]
    shortest = shrink(found, patch=bug)
    assert shortest.findings[0].rule == found.findings[0].rule
    steps = shortest.script.steps
    assert len(steps) <= 10
    again = run_script(parse(text_of(shortest.script)), patch=bug)
    assert again.findings == shortest.findings


def test_a_statement_that_is_not_known_is_an_error() -> None:
    """What the product says to the database and nobody told the simulation is not passed over."""
    with pytest.raises(UnknownStatement):
        understand("UPDATE ledger.heads SET position = 0", ())
