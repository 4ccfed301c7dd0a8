"""Wrapping keys in Vault: used there, rotated there, and missed when it is away."""

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from starlette.testclient import TestClient
from tests.http.bank import Bank
from tests.http.conftest import settings_of
from tests.postgres.ledger_harness import World
from tests.security.transit_server import Transit, serving
from tests.strategies import START

from api import clock, key_settings, keystore_rotation
from api.app import create_app
from api.key_providers import provider_of, vault_transit
from api.key_providers.vault_transit import VaultTransit
from api.key_settings import KeySettings, VaultSettings
from api.keystore_rotation import RotationRefused
from api.runtime import Runtime
from api.settings import Settings
from api.surroundings import SettingError
from ledger_core.customers import CustomerRegistered, RegisterCustomer
from ledger_core.errors import LedgerBusy
from ledger_core.key_provider import Ring, VaultError, WrappedKey
from ledger_core.vault import Vault

TOKEN = "hvs.token-of-the-test"
KEYS = [bytes([number]) * 32 for number in range(7)]


@pytest.fixture
def transit() -> Iterator[Transit]:
    """A transit engine."""
    with serving(TOKEN) as transit:
        yield transit


@pytest.fixture(autouse=True)
def _asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vault is not left alone after a failure."""
    monkeypatch.setattr(vault_transit, "REST_S", 0.0)


def _settings(transit: Transit, **others: object) -> VaultSettings:
    """How to reach it."""
    return msgspec.structs.replace(VaultSettings(transit.address, token=TOKEN), **others)


def _provider(transit: Transit, older: Ring | None = None) -> VaultTransit:
    """A program that has just been started."""
    return VaultTransit(_settings(transit), older)


def _with_vault(url: str, folder: Path, transit: Transit) -> Settings:
    """The settings of a program."""
    keys = KeySettings("vault", vault=_settings(transit))
    given = msgspec.structs.replace(settings_of(url, folder), key_encryption_key=b"", keys=keys)
    assert isinstance(given, Settings)
    return given


def test_what_vault_wraps_vault_opens(transit: Transit) -> None:
    """Many in one request, under the version that their id says; nothing of a key is stored."""
    wrapped = _provider(transit).wrap(KEYS, None)
    assert {item.key_id for item in wrapped} == {"vault:transit/ledger:v1"}
    assert _provider(transit).unwrap(wrapped) == KEYS
    assert transit.requests == ["/v1/transit/encrypt/ledger", "/v1/transit/decrypt/ledger"]
    stored = b"".join(item.wrapped for item in wrapped)
    assert not [key for key in KEYS if base64.b64encode(key)[:8] in stored]


def test_more_than_a_request_takes_goes_in_several(
    transit: Transit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, however many."""
    monkeypatch.setattr(vault_transit, "KEYS_AT_ONCE", 3)
    wrapped = _provider(transit).wrap(KEYS, None)
    assert _provider(transit).unwrap(wrapped[::-1]) == KEYS[::-1]
    assert len(transit.requests) == 6


