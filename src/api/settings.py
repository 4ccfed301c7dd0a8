"""What the surroundings say: environment variables, and the secrets beside the database.

Secrets live in files outside the database (``LEDGER_DATA_DIR/keys``, mode 0600), or come from the
environment; they are made on first use. Nothing here is ever logged.
"""

import base64
import binascii
import os
from pathlib import Path

import msgspec

from api import clock, embedded_postgres
from ledger_core.vault import KEY_BYTES


class SettingsError(RuntimeError):
    """A setting is missing or malformed; the message says which and what it must be."""


class Settings(msgspec.Struct, frozen=True):
    """Where the database and the secrets are. ``database_url`` ``None``: the embedded server."""

    data_dir: Path
    database_url: str | None
    key_encryption_key: bytes
    server_secret: bytes

    def __repr__(self) -> str:
        """Say where things are, and no secret."""
        return f"Settings(data_dir={self.data_dir!r})"


def load() -> Settings:
    """Read the settings, making secrets that do not exist yet.

    ``LEDGER_DATABASE_URL`` names a server to use instead of the embedded one;
    ``LEDGER_KEY_ENCRYPTION_KEY`` and ``LEDGER_SERVER_SECRET`` hold 32 bytes in base64 each.

    Raises:
        SettingsError: a secret is not 32 bytes in base64, or cannot be read or written.
    """
    data_dir = embedded_postgres.default_data_dir()
    keys_dir = data_dir / "keys"
    return Settings(
        data_dir=data_dir,
        database_url=os.environ.get("LEDGER_DATABASE_URL") or None,
        key_encryption_key=_secret("LEDGER_KEY_ENCRYPTION_KEY", keys_dir / "key-encryption-key"),
        server_secret=_secret("LEDGER_SERVER_SECRET", keys_dir / "server-secret"),
    )


def _secret(variable: str, path: Path) -> bytes:
    """A secret from the environment, else from its file, else new in its file.

    Raises:
        SettingsError: see ``load``.
    """
    text = os.environ.get(variable)
    if text:
        return _decoded(text, variable)
    try:
        if not path.exists():
            _create(path)
        return _decoded(path.read_text(), str(path))
    except OSError as error:
        msg = f"cannot read or create the secret {path}: {error.strerror}"
        raise SettingsError(msg) from None


def _create(path: Path) -> None:
    """Write a new secret; where another process is first, keep that one's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(clock.random_bytes(KEY_BYTES)).decode() + "\n")
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _decoded(text: str, source: str) -> bytes:
    """The 32 bytes behind base64.

    Raises:
        SettingsError: something else; the text is not repeated.
    """
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        msg = f"{source} must hold {KEY_BYTES} bytes in base64"
        raise SettingsError(msg)
    return secret
