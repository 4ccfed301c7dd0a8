"""The tables of the documentation that are made from the code.

``python -m tests.docs.tables`` (``make docs-tables``) writes them into their pages; a test
compares.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path

from tests.docs import dependencies

from api.problems import STATUS_OF, Kind
from ledger_core import commands, errors
from projections.reading import PositionAhead

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
BEGIN = "<!-- begin: made by make docs-tables -->\n"
END = "<!-- end -->"

# A refused field is told in `errors`, not in `seen`.
_IN_ERRORS = frozenset({"field", "rule"})
_RETRY = "Try again after `Retry-After`."
_ADVICE_OF_HTTP = {500: "Try again later, with the same key.", 503: _RETRY}
_ADVICE: Mapping[type[errors.LedgerError], str] = {
    errors.LedgerBusy: _RETRY,
    PositionAhead: _RETRY,
    errors.ValidationFailed: "Mend the request.",
    errors.UnknownCurrency: "Mend the request, or register the unit.",
    errors.VersionConflict: "Read the account again, and decide anew.",
    errors.IdempotencyConflict: "Give what is another command another key.",
    errors.BatchFailed: "Mend the item that says why, and send the batch again.",
    errors.NotAttempted: "Mend the item that says why, and send this one again.",
}


def refusals() -> str:
    """Every refusal: code, status, what it says, what one can do, which figures it shows."""
    figures = _figures()
    rows = {
        error.code: (status, error.sentence, _advice(error), figures[error.__name__])
        for error, status in STATUS_OF.items()
    }
    for kind in _kinds():
        advice = _ADVICE_OF_HTTP.get(kind.status, "Mend the request.")
        rows[kind.code] = (kind.status, kind.sentence, advice, frozenset())
    lines = [
        "| `code` | status | what it says | what to do | figures in `seen` |",
        "|---|---|---|---|---|",
    ]
    for code, (status, sentence, advice, names) in sorted(rows.items()):
        shown = ", ".join(f"`{name}`" for name in sorted(names)) or "none"
        lines.append(
            f'| <a id="{code}"></a>`{code}` | {status} | {sentence} | {advice} | {shown} |'
        )
    return "\n".join(lines) + "\n"


TABLES: Mapping[str, Callable[[], str]] = {
    "docs/dependencies.md": dependencies.table,
    "docs/refusals.md": refusals,
}


def with_table(page: str, table: str) -> str:
    """The page with its table between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, "the page has no marks for its table"
    return before + BEGIN + table + END + after


def _advice(error: type[errors.LedgerError]) -> str:
    """What the caller can do, as the branch of the tree says it."""
    if error in _ADVICE:
        return _ADVICE[error]
    if issubclass(error, errors.NotFound):
        return "Name something that exists."
    if issubclass(error, errors.Conflict):
        return "Look at what is there; then another attempt may succeed."
    return "Do not repeat it: a rule forbids it as things stand."


def _kinds() -> Iterable[Kind]:
    """The refusals that are HTTP's own, wherever in the API they are said."""
    found: dict[str, Kind] = {}
    for path in sorted((SOURCE / "api").rglob("*.py")):
        if " = Kind(" in path.read_text():
            name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
            values = vars(import_module(name)).values()
            found |= {kind.code: kind for kind in values if isinstance(kind, Kind)}
    return found.values()


def _figures() -> dict[str, frozenset[str]]:
    """The figures of each refusal, by the name of its class: how the code calls it."""
    leaves = {error.__name__ for error in STATUS_OF}
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = _name(node.func)
                if name in leaves:
                    found[name].update(item.arg for item in node.keywords if item.arg)
    found[PositionAhead.__name__] = {"asked", "reached"}
    # The shell raises these, for any chosen id, with all that it has found out.
    chosen: list[type[errors.LedgerError]] = [errors.AccountExists, errors.CustomerExists]
    chosen += [errors.EntryExists, *(taken for _, _, taken in commands.CHOSEN_IDS.values())]
    for error in chosen:
        found[error.__name__] |= {"position", "fields"}
    return defaultdict(
        frozenset, {name: frozenset(names - _IN_ERRORS) for name, names in found.items()}
    )


def _name(function: ast.expr) -> str:
    """The name by which a function is called."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def main() -> None:
    """Write every table into its page."""
    for page, table in TABLES.items():
        path = ROOT / page
        path.write_text(with_table(path.read_text(), table()))


if __name__ == "__main__":
    main()
