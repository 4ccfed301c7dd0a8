"""Rewrites a copy of the rules so that mutmut sees what it would pass over, and only that.

mutmut changes nothing in a decorated function, so a property would never be tested: in the copy it
is a method that becomes a property after its last line, and ``@cache`` is gone. Texts for people
are no rules, and what mypy proves to be never reached is nothing to test: in the copy both are
written such that mutmut leaves them alone. What the program does is the same, but for the speed of
what was cached.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

UNDONE = frozenset({"property", "contextmanager", "cache"})
"""Decorators that are applied after the function instead; a cache is left out."""

TEXT_ERRORS = frozenset({"ValidationFailed"})
"""Errors whose second argument is a sentence for people; the first is a field's name: a rule."""


@dataclass(frozen=True)
class _Edit:
    """``text`` instead of what stands from ``start`` up to ``end`` (offsets in UTF-8)."""

    start: int
    end: int
    text: str


def prepared(source: str) -> str:
    """The module as mutmut is to see it."""
    lines = source.encode().splitlines(keepends=True)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line))
    whole = source.encode()
    edits = sorted(_edits(ast.parse(source), whole, begins), key=lambda edit: edit.start)
    pieces, at = [], 0
    for edit in edits:
        pieces += [whole[at : edit.start], edit.text.encode()]
        at = edit.end
    return b"".join([*pieces, whole[at:]]).decode()


def _edits(tree: ast.Module, whole: bytes, begins: list[int]) -> Iterator[_Edit]:
    """What is written otherwise in the copy; no two of them overlap."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(decorator_list=[ast.Name(id=kind) as name]) if kind in UNDONE:
                yield _Edit(begins[name.lineno - 1], begins[name.lineno], "")
                if kind != "cache":
                    end = begins[node.end_lineno or 0]
                    text = f"{' ' * node.col_offset}{node.name} = {kind}({node.name})\n"
                    yield _Edit(end, end, text)
            case ast.Call(func=ast.Name(id="cast"), args=[kind, value]):
                start, _ = _span(node, begins)
                begin, end = _span(value, begins)
                yield _Edit(start, begin, "(")
            case ast.Call(func=ast.Name(id=error), args=[_, text]) if error in TEXT_ERRORS:
                yield from _as_star(text, whole, begins)
            case ast.match_case(
                pattern=ast.MatchAs(pattern=None, name=None),
                body=[ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))) as never],
            ):
                # Never reached, as mypy proves: there is nothing to test.
                for line in (never.lineno - 1, never.lineno):
                    end = begins[line] - 1
                    yield _Edit(end, end, "  # pragma: no mutate")
            case (
                ast.Assign(targets=[ast.Name(id="msg")], value=ast.Constant(value=str()) as text)
                | ast.Call(func=ast.Name(id="ValueError"), args=[ast.Constant(value=str()) as text])
            ):
                begin, end = _span(text, begins)
                yield _Edit(begin, begin + 1, '"""')
                yield _Edit(end - 1, end, '"""')


def _as_star(text: ast.expr, whole: bytes, begins: list[int]) -> Iterator[_Edit]:
    """An argument that mutmut neither empties nor changes: ``*(...,)`` of triple-quoted parts."""
    begin, end = _span(text, begins)
    yield _Edit(begin, begin, "*(")
    yield _Edit(end, end, ",)")
    # One literal, or several beside each other: each line of them is a literal of its own. What an
    # f-string says is left alone anyway.
    at = begin
    for line in whole[begin:end].splitlines(keepends=True):
        stripped = line.strip()
        if stripped[:1] in {b'"', b"'"}:
            first = at + line.index(stripped)
            last = first + len(stripped)
            yield _Edit(first, first + 1, stripped[:1].decode() * 3)
            yield _Edit(last - 1, last, stripped[:1].decode() * 3)
        at += len(line)


def _span(node: ast.expr, begins: list[int]) -> tuple[int, int]:
    """Where an expression begins and ends, in bytes."""
    end_line, end_offset = node.end_lineno or node.lineno, node.end_col_offset or 0
    return begins[node.lineno - 1] + node.col_offset, begins[end_line - 1] + end_offset
