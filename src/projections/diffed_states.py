"""What is compared when two moments are: each thing as its fields, read as of one of them.

Kinds of things, the tags that tell which events are about them, and how they are read.
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import select

from ledger_core import (
    account_limits,
    approval_policies,
    approvals,
    group,
    period,
    standing_order,
    template,
)
from ledger_core.risk_rules import RiskRuleSet
from projections.balance_queries import accounts_of_ids, balances_of
from projections.customer_360 import Link, evolve_links
from projections.customer_queries import profiles_of_ids
from projections.kept_queries import states_at
from projections.reading import Reading
from projections.risk_flags import risk_flags
from projections.tag_queries import events_tagged_any

Kind = Literal[
    "account",
    "approval",
    "approval_policy",
    "customer",
    "flag",
    "group",
    "hold",
    "limit_change",
    "period",
    "risk_rule",
    "standing_order",
    "template",
]
State = Mapping[str, Any]
"""The fields of a thing at a moment; personal ones under `PERSONAL`, sealed."""

# The tags of what is compared, by the name under which it is shown.
TAG_OF: Mapping[Kind, str] = {
    "account": "account",
    "approval": approvals.KIND,
    "approval_policy": approval_policies.KIND,
    "customer": "customer",
    "flag": "flag",
    "group": group.KIND,
    "hold": "hold",
    "limit_change": account_limits.KIND,
    "period": period.KIND,
    "risk_rule": "risk_rule",
    "standing_order": standing_order.KIND,
    "template": template.KIND,
}
KIND_OF: Mapping[str, Kind] = {tag: kind for kind, tag in TAG_OF.items()}
KINDS: tuple[Kind, ...] = tuple(TAG_OF)

# What says where something stands rather than what it is, and what is personal.
_LEFT_OUT = frozenset(
    {
        "position",
        "recorded_at",
        "last_position",
        "version",
        "value_date",
        "subject",
        "sealed",
        "since_position",
    }
)
PERSONAL = "personal fields, sealed"


def states_of(  # noqa: PLR0913, PLR0917 - of which things, when
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    kind: Kind,
    names: list[str],
    value_date: date | None,
) -> dict[str, State]:
    """Those of the things that were there at a moment, each as its fields."""
    match kind:
        case "account":
            found = accounts_of_ids(conn, ledger_id, reading, names)
            balances = balances_of(conn, ledger_id, reading, found, value_date)
            return {item.account_id: _fields(item) for item in balances}
        case "customer":
            return _customers(conn, ledger_id, reading, names)
        case "flag":
            return _flags(conn, ledger_id, reading, names)
        case "risk_rule":
            tags = [f"risk_rule:{name}" for name in names]
            events = [item.event for item in events_tagged_any(conn, ledger_id, reading, tags)]
            return {item.rule: _fields(item) for item in events if isinstance(item, RiskRuleSet)}
        case _:
            states = states_at(conn, ledger_id, reading, TAG_OF[kind], names)
            return {name: _fields(state) for name, state in states.items()}


def _customers(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, names: list[str]
) -> dict[str, State]:
    """Customers: what is not personal of their profiles, their roles on accounts, and the rest."""
    links: dict[Link, int] = {}
    tags = [f"customer:{name}" for name in names]
    evolve_links(links, events_tagged_any(conn, ledger_id, reading, tags))
    accounts: dict[str, list[str]] = {}
    for link in sorted(links):
        accounts.setdefault(link.customer_id, []).append(f"{link.account_id} ({link.role})")
    return {
        item.customer_id: {
            "erased": item.erased,
            "accounts": accounts.get(item.customer_id, []),
            **{f"profile.{name}": value for name, value in item.public.items()},
            PERSONAL: item.sealed,
        }
        for item in profiles_of_ids(conn, ledger_id, reading, names)
    }


def _flags(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, names: Collection[str]
) -> dict[str, State]:
    """Flags raised by then: they never change."""
    columns = ("flag_id", "rule", "account_id", "raised_position", "value_date", "reason")
    rows = conn.execute(
        select(*(risk_flags.c[name] for name in columns)).where(
            risk_flags.c.ledger_id == ledger_id,
            risk_flags.c.slot == reading.slots["risk_flags"],
            risk_flags.c.flag_id == sqlalchemy.func.any(list(names)),
            risk_flags.c.raised_position <= reading.position,
        )
    )
    return {
        row.flag_id: {name: _plain(name, getattr(row, name)) for name in columns[1:]}
        for row in rows
    }


def _fields(state: msgspec.Struct) -> dict[str, Any]:
    """The fields of a state, as JSON has them, but for those that say only where it stands."""
    shown: dict[str, Any] = msgspec.to_builtins(state)
    remaining = getattr(state, "remaining_minor", None)
    if remaining is not None:
        shown["remaining_minor"] = remaining
    return {name: _plain(name, value) for name, value in shown.items() if name not in _LEFT_OUT}


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - any field of any state
    """A value as JSON has it: amounts in minor units are strings, below it too."""
    if name.endswith("_minor") and isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain("", item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
