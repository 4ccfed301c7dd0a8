"""Restoring a backup into a new data folder: the newest state, or the ledger as of a point.

What was recorded in one database transaction is there wholly or not at all, so a restore to a
position ends with the transaction that recorded it. To be exact, the log is replayed twice: to its
end, to see which transaction that was, and then up to it.

A restore to a point takes back the books, and not what protects people: the key store (keys of
persons and whether they were destroyed, API keys, staff) is always that of the newest state; and
who was erased after the point is erased again, by a new event.
"""

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, assert_never

import msgspec
import psycopg

from api import backup_checks, embedded_postgres, migrations, restored_keys
from api.backup_store import BackupError, Record, Segment, Store, segment_of
from api.restored_server import RestoredServer, TargetNotReachedError, give_away
from api.restored_state import Erasure, erasures, place_of, repeat_erasures, take_key_store

_LATEST_FOLDER = "postgresql.latest"
_RESTORING_FOLDER = "postgresql.restoring"
_READ_AT_ONCE = 1 << 20


class ToTime(msgspec.Struct, frozen=True):
    """All that was committed up to a moment, by the database's clock."""

    moment: datetime


class ToPosition(msgspec.Struct, frozen=True):
    """The log of a ledger up to a position, and what was recorded in one transaction with it."""

    ledger: str
    position: int


Point = ToTime | ToPosition


class LedgerState(msgspec.Struct, frozen=True):
    """Where the log of a ledger stands after the restore, and where that of the newest state."""

    ledger: str
    position: int
    recorded_at: datetime
    latest_position: int


class Report(msgspec.Struct, frozen=True):
    """What was restored, from which backup, and what is left to do."""

    backup: str
    data_dir: str
    ledgers: tuple[LedgerState, ...]
    erasures_repeated: tuple[Erasure, ...]
    keys: restored_keys.KeyState
    damage: tuple[str, ...]


class Restore(msgspec.Struct, frozen=True):
    """What is to be restored where.

    ``backup`` names a base backup; the best one is chosen where it is ``None``. With
    ``accepts_damage`` the log is replayed as far as it is whole. Without ``sync`` nothing is forced
    to the disk.
    """

    store: Store
    into: Path
    point: Point | None = None
    backup: str | None = None
    keys: Path | None = None
    accepts_damage: bool = False
    sync: bool = True


def restore(wanted: Restore, now: Callable[[], datetime]) -> Report:
    """Restore; the data folder is complete when this returns, and absent or empty if it raises.

    Raises:
        BackupError: there is something in the folder already; there is no backup for that point, or
            it is damaged; or the log does not reach the point.
    """
    into = wanted.into.absolute()
    _require_empty(into)
    latest = _newest(wanted)
    damage = _damage(wanted, latest)
    made = not into.exists()
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _restored(wanted, latest, damage, now)
    except BaseException:
        _empty(into)
        if made:
            into.rmdir()
        raise


def _restored(
    wanted: Restore, latest: Record, damage: tuple[str, ...], now: Callable[[], datetime]
) -> Report:
    """Restore into a folder that is there and empty."""
    into = wanted.into.absolute()
    keys = restored_keys.bring(wanted.keys, into)
    point = wanted.point
    record = latest
    with _laid_out(wanted, latest, _LATEST_FOLDER) as newest:
        newest.recover({}, sync=wanted.sync)
        migrations.upgrade(newest.url("owner"))
        with newest.connect() as source:
            ends = _positions(source)
            if point is None:
                states = _states(source, ends)
                repeated: tuple[Erasure, ...] = ()
                key_state = keys.judged(source)
                embedded_postgres.adopt(into, source)
            else:
                record, target = _target(wanted, source, point)
                with _laid_out(wanted, record, _RESTORING_FOLDER) as server:
                    _recover(server, target, sync=wanted.sync)
                    migrations.upgrade(server.url("owner"))
                    with server.connect() as restored:
                        _require_exact(restored, point)
                        lost = erasures(source, _positions(restored))
                        take_key_store(source, restored)
                        repeated = repeat_erasures(server.url("program"), restored, lost, now)
                        states = _states(restored, ends)
                        key_state = keys.judged(restored)
                        embedded_postgres.adopt(into, restored)
    final = _LATEST_FOLDER if point is None else _RESTORING_FOLDER
    (into / final).rename(embedded_postgres.server_folder(into))
    shutil.rmtree(into / _LATEST_FOLDER, ignore_errors=True)
    for log in into.glob("postgresql.*.log"):
        log.unlink()
    report = Report(record.name, str(into), states, repeated, key_state, damage)
    restored_keys.mark(into, msgspec.json.encode(report))
    return report


def _recover(server: RestoredServer, target: Mapping[str, str], *, sync: bool) -> None:
    """Replay up to the target; where the log ends before a moment, that is its state then, too."""
    try:
        server.recover(target, sync=sync)
    except TargetNotReachedError:
        if "recovery_target_time" not in target:
            raise
        server.recover({}, sync=sync)


def _newest(wanted: Restore) -> Record:
    """The base backup from which the newest state is reached soonest.

    Raises:
        BackupError: there is none.
    """
    records = wanted.store.records()
    if not records:
        msg = f"There is no backup in {wanted.store.folder}."
        raise BackupError(msg)
    if wanted.backup is not None and wanted.point is None:
        return wanted.store.record(wanted.backup)
    return records[-1]


