"""What the surroundings say: environment variables, and the secrets beside the database.

Secrets live in files outside the database (``LEDGER_DATA_DIR/keys``, mode 0600), or come from the
environment; they are made on first use. Nothing here is ever logged.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import psycopg
import sqlalchemy.exc
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from api import clock, embedded_postgres, notary_settings
from api.notary_settings import NotarySettings, NotarySettingsError
from ledger_core.vault import KEY_BYTES

PORT_MAX = 65_535
SELF_AUDIT_S = 3_600
SELF_AUDIT_S_MAX = 604_800

Orders = Literal["auto", "manual"]
Recording = Literal["prompt", "strict"]
ReasonRequired = Literal["none", "customers", "all"]


class SettingsError(RuntimeError):
    """A setting is missing or malformed; the message says which and what it must be."""


class Settings(msgspec.Struct, frozen=True):
    """Where the database and the secrets are. ``database_url`` ``None``: the embedded server.

    ``orders``: whether a server runs standing orders by itself (``auto``), or only when asked to.
    ``reason_required``: what is shown only to who says why they read it. ``self_audit_s``: how long
    after a self-audit a server makes the next one; ``None``: never. ``recording``: whether reads of
    balances that show no customer, too, are recorded before they are answered (``strict``).
    """

    data_dir: Path
    database_url: str | None
    key_encryption_key: bytes
    server_secret: bytes
    orders: Orders = "auto"
    reason_required: ReasonRequired = "none"
    recording: Recording = "prompt"
    notary: NotarySettings = NotarySettings()
    self_audit_s: float | None = SELF_AUDIT_S

    def __repr__(self) -> str:
        """Say where things are, and no secret."""
        return f"Settings(data_dir={self.data_dir!r})"


def load() -> Settings:
    """Read the settings, making secrets that do not exist yet.

    ``LEDGER_DATABASE_URL`` names a server to use instead of the embedded one;
    ``LEDGER_KEY_ENCRYPTION_KEY`` and ``LEDGER_SERVER_SECRET`` hold 32 bytes in base64 each;
    ``LEDGER_ORDERS`` is ``auto`` or ``manual``; ``LEDGER_REASON_REQUIRED`` is ``none``,
    ``customers`` or ``all``; ``LEDGER_ACCESS_RECORDING`` is ``prompt`` or ``strict``.

    Raises:
        SettingsError: the URL is malformed; a secret is not 32 bytes in base64, or cannot be read
            or written; ``LEDGER_ORDERS``, ``LEDGER_REASON_REQUIRED`` or
            ``LEDGER_ACCESS_RECORDING`` is something else.
    """
    data_dir = embedded_postgres.default_data_dir()
    keys_dir = data_dir / "keys"
    return Settings(
        data_dir=data_dir,
        database_url=_database_url(),
        key_encryption_key=_secret("LEDGER_KEY_ENCRYPTION_KEY", keys_dir / "key-encryption-key"),
        server_secret=_secret("LEDGER_SERVER_SECRET", keys_dir / "server-secret"),
        orders=_orders(),
        reason_required=_one_of(ReasonRequired, "LEDGER_REASON_REQUIRED"),
        recording=_one_of(Recording, "LEDGER_ACCESS_RECORDING"),
        notary=_notary(),
        self_audit_s=_self_audit_s(),
    )


def _self_audit_s() -> float | None:
    """How long after a self-audit the next one is due; ``None``: a server makes none.

    Raises:
        SettingsError: neither a number of seconds nor ``off``.
    """
    text = os.environ.get("LEDGER_SELF_AUDIT") or str(SELF_AUDIT_S)
    if text == "off":
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= SELF_AUDIT_S_MAX:
        return int(text)
    msg = (
        f"LEDGER_SELF_AUDIT must be off, or a whole number of seconds from 1 to {SELF_AUDIT_S_MAX}"
    )
    raise SettingsError(msg)


def _notary() -> NotarySettings:
    """How checkpoints are signed and published.

    Raises:
        SettingsError: see ``notary_settings``.
    """
    try:
        return notary_settings.load()
    except NotarySettingsError as error:
        raise SettingsError(str(error)) from None


def _orders() -> Orders:
    """How standing orders are run.

    Raises:
        SettingsError: neither of the two ways.
    """
    match os.environ.get("LEDGER_ORDERS") or "auto":
        case "auto":
            return "auto"
        case "manual":
            return "manual"
        case _:
            msg = "LEDGER_ORDERS must be auto or manual"
            raise SettingsError(msg)


def _one_of(known: Any, variable: str) -> Any:  # noqa: ANN401 - a Literal and one of its values
    """The value that a variable names; the first of those known where it is not set.

    Raises:
        SettingsError: none of those known.
    """
    values = get_args(known)
    asked = os.environ.get(variable) or values[0]
    if asked not in values:
        msg = f"{variable} must be {', '.join(values[:-1])} or {values[-1]}"
        raise SettingsError(msg)
    return asked


def _database_url() -> str | None:
    """The URL of the server to use, or ``None`` for the embedded one.

    Raises:
        SettingsError: it is malformed; the text, which may hold a password, is not repeated.
    """
    url = os.environ.get("LEDGER_DATABASE_URL")
    if not url:
        return None
    if not _is_url(url):
        msg = (
            "LEDGER_DATABASE_URL must have the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE,"
            " with special characters in the password written as %40 (@), %2F (/), %3A (:)"
        )
        raise SettingsError(msg)
    return url


def _is_url(url: str) -> bool:
    """Whether the URL is one that libpq takes, and each of its parts is what it seems to be.

    A character that ought to be escaped moves the rest of the password into another part.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgresql", "postgres", "postgresql+psycopg"} or (
        rest.partition("?")[0].count("@") > 1
    ):
        return False
    try:
        parts = conninfo_to_dict(f"postgresql://{rest}")
        make_url(url)  # For the migrations, which Alembic runs over SQLAlchemy.
        ports = [port for port in str(parts.get("port") or "").split(",") if port]
    except (psycopg.Error, sqlalchemy.exc.ArgumentError, ValueError):
        return False
    return "@" not in str(parts.get("dbname") or "") and all(
        port.isascii() and port.isdigit() and 1 <= int(port) <= PORT_MAX for port in ports
    )


def _secret(variable: str, path: Path) -> bytes:
    """A secret from the environment, else from its file, else new in its file.

    Raises:
        SettingsError: see ``load``.
    """
    text = os.environ.get(variable) if variable else None
    if text:
        return _decoded(text, variable)
    try:
        if not path.exists():
            _create(path)
        return _decoded(path.read_text(), str(path))
    except OSError as error:
        msg = f"cannot read or create the secret {path}: {error.strerror}"
        raise SettingsError(msg) from None


def wrapping_key_files(data_dir: Path) -> tuple[Path, Path]:
    """The file of the key-encryption key, and that of the one that is to replace it."""
    current = data_dir / "keys" / "key-encryption-key"
    return current, current.with_name(f"{current.name}.new")


def new_wrapping_key(path: Path) -> bytes:
    """A new key-encryption key in that file, or the one that an interrupted change left there.

    Raises:
        SettingsError: the file cannot be read or written, or holds something else.
    """
    return _secret("", path)


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
