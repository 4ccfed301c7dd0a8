"""Append-only in the database itself: what no role that the program acts as can do."""

from collections.abc import Iterator
from typing import get_args

import psycopg
import pytest
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened

from ledger_core.customers import RegisterCustomer
from ledger_core.database import Role

ROLES: tuple[Role, ...] = get_args(Role)

HISTORY = ("ledger.events", "ledger.identities", "ledger.ledgers")
KEPT = (
    *HISTORY,
    "ledger.heads",
    "keystore.subject_keys",
    "keystore.api_keys",
    "keystore.wrapping_keys",
)

UPSERT = """
    INSERT INTO ledger.events SELECT * FROM ledger.events WHERE position = 1
    ON CONFLICT (ledger_id, position) DO UPDATE SET data = '{}'
"""

FOR_NOBODY = [
    *(
        statement.format(table=table)
        for table in KEPT
        for statement in (
            "DELETE FROM {table}",
            "TRUNCATE {table}",
            "DROP TABLE {table}",
            "ALTER TABLE {table} ADD COLUMN extra text",
            "ALTER TABLE {table} RENAME TO gone",
            "CREATE RULE r AS ON INSERT TO {table} DO INSTEAD NOTHING",
            "CREATE INDEX ON {table} (ledger_id)",
        )
    ),
    "UPDATE ledger.events SET data = '{}'",
    "UPDATE ledger.events SET position = position",
    "UPDATE ledger.events SET recorded_at = now()",
    "UPDATE ledger.events SET leaf_hash = leaf_hash",
    "UPDATE ledger.events SET actor = 'nobody', command_key = NULL, tags = '{}'",
    "UPDATE ledger.identities SET name = 'other'",
    "UPDATE ledger.identities SET position = 1",
    "UPDATE ledger.ledgers SET name = 'other'",
    "UPDATE ledger.heads SET ledger_id = 2",
    "UPDATE keystore.subject_keys SET subject = 'other'",
    "UPDATE keystore.subject_keys SET created_at = now()",
    "UPDATE keystore.wrapping_keys SET key_id = 'other'",
    "UPDATE keystore.wrapping_keys SET first_used_at = now()",
    "UPDATE keystore.api_keys SET secret_hash = '\\x00'",
    "UPDATE keystore.api_keys SET role = 'admin'",
    "UPDATE keystore.api_keys SET expires_at = NULL",
    UPSERT,
    "MERGE INTO ledger.events e USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
    "DROP SCHEMA ledger CASCADE",
    "CREATE TABLE ledger.own (n integer)",
    "ALTER ROLE ledger_writer SUPERUSER",
]

FOR_NO_READER = [
    "INSERT INTO ledger.events SELECT * FROM ledger.events",
    "INSERT INTO ledger.identities VALUES (1, 'entry', 'x', 1)",
    "INSERT INTO ledger.ledgers VALUES (2, 'x', now())",
    "UPDATE ledger.heads SET position = 0",
    "UPDATE keystore.subject_keys SET wrapped_key = NULL, destroyed_at = now()",
    "UPDATE keystore.api_keys SET revoked_at = now()",
    "SELECT 1 FROM ledger.heads FOR UPDATE",
]


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A ledger with something in every table of the log."""
    with World(database_url) as world:
        world.run(
            opened("A", key="a"),
            deposited("A", 1, key="d", entry_id="e", reference="r"),
            RegisterCustomer(key="r", profile={"name": "Ann"}),
        )
        yield world


def _state(world: World) -> list[object]:
    """The log, the identities and the keys."""
    return [
        world.writer.execute(f"SELECT t::text FROM {table} t ORDER BY 1".encode()).fetchall()
        for table in KEPT
    ]


def _refused(world: World, role: Role, statements: list[str]) -> list[str]:
    """Those of the statements for which the role lacks the right."""
    connection = world.connect(role)
    refused: list[str] = []
    for statement in statements:
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            refused.append(statement)
    return refused


@pytest.mark.parametrize("role", ROLES)
def test_no_role_changes_what_was_recorded(world: World, role: Role) -> None:
    """Neither rows nor tables, neither directly nor by a way round; each role is refused."""
    before = _state(world)
    assert _refused(world, role, FOR_NOBODY) == FOR_NOBODY
    assert _state(world) == before


@pytest.mark.parametrize("role", [role for role in ROLES if role != "ledger_writer"])
def test_only_the_writer_appends(world: World, role: Role) -> None:
    """Projectors and readers cannot add to the log, move its head, or forget a person."""
    before = _state(world)
    assert _refused(world, role, FOR_NO_READER) == FOR_NO_READER
    assert _state(world) == before


@pytest.mark.parametrize("role", ["ledger_projector", "ledger_replayer"])
def test_a_projector_sees_no_keys(world: World, role: Role) -> None:
    """What personal data is sealed with is no business of who folds events."""
    statements = ["SELECT * FROM keystore.subject_keys", "SELECT * FROM keystore.api_keys"]
    assert _refused(world, role, statements) == statements


@pytest.mark.parametrize("role", ["ledger_writer", "ledger_reader", "ledger_replayer"])
def test_only_projectors_write_views(world: World, role: Role) -> None:
    """A view that somebody else could write would not be a fold of the log."""
    statements = [
        "DELETE FROM views.accounts",
        "UPDATE views.accounts SET debits_posted_minor = 0",
        "INSERT INTO views.units VALUES (1, 0, 'X', 0, NULL, 1)",
        "UPDATE views.projections SET position = 0",
        "TRUNCATE views.statement_lines",
    ]
    assert _refused(world, role, statements) == statements
