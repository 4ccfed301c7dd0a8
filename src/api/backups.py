"""Making backups of the embedded PostgreSQL: a base backup now and then, its log all the time.

``make`` takes a base backup while everybody works, and sees to it that the write-ahead log up to
its end is there. The log itself is received by ``api.wal_receiver`` as long as a server runs; what
nobody received yet is kept by the replication slot of the series, within
``max_slot_wal_keep_size``. So nothing lacks between two base backups, whoever was running.

Neither the key-encryption key nor the server's secret is in a backup: they are in no database.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from api import postgres_programs, version
from api.backup_store import (
    SLOT_PREFIX,
    BackupError,
    Head,
    Record,
    Store,
    lsn_text,
    name_at,
    parse_lsn,
    size_of,
)
from api.embedded_postgres import ROLES, Cluster, Login
from ledger_core import merkle

RECEIVE_TIMEOUT_S = 120.0
"""A receiver that is at work has the last bytes within a second; one that is stuck never does."""
_POLL_S = 0.05
_PARTIAL = ".partial"
_LOGIN: Login = "superuser"

_HEADS = """
    SELECT l.name, h.position, h.recorded_at, h.frontier
    FROM ledger.ledgers l JOIN ledger.heads h USING (ledger_id) ORDER BY l.name
"""
_IDENTIFIER = "SELECT system_identifier FROM pg_control_system()"
_SLOTS = """
    SELECT slot_name, active, wal_status FROM pg_replication_slots WHERE slot_type = 'physical'
