"""Samples that anybody can draw again: the seed and the log decide, and nothing else.

By record (``random``): every candidate at position p gets the number SHA-256(seed ‖ ":" ‖ p), seed
in UTF-8 and p in decimal digits; the N candidates with the smallest numbers are the sample. By
money (``monetary``): the amounts of the candidates, in order of position, are laid end to end;
with T in all, the interval is I = floor(T / N), at least 1, and the start is s = 1 + SHA-256(seed)
mod I; drawn is whatever covers one of the units s, s + I, s + 2I, … of which there are N at most.
So an amount of I or more is drawn for sure.
"""

from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import msgspec
from psycopg import sql

from api import seals
from api.archives import ArchiveRefused
from api.runtime import Runtime
from ledger_core import log
from ledger_core.log import Connection

SAMPLE_MAX = 100_000
"""More is no sample: export the log."""

Kind = Literal["entries", "events"]
Method = Literal["random", "monetary"]

ENTRY = "JournalEntryPosted"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a sample is drawn: by which seed, how many, of what, by which method.

    Candidates stand at positions from ``first`` to ``last``. With a ``currency`` they are entries
    that move some of it: ``min_amount_minor`` or more, the sum of their debits in minor units.
    """

    seed: str
    size: int
    kind: Kind = "entries"
    method: Method = "random"
    first: int = 1
    last: int
    currency: str | None = None
    min_amount_minor: int | None = None


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was drawn.

    ``number`` (hexadecimal) is its number where drawn by record; ``hits`` how many units were hit
    where drawn by money. ``amount_minor`` is its sum of debits where a currency was named.
    """

    position: int
    recorded_at: datetime
    type: str
    command_key: str | None
    leaf_hash: str
    amount_minor: int | None = None
    number: str | None = None
    hits: int | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A sample in the order of the log, and of how many candidates it was drawn.

    By money: ``total_minor`` of all amounts, the interval and the start.
    """

    plan: Plan
    candidates: int
    total_minor: int | None = None
    interval_minor: int | None = None
    start_minor: int | None = None
    drawn: tuple[Drawn, ...]


# Beside each event, so that it is worked out once.
_AMOUNT = sql.SQL(
    "SELECT sum((p->>'amount_minor')::numeric) AS amount"
    " FROM json_array_elements(e.data->'postings') p"
    " WHERE p->>'side' = 'debit' AND p->>'currency' = {currency}"
)
_RANDOM = sql.SQL(
    "SELECT e.position, a.amount,"
    " sha256(convert_to({seed} || ':' || e.position, 'UTF8')) AS number,"
    " count(*) OVER () AS candidates FROM ledger.events e, LATERAL ({amount}) a"
    " WHERE {candidates} ORDER BY number, e.position LIMIT {size}"
)
_TOTAL = sql.SQL(
    "SELECT count(*), coalesce(sum(a.amount), 0) FROM ledger.events e, LATERAL ({amount}) a"
    " WHERE {candidates}"
)
# The units at and below u that are drawn: s, s + I, s + 2I, ... and N of them at the most.
_MONETARY = sql.SQL(
    "SELECT position, amount, hits FROM (SELECT position, amount,"
    " least({size}, div(until - {start} + {interval}, {interval}))"
    " - least({size}, div(until - amount - {start} + {interval}, {interval})) AS hits"
    " FROM (SELECT e.position, a.amount, sum(a.amount) OVER (ORDER BY e.position) AS until"
    " FROM ledger.events e, LATERAL ({amount}) a WHERE {candidates}) laid) hit"
    " WHERE hits > 0 ORDER BY position"
)


def draw(runtime: Runtime, ledger_id: int, plan: Plan) -> Sample:
    """The sample that the plan describes.

    Raises:
        ArchiveRefused: the plan cannot be carried out; the message says why.
    """
    _require(plan)
    with runtime.connect("ledger_reader") as connection, seals.snapshot(connection):
        end = log.read_head(connection, ledger_id).position
        if not 1 <= plan.first <= plan.last <= end:
            raise ArchiveRefused(f"The log has the positions 1 to {end}.")
        if plan.method == "monetary":
            return _by_money(connection, ledger_id, plan)
        return _by_record(connection, ledger_id, plan)


def _require(plan: Plan) -> None:
    """The plan makes sense.

    Raises:
        ArchiveRefused: not so.
    """
    if not plan.seed:
        raise ArchiveRefused("A sample needs a seed: any text that you choose.")
    if not 1 <= plan.size <= SAMPLE_MAX:
        raise ArchiveRefused(f"A sample has a size from 1 to {SAMPLE_MAX}.")
    if plan.currency is None and (plan.min_amount_minor is not None or plan.method == "monetary"):
        raise ArchiveRefused("Amounts are counted in one currency: name it with --currency.")
    if plan.currency is not None and plan.kind != "entries":
        raise ArchiveRefused("Only entries have amounts: leave out --currency or --kind events.")
    if plan.min_amount_minor is not None and plan.min_amount_minor < 0:
        raise ArchiveRefused("An amount is 0 or more minor units.")


def _by_record(connection: Connection, ledger_id: int, plan: Plan) -> Sample:
    """The candidates with the smallest numbers."""
    statement = _RANDOM.format(
        seed=sql.Literal(plan.seed), size=sql.Literal(plan.size), **_parts(ledger_id, plan)
    )
    rows = connection.execute(statement).fetchall()
    found = {row[0]: {"amount_minor": _whole(row[1]), "number": row[2].hex()} for row in rows}
    candidates = rows[0][3] if rows else 0
    drawn = _drawn(connection, ledger_id, found)
    return Sample(plan=plan, candidates=candidates, drawn=drawn)


def _by_money(connection: Connection, ledger_id: int, plan: Plan) -> Sample:
    """The candidates that cover the units drawn."""
    parts = _parts(ledger_id, plan)
    row = connection.execute(_TOTAL.format(**parts)).fetchone()
    assert row is not None  # noqa: S101 - an aggregate's row
    candidates, total = int(row[0]), int(row[1])
    interval = max(total // plan.size, 1)
    start = 1 + int.from_bytes(sha256(plan.seed.encode()).digest(), "big") % interval
    statement = _MONETARY.format(
        size=sql.Literal(plan.size), start=_number(start), interval=_number(interval), **parts
    )
    found = {
        row[0]: {"amount_minor": _whole(row[1]), "hits": int(row[2])}
        for row in connection.execute(statement)
    }
    return Sample(
        plan=plan,
        candidates=candidates,
        total_minor=total,
        interval_minor=interval,
        start_minor=start,
        drawn=_drawn(connection, ledger_id, found),
    )


def _parts(ledger_id: int, plan: Plan) -> dict[str, sql.Composable]:
    """The parts that every query has: what an amount is, and which events are candidates."""
    conditions: list[sql.Composable] = [
        sql.SQL("e.ledger_id = {}").format(sql.Literal(ledger_id)),
        sql.SQL("e.position BETWEEN {} AND {}").format(
            sql.Literal(plan.first), sql.Literal(plan.last)
        ),
    ]
    if plan.kind == "entries":
        conditions.append(sql.SQL("e.type = {}").format(sql.Literal(ENTRY)))
    amount: sql.Composable = sql.SQL("SELECT NULL::numeric AS amount")
    if plan.currency is not None:
        amount = _AMOUNT.format(currency=sql.Literal(plan.currency))
        least = _number(plan.min_amount_minor or 0)
        conditions.append(sql.SQL("a.amount >= {}").format(least))
    return {"amount": amount, "candidates": sql.SQL(" AND ").join(conditions)}


def _number(value: int) -> sql.Composable:
    """A whole number of any length."""
    return sql.SQL("{}::numeric").format(sql.Literal(str(value)))


def _whole(value: object) -> int | None:
    """A whole number of the database's."""
    return None if value is None else int(str(value))


def _drawn(
    connection: Connection, ledger_id: int, found: dict[int, dict[str, Any]]
) -> tuple[Drawn, ...]:
    """The records drawn, in the order of the log."""
    rows = connection.execute(
        "SELECT position, recorded_at, type, command_key, leaf_hash FROM ledger.events"
        " WHERE ledger_id = %s AND position = ANY(%s) ORDER BY position",
        (ledger_id, list(found)),
    ).fetchall()
    return tuple(
        Drawn(
            position=row[0],
            recorded_at=row[1],
            type=row[2],
            command_key=row[3],
            leaf_hash=bytes(row[4]).hex(),
            **found[row[0]],
        )
        for row in rows
    )
