"""Another wrapping key: everyone is read as before, servers go on, old copies open nothing."""

import base64
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.http.conftest import settings_of
from tests.postgres.ledger_harness import World
from tests.strategies import START

from api import clock, keystore_rotation, settings
from api.key_providers import provider_of
from api.key_settings import KeySettings
from api.keystore_rotation import RotationRefused
from api.settings import Settings
from ledger_core import rewrapping
from ledger_core.customers import CustomerRegistered, EraseCustomer, RegisterCustomer
from ledger_core.database import connect
from ledger_core.key_provider import Ring, VaultError, WrappedKey, key_id_of
from ledger_core.vault import Vault

OLD = bytes(range(32))
"""The key under which the world's persons are sealed."""
NEW = b"N" * 32
NEWER = b"M" * 32


def _settings(url: str, folder: Path, *, key: bytes = OLD) -> Settings:
    """Settings whose key stands in its file."""
    file, _ = settings.wrapping_key_files(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(base64.b64encode(key).decode() + "\n")
    given = settings_of(url, folder)
    return Settings(folder, url, key, given.server_secret, keys=KeySettings("file", file=file))


def _provided(url: str, *keys: bytes) -> Settings:
    """Settings whose keys come from the environment."""
    return Settings(
        Path("nowhere"), url, keys[0], b"S" * 32, keys=KeySettings("environment", keys=keys)
    )


def _registered(world: World, *names: str) -> list[CustomerRegistered]:
    """Customers, registered."""
    outcomes = world.run(
        *(
            RegisterCustomer(key=name, customer_id=name, profile={"name": f"Qx{name}"})
            for name in names
        )
    )
    return [item.event for item in outcomes if isinstance(item.event, CustomerRegistered)]


def _customers(url: str) -> tuple[int, list[CustomerRegistered], list[tuple[bytes]]]:
    """A ledger with three customers, one of them erased: their events, and all wrapped keys."""
    with World(url) as world:
        events = _registered(world, "anna", "ben", "gone")
        rows = world.writer.execute(
            "SELECT wrapped_key FROM keystore.subject_keys WHERE ledger_id = %s ORDER BY subject",
            (world.ledger_id,),
        ).fetchall()
        world.run(EraseCustomer(key="e", customer_id="gone", reason="asked"))
        return world.ledger_id, events, rows


def _names(
    url: str, kek: bytes, ledger_id: int, events: list[CustomerRegistered]
) -> list[str | None]:
    """The names behind the events, by that key alone."""
    vault = Vault(Ring([kek]), bytes)
    with connect(url, "ledger_reader") as connection:
        found = [vault.unseal(connection, ledger_id, item.subject, item.sealed) for item in events]
    return [None if clear is None else clear["name"] for clear in found]


def _key_in(file: Path) -> bytes:
    """The key in a file."""
    return base64.b64decode(file.read_text())


def test_after_a_change_old_copies_of_keys_open_nothing(database_url: str, tmp_path: Path) -> None:
    """Persons are read by the new key alone; who was erased stays erased, copies or not."""
    ledger_id, events, copies = _customers(database_url)
    given = _settings(database_url, tmp_path)
    assert keystore_rotation.rotate(given, database_url, START) == 2
    file, fresh = settings.wrapping_key_files(tmp_path)
    assert not fresh.exists()
    assert file.stat().st_mode & 0o777 == 0o600
    new = _key_in(file)
    assert new != OLD
    assert _names(database_url, new, ledger_id, events) == ["Qxanna", "Qxben", None]
    with pytest.raises(VaultError):
        _names(database_url, OLD, ledger_id, events)
    assert Ring([new]).unwrap([WrappedKey("local", row[0]) for row in copies]) == [None] * 3


@pytest.mark.parametrize("stage", ["made", "half wrapped", "all wrapped"])
def test_an_interrupted_change_is_completed(database_url: str, tmp_path: Path, stage: str) -> None:
    """Wherever it was ended, it goes on with the key that it had made."""
    ledger_id, events, _ = _customers(database_url)
    given = _settings(database_url, tmp_path)
    _, fresh = settings.wrapping_key_files(tmp_path)
    new = settings.new_wrapping_key(fresh)
    with connect(database_url, "ledger_writer") as connection:
        if stage == "half wrapped":
            first = events[0].subject
            row = connection.execute(
                "SELECT wrapped_key FROM keystore.subject_keys WHERE subject = %s", (first,)
            ).fetchone()
            assert row is not None
            (again,) = Ring([new, OLD]).rewrap([WrappedKey("local", row[0])], key_id_of(new))
            connection.execute(
                "UPDATE keystore.subject_keys SET wrapped_key = %s, wrapping_key_id = %s"
                " WHERE subject = %s",
                (again, key_id_of(new), first),
            )
        if stage == "all wrapped":
            rewrapping.rewrap(connection, Ring([OLD, new]), key_id_of(new), START)
    # Meanwhile a server that starts now reads everybody, too.
    started = Vault(provider_of(given.keys, OLD), clock.random_bytes)
    with connect(database_url, "ledger_writer") as connection:
        found = started.unseal(connection, ledger_id, events[0].subject, events[0].sealed)
        assert found == {"name": "Qxanna"}
    assert keystore_rotation.rotate(given, database_url, START) == 2
    assert _names(database_url, new, ledger_id, events) == ["Qxanna", "Qxben", None]


def test_servers_go_on_while_the_key_is_changed(database_url: str, tmp_path: Path) -> None:
    """Customers are registered and read without a pause, over three changes of the key."""
    given = _settings(database_url, tmp_path)
    stop = threading.Event()
    with World(database_url) as world:
        world.vault = Vault(provider_of(given.keys, OLD), clock.random_bytes)
        world.main = world.ledger()

        def serve() -> list[CustomerRegistered]:
            """Register one after another, and read each of them."""
            found: list[CustomerRegistered] = []
            while not stop.is_set():
                found += _registered(world, f"c{len(found)}")
                for item in found[-3:]:
                    clear = world.vault.unseal(
                        world.writer, world.ledger_id, item.subject, item.sealed
                    )
                    assert clear is not None
            return found

        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(serve)
            try:
                for _ in range(3):
                    keystore_rotation.rotate(_settings(database_url, tmp_path), database_url, START)
            finally:
                stop.set()
            events = served.result()
        events += _registered(world, "after")
        keystore_rotation.rewrap(given, database_url, START)
        new = _key_in(settings.wrapping_key_files(tmp_path)[0])
        names = [f"Qxc{number}" for number in range(len(events) - 1)]
        assert _names(database_url, new, world.ledger_id, events) == [*names, "Qxafter"]


def test_who_is_about_to_store_a_key_is_waited_for(database_url: str) -> None:
    """A registration under way by the old key is wrapped anew, too, however late it commits."""
    ring = Ring([OLD, NEW])
    with World(database_url) as world, ThreadPoolExecutor(1) as pool:
        world.run(RegisterCustomer(key="a", customer_id="a", profile={"name": "Qxa"}))
        vault = Vault(Ring([OLD]), clock.random_bytes)
        late = world.connect()
        late.execute("BEGIN")
        subject = vault.create_subject(late, world.ledger_id, START)
        sealed = vault.seal(late, world.ledger_id, subject, {"name": "Qxlate"})
        with connect(database_url, "ledger_writer") as connection:
            rotated = pool.submit(rewrapping.rewrap, connection, ring, key_id_of(NEW), START)
            while not _waits(world, connection.info.backend_pid):
                assert not rotated.done()
            late.execute("COMMIT")
            assert rotated.result() == 2
        found = Vault(Ring([NEW]), bytes).unseal(world.writer, world.ledger_id, subject, sealed)
        assert found == {"name": "Qxlate"}
        # Whoever knows the old key alone stores nothing by it any more.
        with pytest.raises(VaultError, match="not known here"):
            vault.create_subject(world.writer, world.ledger_id, START)


def _waits(world: World, pid: int) -> bool:
    """Whether that session waits for another."""
    row = world.writer.execute("SELECT cardinality(pg_blocking_pids(%s))", (pid,)).fetchone()
    return row is not None and row[0] > 0


class _Meanwhile(Ring):
    """A ring that lets something happen between the reading of keys and their writing."""

    def __init__(self, keys: list[bytes], happens: Callable[[], object]) -> None:
        """Hold these keys."""
        super().__init__(keys)
        self._happens = happens

    def rewrap(self, wrapped: Sequence[WrappedKey], target: str) -> list[bytes | None]:
        """As usual, once it has happened."""
        self._happens()
        return super().rewrap(wrapped, target)


def test_an_erasure_meanwhile_stays_an_erasure(database_url: str) -> None:
    """The key that was read is not written back."""
    with World(database_url) as world:
        events = _registered(world, "anna", "gone")

        def erase() -> None:
            """Forget one of them."""
            world.run(EraseCustomer(key="e", customer_id="gone", reason="asked"))

        ring = _Meanwhile([OLD, NEW], erase)
        with connect(database_url, "ledger_writer") as connection:
            assert rewrapping.rewrap(connection, ring, key_id_of(NEW), START) == 1
        assert _names(database_url, NEW, world.ledger_id, events) == ["Qxanna", None]


def test_keys_of_the_environment_are_changed_by_their_order(database_url: str) -> None:
    """The new one in front: servers that know both go on, and need the old one no more."""
    ledger_id, events, _ = _customers(database_url)
    running = Vault(Ring([OLD, NEW]), clock.random_bytes)
    with pytest.raises(RotationRefused, match="ledger keystore rewrap"):
        keystore_rotation.rotate(_provided(database_url, OLD), database_url, START)
    assert keystore_rotation.rewrap(_provided(database_url, NEW, OLD), database_url, START) == 2
    assert _names(database_url, NEW, ledger_id, events) == ["Qxanna", "Qxben", None]
    with World(database_url, "more") as world:
        subject = running.create_subject(world.writer, world.ledger_id, START)
        sealed = running.seal(world.writer, world.ledger_id, subject, {"name": "Qxnext"})
        alone = Vault(Ring([NEW]), bytes)
        found = alone.unseal(world.writer, world.ledger_id, subject, sealed)
        assert found == {"name": "Qxnext"}
    with pytest.raises(VaultError, match="retired before"):
        keystore_rotation.rewrap(_provided(database_url, OLD, NEW), database_url, START)
    assert keystore_rotation.rewrap(_provided(database_url, NEWER, NEW), database_url, START) == 3


def test_a_wrong_key_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """Keys that open neither by the old nor by the new key stop it: no key is given up."""
    ledger_id, events, _ = _customers(database_url)
    given = _settings(database_url, tmp_path, key=b"W" * 32)
    with pytest.raises(VaultError):
        keystore_rotation.rotate(given, database_url, START)
    assert _key_in(settings.wrapping_key_files(tmp_path)[0]) == b"W" * 32
    assert _names(database_url, OLD, ledger_id, events) == ["Qxanna", "Qxben", None]
    with connect(database_url, "ledger_reader") as connection:
        assert rewrapping.retired(connection) == set()


def test_an_old_key_store_is_cleared_of_who_was_erased(database_url: str) -> None:
    """After a restore of keys from before an erasure, what the log says is done again."""
    ledger_id, events, copies = _customers(database_url)
    assert keystore_rotation.destroy_erased(database_url) == 0
    with World(database_url, "other") as world:
        for (wrapped,) in copies:
            world.writer.execute(
                "UPDATE keystore.subject_keys SET wrapped_key = %s, destroyed_at = NULL"
                " WHERE wrapped_key IS NULL",
                (wrapped,),
            )
    assert keystore_rotation.destroy_erased(database_url) == 1
    assert _names(database_url, OLD, ledger_id, events) == ["Qxanna", "Qxben", None]
