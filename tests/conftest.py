"""Fixtures that every test may use: a real PostgreSQL, and a migrated database of one's own.

One server serves the whole run, whatever the number of workers: embedded, in a temporary folder, or
the one that ``LEDGER_TEST_DATABASE_URL`` names (its role must be allowed to create databases).
"""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from tests import databases, leaks
from tests.databases import RUN_FOLDER

from api import embedded_postgres, migrations

UNSAFE_BUT_FAST = {
    "fsync": "off",
    # As PostgreSQL has it: a worker of its own in a database that a test drops is in the way.
    "autovacuum_naptime": "1min",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "400",
}
"""Tests may lose their data with the machine; kill -9 of the server loses nothing even so.

Each worker keeps several applications open, each with writers and pools of its own.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the conformance tests run the cases of another file."""
    parser.addoption("--cases", metavar="PATH", help="a file of conformance cases")


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's folder, in the controlling process."""
    if not hasattr(config, "workerinput"):
        os.environ[RUN_FOLDER] = tempfile.mkdtemp(prefix="ledger-test-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the run's server and remove its folder, in the controlling process."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.pop(RUN_FOLDER))
    given = os.environ.get("LEDGER_TEST_DATABASE_URL")
    if given and _template_marker(folder).exists():
        databases.drop(given, _template_name(folder))
    embedded_postgres.stop(folder / "cluster", mode="immediate")
    shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def leak_watch(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[leaks.Watch]:
    """Listens to the program for what nobody may see; at the end, logs in files are searched."""
    watch = leaks.Watch()
    with pytest.MonkeyPatch.context() as patch:
        leaks.install(watch, patch)
        yield watch
    for folder in (run_folder, tmp_path_factory.getbasetemp()):
        leaks.require_none(leaks.search_files(folder, watch.run_values))


@pytest.fixture(autouse=True)
def _nothing_leaks(leak_watch: leaks.Watch) -> Iterator[None]:
    """Nothing that is personal or secret in this test is in any log, error, header or metric."""
    yield
    found = leak_watch.leaks()
    leak_watch.forget()
    leaks.require_none(found)


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """Folder that all workers of this run share."""
    return Path(os.environ[RUN_FOLDER])


@pytest.fixture(scope="session")
def server_url(run_folder: Path) -> str:
    """URL of the run's server, for a role that may create databases, and owns them."""
    given = os.environ.get("LEDGER_TEST_DATABASE_URL")
    if given:
        return given
    return embedded_postgres.ensure_running(
        run_folder / "cluster",
        settings=UNSAFE_BUT_FAST,
    ).url(login="owner")


@pytest.fixture(scope="session")
def template_database(run_folder: Path, server_url: str) -> str:
    """Name of a migrated and empty database, made once a run, to be cloned and never written."""
    name = _template_name(run_folder)
    with (run_folder / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _template_marker(run_folder).exists():
            _execute(server_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            migrations.upgrade(databases.with_database(server_url, name))
            _template_marker(run_folder).touch()
    return name


@pytest.fixture
def owner_url(server_url: str, template_database: str, leak_watch: leaks.Watch) -> Iterator[str]:
    """URL of a fresh migrated database, for the role that owns it; gone after the test."""
    name = f"ledger_test_{secrets.token_hex(8)}"
    url = databases.clone(server_url, template_database, name)
    yield url
    found = leaks.search_database(databases.superuser_of(url), leak_watch.values)
    databases.drop(server_url, name)
    leaks.require_none(found)


@pytest.fixture
def database_url(owner_url: str) -> str:
    """URL of the same database for the program, which owns nothing in it."""
    return databases.program_of(owner_url)


@pytest.fixture
def superuser_url(run_folder: Path, owner_url: str) -> str:
    """URL of the same database for the server's superuser: who could tamper with it."""
    if os.environ.get("LEDGER_TEST_DATABASE_URL"):
        with psycopg.connect(owner_url) as conn:
            if conn.info.parameter_status("is_superuser") != "on":
                pytest.skip("LEDGER_TEST_DATABASE_URL is not of a superuser")
        return owner_url
    database = str(conninfo_to_dict(owner_url)["dbname"])
    cluster = embedded_postgres.ensure_running(run_folder / "cluster")
    return cluster.url(database, login="superuser")


def _template_name(folder: Path) -> str:
    """Name of this run's template database."""
    return folder.name.replace("-", "_")


def _template_marker(folder: Path) -> Path:
    """File that says the template database is complete."""
    return folder / "template.ready"


def _execute(server_url: str, statement: sql.Composed) -> None:
    """Run one statement outside a transaction."""
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(statement)
