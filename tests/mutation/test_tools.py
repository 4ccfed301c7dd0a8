"""The tools of ``make mutate``: the copy means what the original does; reasons have a place."""

import ast
from pathlib import Path

import pytest
from tests.mutation import survivors, work
from tests.mutation.__main__ import BEGIN, END, Outcome, table, with_table
from tests.mutation.prepare import prepared
from tests.mutation.survivors import Change

SOURCE = '''
class Account:
    @property
    def rest(self) -> int:
        """What is left."""
        return self.all - self.used

    @staticmethod
    def kind() -> str:
        return cast("Kind", "liability")


@cache
def names(kind: str) -> str:
    match kind:
        case "a":
            return "b"
        case _:
            assert_never(kind)
    raise ValidationFailed(
        "name", f"at most {LENGTH} characters,"
        " no blanks"
    )
    msg = "no kind"
    raise ValueError(msg)
'''
PREPARED = '''
class Account:
    def rest(self) -> int:
        """What is left."""
        return self.all - self.used
    rest = property(rest)

    @staticmethod
    def kind() -> str:
        return ("liability")


def names(kind: str) -> str:
    match kind:
        case "a":
            return "b"
        case _:  # pragma: no mutate
            assert_never(kind)  # pragma: no mutate
    raise ValidationFailed(
        "name", *(f"at most {LENGTH} characters,"
        """ no blanks""",)
    )
    msg = """no kind"""
    raise ValueError(msg)
'''


def test_the_copy_is_written_such_that_mutmut_sees_it() -> None:
    """Properties and caches are plain functions; texts and what is never reached are left alone."""
    assert prepared(SOURCE) == PREPARED


@pytest.mark.parametrize("module", work.modules())
def test_every_module_of_the_rules_can_be_prepared(module: str) -> None:
    """With the same functions, and no decorator but of static and class methods."""
    source = (work.ROOT / "src" / "ledger_core" / f"{module}.py").read_text()
    before, after = ast.parse(source), ast.parse(prepared(source))
    assert _functions(before) == _functions(after)
    decorators = {ast.unparse(item) for name in ast.walk(after) for item in _decorators(name)}
    assert decorators <= {"staticmethod", "classmethod"}


def _functions(tree: ast.Module) -> list[str]:
    """The names of all functions, in their order."""
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _decorators(node: ast.AST) -> list[ast.expr]:
    """What decorates it, if it is a function."""
    return node.decorator_list if isinstance(node, ast.FunctionDef) else []


def test_every_reason_is_about_lines_that_are_there() -> None:
    """In a module that is mutated; a reason for what was rewritten since is one no more."""
    for change, reason in survivors.explained().items():
        assert change.module in work.modules(), change
        source = (work.ROOT / "src" / "ledger_core" / f"{change.module}.py").read_text()
        lines = {line.strip() for line in prepared(source).splitlines()}
        for line in change.before.splitlines():
            assert any(line in known for known in lines), change
        assert change.before != change.after
        assert reason.endswith("."), change


def test_a_mutant_is_known_by_what_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stands and whatever number it has; of a method by class and name."""
    monkeypatch.setattr(work, "FOLDER", tmp_path)
    written = tmp_path / "mutants" / "src" / "ledger_core" / "money.py"
    written.parent.mkdir(parents=True)
    written.write_text(
        "def x_less__mutmut_orig(a, b=1):\n    return a < b\n"
        "def x_less__mutmut_1(a, b=2):\n    return a < b\n"
        "class Sum:\n"
        "    def xǁSumǁof__mutmut_orig(self):\n        return self.a + self.b\n"
        "    def xǁSumǁof__mutmut_7(self):\n        return self.a - self.b\n"
    )
    names = ["ledger_core.money.x_less__mutmut_1", "ledger_core.money.xǁSumǁof__mutmut_7"]
    assert list(survivors.changes("money", names).values()) == [
        Change("money", "less", "a, b=1):", "a, b=2):"),
        Change("money", "Sum.of", "return self.a + self.b", "return self.a - self.b"),
    ]


def test_the_page_gets_the_figures_of_a_run() -> None:
    """Between its marks, and nowhere else."""
    text = table([Outcome("money", 9, 6, 1, 1, (Change("money", "f", "a", "b"),), ())])
    assert "| `money` | 9 | 6 | 1 | 1 | 1 |" in text
    assert text.endswith("| **all** | 9 | 6 | 1 | 1 | 1 |")
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_table(page, text) == f"before\n{BEGIN}\n{text}\n{END}\nafter\n"
