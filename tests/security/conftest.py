"""The bank of the tests of HTTP once more, in a database that only the tests of security share."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from tests import databases, leaks
from tests.http.conftest import bank, clock, own_bank, runtime, settings_of, shared_client, timed

from api.runtime import Runtime

__all__ = ["bank", "clock", "own_bank", "runtime", "shared_client", "shared_runtime", "timed"]


@pytest.fixture(scope="session")
def shared_runtime(
    server_url: str,
    template_database: str,
    worker_id: str,
    tmp_path_factory: pytest.TempPathFactory,
    leak_watch: leaks.Watch,
) -> Iterator[Runtime]:
    """The program's resources over a database that tests share, each with its own ledger."""
    name = f"{template_database}_security_{worker_id}"
    owner_url = databases.clone(server_url, template_database, name)
    url = databases.program_of(owner_url)
    with Runtime(settings_of(url, tmp_path_factory.mktemp("security"))) as opened:
        yield opened
    found = leaks.search_database(databases.superuser_of(owner_url), leak_watch.run_values)
    databases.drop(server_url, name)
    leaks.require_none(found)


def _execute(server_url: str, statement: sql.Composed) -> None:
    """Run one statement outside a transaction."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement)
