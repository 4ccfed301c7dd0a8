"""A ledger to begin with, for the tests of the write side."""

from collections.abc import Iterator

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """An empty ledger."""
    with World(database_url) as world:
        yield world


@pytest.fixture
def bank(world: World) -> World:
    """Two accounts, A with 1,000 and B with nothing: the log stands at position 4."""
    outcomes = world.run(
        opened("A", key="open-a"), opened("B", key="open-b"), deposited("A", 1_000, key="first")
    )
    assert answers(outcomes) == ["recorded"] * 3
    return world
