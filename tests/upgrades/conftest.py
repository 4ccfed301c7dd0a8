"""A kept log as a database of its own, as a bank's would stand there before an upgrade."""

import base64
import gzip
import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests import databases
from tests.imports.conftest import run
from tests.postgres.conftest import world
from tests.upgrades.keep import LOGS

from api import postgres_programs
from api.settings import Settings

__all__ = ["empty_database", "kept", "run", "world"]

KEPT = sorted(path.name for path in LOGS.iterdir())


class Kept:
    """A database that a version left behind, and what else it left."""

    def __init__(self, folder: Path, owner_url: str, data_dir: Path) -> None:
        """Read what is beside the database."""
        self.told: dict[str, Any] = json.loads((folder / "kept.json").read_text())
        found = {name: base64.b64decode(text) for name, text in self.told["secrets"].items()}
        self.owner_url = owner_url
        self.settings = Settings(
            data_dir,
            databases.program_of(owner_url),
            base64.b64decode(found["key-encryption-key"]),
            base64.b64decode(found["server-secret"]),
            migration_url=owner_url,
        )


class EmptyDatabase:
    """A database in which nothing is yet, not even a schema; ``url`` is of who owns it."""

    def __init__(self, server_url: str) -> None:
        """Make it."""
        self._server_url = server_url
        self._name = f"ledger_kept_{secrets.token_hex(8)}"
        self._execute(sql.SQL("CREATE DATABASE {}"))
        self.url = databases.with_database(server_url, self._name)

    def drop(self) -> None:
        """Remove it, whoever is still connected."""
        databases.drop(self._server_url, self._name)

    def _execute(self, statement: sql.SQL) -> None:
        """Run a statement about it."""
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(self._name)))


@pytest.fixture
def empty_database(server_url: str, template_database: str) -> Iterator[EmptyDatabase]:
    """An empty database on a server that has the roles: the template's migrations made them."""
    assert template_database
    made = EmptyDatabase(server_url)
    yield made
    made.drop()


@pytest.fixture(params=KEPT)
def kept(request: pytest.FixtureRequest, empty_database: EmptyDatabase, tmp_path: Path) -> Kept:
    """Each kept log, restored by who will own it."""
    folder = LOGS / request.param
    psql = postgres_programs.packaged_binaries() / "psql"
    subprocess.run(
        [str(psql), empty_database.url, "-q", "--set=ON_ERROR_STOP=1", "--output=/dev/null"],
        input=gzip.decompress((folder / "database.sql.gz").read_bytes()),
        check=True,
    )
    return Kept(folder, empty_database.url, tmp_path / "data")