def test_vault_is_not_asked_again_for_what_it_just_said(
    transit: Transit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some minutes, and for so many keys."""
    provider = _provider(transit)
    wrapped = provider.wrap(KEYS, None)
    for _ in range(3):
        assert provider.unwrap(wrapped) == KEYS
    assert len(transit.requests) == 2
    monkeypatch.setattr(vault_transit, "REMEMBERED_S", 0.0)
    assert provider.unwrap(wrapped) == KEYS
    assert len(transit.requests) == 3


def test_a_damaged_key_does_not_hide_the_others(transit: Transit) -> None:
    """Vault refuses the whole batch; each is then asked for alone."""
    wrapped = _provider(transit).wrap(KEYS[:3], None)
    damaged = WrappedKey(wrapped[1].key_id, wrapped[1].wrapped[:-6] + b"AAAAAA")
    strange = WrappedKey(wrapped[1].key_id, b"\xff\x00nonsense")
    elsewhere = WrappedKey("vault:other/key:v1", wrapped[0].wrapped)
    asked = [wrapped[0], damaged, strange, elsewhere, wrapped[2]]
    assert _provider(transit).unwrap(asked) == [KEYS[0], None, None, None, KEYS[2]]


def test_a_version_can_be_asked_for_and_keys_wrapped_anew_without_leaving(
    transit: Transit,
) -> None:
    """After a rotation the old version still wraps until the new one is in use."""
    provider = _provider(transit)
    before = provider.wrap(KEYS, None)
    transit.rotate()
    again = provider.wrap(KEYS[:1], "vault:transit/ledger:v1")
    assert again[0].key_id == "vault:transit/ledger:v1"
    (newest,) = provider.wrap(KEYS[:1], None)
    assert newest.key_id == "vault:transit/ledger:v2"
    seen = len(transit.plaintexts)
    after = provider.rewrap(before, newest.key_id)
    assert len(transit.plaintexts) == seen
    transit.min_decryption_version = 2
    fresh = _provider(transit)
    assert fresh.unwrap([WrappedKey(newest.key_id, item or b"") for item in after]) == KEYS
    assert fresh.unwrap(before) == [None] * len(KEYS)
    for unknown in ("vault:transit/ledger:v9", "vault:transit/ledger:x", "k-0011223344556677"):
        with pytest.raises(VaultError, match="not one of Vault's"):
            provider.wrap(KEYS[:1], unknown)


def test_a_token_that_was_renewed_in_its_file_is_taken(transit: Transit, tmp_path: Path) -> None:
    """As Vault's agent renews it; a wrong one is refused without being shown."""
    file = tmp_path / "token"
    file.write_text("hvs.of-before\n")
    settings = _settings(transit, token=None, token_file=file)
    provider = VaultTransit(settings, None)
    with pytest.raises(LedgerBusy) as refused:
        provider.wrap(KEYS[:1], None)
    assert "hvs" not in str(refused.value)
    file.write_text(TOKEN + "\n")
    assert _provider(transit).unwrap(provider.wrap(KEYS[:1], None)) == KEYS[:1]
    assert "hvs" not in repr(settings) + repr(KeySettings("vault", vault=settings))


def test_another_server_is_never_told_the_token(transit: Transit) -> None:
    """A redirect is not followed, wherever it leads."""
    with serving("another") as other:
        transit.elsewhere = other.address
        with pytest.raises((LedgerBusy, VaultError)):
            _provider(transit).wrap(KEYS[:1], None)
        assert other.requests == []


def test_an_answer_that_is_none_is_an_error(transit: Transit) -> None:
    """Nothing is taken for a key that is not one."""
    transit.is_broken = True
    with pytest.raises(VaultError, match="cannot be read"):
        _provider(transit).wrap(KEYS[:1], None)


def test_a_ledger_moves_into_vault_and_on_to_another_version(
    transit: Transit, database_url: str, tmp_path: Path
) -> None:
    """From a file to Vault, then a rotation there: all are read, and old keys open nobody."""
    before = bytes(range(32))
    with World(database_url) as world:
        outcomes = world.run(
            *(
                RegisterCustomer(key=name, customer_id=name, profile={"name": f"Qx{name}"})
                for name in ("anna", "ben")
            )
        )
        events = [item.event for item in outcomes if isinstance(item.event, CustomerRegistered)]
        both = KeySettings("vault", keys=(before,), vault=_settings(transit))
        given = Settings(tmp_path, database_url, b"", b"S" * 32, keys=both)
        assert keystore_rotation.rewrap(given, database_url, START) == 2
        alone = Settings(
            tmp_path, database_url, b"", b"S" * 32, keys=_with_vault("", tmp_path, transit).keys
        )
        with pytest.raises(RotationRefused, match="ledger keystore rewrap"):
            keystore_rotation.rotate(alone, database_url, START)
        transit.may_rotate = True
        assert keystore_rotation.rotate(alone, database_url, START) == 2
        assert len(transit.versions) == 2
        transit.min_decryption_version = 2
        vault = Vault(provider_of(alone.keys, b""), clock.random_bytes)
        subject = vault.create_subject(world.writer, world.ledger_id, START)
        found = [
            vault.unseal(world.writer, world.ledger_id, item.subject, item.sealed)
            for item in events
        ]
        assert found == [{"name": "Qxanna"}, {"name": "Qxben"}]
        with pytest.raises(VaultError):
            Vault(Ring([before]), bytes).ciphers(world.writer, world.ledger_id, [subject])


def test_without_vault_only_what_needs_a_person_waits(
    transit: Transit, database_url: str, tmp_path: Path
) -> None:
    """503 with Retry-After for customers; money moves on; and when it is back, so are they."""
    settings = _with_vault(database_url, tmp_path, transit)
    transit.is_sealed = True
    with Runtime(settings) as runtime, TestClient(create_app(runtime)) as client:
        bank = Bank(runtime, client, "own")
        bank.open("a", 1_000)
        body = {"customer_id": "c", "profile": {"name": "Qxvault Person"}}
        refused = bank.post("/v1/customers", body, key="r")
        assert refused.status_code == 503
        assert refused.json()["code"] == "ledger_busy"
        assert int(refused.headers["Retry-After"]) > 0
        assert bank.get("/v1/accounts/a/balance").json()["position"] > 0
        transit.is_sealed = False
        assert bank.post("/v1/customers", body, key="r").status_code == 201
        seen = bank.get("/v1/customers/c")
        assert seen.status_code == 200
        transit.is_sealed = True
        runtime.vault.provider = provider_of(settings.keys, b"")
        away = bank.get("/v1/customers/c")
        assert away.status_code == 503
        assert "Qxvault" not in away.text


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({}, "LEDGER_VAULT_TOKEN_FILE or LEDGER_VAULT_TOKEN"),
        ({"LEDGER_VAULT_TOKEN": "hvs.t"}, "LEDGER_VAULT_ADDRESS"),
        (
            {"LEDGER_VAULT_TOKEN": "hvs.t", "LEDGER_VAULT_ADDRESS": "http://vault.example:8200"},
            "https",
        ),
        (
            {
                "LEDGER_VAULT_TOKEN": "hvs.t",
                "LEDGER_VAULT_ADDRESS": "https://u:hvs.p@vault.example",
            },
            "LEDGER_VAULT_ADDRESS",
        ),
        (
            {
                "LEDGER_VAULT_TOKEN": "hvs.t",
                "LEDGER_VAULT_ADDRESS": "https://vault.example",
                "LEDGER_VAULT_KEY": "../sys/seal",
            },
            "LEDGER_VAULT_KEY",
        ),
        (
            {
                "LEDGER_VAULT_TOKEN": "hvs.t",
                "LEDGER_VAULT_ADDRESS": "https://vault.example",
                "LEDGER_VAULT_TIMEOUT_S": "never",
            },
            "LEDGER_VAULT_TIMEOUT_S",
        ),
    ],
)
def test_settings_that_cannot_work_are_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], complaint: str
) -> None:
    """The variable and what it must be; never what it holds."""
    monkeypatch.setenv("LEDGER_KEY_PROVIDER", "vault")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=complaint) as told:
        key_settings.load(tmp_path / "none")
    assert "hvs." not in str(told.value)


def test_settings_name_the_provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """File unless the environment has a key; each can be asked for, and is held to it."""
    file = tmp_path / "key-encryption-key"
    assert key_settings.load(file).provider == "file"
    monkeypatch.setenv("LEDGER_KEY_PROVIDER", "environment")
    with pytest.raises(SettingError, match="must hold the key"):
        key_settings.load(file)
    one, two = (base64.b64encode(key).decode() for key in KEYS[:2])
    monkeypatch.setenv("LEDGER_KEY_ENCRYPTION_KEY", f"{one}, {two}")
    assert key_settings.load(file).keys == tuple(KEYS[:2])
    monkeypatch.delenv("LEDGER_KEY_PROVIDER")
    found = key_settings.load(file)
    assert (found.provider, one in repr(found)) == ("environment", False)
    monkeypatch.setenv("LEDGER_KEY_PROVIDER", "file")
    with pytest.raises(SettingError, match="one a line"):
        key_settings.load(file)
    monkeypatch.setenv("LEDGER_KEY_PROVIDER", "carrier-pigeon")
    with pytest.raises(SettingError, match="file, environment or vault"):
        key_settings.load(file)
