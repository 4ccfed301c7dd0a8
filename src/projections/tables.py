"""What every table of the views has in common, and the table of the projections' positions.

The tables themselves are declared by the projection that keeps them; ``migrations`` creates them,
and a test compares the two. Knows no event.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.schema import SchemaItem

SCHEMA = "views"

metadata = MetaData(schema=SCHEMA)


def view(name: str, *columns: SchemaItem) -> Table:
    """A table of the views: ``ledger_id`` and ``slot`` lead its columns and its key."""
    return Table(
        name,
        metadata,
        Column("ledger_id", Integer, primary_key=True, autoincrement=False),
        Column("slot", SmallInteger, primary_key=True, autoincrement=False),
        *columns,
    )


projections = Table(
    "projections",
    metadata,
    Column("ledger_id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("recorded_at", DateTime(timezone=True)),
    Column("live", Boolean, nullable=False),
    Index("projections_live", "ledger_id", "name", unique=True, postgresql_where=text("live")),
)
