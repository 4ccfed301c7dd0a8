"""``make audit``: every finding of bandit is gone, or explained where it stands.

ruff's rules of the group ``S`` are bandit's under other names, and are switched on for all that is
shipped. So the explanation that ruff asks for at a line (``noqa: S608 - why``) counts for bandit as
well: an explanation without a reason does not. What ruff has no rule for is explained in
``EXPLAINED`` by kind and place. Ends with 1 where anything is left.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("src", "verifier/src", "migrations")

EXPLAINED: tuple[tuple[str, str, str], ...] = (
    ("B404", "*.py", "each call of a program is explained where it stands (S603)"),
    ("B603", "src/projections/sealing.py", "our own interpreter and module, no argument"),
    ("B608", "src/projections/writing.py", "names of columns of our own tables"),
    ("B311", "src/api/clock.py", "sampling and the ids of traces, which others may guess"),
    ("B105", "src/api/permissions.py", "the name of a permission"),
    ("B105", "src/api/routes/*.py", "an example of the document"),
)

_REASON = re.compile(r"# noqa: [A-Z0-9, ]*\bS\d+[A-Z0-9, ]* - \S")

Finding = dict[str, Any]


def findings(root: Path, folders: Sequence[str]) -> list[Finding]:
    """What bandit finds in folders below a root."""
    done = subprocess.run(
        [sys.executable, "-m", "bandit", "-q", "-r", *folders, "-f", "json"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    if report["errors"]:
        raise RuntimeError(str(report["errors"]))
    found: list[Finding] = report["results"]
    return found


def path_of(item: Finding) -> str:
    """The file of a finding, from the root."""
    return str(item["filename"]).removeprefix("./")


def unexplained(root: Path, found: Sequence[Finding]) -> Iterator[str]:
    """Those findings for which nobody says why they are no danger."""
    for item in found:
        path, kind = path_of(item), str(item["test_id"])
        if any(kind == known and Path(path).match(place) for known, place, _ in EXPLAINED):
            continue
        text = (root / path).read_text()
        first, last = _statement(text, int(item["line_number"]))
        lines = text.splitlines()[first - 1 : last]
        if not any(_REASON.search(line) for line in lines):
            yield f"{path}:{item['line_number']}: {kind} {item['issue_text']}"


def _statement(text: str, line: int) -> tuple[int, int]:
    """The first and last line of the smallest statement that a line belongs to."""
    found = (1, text.count("\n") + 1)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            span = (node.lineno, node.end_lineno or node.lineno)
            found = min(found, span, key=lambda lines: lines[1] - lines[0])
    return found


def main() -> int:
    """Say what is left; 0 where nothing is."""
    found = findings(ROOT, SHIPPED)
    left = list(unexplained(ROOT, found))
    print("\n".join([*left, f"bandit: {len(found)} findings, {len(left)} of them unexplained"]))  # noqa: T201 - a command's answer
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
