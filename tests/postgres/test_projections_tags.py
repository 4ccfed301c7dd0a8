"""The tag index: what it keeps, and that every tag of every event is found all the same."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import psycopg
import pytest
from tests.postgres.ledger_harness import World
from tests.rules.harness import captured, deposited, held, opened, transfer, voided

from ledger_core import database
from ledger_core.accounts import AccountEvent
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.journal import Side
from projections import runner
from projections.indexed_tags import IN_STATEMENTS, indexed
from projections.tag_queries import positions_tagged
from projections.verification import verify

MIGRATION = Path(__file__).parents[2] / "migrations/versions/0008_account_tags.py"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A ledger in which everything that has tags has happened."""
    with World(database_url) as world:
        world.run(
            opened("A", key="a"),
            opened("B", key="b", customer_id=None),
            deposited("A", 1_000, key="d"),
            transfer("A", "B", 5, key="t", code="rent", metadata={"month": "3"}),
            held("A", "B", 7, "H", key="h"),
            captured("H", 3, key="c"),
            held("A", "B", 9, "I", key="i"),
            voided("I", key="v"),
            transfer("A", "B", 10**6, key="refused"),
            PostEntry(
                key="e",
                postings=tuple(
                    PostingLine(account_id=name, side=side, amount="2", currency="EUR")
                    for name in ("A", "B")
                    for side in get_args(Side)
                ),
            ),
        )
        world.catch_up()
        yield world


def _found(world: World, tag: str, limit: int = 3) -> list[int]:
    """The positions of a tag, read in pages."""
    engine = database.engine(world.url, "ledger_reader")
    positions: list[int] = []
    with engine.connect() as conn:
        while True:
            after = positions[-1] if positions else 0
            page, reached = positions_tagged(conn, world.ledger_id, tag, after, limit)
            assert reached == len(world.stored())
            positions += page
            if len(page) < limit:
                break
    engine.dispose()
    return positions


def test_every_tag_is_found_where_it_stands(world: World) -> None:
    """In order and once, page after page, wherever it is kept."""
    expected: dict[str, list[int]] = {}
    for event in world.stored():
        for tag in event.tags:
            expected.setdefault(tag, []).append(event.position)
    assert {tag.split(":")[0] for tag in expected} >= {"account", "code", "hold", "metadata"}
    for tag, positions in expected.items():
        assert _found(world, tag) == positions, tag
    assert _found(world, "account:nobody") == []


def test_the_index_keeps_no_account_that_has_a_line(world: World) -> None:
    """Of entries and holds it has the other tags alone, of all other events every tag."""
    rows = world.writer.execute(
        'SELECT position, tag FROM views.event_tags ORDER BY position, tag COLLATE "C"'
    ).fetchall()
    assert rows == [
        (event.position, tag) for event in world.stored() for tag in indexed(event.type, event.tags)
    ]
    kept_accounts = {
        event.type
        for event in world.stored()
        if any(tag.startswith("account:") for tag in event.tags)
    } - IN_STATEMENTS
    assert {"AccountOpened", "CommandRefused"} <= kept_accounts
    assert {kind.__name__ for kind in get_args(AccountEvent)}.isdisjoint(IN_STATEMENTS)


def test_an_index_of_before_becomes_what_a_rebuild_makes(world: World, superuser_url: str) -> None:
    """The migration deletes what the statements have, and nothing else."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(
            "INSERT INTO views.event_tags (ledger_id, slot, tag, position)"
            " SELECT e.ledger_id, p.slot, t.tag, e.position FROM ledger.events e"
            " JOIN views.projections p ON p.ledger_id = e.ledger_id AND p.name = 'event_tags'"
            " CROSS JOIN unnest(e.tags) AS t(tag) ON CONFLICT DO NOTHING"
        )
        assert not verify(world.projector, world.ledger_id).ok
        spec = importlib.util.spec_from_file_location("migration", MIGRATION)
        assert spec is not None
        assert spec.loader is not None
        migration = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(migration)
        superuser.execute(migration.DELETE)
    assert verify(world.projector, world.ledger_id).ok
    assert runner.rebuild(world.projector, world.ledger_id, "event_tags").differing_rows == 0
