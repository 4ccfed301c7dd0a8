"""Restores: the newest state, a position, a moment; what protects people is never taken back."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.backup.house import GENTLE, House, flip, truncate

from api import (
    backup_checks,
    embedded_postgres,
    kept_checkpoints,
    restored_keys,
    settings,
    signing_keys,
)
from api.backup_store import (
    SEGMENT_BYTES,
    BackupError,
    name_at,
    order_of,
    parse_lsn,
    segment_named,
    segment_of,
)
from api.key_check import with_keys
from api.notary import origin_of
from api.restoring import ToPosition, ToTime
from api.runtime import Runtime
from projections import runner, verification

pytestmark = pytest.mark.xdist_group("backup")


@contextmanager
def _opened(data_dir: Path, patch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """The program on a restored folder."""
    patch.setenv("LEDGER_DATA_DIR", str(data_dir))
    patch.delenv("LEDGER_DATABASE_URL", raising=False)
    embedded_postgres.ensure_running(data_dir, settings=GENTLE)
    with Runtime(settings.load()) as runtime:
        yield runtime


def _verified(runtime: Runtime) -> tuple[int, list[str]]:
    """The events of the log, and what verifying finds."""
    ledger_id = runtime.ledger_id("main")
    with runtime.connect("ledger_projector") as connection:
        runner.catch_up(connection, ledger_id)
        verdict = with_keys(runtime, ledger_id, verification.verify(connection, ledger_id))
    return verdict.events, [finding.message for finding in verdict.findings]


def _rows(runtime: Runtime, query: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with runtime.connect("ledger_writer") as connection:
        return connection.execute(query).fetchall()


def _compared(runtime: Runtime, notes: Path) -> kept_checkpoints.Comparison:
    """The restored log against the checkpoints that were kept."""
    origin = origin_of(runtime.settings, "main")
    keys = signing_keys.load(runtime.settings).public_keys(origin)
    found = kept_checkpoints.verified(kept_checkpoints.read(notes), origin, keys)
    with runtime.connect("ledger_writer") as connection:
        return kept_checkpoints.compare(connection, runtime.ledger_id("main"), found)


def test_the_newest_state_has_everything(
    kept: House, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the log, verified, as signed; keys that were kept apart open what is sealed."""
    report = kept.restored(new, keys=kept.keys)
    assert [(state.position, state.latest_position) for state in report.ledgers] == [
        (kept.last, kept.last)
    ]
    assert report.keys == restored_keys.KeyState((), 1, 0)
    assert (report.erasures_repeated, report.damage) == ((), ())
    with _opened(new, monkeypatch) as runtime:
        assert _verified(runtime) == (kept.last, [])
        comparison = _compared(runtime, kept.notes)
        assert (comparison.ok, comparison.agreed_size) == (True, kept.last)


