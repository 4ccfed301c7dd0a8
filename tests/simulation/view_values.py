"""Values of the views' columns: as COPY and JSON bring them, and as the driver hands them over."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import msgspec
from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Numeric, SmallInteger, Table
from sqlalchemy.dialects.postgresql import JSON

_encode: Callable[[object], bytes] = msgspec.json.Encoder(order="deterministic").encode


def key_columns(table: Table) -> tuple[str, ...]:
    """The columns of a table's key, but for the ledger and the slot."""
    return tuple(
        str(column.name) for column in table.primary_key if column.name not in ("ledger_id", "slot")
    )


def reader(table: Table, column: str) -> Callable[[str], object]:
    """How a column's text is read."""
    kind = table.columns[column].type
    return int if isinstance(kind, BigInteger | SmallInteger | Integer | Numeric) else str


def value_of(table: Table, column: str, stored: object) -> object:
    """A stored value, as the driver hands it over."""
    kind = table.columns[column].type
    if isinstance(kind, JSON):
        return None if stored is None else _encode(stored)
    if stored is None or isinstance(kind, Boolean):
        return stored
    if isinstance(kind, DateTime):
        return datetime.fromisoformat(str(stored))
    if isinstance(kind, Date):
        return date.fromisoformat(str(stored))
    return Decimal(str(stored)) if isinstance(kind, Numeric) else stored
