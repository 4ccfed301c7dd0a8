"""Mutants that live although every rule is tested, each with the reason: compared with a run.

A mutant is known by its function and by the lines that it changes, not by a number or a line's
number: what is written elsewhere in the module moves nothing here.
"""

import ast
import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutation import work

EXPLAINED = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True, order=True)
class Change:
    """What a mutant changes: the lines before and after, without indentation."""

    module: str
    function: str
    before: str
    after: str

    def __str__(self) -> str:
        """As a difference, to be read and to be copied."""
        lines = [f"{self.module}.{self.function}"]
        lines += [f"    - {line}" for line in self.before.splitlines()]
        lines += [f"    + {line}" for line in self.after.splitlines()]
        return "\n".join(lines)


def explained() -> dict[Change, str]:
    """Every explained survivor, and why it lives.

    Raises:
        ValueError: one without a reason, or twice.
    """
    found: dict[Change, str] = {}
    for item in tomllib.loads(EXPLAINED.read_text())["survivor"]:
        reason = item.pop("reason").strip()
        change = Change(**item)
        if not reason or change in found:
            msg = f"no reason, or listed twice: {change}"
            raise ValueError(msg)
        found[change] = reason
    return found


def changes(module: str, mutants: list[str]) -> dict[str, Change]:
    """What each of these mutants of a module changes."""
    path = work.FOLDER / "mutants" / "src" / "ledger_core" / f"{module}.py"
    functions = _functions(path.read_text())
    return {mutant: _change(module, mutant.rpartition(".")[2], functions) for mutant in mutants}


def _functions(source: str) -> dict[str, list[str]]:
    """The lines of each function and method that mutmut wrote, without indentation."""
    lines = source.splitlines()
    found: dict[str, list[str]] = {}
    tree = ast.parse(source)
    for node in [*tree.body, *(item for cls in _classes(tree) for item in cls.body)]:
        if isinstance(node, ast.FunctionDef):
            body = lines[node.body[0].lineno - 1 : node.end_lineno]
            head = lines[node.lineno - 1 : node.body[0].lineno - 1]
            # The name differs in every mutant: what follows it is what counts.
            head[:1] = [head[0].partition("(")[2]] if head else []
            found[node.name] = [line.strip() for line in [*head, *body]]
    return found


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    """The classes of a module."""
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _change(module: str, name: str, functions: dict[str, list[str]]) -> Change:
    """What a mutant changes of its function."""
    mangled = name.partition("__mutmut_")[0]
    function = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    lines = difflib.ndiff(functions[f"{mangled}__mutmut_orig"], functions[name])
    kept = [line for line in lines if line[:2] in {"- ", "+ "}]
    before = "\n".join(line[2:] for line in kept if line[0] == "-")
    after = "\n".join(line[2:] for line in kept if line[0] == "+")
    return Change(module, function, before, after)
