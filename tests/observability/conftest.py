"""A bank for the tests of figures: it has its database to itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.http.bank import Bank

from api.app import create_app
from api.runtime import Runtime
from api.settings import Settings


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings with secrets that everyone may know."""
    return Settings(
        data_dir=tmp_path,
        database_url=database_url,
        key_encryption_key=b"K" * 32,
        server_secret=b"S" * 32,
    )


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    """The program's resources over a database of the test's own."""
    with Runtime(settings) as runtime:
        yield runtime


@pytest.fixture
def own_bank(runtime: Runtime) -> Iterator[Bank]:
    """A bank that has its database to itself."""
    with TestClient(create_app(runtime)) as client:
        yield Bank(runtime, client, "own")
