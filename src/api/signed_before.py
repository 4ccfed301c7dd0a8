"""What was signed last, in files outside the database: ``LEDGER_DATA_DIR/signed``.

Whoever alters the database, or brings an old one back, cannot make the notary forget. One file a
log, named after the place of the database, so that a data folder may serve several.
"""

import hashlib
import os
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from api import clock
from api.settings import Settings, SettingsError
from ledger_core import checkpoints
from ledger_core.checkpoints import Checkpoint
from ledger_core.notes import NoteError
from ledger_core.tiles import LogName

FOLDER = "signed"
_EMBEDDED = "embedded"
_PLACE_DIGITS = 16


class SignedBefore:
    """Remembers the newest checkpoint of each log."""

    def __init__(self, settings: Settings) -> None:
        """Remember in the data folder."""
        self._folder = settings.data_dir / FOLDER
        self._place = _place_of(settings.database_url)

    def recall(self, ledger_id: int, log: LogName) -> Checkpoint | None:
        """The newest checkpoint that was signed of a log, if any.

        Raises:
            SettingsError: the file cannot be read, or is no checkpoint.
        """
        path = self._path(ledger_id, log)
        try:
            return checkpoints.parse(path.read_text(encoding="utf-8"))[0]
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror}"
            raise SettingsError(msg) from None
        except (NoteError, UnicodeDecodeError):
            msg = f"{path} is not the checkpoint that it must hold"
            raise SettingsError(msg) from None

    def remember(self, ledger_id: int, log: LogName, note: str) -> None:
        """Keep a checkpoint, unless a newer one is kept already.

        Raises:
            SettingsError: the file cannot be written.
        """
        before = self.recall(ledger_id, log)
        if before is not None and before.size > checkpoints.parse(note)[0].size:
            return
        path = self._path(ledger_id, log)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.{clock.random_bytes(4).hex()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_text(note, encoding="utf-8")
            fresh.replace(path)
        except OSError as error:
            msg = f"cannot write {path}: {error.strerror}"
            raise SettingsError(msg) from None

    def _path(self, ledger_id: int, log: LogName) -> Path:
        """The file of a log."""
        return self._folder / f"{self._place}-{ledger_id}-{log}"


def _place_of(database_url: str | None) -> str:
    """What tells one database from another in a file's name."""
    if database_url is None:
        return _EMBEDDED
    parts = conninfo_to_dict(database_url.replace("postgresql+psycopg://", "postgresql://", 1))
    place = "\n".join(str(parts.get(name) or "") for name in ("host", "port", "dbname"))
    return hashlib.sha256(place.encode()).hexdigest()[:_PLACE_DIGITS]
