"""A bank on an embedded server of its own, with two base backups and all the log between."""

import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg.rows import scalar_row
from tests.rules.harness import opened, transfer

from api import api_keys, backups, clock, embedded_postgres, keystore_rotation, settings
from api.backup_store import Record, Store
from api.embedded_postgres import Cluster
from api.restoring import Report, Restore, restore
from api.runtime import Runtime
from ledger_core.commands import Command
from ledger_core.customers import EraseCustomer, RegisterCustomer

Run = Callable[..., int]
"""Carries out commands in one transaction; tells the last position."""

GENTLE = {"fsync": "off", "shared_buffers": "16MB"}
ACCOUNTS = "ABCD"


class House(msgspec.Struct, frozen=True):
    """What the tests know of it.

    ``batch`` are the positions that one transaction recorded; ``between`` is a moment when the log
    stood at the last of these; ``erased_at`` and ``last`` are positions, too.
    """

    store: Store
    keys: Path
    first: Record
    second: Record
    batch: tuple[int, int]
    between: datetime
    erased_at: int
    last: int
    notes: Path

    def restored(self, into: Path, **options: object) -> Report:
        """Restore it somewhere."""
        wanted = Restore(store=self.store, into=into, sync=False)
        return restore(msgspec.structs.replace(wanted, **options), clock.now)

    def copy(self, folder: Path) -> "House":
        """The same backups elsewhere, to be tampered with."""
        shutil.copytree(self.store.folder, folder)
        return msgspec.structs.replace(self, store=Store(folder))


def build(folder: Path, patch: pytest.MonkeyPatch) -> House:
    """Make the bank and its backups; nothing of it runs when this returns."""
    data_dir = folder / "data"
    patch.setenv("LEDGER_DATA_DIR", str(data_dir))
    patch.delenv("LEDGER_DATABASE_URL", raising=False)
    cluster = embedded_postgres.ensure_running(data_dir, settings=GENTLE)
    try:
        with Runtime(settings.load()) as runtime:
            return _lived(runtime, cluster, folder)
    finally:
        embedded_postgres.stop(data_dir, mode="immediate")


def _lived(runtime: Runtime, cluster: Cluster, folder: Path) -> House:
    """Everything that happens in the bank."""
    ledger_id = runtime.create_ledger("main")

    def run(*commands: Command) -> int:
        """Carry out commands in one transaction; the last position."""
        outcomes = runtime.execute(ledger_id, list(commands), "test", "atomic")
        assert [outcome.error for outcome in outcomes] == [None] * len(commands)
        return outcomes[-1].position

    store = Store(folder / "backups")
    run(*(opened(name, key=f"open-{name}", limit=None) for name in ACCOUNTS))
    for name in ("petra", "paul"):
        profile = {"name": f"{name} person"}
        run(RegisterCustomer(key=f"register-{name}", customer_id=name, profile=profile))
    runtime.create_key(ledger_id, "teller", "counter 1")
    first = backups.make(cluster, store.folder, runtime.now, sync=False)
    begun = _pay(run, 0, 1)
    end = run(*(transfer("A", "B", 7, key=f"batch-{number}") for number in range(10)))
    time.sleep(0.1)
    between = clock.now()
    time.sleep(0.1)
    _pay(run, 1, 3)
    erased = run(EraseCustomer(key="erase-petra", customer_id="petra", reason="asked for it"))
    with runtime.connect("ledger_writer") as connection:
        (key,) = api_keys.list_keys(connection, ledger_id)
        assert api_keys.revoke(connection, ledger_id, key.key_id, clock.now())
    keystore_rotation.rotate(runtime.settings, runtime.database_url, clock.now())
    _pay(run, 3, 8)
    second = backups.make(cluster, store.folder, runtime.now, sync=False)
    last = _pay(run, 8, 12)
    notes = folder / "kept.txt"
    notes.write_text(
        "\n".join(runtime.notary.at(ledger_id, size=size).note for size in (end, erased, last))
    )
    with psycopg.connect(cluster.url(login="superuser"), row_factory=scalar_row) as connection:
        lsn = str(connection.execute("SELECT pg_create_restore_point('end')").fetchone())
    backups.receive_up_to(cluster, store, second.series, lsn)
    keys = folder / "kept-keys"
    shutil.copytree(runtime.settings.data_dir / "keys", keys)
    return House(store, keys, first, second, (begun + 1, end), between, erased, last, notes)


def _pay(run: Run, begin: int, end: int) -> int:
    """Payments, each in a transaction of its own; the last position."""
    position = 0
    for number in range(begin, end):
        debit, credit = ACCOUNTS[number % 4], ACCOUNTS[(number + 1) % 4]
        position = run(transfer(debit, credit, 100 + number, key=f"pay-{number}"))
    return position


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))


def truncate(path: Path, size: int) -> None:
    """Cut a file."""
    os.truncate(path, size)
