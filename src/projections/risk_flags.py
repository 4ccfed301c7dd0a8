"""Risk flags: what the risk rules found, and the rules as they stand.

The rules themselves are pure functions (``risk_rules``); here is what they look at and where their
flags are kept. The queries are in ``flag_queries``.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Index, Text
from sqlalchemy.dialects.postgresql import JSON

from ledger_core.accounts import Account, Terms
from ledger_core.events import Recorded
from ledger_core.journal import Posting
from ledger_core.risk_rules import WINDOW_MOVEMENTS, RiskRuleSet
from projections.folding import Batch, Line
from projections.memory import Activity, Day, Memory, Movement, Rule, Window, new_deposits
from projections.risk_activity import calm, is_calm, suspected
from projections.risk_rules import (
    DEFAULT_RULES,
    Flag,
    Thresholds,
    detect,
    flag_id_of,
    is_watched,
    rule_set,
)
from projections.tables import view
from projections.writing import Projection, Slot, Stored, raw_json

risk_flags = view(
    "risk_flags",
    Column("flag_id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("account_no", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("raised_position", BigInteger, nullable=False),
    Column("raised_at", DateTime(timezone=True), nullable=False),
    Column("value_date", Date, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("figures", JSON, nullable=False),
    Column("positions", JSON, nullable=False),
    Index("risk_flags_account", "ledger_id", "slot", "account_no", "raised_position"),
    Index("risk_flags_position", "ledger_id", "slot", "raised_position"),
)
risk_rules = view(
    "risk_rules",
    Column("rule", Text, primary_key=True),
    Column("parameters", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("position", BigInteger, nullable=False),
)

_PARAMETERS = msgspec.json.Decoder(dict[str, int])


def raise_flags(memory: Memory, batch: Batch, stored: Stored | None = None) -> dict[str, Flag]:
    """The batch's flags by id, each as first raised; brings what the memory has of them forward.

    ``stored`` is where to read back what a memory that is not complete does not have. The batch's
    statement lines must be there, or on their way.
    """
    if not memory.rules:
        memory.rules.update(DEFAULT_RULES if stored is None else _load_rules(stored))
    flags: dict[str, Flag] = {}
    lines = batch.lines
    for item in batch.others:
        if isinstance(item.event, RiskRuleSet):
            until = bisect_left(lines, item.position, key=itemgetter(2))
            _raise_in(memory, lines[:until], flags, stored)
            lines = lines[until:]
            _change(memory, item)
    _raise_in(memory, lines, flags, stored)
    return flags


def flag_row(flag: Flag) -> dict[str, object]:
    """The flag's row."""
    return {
        **msgspec.structs.asdict(flag),
        "figures": raw_json(flag.figures),
        "positions": raw_json(flag.positions),
    }


def rule_rows(rules: Mapping[str, Rule]) -> list[dict[str, object]]:
    """The rows of those rules that are not as they are by default."""
    return [
        {
            "rule": name,
            "parameters": raw_json(rule.parameters),
            "enabled": rule.enabled,
            "position": rule.position,
        }
        for name, rule in rules.items()
        if rule.position
    ]


def apply(slot: Slot, batch: Batch, memory: Memory) -> None:
    """Look at the batch's movements and keep the flags they raise."""
    flags = raise_flags(memory, batch, None if memory.is_complete else slot)
    slot.insert(risk_flags, [flag_row(flag) for flag in flags.values()], "keep")
    changed = {name: rule for name, rule in memory.rules.items() if rule.position >= batch.first}
    slot.insert(risk_rules, rule_rows(changed), "replace")


def _raise_in(
    memory: Memory, lines: Sequence[Line], flags: dict[str, Flag], stored: Stored | None
) -> None:
    """Look at movements under rules that stay the same; add the flags that they raise."""
    thresholds = _ByScale(memory.rules)
    left_open = _left_open(memory, lines, thresholds, stored)
    if stored is not None and left_open:
        _load_windows(stored, memory, thresholds, lines, left_open)
    if not memory.windows and not memory.is_complete:
        return
    windows, deposits = memory.windows, memory.deposits
    for at, (after, posting, position, _, recorded_at, value_date, kind) in enumerate(lines):
        terms = after.terms
        account_no = terms.account_no
        window = windows.get(account_no)
        if window is None:
            if not memory.is_complete or account_no not in memory.activities:
                continue
            window = windows[account_no] = Window()
        is_incoming = posting.side == terms.normal_side
        movement = Movement(position, value_date, is_incoming, posting.amount_minor, kind)
        limits = thresholds[terms.scale]
        # A hot account that only pays is left open all day: what came in settles it.
        if at in left_open and (
            left_open[at] != ["rapid_in_and_out"] or window.incoming_minor >= limits.rapid_minor
        ):
            found = detect(
                limits,
                terms,
                window.movements,
                movement,
                recorded_at,
                memory.raised,
                deposits.get(account_no, ()),
            )
            for flag in found:
                flags[flag.flag_id] = flag
                memory.raised.add(flag.flag_id)
        if limits.is_just_below(movement):
            deposits.setdefault(account_no, new_deposits()).append(movement)
        memory.movements += 1
        window.append(movement)


