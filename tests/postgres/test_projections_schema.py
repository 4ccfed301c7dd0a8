"""The tables that the projections declare are those that the migrations make."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url
from sqlalchemy.sql.schema import SchemaItem

from projections.registry import PROJECTIONS
from projections.tables import SCHEMA, metadata


def test_declared_and_migrated_tables_are_the_same(database_url: str) -> None:
    """Nothing to add, to remove or to change in the schema of the views."""

    def is_a_view(
        item: SchemaItem, _name: str | None, kind: str, _reflected: object, _other: object
    ) -> bool:
        """Leave out the tables of other schemas."""
        return kind != "table" or getattr(item, "schema", None) == SCHEMA

    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn,
            opts={
                "include_schemas": True,
                "include_object": is_a_view,
                "compare_type": True,
            },
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def test_every_table_belongs_to_one_projection_and_leads_with_ledger_and_slot() -> None:
    """So that each can be rebuilt beside itself, and distributed by ledger."""
    tables = [table for projection in PROJECTIONS for table in projection.tables]
    kept = {table.name for table in metadata.tables.values()}
    assert sorted(table.name for table in tables) == sorted(kept - {"projections"})
    for table in tables:
        assert [column.name for column in table.primary_key][:2] == ["ledger_id", "slot"]
