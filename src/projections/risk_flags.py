"""Risk flags: what the risk rules found, and the rules as they stand.

The rules themselves are pure functions (``risk_rules``); here is what they look at and where their
flags are kept. The queries are in ``flag_queries``.
"""

from collections import deque
from collections.abc import Mapping
from decimal import Decimal

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Index, Text
from sqlalchemy.dialects.postgresql import JSON

from ledger_core.accounts import Terms
from ledger_core.events import Recorded
from ledger_core.risk_rules import WINDOW_MOVEMENTS, RiskRuleSet
from projections.folding import Batch
from projections.memory import Memory, Movement, Rule, new_window
from projections.risk_rules import (
    DEFAULT_RULES,
    Flag,
    Thresholds,
    detect,
    is_watched,
    rule_set,
)
from projections.tables import view
from projections.writing import Projection, Slot, raw_json

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


def raise_flags(memory: Memory, batch: Batch) -> dict[str, Flag]:
    """The batch's flags by id, each as first raised; brings the memory's windows forward.

    The windows of accounts that the memory does not know are empty: load them before.
    """
    if not memory.rules:
        memory.rules.update(DEFAULT_RULES)
    changes = deque(item for item in batch.others if isinstance(item.event, RiskRuleSet))
    flags: dict[str, Flag] = {}
    windows = memory.windows
    thresholds: dict[int, Thresholds] = {}
    for line in batch.lines:
        while changes and changes[0].position < line.position:
            _change(memory, changes.popleft())
            thresholds.clear()
        terms, posting = line.after.terms, line.posting
        window = windows.get(terms.account_no)
        if window is None:
            if not is_watched(terms):
                continue
            window = windows[terms.account_no] = new_window()
        movement = Movement(
            line.position,
            line.value_date,
            posting.side == terms.normal_side,
            posting.amount_minor,
            line.kind,
        )
        if terms.scale not in thresholds:
            thresholds[terms.scale] = Thresholds.of(memory.rules, terms.scale)
        limits = thresholds[terms.scale]
        deposits = memory.deposits.get(terms.account_no, ())
        recorded_at = line.recorded_at
        for flag in detect(limits, terms, window, movement, recorded_at, memory.raised, deposits):
            flags[flag.flag_id] = flag
            memory.raised.add(flag.flag_id)
        if limits.is_just_below(movement):
            memory.deposits.setdefault(terms.account_no, new_window()).append(movement)
        memory.movements += len(window) < WINDOW_MOVEMENTS
        window.append(movement)
    while changes:
        _change(memory, changes.popleft())
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
    if not memory.is_complete:
        if not memory.rules:
            memory.rules.update(_load_rules(slot))
        _load_windows(slot, batch, memory)
    flags = raise_flags(memory, batch)
    slot.insert(risk_flags, [flag_row(flag) for flag in flags.values()], "keep")
    changed = {name: rule for name, rule in memory.rules.items() if rule.position >= batch.first}
    slot.insert(risk_rules, rule_rows(changed), "replace")


def _change(memory: Memory, item: Recorded) -> None:
    """Set a rule, from its event on."""
    if isinstance(item.event, RiskRuleSet):
        memory.rules[item.event.rule] = rule_set(item.event, item.position)
        if item.event.rule == "structuring":
            memory.deposits.clear()


def _load_rules(slot: Slot) -> dict[str, Rule]:
    """The rules as they stand in the slot."""
    rows = slot.lane.read(
        "SELECT rule, parameters, enabled, position FROM views.risk_rules"
        " WHERE ledger_id = %s AND slot = %s",
        (slot.ledger_id, slot.slot),
    )
    stored = {row[0]: Rule(_PARAMETERS.decode(row[1]), row[2], row[3]) for row in rows}
    return {**DEFAULT_RULES, **stored}


def _load_windows(slot: Slot, batch: Batch, memory: Memory) -> None:
    """Read back the movements before the batch of those accounts that the memory does not know.

    From the statements, whose lines never change; they must be at the batch's position or ahead.
    """
    unknown: dict[int, Terms] = {}
    for account in (*batch.posted.values(), *batch.changed.values()):
        terms = account.terms
        if terms.account_no not in memory.windows and is_watched(terms):
            memory.windows[terms.account_no] = new_window()
            if terms.account_no < batch.first:
                unknown[terms.account_no] = terms
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
        (list(unknown), slot.ledger_id, memory.slots["statements"], batch.first, WINDOW_MOVEMENTS),
    )
    for account_no, position, value_date, side, amount_minor, kind in rows:
        memory.movements += 1
        memory.windows[account_no].append(
            Movement(position, value_date, side == sides[account_no], int(amount_minor), kind)
        )
    _load_deposits(slot, batch, memory, unknown)


def _load_deposits(slot: Slot, batch: Batch, memory: Memory, unknown: Mapping[int, Terms]) -> None:
    """Read back those deposits before the batch that count as structuring."""
    limits = {terms.scale: Thresholds.of(memory.rules, terms.scale) for terms in unknown.values()}
    bands = [limits[terms.scale] for terms in unknown.values()]
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
            batch.first,
            WINDOW_MOVEMENTS,
        ),
    )
    for account_no, position, value_date, amount_minor in rows:
        memory.movements += 1
        movement = Movement(position, value_date, True, int(amount_minor), "deposit")  # noqa: FBT003 - a deposit comes in
        memory.deposits.setdefault(account_no, new_window()).append(movement)


def _incoming_side(terms: Terms) -> str:
    """The side of the account's lines that bring money in."""
    return "C" if terms.normal_side == "credit" else "D"


PROJECTION = Projection("risk_flags", (risk_flags, risk_rules), apply)
