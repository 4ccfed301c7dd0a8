"""A ledger with something of everything, to export."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.exports.house import House

from api.runtime import Runtime
from api.settings import Settings


@pytest.fixture
def runtime(database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    """A runtime on a database of its own."""
    with Runtime(Settings(tmp_path / "data", database_url, bytes(32), bytes(32))) as opened:
        yield opened


@pytest.fixture
def house(runtime: Runtime) -> House:
    """A ledger with something of everything."""
    found = House(runtime)
    found.fill()
    return found
