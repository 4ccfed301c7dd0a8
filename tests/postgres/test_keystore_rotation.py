"""Another key-encryption key: everyone is read as before, and old copies of keys open nothing."""

from pathlib import Path

import pytest
from tests.http.conftest import settings_of
from tests.postgres.ledger_harness import World

from api import keystore_rotation, settings
from api.keystore_rotation import RotationRefused
from api.settings import Settings
from ledger_core.customers import CustomerRegistered, EraseCustomer, RegisterCustomer
from ledger_core.vault import Vault, VaultError

OLD = bytes(range(32))
"""The key under which the world's persons are sealed."""


def _settings(url: str, folder: Path) -> Settings:
    """Settings whose key stands in its file."""
    file, _ = settings.wrapping_key_files(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    given = settings_of(url, folder)
    return Settings(folder, url, OLD, given.server_secret)


def _customers(url: str) -> tuple[int, list[CustomerRegistered], list[tuple[bytes]]]:
    """A ledger with three customers, one of them erased: their events, and all wrapped keys."""
    with World(url) as world:
        outcomes = world.run(
            *(
                RegisterCustomer(key=name, customer_id=name, profile={"name": f"Qx{name}"})
                for name in ("anna", "ben", "gone")
            )
        )
        rows = world.writer.execute(
            "SELECT wrapped_key FROM keystore.subject_keys WHERE ledger_id = %s ORDER BY subject",
            (world.ledger_id,),
        ).fetchall()
        world.run(EraseCustomer(key="e", customer_id="gone", reason="asked"))
        events = [item.event for item in outcomes if isinstance(item.event, CustomerRegistered)]
        return world.ledger_id, events, rows


def _names(
    url: str, kek: bytes, ledger_id: int, events: list[CustomerRegistered]
) -> list[str | None]:
    """The names behind the events."""
    vault = Vault(kek, "local", bytes)
    with World(url, "other") as world:
        found = [
            vault.unseal(world.writer, ledger_id, item.subject, item.sealed) for item in events
        ]
    return [None if clear is None else clear["name"] for clear in found]


def test_after_a_change_old_copies_of_keys_open_nothing(database_url: str, tmp_path: Path) -> None:
    """Persons are read by the new key alone; who was erased stays erased, copies or not."""
    ledger_id, events, copies = _customers(database_url)
    given = _settings(database_url, tmp_path)
    assert keystore_rotation.rotate(given, database_url) == 2
    file, fresh = settings.wrapping_key_files(tmp_path)
    assert not fresh.exists()
    assert file.stat().st_mode & 0o777 == 0o600
    new = settings.new_wrapping_key(file)
    assert new != OLD
    assert _names(database_url, new, ledger_id, events) == ["Qxanna", "Qxben", None]
    with pytest.raises(VaultError):
        _names(database_url, OLD, ledger_id, events)
    for (wrapped,) in copies:
        with pytest.raises(VaultError):
            Vault(new, "local", bytes).unwrapped(wrapped)


def test_an_interrupted_change_is_completed(database_url: str, tmp_path: Path) -> None:
    """Ended between the database and the file, it goes on with the key that it had made."""
    ledger_id, events, _ = _customers(database_url)
    given = _settings(database_url, tmp_path)
    _, fresh = settings.wrapping_key_files(tmp_path)
    new = settings.new_wrapping_key(fresh)
    with World(database_url, "other") as world, world.writer.transaction():
        vault = Vault(new, "local", bytes)
        assert vault.rewrap_all(world.writer, Vault(OLD, "local", bytes)) == 2
    assert keystore_rotation.rotate(given, database_url) == 2
    assert _names(database_url, new, ledger_id, events) == ["Qxanna", "Qxben", None]


def test_it_is_refused_while_others_work(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program would go on wrapping new keys by the old one."""
    given = _settings(database_url, tmp_path)
    with (
        World(database_url),
        pytest.raises(RotationRefused, match="stop every `ledger serve` first"),
    ):
        keystore_rotation.rotate(given, database_url)
    monkeypatch.setenv("LEDGER_KEY_ENCRYPTION_KEY", "x")
    with pytest.raises(RotationRefused, match="LEDGER_KEY_ENCRYPTION_KEY"):
        keystore_rotation.rotate(given, database_url)


def test_a_wrong_key_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """Keys that open neither by the old nor by the new key stop it before anything is written."""
    ledger_id, events, _ = _customers(database_url)
    given = Settings(tmp_path, database_url, b"W" * 32, b"S" * 32)
    with pytest.raises(VaultError):
        keystore_rotation.rotate(given, database_url)
    assert _names(database_url, OLD, ledger_id, events) == ["Qxanna", "Qxben", None]


def test_an_old_key_store_is_cleared_of_who_was_erased(database_url: str, tmp_path: Path) -> None:
    """After a restore of keys from before an erasure, what the log says is done again."""
    ledger_id, events, copies = _customers(database_url)
    given = _settings(database_url, tmp_path)
    assert keystore_rotation.destroy_erased(given, database_url) == 0
    with World(database_url, "other") as world:
        for (wrapped,) in copies:
            world.writer.execute(
                "UPDATE keystore.subject_keys SET wrapped_key = %s, destroyed_at = NULL"
                " WHERE wrapped_key IS NULL",
                (wrapped,),
            )
    assert keystore_rotation.destroy_erased(given, database_url) == 1
    assert _names(database_url, OLD, ledger_id, events) == ["Qxanna", "Qxben", None]
