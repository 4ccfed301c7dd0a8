"""Signing keys: made once, outside the database, changed without losing what was signed."""

import base64
import stat
from pathlib import Path

import pytest

from api import notary_settings, signing_keys
from api.notary_settings import NotarySettings
from api.settings import Settings, SettingsError
from api.surroundings import SettingError
from ledger_core import checkpoints
from ledger_core.checkpoints import Checkpoint
from ledger_core.notes import NoteError

NAME = "bank.example/main"
TEXT = "ledger-audit/1\nbank.example/main\n7\n"
HEAD = Checkpoint(NAME, 7, bytes(32))


def settings_in(folder: Path, *secrets: bytes) -> Settings:
    """Settings with nothing but a data folder and, perhaps, secrets."""
    return Settings(folder, None, b"K" * 32, b"S" * 32, notary=NotarySettings(secrets=secrets))


def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    """The second load finds the keys of the first; nobody else may read the file."""
    first = signing_keys.load(settings_in(tmp_path)).public(NAME)
    assert signing_keys.load(settings_in(tmp_path)).public(NAME) == first
    files = list((tmp_path / "keys").iterdir())
    assert [file.name for file in files] == ["signing-0001"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_the_public_document_has_the_keys_and_nothing_else(tmp_path: Path) -> None:
    """Name, algorithm, id, bytes and verifier key of each; no secret."""
    document = signing_keys.load(settings_in(tmp_path)).public(NAME)
    assert (document["format"], document["origin"]) == ("ledger-keys/1", NAME)
    keys = document["keys"]
    assert isinstance(keys, list)
    assert [key["algorithm"] for key in keys] == ["ed25519", "ml-dsa-44"]
    for key, size in zip(keys, (32, 1312), strict=True):
        assert set(key) == {"name", "algorithm", "key_id", "public_key", "vkey"}
        raw = base64.b64decode(key["public_key"])
        assert len(raw) == size
        name, key_id, material = key["vkey"].split("+", 2)
        assert (name, key_id) == (NAME, key["key_id"])
        assert base64.b64decode(material)[1:] == raw
    secret = (tmp_path / "keys" / "signing-0001").read_text().strip()
    assert secret not in str(document)


def test_what_old_keys_signed_is_checked_for_ever(tmp_path: Path) -> None:
    """After two changes all notes verify with the list; the old secrets are gone."""
    settings = settings_in(tmp_path)
    notes = []
    for _ in range(3):
        keys = signing_keys.load(settings)
        notes.append(keys.sign(NAME, TEXT))
        signing_keys.rotate(settings)
    public = signing_keys.load(settings).public_keys(NAME)
    assert len({key.key_id for key in public}) == 8
    for at, note in enumerate(notes):
        assert checkpoints.verify_statement(note, public) == TEXT
        with pytest.raises(NoteError):
            checkpoints.verify_statement(note, public[: 2 * at] + public[2 * at + 2 :])
    files = sorted(file.name for file in (tmp_path / "keys").iterdir())
    assert files == ["signing-0001.pub", "signing-0002.pub", "signing-0003.pub", "signing-0004"]


def test_keys_of_the_environment_are_used_as_they_are(tmp_path: Path) -> None:
    """The last of them signs, all are listed, and no file is made."""
    settings = settings_in(tmp_path, b"1" * 32, b"2" * 32)
    keys = signing_keys.load(settings)
    assert len(keys.public_keys(NAME)) == 4
    note = keys.sign(NAME, TEXT)
    only_new = signing_keys.load(settings_in(tmp_path, b"2" * 32)).public_keys(NAME)
    assert checkpoints.verify_statement(note, only_new) == TEXT
    assert not (tmp_path / "keys").exists()
    with pytest.raises(SettingsError, match="LEDGER_SIGNING_KEY"):
        signing_keys.rotate(settings)


@pytest.mark.parametrize("content", [b"", b"not base64!", b"QUJD", b"\xff\xfe"])
def test_a_damaged_key_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    """The file is named, what is in it is not."""
    signing_keys.load(settings_in(tmp_path))
    (tmp_path / "keys" / "signing-0001").write_bytes(content)
    with pytest.raises(SettingsError, match="signing-0001 must hold 32 bytes"):
        signing_keys.load(settings_in(tmp_path))


def test_a_statement_by_the_keys_is_no_checkpoint(tmp_path: Path) -> None:
    """What could be taken for a checkpoint is not signed as a statement."""
    keys = signing_keys.load(settings_in(tmp_path))
    with pytest.raises(NoteError):
        keys.sign(NAME, checkpoints.body(NAME, 7, bytes(32)))
    assert repr(keys) == "SigningKeys(former=0)"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LEDGER_ORIGIN", "two words"),
        ("LEDGER_ORIGIN", "a+b"),
        ("LEDGER_ORIGIN", "bank.example/"),
        ("LEDGER_ORIGIN", "x" * 181),
        ("LEDGER_SIGNING_KEY", "c2hvcnQ="),
        ("LEDGER_CHECKPOINT_SECONDS", "0"),
        ("LEDGER_CHECKPOINT_SECONDS", "nan"),
        ("LEDGER_CHECKPOINT_SECONDS", "soon"),
        ("LEDGER_CHECKPOINT_URL", "http://example.com/"),
        ("LEDGER_CHECKPOINT_URL", "ftp://127.0.0.1/"),
        ("LEDGER_CHECKPOINT_URL", "https://user:secret@example.com/"),
        ("LEDGER_CHECKPOINT_URL", "https://example.com:port/"),
        ("LEDGER_TIMESTAMP_URL", "http://8.8.8.8/"),
        ("LEDGER_TIMESTAMP_EVERY", "0"),
        ("LEDGER_TIMESTAMP_EVERY", "often"),
    ],
)
def test_a_malformed_setting_is_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Each setting of the notary is checked when the program starts."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=variable) as refused:
        notary_settings.load()
    assert "secret" not in str(refused.value)


def test_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable ends up where it belongs, and secrets are not shown."""
    secret = base64.b64encode(b"1" * 32).decode()
    for name, value in {
        "LEDGER_ORIGIN": "bank.example/books",
        "LEDGER_SIGNING_KEY": f"{secret}, {secret}",
        "LEDGER_CHECKPOINT_FILE": "/var/lib/ledger/checkpoints",
        "LEDGER_CHECKPOINT_URL": "https://witness.example/add?ledger=1",
        "LEDGER_CHECKPOINT_SECONDS": "0.5",
        "LEDGER_TIMESTAMP_URL": "http://127.0.0.1:2560/",
        "LEDGER_TIMESTAMP_EVERY": "3",
    }.items():
        monkeypatch.setenv(name, value)
    settings = notary_settings.load()
    assert settings.secrets == (b"1" * 32, b"1" * 32)
    assert (settings.origin, settings.seconds) == ("bank.example/books", 0.5)
    assert settings.timestamp_every == 3
    assert secret not in repr(settings)
