"""The state that projectors keep, as the writer loads it: accounts, customers and units.

The views of the balances and customer projections hold every account and customer after the same
``evolve`` that decisions use, so they serve as the writer's snapshots too (see ADR 0003). An
object loaded here is right as of its own ``last_position``.
"""

from collections.abc import Collection
from datetime import datetime
from sys import intern
from typing import TYPE_CHECKING, cast

import msgspec

from ledger_core import kept
from ledger_core.accounts import Account, Block, Holder, Terms
from ledger_core.customers import Customer
from ledger_core.kept import Place, State
from ledger_core.log import Connection

if TYPE_CHECKING:
    from ledger_core.accounts import AccountStatus, AccountType
    from ledger_core.journal import Side

_PACKER = msgspec.msgpack.Encoder()
_UNPACKER = msgspec.msgpack.Decoder(Account)
_BLOCKS = msgspec.json.Decoder(tuple[Block, ...])
_HOLDERS = msgspec.json.Decoder(tuple[Holder, ...])
_METADATA = msgspec.json.Decoder(dict[str, str])
_GROUPS = msgspec.json.Decoder(tuple[str, ...])


def position(connection: Connection, ledger_id: int) -> int:
    """The position up to which accounts, customers and kept states are all stored."""
    row = connection.execute(
        "SELECT CASE WHEN count(*) = 3 THEN min(position) ELSE 0 END FROM views.projections"
        " WHERE ledger_id = %s AND live AND name IN ('balances', 'customer_360', 'kept')",
        (ledger_id,),
    ).fetchone()
    return 0 if row is None else int(row[0])


def load_accounts(
    connection: Connection, ledger_id: int, account_ids: Collection[str]
) -> list[Account]:
    """Those of the accounts that are stored."""
    rows = connection.execute(
        "SELECT a.account_id, a.account_no, a.account_type, a.currency, a.scale, a.normal_side,"
        " a.opened_at, a.status, a.limit_minor, a.code, a.name, a.blocks, a.holders, a.metadata,"
        " a.debits_posted_minor, a.credits_posted_minor, a.debits_held_minor,"
        " a.credits_held_minor, a.version, a.last_position, a.ceiling_minor, a.groups"
        " FROM views.projections p"
        " JOIN views.accounts a ON a.ledger_id = p.ledger_id AND a.slot = p.slot"
        " WHERE p.ledger_id = %s AND p.name = 'balances' AND p.live"
        " AND a.ledger_id = %s AND a.account_id = ANY(%s)",
        (ledger_id, ledger_id, list(account_ids)),
    )
    return [account_of(row) for row in rows]


def account_of(row: tuple) -> Account:  # type: ignore[type-arg]
    """The account behind a row of ``views.accounts``, columns in the order of ``load_accounts``.

    What many accounts share is in memory once.
    """
    terms = Terms(
        account_id=row[0],
        account_no=row[1],
        account_type=cast("AccountType", intern(row[2])),
        currency=intern(row[3]),
        scale=row[4],
        normal_side=cast("Side", intern(row[5])),
        opened_at=row[6],
        status=cast("AccountStatus", intern(row[7])),
        limit_minor=None if row[8] is None else int(row[8]),
        code=row[9],
        name=row[10],
        blocks=_BLOCKS.decode(row[11]),
        holders=_HOLDERS.decode(row[12]),
        metadata=None if row[13] is None else _METADATA.decode(row[13]),
        ceiling_minor=None if row[20] is None else int(row[20]),
        groups=_GROUPS.decode(row[21]),
    )
    return Account(terms, int(row[14]), int(row[15]), int(row[16]), int(row[17]), row[18], row[19])


def packed(account: Account) -> bytes | None:
    """The account in some hundred bytes, for memory alone; ``None``: a sum is beyond 64 bits."""
    try:
        return _PACKER.encode(account)
    except OverflowError:
        return None


def unpacked(data: bytes) -> Account:
    """The account that was ``packed``."""
    return _UNPACKER.decode(data)


