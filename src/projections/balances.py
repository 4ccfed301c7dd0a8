"""Balances: every account as the kernel has it, and the registered units.

The row of an account is the kernel's ``Account``, so it serves as the writer's snapshot too (see
``ledger_core.snapshots``). The queries are in ``balance_queries``.
"""

from collections.abc import Callable

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Numeric,
    SmallInteger,
    Text,
)
from sqlalchemy.dialects.postgresql import JSON

from ledger_core.accounts import Account
from ledger_core.events import Recorded
from ledger_core.snapshots import account_of
from ledger_core.units import UnitRegistered
from projections.folding import Batch
from projections.memory import Memory
from projections.tables import view
from projections.writing import Projection, Slot, raw_json

accounts = view(
    "accounts",
    Column("account_id", Text, primary_key=True),
    Column("account_no", BigInteger, nullable=False),
    Column("account_type", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("scale", SmallInteger, nullable=False),
    Column("normal_side", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("limit_minor", Numeric),
    Column("code", Text),
    Column("name", Text),
    Column("blocks", JSON, nullable=False),
    Column("holders", JSON, nullable=False),
    Column("metadata", JSON),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("debits_posted_minor", Numeric, nullable=False),
    Column("credits_posted_minor", Numeric, nullable=False),
    Column("debits_held_minor", Numeric, nullable=False),
    Column("credits_held_minor", Numeric, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("ceiling_minor", Numeric),
    Column("groups", JSON, nullable=False),
    Index("accounts_account_no", "account_no", "ledger_id", "slot", unique=True),
)

# Where the account's terms changed: what it was at any time is folded from these few events.
account_changes = view(
    "account_changes",
    Column("account_no", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
)

units = view(
    "units",
    Column("code", Text, primary_key=True),
    Column("scale", SmallInteger, nullable=False),
    Column("name", Text),
    Column("position", BigInteger, nullable=False),
)


_array: Callable[[object], bytes] = msgspec.json.Encoder().encode


def account_row(account: Account) -> dict[str, object]:
    """The account's row, but for ``ledger_id`` and ``slot``."""
    terms = account.terms
    return {
        "account_id": terms.account_id,
        "account_no": terms.account_no,
        "account_type": terms.account_type,
        "currency": terms.currency,
        "scale": terms.scale,
        "normal_side": terms.normal_side,
        "status": terms.status,
        "limit_minor": terms.limit_minor,
        "code": terms.code,
        "name": terms.name,
        "blocks": raw_json(terms.blocks),
        "holders": raw_json(terms.holders),
        "metadata": None if terms.metadata is None else raw_json(terms.metadata),
        "opened_at": terms.opened_at,
        "debits_posted_minor": account.debits_posted_minor,
        "credits_posted_minor": account.credits_posted_minor,
        "debits_held_minor": account.debits_held_minor,
        "credits_held_minor": account.credits_held_minor,
        "version": account.version,
        "last_position": account.last_position,
        "ceiling_minor": terms.ceiling_minor,
        "groups": raw_json(terms.groups),
    }


def unit_row(item: Recorded, event: UnitRegistered) -> dict[str, object]:
    """The unit's row."""
    return {
        "code": event.code,
        "scale": event.scale,
        "name": event.name,
        "position": item.position,
    }


def load(slot: Slot, account_ids: list[str]) -> list[Account]:
    """Those of the accounts that the slot has."""
    rows = slot.lane.read(
        "SELECT account_id, account_no, account_type, currency, scale, normal_side,"
        " opened_at, status, limit_minor, code, name, blocks, holders, metadata,"
        " debits_posted_minor, credits_posted_minor, debits_held_minor,"
        " credits_held_minor, version, last_position, ceiling_minor, groups"
        " FROM views.accounts WHERE ledger_id = %s AND slot = %s AND account_id = ANY(%s)",
        (slot.ledger_id, slot.slot, account_ids),
    )
    return [account_of(row) for row in rows]


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Write the accounts that changed; sums alone where only postings came."""
    if batch.posted:
        posted = sorted(batch.posted.values(), key=lambda account: account.terms.account_no)
        slot.lane.execute(
            # The ledger and slot stand in the subquery, out of the planner's sight: without figures
            # about the table it takes them for a key of few rows, and walks through all accounts.
            "UPDATE views.accounts a SET debits_posted_minor = v.d, credits_posted_minor = v.c,"
            " version = v.v, last_position = v.p FROM ("
            "SELECT %s::integer AS l, %s::smallint AS s, u.* FROM unnest("
            "%s::bigint[], %s::numeric[], %s::numeric[], %s::bigint[], %s::bigint[])"
            " AS u(n, d, c, v, p) OFFSET 0) AS v"
            " WHERE a.account_no = v.n AND a.ledger_id = v.l AND a.slot = v.s",
            (
                slot.ledger_id,
                slot.slot,
                _integers([account.terms.account_no for account in posted]),
                _integers([account.debits_posted_minor for account in posted]),
                _integers([account.credits_posted_minor for account in posted]),
                _integers([account.version for account in posted]),
                _integers([account.last_position for account in posted]),
            ),
        )
    slot.insert(accounts, [account_row(account) for account in batch.changed.values()], "replace")
    slot.copy(account_changes, "account_no, position", batch.changes)
    slot.insert(
        units,
        [unit_row(item, item.event) for item in batch.others if _is_unit(item)],  # type: ignore[arg-type]
        "replace",
    )


def _integers(column: list[int]) -> str:
    """An array of integers as PostgreSQL reads it: the driver's own way costs ten times as much."""
    return "{" + _array(column)[1:-1].decode() + "}"


def _is_unit(item: Recorded) -> bool:
    """Whether the event registers a unit."""
    return isinstance(item.event, UnitRegistered)


PROJECTION = Projection("balances", (accounts, account_changes, units), apply, coalesces=True)