@pytest.mark.parametrize("offset", [-1, 4])
def test_a_position_is_exact_to_its_transaction(
    kept: House, new: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """The log ends with what was recorded together with the position; erasures are repeated."""
    begin, end = kept.batch
    report = kept.restored(new, keys=kept.keys, point=ToPosition("main", begin + offset))
    expected = begin - 1 if offset < 0 else end
    (erasure,) = report.erasures_repeated
    assert (erasure.customer_id, erasure.status) == ("petra", "recorded")
    assert report.ledgers[0].position == expected + 1
    assert report.keys.unreadable == 0
    with _opened(new, monkeypatch) as runtime:
        assert _verified(runtime) == (expected + 1, [])
        assert _rows(runtime, "SELECT revoked_at IS NOT NULL FROM keystore.api_keys") == [(True,)]
        comparison = _compared(runtime, kept.notes)
        assert not comparison.ok
        assert comparison.agreed_size == (end if offset >= 0 else 0)
        assert (comparison.lost_to, comparison.differs_at) == (kept.last, None)


def test_a_moment_is_what_was_committed_then(
    kept: House, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the database's clock; nobody comes back whose key was destroyed after it."""
    report = kept.restored(new, keys=kept.keys, point=ToTime(kept.between))
    assert report.ledgers[0].position == kept.batch[1] + 1
    with _opened(new, monkeypatch) as runtime:
        assert _verified(runtime) == (kept.batch[1] + 1, [])
        assert _rows(
            runtime, "SELECT count(*) FROM keystore.subject_keys WHERE wrapped_key IS NOT NULL"
        ) == [(1,)]


def test_a_restored_folder_waits_for_its_keys(
    kept: House, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New secrets would be made in silence; instead the program says which are missing."""
    report = kept.restored(new)
    assert report.keys.missing == ("key-encryption-key", "server-secret", "signing-0001")
    monkeypatch.setenv("LEDGER_DATA_DIR", str(new))
    monkeypatch.delenv("LEDGER_DATABASE_URL", raising=False)
    with pytest.raises(settings.SettingsError, match="put your copy of key-encryption-key, server"):
        settings.load()
    assert not (new / "keys").exists()
    shutil.copytree(kept.keys, new / "keys")
    settings.load()


def test_keys_that_do_not_open_are_told(kept: House, new: Path, tmp_path: Path) -> None:
    """A wrapping key of another installation is noticed while there is time to look for it."""
    wrong = tmp_path / "wrong"
    shutil.copytree(kept.keys, wrong)
    shutil.copyfile(kept.keys / "server-secret", wrong / "key-encryption-key")
    assert kept.restored(new, keys=wrong).keys == restored_keys.KeyState((), 1, 1)


def test_nothing_is_ever_restored_over(kept: House, new: Path) -> None:
    """What is in the folder stays as it is."""
    new.mkdir()
    (new / "mine").touch()
    with pytest.raises(BackupError, match="something in"):
        kept.restored(new)
    assert [path.name for path in new.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("point", "told"),
    [
        (ToPosition("main", 10_000), "ends at position"),
        (ToPosition("other", 1), "no ledger other"),
        (ToPosition("main", 2), "No backup is older"),
    ],
)
def test_a_point_that_no_backup_has(kept: House, new: Path, point: ToPosition, told: str) -> None:
    """It says so, and leaves nothing behind."""
    with pytest.raises(BackupError, match=told):
        kept.restored(new, point=point)
    assert not new.exists()


def test_of_two_backups_of_one_second_the_later_one_is_the_newest(
    kept: House, tmp_path: Path
) -> None:
    """The second of a second has a number behind its name, and comes after the first."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    names: list[str] = []
    for _ in range(12):
        names.append(name_at(moment, names))
    assert sorted(names, key=order_of) == names
    same = kept.copy(tmp_path / "same")
    folder = same.store.base(same.second.series, same.second.name).parent
    later = f"{same.first.name}-2"
    record = msgspec.structs.replace(same.second, name=later)
    (folder / f"{same.second.name}.json").unlink()
    (folder / f"{later}.json").write_bytes(msgspec.json.encode(record))
    assert [found.name for found in same.store.records()] == [same.first.name, later]


def test_a_flipped_byte_of_the_base_is_found(kept: House, new: Path, tmp_path: Path) -> None:
    """Of whatever file."""
    bad = kept.copy(tmp_path / "bad")
    place = bad.store.base(bad.second.series, bad.second.name)
    flip(max((place / "base").rglob("*"), key=lambda path: path.stat().st_size), 5_000)
    assert not backup_checks.check(bad.store, bad.second).ok
    with pytest.raises(BackupError, match=r"checksum mismatch for file.*Name an older one"):
        bad.restored(new)
    assert not new.exists()
    assert bad.restored(new, backup=bad.first.name).ledgers[0].position == kept.last


def _tampered(house: House, harm: str) -> str:
    """Harm the log that was received after the second base backup; what is to be said of it."""
    wal = house.store.wal(house.second.series)
    name = segment_of(house.second.end_lsn, house.second.timeline)
    following = house.store.segments(house.second.series)[-1]
    match harm:
        case "missing":
            (wal / name).unlink()
            return f"{name} is missing"
        case "truncated":
            truncate(wal / name, SEGMENT_BYTES // 2)
            return f"{name} has {SEGMENT_BYTES // 2} bytes"
        case "flipped":
            place = parse_lsn(house.first.received_lsn) + 0x400
            name = segment_named(place // SEGMENT_BYTES, house.first.timeline)
            flip(wal / name, place % SEGMENT_BYTES)
            return f"is damaged at .* in {name}"
        case _:
            following.path.unlink()
            return f"{following.name} is missing"


@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped", "end is missing"])
def test_a_log_that_is_not_whole_is_found(
    kept: House, new: Path, tmp_path: Path, harm: str
) -> None:
    """It is refused, in a sentence that names the file; or restored as far as it is whole."""
    bad = kept.copy(tmp_path / "bad")
    told = _tampered(bad, harm)
    verdict = backup_checks.check(bad.store, bad.first if harm == "flipped" else bad.second)
    assert not verdict.ok
    with pytest.raises(BackupError, match=rf"{told}.*--accept-damage"):
        bad.restored(new, backup=bad.first.name if harm == "flipped" else None)
    assert not new.exists()
    assert backup_checks.check(kept.store, kept.second).ok


def test_a_log_that_ends_early_is_found_by_checkpoints(
    kept: House, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the file that was being received damage looks like its end: what was signed tells."""
    bad = kept.copy(tmp_path / "bad")
    place = parse_lsn(kept.second.received_lsn) + 0x400
    flip(bad.store.segments(kept.second.series)[-1].path, place % SEGMENT_BYTES)
    assert backup_checks.check(bad.store, bad.second).ok
    reached = bad.restored(new, keys=kept.keys).ledgers[0].position
    assert kept.second.heads[0].position <= reached < kept.last
    with _opened(new, monkeypatch) as runtime:
        assert _verified(runtime) == (reached, [])
        comparison = _compared(runtime, kept.notes)
        assert (comparison.ok, comparison.agreed_size) == (False, kept.erased_at)
        assert (comparison.lost_from, comparison.lost_to) == (reached + 1, kept.last)