def load_customers(
    connection: Connection, ledger_id: int, customer_ids: Collection[str]
) -> list[Customer]:
    """Those of the customers that are stored."""
    rows = connection.execute(
        "SELECT c.customer_id, c.customer_no, c.subject, c.erased, c.last_position,"
        " c.public ->> 'kyc_status'"
        " FROM views.projections p"
        " JOIN views.customers c ON c.ledger_id = p.ledger_id AND c.slot = p.slot"
        " WHERE p.ledger_id = %s AND p.name = 'customer_360' AND p.live"
        " AND c.ledger_id = %s AND c.customer_id = ANY(%s)",
        (ledger_id, ledger_id, list(customer_ids)),
    )
    return [Customer(*row) for row in rows]


_KEPT = (
    "SELECT k.kind, k.kept_id, k.state FROM views.projections p"
    " JOIN views.kept k ON k.ledger_id = p.ledger_id AND k.slot = p.slot"
)
_KEPT_LIVE = " WHERE p.ledger_id = %s AND p.name = 'kept' AND p.live AND k.ledger_id = %s"


def load_kept(
    connection: Connection, ledger_id: int, places: Collection[Place]
) -> list[tuple[Place, State]]:
    """Those of the kept states that are stored."""
    rows = connection.execute(
        _KEPT + " JOIN unnest(%s::text[], %s::text[]) AS w(kind, kept_id)"
        " ON w.kind = k.kind AND w.kept_id = k.kept_id" + _KEPT_LIVE,
        ([kind for kind, _ in places], [name for _, name in places], ledger_id, ledger_id),
    )
    return [((row[0], row[1]), kept.decode(row[0], row[2])) for row in rows]


def load_resident(
    connection: Connection, ledger_id: int, kinds: Collection[str]
) -> list[tuple[Place, State]]:
    """Every stored state of these kinds."""
    rows = connection.execute(
        _KEPT + _KEPT_LIVE + " AND k.kind = ANY(%s)",
        (ledger_id, ledger_id, list(kinds)),
    )
    return [((row[0], row[1]), kept.decode(row[0], row[2])) for row in rows]


def load_due(
    connection: Connection,
    ledger_id: int,
    after: tuple[datetime, str, str],
    until: datetime,
    limit: int,
) -> list[tuple[Place, State]]:
    """Stored states that fall due by a moment, earliest first, at most ``limit``.

    ``after`` is the due time, kind and id of the last that was loaded before.
    """
    rows = connection.execute(
        _KEPT + _KEPT_LIVE + " AND k.due_at <= %s AND (k.due_at, k.kind, k.kept_id) > (%s, %s, %s)"
        " ORDER BY k.due_at, k.kind, k.kept_id LIMIT %s",
        (ledger_id, ledger_id, until, *after, limit),
    )
    return [((row[0], row[1]), kept.decode(row[0], row[2])) for row in rows]


def load_subjects(connection: Connection, ledger_id: int) -> list[tuple[str, str, bool]]:
    """Every customer's id, subject, and whether the person was erased."""
    rows = connection.execute(
        "SELECT c.customer_id, c.subject, c.erased FROM views.projections p"
        " JOIN views.customers c ON c.ledger_id = p.ledger_id AND c.slot = p.slot"
        " WHERE p.ledger_id = %s AND p.name = 'customer_360' AND p.live AND c.ledger_id = %s"
        " ORDER BY c.customer_no",
        (ledger_id, ledger_id),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def load_units(connection: Connection, ledger_id: int) -> dict[str, int]:
    """Every registered unit and its scale."""
    rows = connection.execute(
        "SELECT u.code, u.scale FROM views.projections p"
        " JOIN views.units u ON u.ledger_id = p.ledger_id AND u.slot = p.slot"
        " WHERE p.ledger_id = %s AND p.name = 'balances' AND p.live AND u.ledger_id = %s",
        (ledger_id, ledger_id),
    )
    return {row[0]: int(row[1]) for row in rows}
