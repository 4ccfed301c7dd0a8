"""A bank for the tests of HTTP: a real database and the whole application.

Most tests need no more than a ledger of their own: ``bank``. Those that stop or damage something
have the database to themselves: ``runtime`` and ``own_bank``.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient
from tests import databases, leaks
from tests.cheap_passwords import cheap_passwords
from tests.http.bank import Bank
from tests.http.timed import Clock

from api.app import create_app
from api.runtime import Runtime
from api.settings import Settings

_numbers = count(1)


def settings_of(database_url: str, folder: Path) -> Settings:
    """Settings with secrets that everyone may know."""
    return Settings(
        data_dir=folder,
        database_url=database_url,
        key_encryption_key=b"K" * 32,
        server_secret=b"S" * 32,
    )


@pytest.fixture(scope="session")
def shared_runtime(
    server_url: str,
    template_database: str,
    worker_id: str,
    tmp_path_factory: pytest.TempPathFactory,
    leak_watch: leaks.Watch,
) -> Iterator[Runtime]:
    """The program's resources over a database that tests share, each with its own ledger."""
    name = f"{template_database}_http_{worker_id}"
    owner_url = databases.clone(server_url, template_database, name)
    url = databases.program_of(owner_url)
    with Runtime(settings_of(url, tmp_path_factory.mktemp("http"))) as runtime:
        yield runtime
    found = leaks.search_database(databases.superuser_of(owner_url), leak_watch.run_values)
    databases.drop(server_url, name)
    leaks.require_none(found)


@pytest.fixture(scope="session")
def shared_client(shared_runtime: Runtime) -> Iterator[TestClient]:
    """The whole application over that database: it is built once."""
    with cheap_passwords():
        app = create_app(shared_runtime)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def bank(shared_runtime: Runtime, shared_client: TestClient) -> Bank:
    """A bank with an empty ledger."""
    return Bank(shared_runtime, shared_client, f"test-{next(_numbers)}")


@pytest.fixture
def runtime(database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    """The program's resources over a database of the test's own."""
    with Runtime(settings_of(database_url, tmp_path)) as runtime:
        yield runtime


@pytest.fixture
def own_bank(runtime: Runtime) -> Iterator[Bank]:
    """A bank that has its database to itself."""
    with cheap_passwords():
        app = create_app(runtime)
    with TestClient(app) as client:
        yield Bank(runtime, client, "own")


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


@pytest.fixture
def timed(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Bank]:
    """A bank that goes by that clock, with 1,000 on account a and nothing on b."""
    with (
        Runtime(settings_of(database_url, tmp_path), now=clock.now) as runtime,
        TestClient(create_app(runtime)) as client,
    ):
        bank = Bank(runtime, client, "own")
        bank.open("a", 1_000)
        bank.open("b")
        yield bank


def _execute(server_url: str, statement: sql.Composed) -> None:
    """Run one statement outside a transaction."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement)
