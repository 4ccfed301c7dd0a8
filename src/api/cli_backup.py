"""``ledger backup …`` and ``ledger restore``: copies of the embedded PostgreSQL, and back.

Imports are made inside the functions, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from api.cli_support import DEFAULT_LEDGER, Common, Failed, answer, ledger_name, open_runtime

if TYPE_CHECKING:
    from datetime import datetime

    from api.backup_store import Record, Store
    from api.kept_checkpoints import Comparison
    from api.restored_keys import KeyState
    from api.restoring import Point, Report
    from api.runtime import Runtime
    from projections.verification import Verdict

backup_app = App(name="backup", help="Backups of the embedded PostgreSQL, and of its log.")
KEEP_MIN = 1
Folder = Annotated[Path | None, Parameter(name="--dir")]


def register(app: App) -> None:
    """Add the commands."""
    app.command(backup_app)
    app.command(restore)


@backup_app.default
def make(*, folder: Folder = None, common: Common | None = None) -> None:
    """Take a base backup of the running server, and the write-ahead log that belongs to it.

    A server that runs with LEDGER_BACKUP_DIR adds what is recorded from then on, at once; without
    one, the next backup does. The keys are in no backup: keep a copy of LEDGER_DATA_DIR/keys apart.

    Parameters
    ----------
    folder: The folder of backups; LEDGER_BACKUP_DIR where it is left out.
    """
    from api import backups, embedded_postgres
    from api.backup_store import BackupError

    place = _folder(folder)
    with open_runtime() as runtime:
        if runtime.settings.database_url is not None:
            msg = (
                "`ledger backup` is for the embedded PostgreSQL; for the server of"
                " LEDGER_DATABASE_URL use its own: docs/backup.md says which."
            )
            raise Failed(msg)
        cluster = embedded_postgres.ensure_running(runtime.settings.data_dir)
        try:
            record = backups.make(cluster, place, runtime.now)
        except BackupError as error:
            raise Failed(str(error)) from None
    heads = ", ".join(f"{head.ledger} {head.position}" for head in record.heads)
    text = (
        f"{record.name}: {_megabytes(record.size_bytes)}, up to {heads or 'no ledger'}.\n"
        f"SHA-256 of its manifest: {record.manifest_sha256}"
    )
    answer(common or Common(), record, text)


@backup_app.command(name="list")
def list_(*, folder: Folder = None, common: Common | None = None) -> None:
    """The base backups, oldest first: when, how large, and where each ledger stood.

    Parameters
    ----------
    folder: The folder of backups; LEDGER_BACKUP_DIR where it is left out.
    """
    store = _store(folder)
    records = _records(store)
    lines = [
        f"{item.name}  {item.ended_at:%Y-%m-%d %H:%M:%S}  {_megabytes(item.size_bytes):>9}  "
        + ", ".join(f"{head.ledger} {head.position}" for head in item.heads)
        for item in records
    ]
    for series in store.series():
        segments = store.segments(series)
        if segments:
            size = _megabytes(sum(item.path.stat().st_size for item in segments))
            lines.append(f"write-ahead log of {series}: {len(segments)} files, {size}")
    answer(common or Common(), records, "\n".join(lines) or f"No backup in {store.folder}.")


@backup_app.command
def verify(
    name: str | None = None,
    /,
    *,
    folder: Folder = None,
    everything: bool = False,
    common: Common | None = None,
) -> None:
    """Read the newest base backup, or NAME, and all the log after it; exit code 1 on damage.

    Parameters
    ----------
    folder: The folder of backups; LEDGER_BACKUP_DIR where it is left out.
    everything: Every base backup.
    """
    from api import backup_checks
    from api.backup_store import BackupError

    store = _store(folder)
    records = _records(store)
    try:
        chosen = [store.record(name)] if name is not None else records
    except BackupError as error:
        raise Failed(str(error)) from None
    if not chosen:
        msg = f"There is no backup in {store.folder}."
        raise Failed(msg)
    verdicts = [
        backup_checks.check(store, item) for item in (chosen if everything else chosen[-1:])
    ]
    lines = []
    for verdict in verdicts:
        if verdict.ok:
            lines.append(f"{verdict.name}: whole, and its log up to {verdict.end_lsn}.")
        lines += [f"{verdict.name}: DAMAGED: {sentence}." for sentence in verdict.damage]
    answer(common or Common(), verdicts, "\n".join(lines))
    if not all(verdict.ok for verdict in verdicts):
        raise SystemExit(1)


@backup_app.command
def prune(
    *,
    folder: Folder = None,
    keep_days: int = 7,
    keep: int = KEEP_MIN,
    common: Common | None = None,
) -> None:
    """Remove base backups that are older than KEEP_DAYS, and the log that none of the rest needs.

    As long as a copy of before an erasure exists, the person can be brought back by whoever has
    the keys, too: docs/erasure.md.

    Parameters
    ----------
    folder: The folder of backups; LEDGER_BACKUP_DIR where it is left out.
    keep_days: How many days a base backup is kept.
    keep: How many of the newest are kept, however old they are; at least one.
    """
    from datetime import timedelta

    from api import clock
    from api.backup_store import BackupError

    if keep_days < 0 or keep < KEEP_MIN:
        msg = f"--keep-days is 0 or more, --keep at least {KEEP_MIN}."
        raise Failed(msg)
    try:
        oldest = clock.now() - timedelta(days=keep_days)
        names, freed = _store(folder).remove_before(oldest, keep=keep)
    except BackupError as error:
        raise Failed(str(error)) from None
    text = f"{len(names)} base backups removed, {_megabytes(freed)} freed."
    answer(common or Common(), {"removed": names, "freed_bytes": freed}, text)


def restore(  # noqa: PLR0913 - the options of a command
    backup: str | None = None,
    /,
    *,
    into: Path,
    folder: Folder = None,
    to_time: str | None = None,
    to_position: int | None = None,
    keys: Path | None = None,
    accept_damage: bool = False,
    common: Common | None = None,
) -> None:
    """Restore a backup into a new data folder: the newest state, or the books as of a point.

    Nothing that exists is changed. Start with LEDGER_DATA_DIR set to the new folder, and run
    `ledger verify --checkpoint FILE` against checkpoints that were kept elsewhere.

    Parameters
    ----------
    backup: The base backup to begin with; the best one where it is left out.
    into: The new data folder.
    folder: The folder of backups; LEDGER_BACKUP_DIR where it is left out.
    to_time: What was committed up to this instant (ISO 8601), by the database's clock.
    to_position: The log of the ledger up to this position.
    keys: The copy of LEDGER_DATA_DIR/keys that was kept apart.
    accept_damage: Where the log is damaged, restore as far as it is whole.
    """
    from api import clock, restoring
    from api.backup_store import BackupError

    wanted = restoring.Restore(
        store=_store(folder),
        into=into.expanduser(),
        point=_point(to_time, to_position, ledger_name(common)),
        backup=backup,
        keys=keys,
        accepts_damage=accept_damage,
    )
    try:
        report = restoring.restore(wanted, clock.now)
    except BackupError as error:
        raise Failed(str(error)) from None
    answer(common or Common(), report, "\n".join(_lines(report)))


def compared(
    runtime: Runtime, ledger_id: int, ledger: str, source: Path | None
) -> Comparison | None:
    """The log held against checkpoints that were kept elsewhere; ``None`` where none are given.

    Raises:
        Failed: they cannot be read, are of another log, or were not signed by its keys.
    """
    if source is None:
        return None
    from api import kept_checkpoints, signing_keys
    from api.notary import origin_of

    origin = origin_of(runtime.settings, ledger)
    keys = signing_keys.load(runtime.settings).public_keys(origin)
    try:
        kept = kept_checkpoints.verified(kept_checkpoints.read(source), origin, keys)
    except kept_checkpoints.KeptCheckpointError as error:
        msg = f"--checkpoint: {error}."
        raise Failed(msg) from None
    with runtime.connect("ledger_writer") as connection:
        return kept_checkpoints.compare(connection, ledger_id, kept)


def with_comparison(verdict: Verdict, compared: Comparison) -> dict[str, object]:
    """The answer of ``ledger verify`` as a whole, with what comparing showed beside it."""
    import msgspec

    found = msgspec.structs.asdict(verdict)
    return found | {"ok": verdict.ok and compared.ok, "checkpoint": compared}


def _point(to_time: str | None, to_position: int | None, ledger: str) -> Point | None:
    """The point that was asked for; ``None`` for the newest state.

    Raises:
        Failed: it cannot be read, or there are two.
    """
    from api.restoring import ToPosition, ToTime

    if to_time is not None and to_position is not None:
        msg = "Give --to-time or --to-position, not both."
        raise Failed(msg)
    if to_position is not None:
        if to_position < 1:
            msg = "--to-position is the position of an event: 1 or more."
            raise Failed(msg)
        return ToPosition(ledger or DEFAULT_LEDGER, to_position)
    return None if to_time is None else ToTime(_moment(to_time))


def _moment(text: str) -> datetime:
    """The instant that an option names.

    Raises:
        Failed: it is none.
    """
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        msg = "--to-time is an ISO 8601 instant with an offset: 2026-03-03T18:00+00:00."
        raise Failed(msg)
    return moment


def _lines(report: Report) -> list[str]:
    """What to tell about a restore."""
    lines = [f"Damaged, and restored as far as it is whole: {item}." for item in report.damage]
    for state in report.ledgers:
        line = f"{state.ledger}: position {state.position}, recorded at {state.recorded_at}"
        if state.latest_position > state.position:
            line += f"; the newest state has {state.latest_position}"
        lines.append(line + ".")
    lines += [
        f"Erased again: {item.customer_id} of {item.ledger} ({item.status})."
        for item in report.erasures_repeated
    ]
    lines += _about_keys(report.keys, report.data_dir)
    lines.append(f"Restored from {report.backup}: LEDGER_DATA_DIR={report.data_dir} ledger verify")
    return lines


def _about_keys(keys: KeyState, data_dir: str) -> list[str]:
    """What to tell about the secrets."""
    if keys.missing:
        names = ", ".join(keys.missing)
        return [f"Before it is used, put your copy of {names} into {data_dir}/keys."]
    if keys.unreadable:
        told = f"{keys.unreadable} of {keys.tried} keys of persons that were tried do NOT open"
        return [f"{told}: these are not the wrapping keys of that backup."]
    return []


def _folder(named: Path | None) -> Path:
    """The folder of backups.

    Raises:
        Failed: none is named.
    """
    from api import backup_settings

    if named is not None:
        return named.expanduser().absolute()
    folder = backup_settings.folder()
    if folder is None:
        msg = "Say where backups are: --dir FOLDER, or LEDGER_BACKUP_DIR."
        raise Failed(msg)
    return folder


def _store(folder: Path | None) -> Store:
    """The folder of backups, to be read."""
    from api.backup_store import Store

    return Store(_folder(folder))


def _records(store: Store) -> list[Record]:
    """The base backups.

    Raises:
        Failed: a record cannot be read.
    """
    from api.backup_store import BackupError

    try:
        return store.records()
    except BackupError as error:
        raise Failed(str(error)) from None


def _megabytes(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1_000_000:,.1f} MB"