"""


class Slot(msgspec.Struct, frozen=True):
    """What the server keeps for a series: whether somebody receives it, and whether it has all."""

    series: str
    is_active: bool
    is_whole: bool


def make(
    cluster: Cluster,
    folder: Path,
    now: Callable[[], datetime],
    *,
    sync: bool = True,
) -> Record:
    """Take a base backup into ``folder``, with the write-ahead log that makes it whole.

    The first one begins a series; so does one after the slot was lost. With ``sync`` it is on the
    disk when this returns.

    Raises:
        BackupError: the folder cannot be used, or one of PostgreSQL's programs failed.
    """
    store = Store(folder)
    _make_folder(folder, cluster.data_dir)
    with _lock(folder), _connect(cluster) as connection:
        _require_own(connection, store)
        series = _series(connection, store, now())
        taken = [path.name.partition(".")[0] for path in store.base(series, "").glob("*")]
        name = name_at(now(), taken)
        place = store.base(series, name)
        partial = place.with_name(name + _PARTIAL)
        began_at = now()
        _base_backup(cluster, partial, name, sync=sync)
        ended_at = now()
        record = _recorded(connection, partial, name, series, (began_at, ended_at))
        partial.rename(place)
        # What a transaction commits is flushed with all before it, and only that is sent.
        connection.execute("SELECT pg_current_xact_id()")
        receive_up_to(cluster, store, series, record.received_lsn)
        store.add(record)
    return record


def slots(connection: psycopg.Connection[Any]) -> list[Slot]:
    """The slots of series that the server has."""
    rows = connection.execute(_SLOTS).fetchall()
    return [
        Slot(name.removeprefix(SLOT_PREFIX).replace("_", "-"), active, status != "lost")
        for name, active, status in rows
        if name.startswith(SLOT_PREFIX)
    ]


def slot_name(series: str) -> str:
    """What the slot of a series is called."""
    return SLOT_PREFIX + series.replace("-", "_")


def receiving(cluster: Cluster, store: Store, series: str) -> list[str]:
    """The arguments by which ``pg_receivewal`` receives a series."""
    return [
        f"--directory={store.wal(series)}",
        f"--slot={slot_name(series)}",
        "--synchronous",
        "--no-loop",
        "--no-password",
        "--status-interval=1",
        f"--dbname={_conninfo(cluster)}",
    ]


def receive_up_to(cluster: Cluster, store: Store, series: str, lsn: str) -> None:
    """Have the write-ahead log up to a place: received now, or by whoever is at it.

    Raises:
        BackupError: it cannot be received, or whoever is at it does not get there.
    """
    deadline = time.monotonic() + RECEIVE_TIMEOUT_S
    with _connect(cluster) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT active, restart_lsn >= %s::pg_lsn FROM pg_replication_slots"
                " WHERE slot_name = %s",
                (lsn, slot_name(series)),
            ).fetchone()
            if row is None:
                break
            if row[1]:
                return
            if not row[0]:
                done = postgres_programs.client(
                    "pg_receivewal",
                    *receiving(cluster, store, series),
                    # It ends once it is beyond that place, which the very end never is.
                    f"--endpos={lsn_text(parse_lsn(lsn) - 1)}",
                    password=cluster.passwords[_LOGIN],
                )
                if done.returncode == 0:
                    return
                if b"is active for PID" not in done.stderr:
                    raise BackupError(_told("pg_receivewal", done.stderr))
            time.sleep(_POLL_S)
    msg = f"The write-ahead log does not arrive in {store.wal(series)}: is its receiver stuck?"
    raise BackupError(msg)


def current_series(cluster: Cluster, store: Store) -> str | None:
    """The series that goes on now; ``None`` where the next backup begins one."""
    with _connect(cluster) as connection:
        known = {slot.series for slot in slots(connection) if slot.is_whole}
    return next((name for name in reversed(store.series()) if name in known), None)


def _series(connection: psycopg.Connection[Any], store: Store, now: datetime) -> str:
    """The series that goes on, or a new one; slots of others, which nobody needs, are dropped."""
    known = slots(connection)
    whole = {slot.series for slot in known if slot.is_whole}
    series = next((name for name in reversed(store.series()) if name in whole), None)
    for slot in known:
        if slot.series != series and not slot.is_active:
            connection.execute("SELECT pg_drop_replication_slot(%s)", (slot_name(slot.series),))
    if series is None:
        series = name_at(now, store.series())
        connection.execute(
            "SELECT pg_create_physical_replication_slot(%s, true)", (slot_name(series),)
        )
    for place in (store.wal(series), store.base(series, "")):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return series


def _require_own(connection: psycopg.Connection[Any], store: Store) -> None:
    """The folder holds backups of this database, or of one that it was restored from.

    Raises:
        BackupError: of another one.
    """
    identifier = _value(connection, _IDENTIFIER)
    if any(record.system_identifier != identifier for record in store.records()):
        msg = f"{store.folder} holds backups of another database: name a folder of its own."
        raise BackupError(msg)


def _base_backup(cluster: Cluster, place: Path, label: str, *, sync: bool) -> None:
    """Copy the data folder of the running server, and the log of that time.

    Raises:
        BackupError: it failed; nothing is left of it.
    """
    for stale in place.parent.glob(f"*{_PARTIAL}"):
        shutil.rmtree(stale)
    done = postgres_programs.client(
        "pg_basebackup",
        f"--pgdata={place}",
        "--format=plain",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--manifest-checksums=SHA256",
        f"--label={label}",
        "--no-password",
        *([] if sync else ["--no-sync"]),
        f"--dbname={_conninfo(cluster)}",
        password=cluster.passwords[_LOGIN],
    )
    if done.returncode != 0:
        shutil.rmtree(place, ignore_errors=True)
        raise BackupError(_told("pg_basebackup", done.stderr))


def _recorded(
    connection: psycopg.Connection[Any],
    place: Path,
    name: str,
    series: str,
    moments: tuple[datetime, datetime],
) -> Record:
    """What is to be known of a base backup that was just made."""
    manifest = (place / "backup_manifest").read_bytes()
    (extent,) = msgspec.json.decode(manifest)["WAL-Ranges"]
    heads = tuple(
        Head(ledger, position, recorded_at, merkle.root(merkle.from_bytes(bytes(frontier))).hex())
        for ledger, position, recorded_at, frontier in connection.execute(_HEADS)
    )
    return Record(
        name=name,
        series=series,
        system_identifier=_value(connection, _IDENTIFIER),
        timeline=int(extent["Timeline"]),
        start_lsn=str(extent["Start-LSN"]),
        end_lsn=str(extent["End-LSN"]),
        received_lsn=_value(connection, f"SELECT pg_create_restore_point('{name}')"),
        began_at=moments[0],
        ended_at=moments[1],
        program=version.program_version(),
        revision=_value(connection, "SELECT version_num FROM alembic_version"),
        wrapping_key=_value(
            connection, "SELECT min(key_id) FROM keystore.wrapping_keys WHERE retired_at IS NULL"
        )
        or None,
        heads=heads,
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        size_bytes=size_of(place),
    )


def _value(connection: psycopg.Connection[Any], query: str) -> str:
    """The one value of a query, as text; empty for NULL."""
    row = connection.execute(query).fetchone()
    return "" if row is None or row[0] is None else str(row[0])


def _make_folder(folder: Path, data_dir: Path) -> None:
    """Make the folder of backups, for us alone.

    Raises:
        BackupError: it cannot be made or written to, or lies within the data folder.
    """
    if folder.resolve().is_relative_to(data_dir.resolve()):
        msg = f"Backups in the data folder itself ({folder}) are lost with it: choose another disk."
        raise BackupError(msg)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"The folder of backups {folder} cannot be made: {error.strerror}."
        raise BackupError(msg) from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        msg = f"The folder of backups {folder} cannot be written to."
        raise BackupError(msg)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time make a backup.

    Raises:
        BackupError: another one is at it.
    """
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = "Another backup into this folder is under way."
            raise BackupError(msg) from None
        yield


def _connect(cluster: Cluster) -> psycopg.Connection[Any]:
    """A connection of the superuser's, who alone may keep slots and read everything."""
    return psycopg.connect(cluster.url(login=_LOGIN), autocommit=True)


def _conninfo(cluster: Cluster) -> str:
    """How PostgreSQL's programs reach the server; the password goes another way."""
    return (
        f"host={cluster.host} port={cluster.port} user={ROLES[_LOGIN]}"
        " require_auth=scram-sha-256 application_name=ledger_backup"
    )


def _told(program: str, said: bytes) -> str:
    """What a program of PostgreSQL's said when it failed, in one sentence."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return f"{program} failed: {lines[-1] if lines else 'it said nothing'}"
