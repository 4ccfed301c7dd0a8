"""A bank with backups, made once for all tests of a worker; and folders to restore into."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.backup import house
from tests.backup.house import House

from api import embedded_postgres


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two base backups and the log; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        return house.build(tmp_path_factory.mktemp("backup"), patch)


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is not there yet; the server on it is stopped at the end."""
    folder = tmp_path / "restored"
    yield folder
    embedded_postgres.stop(folder, mode="immediate")