def _left_open(
    memory: Memory, lines: Sequence[Line], thresholds: "_ByScale", stored: Stored | None
) -> dict[int, list[str]]:
    """The lines that may raise a flag, and which, for all that the activities tell."""
    left_open: dict[int, list[str]] = {}
    activities, raised = memory.activities, memory.raised
    for at, (after, posting, position, _, _, value_date, _) in enumerate(lines):
        terms, amount_minor = after.terms, posting.amount_minor
        activity = activities.get(terms.account_no)
        if activity is None:
            if not is_watched(terms):
                continue
            if stored is not None and not _is_first(after, posting):
                _load_activities(stored, memory, lines[at:])
            activity = activities.setdefault(terms.account_no, Activity())
        is_incoming = posting.side == terms.normal_side
        limits = thresholds[terms.scale]
        # Nearly all end here: ``suspected`` would name nothing that was not raised.
        if (
            amount_minor < limits.glance_minor
            and value_date == activity.day
            and (is_incoming or is_calm(activity))
        ):
            activity.add(value_date, amount_minor, is_incoming)
            continue
        rules = [
            rule
            for rule in suspected(limits, terms, activity, value_date, amount_minor, is_incoming)
            if flag_id_of(rule, terms, value_date, position) not in raised
        ]
        if rules:
            left_open[at] = rules
        activity.add(value_date, amount_minor, is_incoming)
        if is_incoming:
            continue
        calm(limits, terms, activity, raised)
        if is_calm(activity) and not memory.is_complete:  # If it is wanted again, it is read back.
            memory.windows.pop(terms.account_no, None)
            memory.deposits.pop(terms.account_no, None)
    return left_open


class _ByScale(dict[int, Thresholds]):
    """The thresholds that the rules amount to for accounts of each scale."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        """Begin with none."""
        super().__init__()
        self._rules = rules

    def __missing__(self, scale: int) -> Thresholds:
        """Work them out once."""
        limits = self[scale] = Thresholds.of(self._rules, scale)
        return limits


def _change(memory: Memory, item: Recorded) -> None:
    """Set a rule, from its event on."""
    if isinstance(item.event, RiskRuleSet):
        memory.rules[item.event.rule] = rule_set(item.event, item.position)
        for activity in memory.activities.values():
            activity.calm_count = activity.calm_minor = 0
        if item.event.rule == "structuring":
            memory.deposits.clear()


def _load_rules(slot: Stored) -> dict[str, Rule]:
    """The rules as they stand in the slot."""
    rows = slot.lane.read(
        "SELECT rule, parameters, enabled, position FROM views.risk_rules"
        " WHERE ledger_id = %s AND slot = %s",
        (slot.ledger_id, slot.slot),
    )
    stored = {row[0]: Rule(_PARAMETERS.decode(row[1]), row[2], row[3]) for row in rows}
    return {**DEFAULT_RULES, **stored}


def _is_first(after: Account, posting: Posting) -> bool:
    """Whether the account had none before: its sums are those of this posting alone."""
    return after.debits_posted_minor + after.credits_posted_minor == posting.amount_minor


def _load_activities(slot: Stored, memory: Memory, lines: Sequence[Line]) -> None:
    """Read back what those accounts did before the lines that the memory does not know."""
    unknown: dict[int, Terms] = {}
    for after, posting, *_ in lines:
        terms = after.terms
        if terms.account_no not in memory.activities and is_watched(terms):
            memory.activities[terms.account_no] = Activity()
            if not _is_first(after, posting):
                unknown[terms.account_no] = terms
    for account_no, days in _days(slot, memory, unknown, lines[0][2]):
        memory.activities[account_no] = Activity.of(days)


def _load_windows(
    slot: Stored,
    memory: Memory,
    thresholds: _ByScale,
    lines: Sequence[Line],
    left_open: Collection[int],
) -> None:
    """Read back the movements before the lines of those accounts that are to be looked at."""
    unknown: dict[int, Terms] = {}
    for at in left_open:
        terms = lines[at][0].terms
        if terms.account_no not in memory.windows:
            unknown[terms.account_no] = terms
            memory.windows[terms.account_no] = Window()
    before = lines[0][2]
    for account_no, movement in _newest(slot, memory, unknown, before):
        memory.movements += 1
        memory.windows[account_no].append(movement)
    _load_deposits(slot, memory, thresholds, unknown, before)


def _days(
    slot: Stored, memory: Memory, unknown: Mapping[int, Terms], before: int
) -> Iterator[tuple[int, list[Day]]]:
    """What the movements that ``_newest`` gives add up to by value date; the newest one's last."""
    if not unknown:
        return
    rows = slot.lane.read(
        "SELECT l.account_no, l.value_date, count(*), count(*) FILTER (WHERE l.side <> a.incoming),"
        " coalesce(sum(l.amount_minor) FILTER (WHERE l.side = a.incoming), 0),"
        " coalesce(sum(l.amount_minor) FILTER (WHERE l.side <> a.incoming), 0)"
        " FROM unnest(%s::bigint[], %s::text[]) AS a(account_no, incoming) CROSS JOIN LATERAL ("
        "SELECT s.account_no, s.position, s.line, s.value_date, s.side, s.amount_minor"
        " FROM views.statement_lines s WHERE s.ledger_id = %s AND s.slot = %s"
        " AND s.account_no = a.account_no AND s.position < %s"
        " ORDER BY s.position DESC, s.line DESC LIMIT %s) l"
        " GROUP BY l.account_no, l.value_date"
        " ORDER BY l.account_no, max(l.position * 1024 + l.line)",
        (
            list(unknown),
            [_incoming_side(terms) for terms in unknown.values()],
            slot.ledger_id,
            memory.slots["statements"],
            before,
            WINDOW_MOVEMENTS,
        ),
    )
    for account_no, days in groupby(rows, key=itemgetter(0)):
        yield (
            account_no,
            [
                (day, booked, (out_count, int(in_minor), int(out_minor)))
                for _, day, booked, out_count, in_minor, out_minor in days
            ],
        )


