"""A data folder of before the program owned nothing: it goes on, by the roles of today."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from psycopg import sql
from tests.strategies import START

from api import embedded_postgres, migrations, replays
from api.runtime import Runtime
from api.settings import Settings
from ledger_core import database, log
from ledger_core.customers import RegisterCustomer
from ledger_core.vault import Vault

FAST = {"fsync": "off", "shared_buffers": "16MB"}
OLD_REVISION = "0016"
KEY = b"K" * 32
DATA_KEY = b"D" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder as the program left it when it logged in as the owner: one person, one replay."""
    data_dir = tmp_path / "data"
    cluster = embedded_postgres.ensure_running(data_dir, settings=FAST)
    migrations.upgrade(cluster.url(login="owner"), OLD_REVISION)
    with psycopg.connect(cluster.url(login="owner"), autocommit=True) as owner:
        owner.execute(
            "INSERT INTO keystore.subject_keys VALUES (1, 'sub_before', %s, 'local', now(), NULL)",
            (aes_key_wrap(KEY, DATA_KEY),),
        )
        owner.execute("CREATE SCHEMA march")
        owner.execute("COMMENT ON SCHEMA march IS 'made by ledger replay'")
        owner.execute("CREATE TABLE march.accounts (LIKE views.accounts INCLUDING ALL)")
    with database.connect(cluster.url(login="owner"), "ledger_writer") as writer:
        assert log.create_ledger(writer, "main", START) == 1
    with psycopg.connect(cluster.url("postgres", login="superuser"), autocommit=True) as superuser:
        for role in ("ledger_program", "ledger_analyst"):
            superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    secrets = data_dir / "cluster.json"
    stored = json.loads(secrets.read_text())
    kept = ("port", "password", "superuser_password")
    secrets.write_text(json.dumps({name: stored[name] for name in kept}))
    yield data_dir
    embedded_postgres.stop(data_dir, mode="immediate")


def test_a_folder_of_before_goes_on_with_a_program_that_owns_nothing(folder: Path) -> None:
    """Brought up by the owner at the first start; persons, replays and new work are all there."""
    with Runtime(Settings(folder, None, KEY, b"S" * 32)) as runtime:
        assert runtime.owner_url is not None
        with psycopg.connect(runtime.database_url) as program:
            assert program.execute("SELECT current_user").fetchone() == ("ledger_program",)
            owned = program.execute(
                "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = current_user"
            ).fetchall()
            assert owned == []
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                program.execute("ALTER TABLE ledger.events ADD COLUMN more text")
        (outcome,) = runtime.execute(
            1, [RegisterCustomer(key="r", customer_id="c", profile={"name": "Qxnew"})], "tester"
        )
        assert outcome.status == "recorded"
        with runtime.connect("ledger_writer") as connection:
            sealed = runtime.vault.seal_with(AESGCMSIV(DATA_KEY), "sub_before", {"name": "Qxold"})
            found = runtime.vault.unseal(connection, 1, "sub_before", sealed)
            assert found == {"name": "Qxold"}
            assert Vault.destroy_subject(connection, 1, "sub_before", START)
            owners = connection.execute(
                "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'march'"
            ).fetchall()
            assert owners == [("ledger_replayer",)]
        replays.drop(runtime, "march")
    with Runtime(Settings(folder, None, KEY, b"S" * 32)) as again:
        assert again.ledger_id("main") == 1