def _damage(wanted: Restore, latest: Record) -> tuple[str, ...]:
    """What is wrong with the backup, where that is accepted.

    Raises:
        BackupError: something is, and that is not accepted; or the base backup itself is damaged.
    """
    base = backup_checks.base_damage(wanted.store, latest)
    if base:
        msg = f"The backup is damaged: {base[0]}. Name an older one: see `ledger backup list`."
        raise BackupError(msg)
    extent = backup_checks.log_extent(wanted.store, latest)
    if extent.damage is None:
        return ()
    if not wanted.accepts_damage:
        msg = (
            f"The backup is damaged: {extent.damage}. It can be restored up to {extent.end_lsn}"
            " with --accept-damage; what came after is lost."
        )
        raise BackupError(msg)
    return (extent.damage,)


def _laid_out(wanted: Restore, record: Record, name: str) -> RestoredServer:
    """The files of a base backup and the log after it, where a server can begin on them."""
    into = wanted.into.absolute()
    place = into / name
    shutil.copytree(wanted.store.base(record.series, record.name), place, symlinks=True)
    place.chmod(0o700)
    (place / "backup_manifest").unlink(missing_ok=True)
    first = segment_of(record.start_lsn, record.timeline)
    for segment in wanted.store.segments(record.series):
        if segment.name >= first:
            _bring_segment(segment, place / "pg_wal" / segment.name)
    give_away(into, place)
    return RestoredServer(into, place)


def _bring_segment(segment: Segment, target: Path) -> None:
    """Copy a file of the log, unless more of it came with the base backup."""
    if target.exists() and segment.is_partial and _written(target) >= _written(segment.path):
        return
    shutil.copyfile(segment.path, target)
    target.chmod(0o600)


def _written(path: Path) -> int:
    """How much of a file is not the zeros at its end."""
    with path.open("rb") as file:
        place = path.stat().st_size
        while place:
            begin = max(0, place - _READ_AT_ONCE)
            file.seek(begin)
            kept = file.read(place - begin).rstrip(b"\0")
            if kept:
                return begin + len(kept)
            place = begin
    return 0


def _target(
    wanted: Restore, latest: psycopg.Connection[Any], point: Point
) -> tuple[Record, dict[str, str]]:
    """From which base backup, and up to where, the log is to be replayed.

    Raises:
        BackupError: the log does not reach that position, or no backup is older.
    """
    records = wanted.store.records()
    if wanted.backup is not None:
        records = [wanted.store.record(wanted.backup)]
    match point:
        case ToTime(moment):
            older = [item for item in records if item.ended_at <= moment]
            target = {"recovery_target_time": moment.isoformat()}
        case ToPosition(ledger, position):
            ledger_id, end = place_of(latest, ledger)
            if position > end:
                msg = f"The log of {ledger} ends at position {end} in the newest state."
                raise BackupError(msg)
            older = [item for item in records if _stood_at(item, ledger) < position]
            there = [item for item in records if _stood_at(item, ledger) == position]
            target = {"recovery_target_xid": _transaction_of(latest, ledger_id, position)}
            if there and not older:
                older, target = there[:1], {"recovery_target": "immediate"}
        case _:
            assert_never(point)
    if not older:
        msg = "No backup is older than that point: see `ledger backup list`."
        raise BackupError(msg)
    chosen = older[-1]
    if chosen.name != _newest(wanted).name:
        _damage(wanted, chosen)
    return chosen, target


def _stood_at(record: Record, ledger: str) -> int:
    """Where a ledger stood once a base backup was whole; 0 where there was none yet."""
    return next((head.position for head in record.heads if head.ledger == ledger), 0)


def _transaction_of(connection: psycopg.Connection[Any], ledger_id: int, position: int) -> str:
    """The database transaction that recorded a position."""
    row = connection.execute(
        "SELECT xmin FROM ledger.events WHERE ledger_id = %s AND position = %s",
        (ledger_id, position),
    ).fetchone()
    assert row is not None  # noqa: S101 - positions have no gaps, and the log reaches it
    return str(row[0])


def _require_exact(connection: psycopg.Connection[Any], point: Point) -> None:
    """The restored log ends with the transaction of the position that was asked for.

    Raises:
        BackupError: it does not.
    """
    match point:
        case ToTime():
            return
        case ToPosition(ledger, position):
            ledger_id, end = place_of(connection, ledger)
            if end == position or (
                end > position
                and _transaction_of(connection, ledger_id, end)
                == _transaction_of(connection, ledger_id, position)
            ):
                return
            msg = f"The log of {ledger} was restored to position {end}, not to {position}."
            raise BackupError(msg)


def _positions(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """The position of every ledger, by its name."""
    rows = connection.execute(
        "SELECT l.name, h.position FROM ledger.ledgers l JOIN ledger.heads h USING (ledger_id)"
    )
    return {row[0]: row[1] for row in rows}


def _states(
    connection: psycopg.Connection[Any], ends: Mapping[str, int]
) -> tuple[LedgerState, ...]:
    """Where every ledger stands, beside where the newest state stood."""
    rows = connection.execute(
        "SELECT l.name, h.position, h.recorded_at FROM ledger.ledgers l"
        " JOIN ledger.heads h USING (ledger_id) ORDER BY l.name"
    )
    return tuple(
        LedgerState(name, position, recorded_at, ends.get(name, 0))
        for name, position, recorded_at in rows
    )


def _require_empty(into: Path) -> None:
    """Nothing is there yet.

    Raises:
        BackupError: something is.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        msg = f"There is something in {into} already: a restore makes a new data folder."
        raise BackupError(msg)


def _empty(into: Path) -> None:
    """Remove what a restore that failed had brought."""
    for path in into.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
