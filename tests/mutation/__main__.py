"""``make mutate``: change the rules a little, many times, and see that a test fails each time.

Without words: every module of the configuration, from scratch. With words: only those modules. Ends
with 1 where a mutant lives that ``survivors.toml`` does not explain, or where that file explains
one that dies, or is no more.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.mutation import survivors, work
from tests.mutation.survivors import Change

BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"


@dataclass(frozen=True)
class Outcome:
    """What came of a module's mutants."""

    module: str
    mutants: int
    killed: int
    timed_out: int
    explained: int
    unexplained: tuple[Change, ...]
    stale: tuple[Change, ...]


def main() -> int:
    """Make and test the mutants; 0 where all is well."""
    parser = argparse.ArgumentParser(prog="make mutate")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="money, holds, …; else all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests-max", type=int, help="of each mutant: a quick look, no verdict")
    parser.add_argument("--table", type=Path, help="a page: write the figures between its marks")
    asked = parser.parse_args()
    modules = asked.modules or work.modules()
    unknown = sorted(set(modules) - set(work.modules()))
    if unknown:
        parser.error(f"not in tool.mutmut.only_mutate of pyproject.toml: {', '.join(unknown)}")
    begun = time.monotonic()
    work.forget()
    work.copy()
    work.generate()
    mutants = [mutant for module in modules for mutant in work.results(module)]
    print(f"{len(mutants)} mutants of {len(modules)} modules", flush=True)
    ended = work.tried(mutants, jobs=asked.jobs, tests_max=asked.tests_max)
    outcomes = [judged(module, ended) for module in modules]
    for module in modules:
        work.keep(module, ended)
    print(table(outcomes))
    took_s = time.monotonic() - begun
    print(f"{took_s / 60:.0f} minutes, {len(ended) / took_s:.1f} mutants a second")
    for outcome in outcomes:
        for change in outcome.unexplained:
            print(f"lives, unexplained: {change}")
        for change in outcome.stale:
            print(f"explained, but does not live: {change}")
    if asked.table:
        asked.table.write_text(with_table(asked.table.read_text(), table(outcomes)))
    return int(any(outcome.unexplained or outcome.stale for outcome in outcomes))


def judged(module: str, ended: dict[str, int]) -> Outcome:
    """How a module's mutants ended, beside what is explained."""
    codes = {mutant: ended[mutant] for mutant in work.results(module)}
    kinds = Counter(_word(code) for code in codes.values())
    living = [mutant for mutant, code in codes.items() if _word(code) == "lives"]
    lives = set(survivors.changes(module, living).values())
    reasons = {change for change in survivors.explained() if change.module == module}
    return Outcome(
        module=module,
        mutants=len(codes),
        killed=kinds["killed"],
        timed_out=kinds["timed out"],
        explained=sum(change in reasons for change in survivors.changes(module, living).values()),
        unexplained=tuple(sorted(lives - reasons)),
        stale=tuple(sorted(reasons - lives)),
    )


def _word(code: int) -> str:
    """How a mutant ended; where no test enters its function, it lives."""
    if code in work.KILLED:
        return "killed"
    return "timed out" if code in work.TIMED_OUT else "lives"


def table(outcomes: list[Outcome]) -> str:
    """The figures of a run, as a table of a page."""
    rows = ["| module | mutants | killed | ran for ever | explained | unexplained |"]
    rows.append("|---|--:|--:|--:|--:|--:|")
    rows += [
        f"| `{item.module}` | {item.mutants} | {item.killed} | {item.timed_out} "
        f"| {item.explained} | {item.mutants - item.killed - item.timed_out - item.explained} |"
        for item in outcomes
    ]
    total = [
        sum(getattr(item, name) for item in outcomes)
        for name in ("mutants", "killed", "timed_out", "explained")
    ]
    rest = total[0] - total[1] - total[2] - total[3]
    rows.append(f"| **all** | {' | '.join(str(figure) for figure in total)} | {rest} |")
    return "\n".join(rows)


def with_table(page: str, text: str) -> str:
    """The page with other figures between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
