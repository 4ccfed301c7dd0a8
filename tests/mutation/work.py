"""The copy of the project on which mutants are made and tested, and what came of them."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.mutation.prepare import prepared

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "mutation"
COPIED = ("src", "tests/rules", "tests/golden", "tests/mutation")
SINGLE = ("pyproject.toml", "tests/strategies.py")

KILLED = frozenset({1, 3})
"""How a child ends in which a test failed (3: so badly that pytest did)."""

TIMED_OUT = frozenset({-24, -9})
"""How it ends where it took all the CPU time that it was given: the mutant runs for ever."""


def settings() -> dict[str, Any]:
    """The section ``tool.mutmut`` of pyproject.toml."""
    read: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    return read


def modules() -> list[str]:
    """The modules of the rules, in the order of the configuration."""
    return [Path(path).stem for path in settings()["only_mutate"]]


def copy() -> None:
    """Bring the copy up to date: what did not change keeps its time, and its results."""
    rules = set(settings()["only_mutate"])
    wanted: set[Path] = set()
    for folder in COPIED:
        wanted |= {path for path in (ROOT / folder).rglob("*") if path.is_file()}
    wanted |= {ROOT / name for name in SINGLE}
    for path in sorted(wanted):
        name = path.relative_to(ROOT).as_posix()
        if "__pycache__" in name:
            continue
        content = path.read_bytes()
        if name in rules:
            content = prepared(content.decode()).encode()
        _write(FOLDER / name, content)
    for path in FOLDER.glob("tests/**/*.py"):
        if ROOT / path.relative_to(FOLDER) not in wanted:
            path.unlink()


def _write(path: Path, content: bytes) -> None:
    """Write a file of the copy, unless that is what it says already."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if path.is_relative_to(FOLDER / "src"):
        (FOLDER / "mutants" / path.relative_to(FOLDER)).unlink(missing_ok=True)


def forget() -> None:
    """Remove the copy and all results."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def generate() -> None:
    """Have mutmut write the mutants of the copy."""
    _python([str(ROOT / "tests" / "mutation" / "generate.py")], FOLDER)


def tried(mutants: Sequence[str], *, jobs: int, tests_max: int | None) -> dict[str, int]:
    """Test mutants, each by so many tests at most; how each ended."""
    asked, results = FOLDER / "asked.json", FOLDER / "results.json"
    task: dict[str, Any] = {"mutants": list(mutants), "jobs": jobs, "tests_max": tests_max}
    task |= {"results": str(results), "known": str(FOLDER / "known.json")}
    asked.write_text(json.dumps(task))
    results.write_text("{}")
    read = settings()
    arguments = ["-m", "pytest", "-q", "--rootdir=.", "--tb=native", "-p", "tests.mutation.session"]
    arguments += [*read["pytest_add_cli_args"], *read["pytest_add_cli_args_test_selection"]]
    _python(arguments, FOLDER / "mutants", LEDGER_MUTANTS=str(asked))
    ended: dict[str, int] = json.loads(results.read_text())
    return ended


def _python(arguments: Iterable[str], folder: Path, **environment: str) -> None:
    """Run Python in a folder of the copy; its own modules come first.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    paths = [str(folder / "src"), str(folder)]
    more = {
        "LEDGER_TEST_PROFILE": "mutants",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | more | environment, check=True
    )


def results(module: str) -> dict[str, int | None]:
    """How each mutant of a module ended; ``None``: it was not tested."""
    path = _meta(module)
    if not path.exists():
        return {}
    found: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
    return found


def keep(module: str, ended: dict[str, int]) -> None:
    """Write results where mutmut looks for them: ``mutmut results`` and ``mutmut show`` work."""
    path = _meta(module)
    if not path.exists():
        return
    meta = json.loads(path.read_text())
    known = meta["exit_code_by_key"]
    known |= {mutant: code for mutant, code in ended.items() if mutant in known}
    path.write_text(json.dumps(meta))


def _meta(module: str) -> Path:
    """Where mutmut keeps what it knows of a module's mutants."""
    return FOLDER / "mutants" / "src" / "ledger_core" / f"{module}.py.meta"