def _newest(
    slot: Stored, memory: Memory, unknown: Mapping[int, Terms], before: int
) -> Iterator[tuple[int, Movement]]:
    """The newest movements of accounts before a position, in order.

    From the statements, whose lines never change; they must be at that position or ahead.
    """
    if not unknown:
        return
    sides = {account_no: _incoming_side(terms) for account_no, terms in unknown.items()}
    rows = slot.lane.read(
        "SELECT l.account_no, l.position, l.value_date, l.side, l.amount_minor, l.kind"
        " FROM unnest(%s::bigint[]) AS a(account_no) CROSS JOIN LATERAL ("
        "SELECT s.account_no, s.position, s.line, s.value_date, s.side, s.amount_minor, s.kind"
        " FROM views.statement_lines s WHERE s.ledger_id = %s AND s.slot = %s"
        " AND s.account_no = a.account_no AND s.position < %s"
        " ORDER BY s.position DESC, s.line DESC LIMIT %s) l"
        " ORDER BY l.account_no, l.position, l.line",
        (list(unknown), slot.ledger_id, memory.slots["statements"], before, WINDOW_MOVEMENTS),
    )
    for account_no, position, value_date, side, amount_minor, kind in rows:
        is_incoming = side == sides[account_no]
        yield account_no, Movement(position, value_date, is_incoming, int(amount_minor), kind)


def _load_deposits(
    slot: Stored,
    memory: Memory,
    thresholds: _ByScale,
    unknown: Mapping[int, Terms],
    before: int,
) -> None:
    """Read back those deposits before a position that count as structuring."""
    if not unknown:
        return
    bands = [thresholds[terms.scale] for terms in unknown.values()]
    rows = slot.lane.read(
        "SELECT l.account_no, l.position, l.value_date, l.amount_minor FROM unnest("
        "%s::bigint[], %s::text[], %s::numeric[], %s::numeric[])"
        " AS a(account_no, side, floor_minor, below_minor) CROSS JOIN LATERAL ("
        "SELECT s.account_no, s.position, s.line, s.value_date, s.amount_minor"
        " FROM views.statement_lines s WHERE s.ledger_id = %s AND s.slot = %s"
        " AND s.account_no = a.account_no AND s.position > %s AND s.position < %s"
        " AND s.kind = 'deposit' AND s.side = a.side"
        " AND s.amount_minor >= a.floor_minor AND s.amount_minor < a.below_minor"
        " ORDER BY s.position DESC, s.line DESC LIMIT %s) l"
        " ORDER BY l.account_no, l.position, l.line",
        (
            list(unknown),
            [_incoming_side(terms) for terms in unknown.values()],
            [Decimal(band.structuring_floor_minor) for band in bands],
            [Decimal(band.structuring_below_minor) for band in bands],
            slot.ledger_id,
            memory.slots["statements"],
            memory.rules["structuring"].position,
            before,
            WINDOW_MOVEMENTS,
        ),
    )
    for account_no, position, value_date, amount_minor in rows:
        memory.movements += 1
        movement = Movement(position, value_date, True, int(amount_minor), "deposit")  # noqa: FBT003 - a deposit comes in
        memory.deposits.setdefault(account_no, new_deposits()).append(movement)


def _incoming_side(terms: Terms) -> str:
    """The side of the account's lines that bring money in."""
    return "C" if terms.normal_side == "credit" else "D"


PROJECTION = Projection("risk_flags", (risk_flags, risk_rules), apply)
