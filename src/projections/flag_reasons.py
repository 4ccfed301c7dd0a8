"""Why a flag was raised: the rule as it stood then, and the movements that met it.

The movements are the flag's own, read again from the account's lines; the figures of the flag must
come out of them. Leaving any of them out gives other figures.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import dropwhile
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import func, select

from ledger_core.accounts import Terms
from ledger_core.errors import FlagNotFound
from ledger_core.journal import entry_id_at
from projections.balance_queries import account_at
from projections.flag_queries import flag_of_id, rules_at
from projections.memory import Movement, Rule
from projections.reading import NOW, AsOf, Reading, resolve
from projections.risk_rules import DEFAULT_RULES, Flag, Thresholds
from projections.statement_queries import entries_at
from projections.statements import statement_lines

PROJECTIONS_READ = ("balances", "statements", "risk_flags", "customer_360", "event_tags")

Direction = Literal["in", "out"]
Figures = Mapping[str, str]


class FlaggedMovement(msgspec.Struct, frozen=True, kw_only=True):
    """A movement that met the rule, with what all up to it come to.

    ``in_minor`` and ``out_minor`` are what came in and went out so far, ``count`` how many
    movements that is.
    """

    position: int
    line: int
    entry_id: str
    kind: str
    recorded_at: datetime
    value_date: date
    direction: Direction
    amount_minor: int
    count: int
    in_minor: int
    out_minor: int


class FlagExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """A flag, the rule by which it was raised, and the movements that met the rule.

    ``rule_position`` is the event that set the rule; 0 where it stood at its defaults.
    ``quiet_since_position`` is the movement (or the opening) since which a dormant account had had
    none. ``adds_up`` says that the movements come to the flag's figures.
    """

    flag: Flag
    scale: int
    parameters: dict[str, int]
    rule_position: int
    movements: tuple[FlaggedMovement, ...]
    quiet_since_position: int | None
    adds_up: bool
    position: int
    recorded_at: datetime | None


def explain_flag(
    conn: sqlalchemy.Connection, ledger_id: int, flag_id: str, *, as_of: AsOf = NOW
) -> FlagExplanation:
    """The movements behind a flag.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        FlagNotFound: no flag of that id was raised by then.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    flag = flag_of_id(conn, ledger_id, reading, flag_id)
    if flag is None:
        raise FlagNotFound(field="flag_id")
    terms = account_at(conn, ledger_id, reading, flag.account_id).terms
    rule = rules_at(conn, ledger_id, reading, [flag.rule], flag.raised_position)[flag.rule]
    rows = _lines(conn, ledger_id, reading, flag)
    behind = _behind(flag, terms, rule, rows)
    entries = entries_at(conn, ledger_id, [row.position for row in behind or rows])
    movements: list[FlaggedMovement] = []
    in_minor = out_minor = 0
    for row in behind or rows:
        is_in = _movement(terms, row).is_incoming
        in_minor += int(row.amount_minor) if is_in else 0
        out_minor += 0 if is_in else int(row.amount_minor)
        movements.append(
            FlaggedMovement(
                position=row.position,
                line=row.line,
                entry_id=entry_id_at(entries[row.position], row.position),
                kind=row.kind,
                recorded_at=row.recorded_at,
                value_date=row.value_date,
                direction="in" if is_in else "out",
                amount_minor=int(row.amount_minor),
                count=len(movements) + 1,
                in_minor=in_minor,
                out_minor=out_minor,
            )
        )
    return FlagExplanation(
        flag=flag,
        scale=terms.scale,
        parameters=dict(rule.parameters),
        rule_position=rule.position,
        movements=tuple(movements),
        quiet_since_position=_quiet_since(conn, ledger_id, reading, flag, behind),
        adds_up=bool(behind),
        position=reading.position,
        recorded_at=reading.recorded_at,
    )


def figures_of(rule: str, movements: Sequence[FlaggedMovement]) -> dict[str, str]:
    """The figures that movements amount to under a rule, but for thresholds and quiet days."""
    return _figures(
        rule,
        [(item.direction == "in", item.amount_minor) for item in movements],
    )


def _figures(rule: str, movements: Sequence[tuple[bool, int]]) -> dict[str, str]:
    """The figures of movements, given by whether they come in and how much they are."""
    match rule:
        case "structuring" | "velocity":
            total_minor = sum(amount_minor for _, amount_minor in movements)
            return {"count": str(len(movements)), "total_minor": str(total_minor)}
        case "rapid_in_and_out":
            in_minor = sum(amount_minor for is_in, amount_minor in movements if is_in)
            out_minor = sum(amount_minor for is_in, amount_minor in movements if not is_in)
            return {"in_minor": str(in_minor), "out_minor": str(out_minor)}
        case _:
            total_minor = sum(amount_minor for _, amount_minor in movements)
            return {"amount_minor": str(total_minor)}


def _lines(conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, flag: Flag) -> list[Any]:
    """The account's lines at the flag's positions, in order."""
    lines = statement_lines.c
    rows = conn.execute(
        select(statement_lines)
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.account_no == flag.account_no,
            lines.position == func.any(list(flag.positions)),
        )
        .order_by(lines.position, lines.line)
    )
    return list(rows)


def _movement(terms: Terms, row: Any) -> Movement:  # noqa: ANN401 - a row of the lines
    """A line as the rules see it."""
    is_incoming = (row.side == "C") == (terms.normal_side == "credit")
    return Movement(row.position, row.value_date, is_incoming, int(row.amount_minor), row.kind)


def _behind(flag: Flag, terms: Terms, rule: Rule, rows: Sequence[Any]) -> list[Any]:
    """Those of the lines that the rule counted, so that they come to the flag's figures.

    Of an entry with several lines on the account, the rule saw no further than the one that raised
    the flag, and perhaps not the first of those at its window's edge.
    """
    thresholds = Thresholds.of({**DEFAULT_RULES, flag.rule: rule}, terms.scale)
    pairs = [(row, _movement(terms, row)) for row in rows]
    match flag.rule:
        case "structuring":
            pairs = [pair for pair in pairs if thresholds.is_just_below(pair[1])]
        case "velocity":
            pairs = [pair for pair in pairs if not pair[1].is_incoming]
        case "rapid_in_and_out":
            pairs = list(dropwhile(lambda pair: not pair[1].is_incoming, pairs))
        case _:
            pairs = [pair for pair in pairs if pair[0].position == flag.raised_position]
    at_edge = [at for at, pair in enumerate(pairs) if pair[0].position == pairs[0][0].position]
    for first in at_edge:
        for end in range(first + 1, len(pairs) + 1):
            some = pairs[first:end]
            found = _figures(flag.rule, [(item.is_incoming, item.amount_minor) for _, item in some])
            if found.items() <= flag.figures.items():
                return [row for row, _ in some]
    return []


def _quiet_since(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    flag: Flag,
    behind: Sequence[Any],
) -> int | None:
    """The movement since which a dormant account was quiet, or its opening."""
    since = flag.figures.get("quiet_since")
    if since is None or not behind:
        return None
    lines = statement_lines.c
    found = conn.execute(
        select(lines.position)
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.account_no == flag.account_no,
            lines.position < flag.raised_position,
            lines.value_date == date.fromisoformat(since),
        )
        .order_by(lines.position.desc())
        .limit(1)
    ).scalar()
    return flag.account_no if found is None else int(found)
