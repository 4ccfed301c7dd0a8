"""The secrets of a restored data folder: none of them is in a backup, and none may be made anew.

They are files of ``LEDGER_DATA_DIR/keys``, of which a copy is kept apart from every backup; or they
come from the environment, or Vault. A program that finds none makes new ones, which is right for a
new folder, and wrong for a restored one: nobody's name could be read, and no API key would hold. So
a restored folder is marked, and is not used before its secrets are there.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from api import surroundings
from api.backup_store import BackupError
from api.key_providers import provider_of
from api.key_settings import KeySettings
from api.key_settings import load as load_key_settings
from api.surroundings import SettingError
from ledger_core.key_provider import WrappedKey

MARK = "restored.json"
_FOLDER = "keys"
_WRAPPING = "key-encryption-key"
_SERVER = "server-secret"
_SIGNING = "signing-*"
_FIRST_SIGNING = "signing-0001"
# So many keys of persons are tried: a wrong wrapping key opens none.
_TRIED_MAX = 10_000

_STORED = """
    SELECT wrapping_key_id, wrapped_key FROM keystore.subject_keys
    WHERE wrapped_key IS NOT NULL LIMIT %s
"""


class KeyState(msgspec.Struct, frozen=True):
    """The secrets that lack, and how many of the keys of persons that were tried do not open.

    ``tried`` is 0 where there is nobody, or nothing to open them with.
    """

    missing: tuple[str, ...]
    tried: int
    unreadable: int


class Keys:
    """The secrets of one restored folder."""

    def __init__(self, data_dir: Path) -> None:
        """Look at what is there whenever asked."""
        self._data_dir = data_dir

    def judged(self, connection: psycopg.Connection[Any]) -> KeyState:
        """Whether the secrets are there, and the wrapping key opens what was restored."""
        try:
            settings = load_key_settings(self._data_dir / _FOLDER / _WRAPPING)
        except SettingError as error:
            raise BackupError(f"{error}.") from None
        row = connection.execute("SELECT EXISTS (SELECT FROM audit.checkpoints)").fetchone()
        has_signed = row is not None and bool(row[0])
        missing = tuple(missing_in(self._data_dir, settings, has_signed=has_signed))
        if _WRAPPING in missing:
            return KeyState(missing, 0, 0)
        stored = connection.execute(_STORED, (_TRIED_MAX,)).fetchall()
        wrapped = [WrappedKey(row[0], bytes(row[1])) for row in stored]
        opened = provider_of(settings, b"").unwrap(wrapped) if wrapped else []
        return KeyState(missing, len(opened), sum(key is None for key in opened))


def bring(source: Path | None, data_dir: Path) -> Keys:
    """Copy the secrets that were kept apart into a restored folder.

    Raises:
        BackupError: there are none in ``source``.
    """
    if source is None:
        return Keys(data_dir)
    names = [_WRAPPING, f"{_WRAPPING}.new", _SERVER]
    try:
        files = [source / name for name in names if (source / name).is_file()]
        files += sorted(source.glob(_SIGNING))
        if not files:
            msg = f"There are no keys in {source}: name the copy of LEDGER_DATA_DIR/keys."
            raise BackupError(msg)
        (data_dir / _FOLDER).mkdir(mode=0o700)
        for file in files:
            target = data_dir / _FOLDER / file.name
            shutil.copyfile(file, target)
            target.chmod(0o600)
    except OSError as error:
        msg = f"The keys in {source} cannot be copied: {error.strerror}."
        raise BackupError(msg) from None
    return Keys(data_dir)


def mark(data_dir: Path, report: bytes) -> None:
    """Mark the folder as restored, with what there is to tell about it."""
    descriptor = os.open(data_dir / MARK, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(report) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def missing_in(data_dir: Path, settings: KeySettings, *, has_signed: bool) -> list[str]:
    """The secrets that a folder should have, and has not; a first signing key may be made."""
    folder = data_dir / _FOLDER
    missing: list[str] = []
    if settings.provider == "file" and not (folder / _WRAPPING).exists():
        missing.append(_WRAPPING)
    if surroundings.text("LEDGER_SERVER_SECRET") is None and not (folder / _SERVER).exists():
        missing.append(_SERVER)
    is_signing_elsewhere = surroundings.text("LEDGER_SIGNING_KEY") is not None
    if has_signed and not is_signing_elsewhere and not any(folder.glob(_SIGNING)):
        missing.append(_FIRST_SIGNING)
    return missing


def require_there(data_dir: Path, settings: KeySettings) -> None:
    """A restored folder has the secrets of the one that was backed up.

    Raises:
        SettingError: it has not, and new ones would make it useless.
    """
    try:
        told = (data_dir / MARK).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    missing = missing_in(data_dir, settings, has_signed=_FIRST_SIGNING in told)
    if missing:
        names = ", ".join(missing)
        msg = (
            f"{data_dir} was restored from a backup, which holds no secrets: put your copy of"
            f" {names} into {data_dir / _FOLDER}, or name it in the environment (docs/backup.md)."
            f" If it is lost for good, remove {data_dir / MARK}: new ones are made, and what was"
            " sealed by the old ones stays unreadable"
        )
        raise SettingError(msg)
