"""What ``pyproject.toml`` depends on, with the reason that stands beside it."""

import ast
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import files, packages_distributions
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "pyproject.toml"
RUNTIME = "the program"

_NAME = re.compile(r'^\s*"([A-Za-z0-9_.\-]+)([^"]*)",\s*(?:#\s*(.*))?$')
_SEPARATORS = re.compile(r"[-_.]+")


class Dependency(msgspec.Struct, frozen=True):
    """One dependency: its name as packages are compared, who needs it, and why."""

    name: str
    group: str
    reason: str


def normal(name: str) -> str:
    """A package's name, as names of packages are compared."""
    return _SEPARATORS.sub("-", name).lower()


@cache
def declared() -> tuple[Dependency, ...]:
    """Every dependency in the order of the file, each with its reason (maybe empty)."""
    reasons = {
        found[1]: (found[3] or "").strip()
        for found in map(_NAME.match, PROJECT.read_text().splitlines())
        if found is not None
    }
    project = tomllib.loads(PROJECT.read_text())["project"]
    groups = {RUNTIME: project["dependencies"], **project["optional-dependencies"]}
    return tuple(
        Dependency(normal(name), group, reasons.get(name, ""))
        for group, lines in groups.items()
        for name in (re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0] for line in lines)
    )


@cache
def importers() -> dict[str, tuple[str, ...]]:
    """The packages of the program that import each installed one, by that one's name."""
    homes = packages_distributions()
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for name in _imported(ast.parse(path.read_text())):
            for package in _owners(name, homes.get(name.partition(".")[0], ())):
                own = path.relative_to(ROOT / "src").parts[0]
                found.setdefault(normal(package), set()).add(own)
    return {package: tuple(sorted(own)) for package, own in found.items()}


def imported_by_program() -> frozenset[str]:
    """The names of all packages that any module of the program imports."""
    return frozenset(importers())


def _owners(module: str, packages: Iterable[str]) -> set[str]:
    """Which of the packages that share a module's first name has that module."""
    several = set(packages)
    if len(several) < 2:
        return several
    path = module.replace(".", "/")
    homes = {f"{path}.py", f"{path}/__init__.py"}
    return {package for package in several if homes & {str(file) for file in files(package) or ()}}


def _imported(tree: ast.Module) -> set[str]:
    """The names of all modules that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
    return names


def table() -> str:
    """Every dependency: who needs it, what for, and which packages of the program import it."""
    lines = ["| package | for | why | imported by |", "|---|---|---|---|"]
    for item in declared():
        shown = ", ".join(f"`{name}`" for name in importers().get(item.name, ())) or "none"
        lines.append(f"| {item.name} | {item.group} | {item.reason} | {shown} |")
    return "\n".join(lines) + "\n"
