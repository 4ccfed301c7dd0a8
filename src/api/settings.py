"""What the surroundings say: environment variables, and the secrets beside the database.

Secrets live in files outside the database (``LEDGER_DATA_DIR/keys``, mode 0600), or come from the
environment; they are made on first use. Nothing here is ever logged.
"""

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from api import (
    clock,
    database_tls,
    embedded_postgres,
    key_settings,
    limit_settings,
    log_settings,
    notary_settings,
    oidc_settings,
    proxy_settings,
    restored_keys,
    staff_settings,
    surroundings,
    tls_settings,
    trace_settings,
)
from api.key_providers.files import new_file_of, read_keys
from api.key_settings import KeySettings
from api.limit_settings import LimitSettings, LimitSettingsError
from api.notary_settings import NotarySettings
from api.oidc_settings import OidcSettings
from api.proxy_settings import ProxySettings
from api.staff_settings import StaffSettings
from api.surroundings import SettingError
from api.tls_settings import TlsSettings
from api.trace_settings import TraceSettings
from ledger_core.key_provider import KEY_BYTES

PORT_MAX = 65_535
SELF_AUDIT_S = 3_600
SELF_AUDIT_S_MAX = 604_800

_T = TypeVar("_T")

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
    ``stop_delay_s``: how long a server that is told to stop still serves, while it says that it is
    not ready. ``migration_url`` is of the role that owns the tables, needed for migrations only.
    ``keys`` says who holds the wrapping keys; ``key_encryption_key`` is empty where that is Vault.
    """

    data_dir: Path
    database_url: str | None
    key_encryption_key: bytes
    server_secret: bytes
    orders: Orders = "auto"
    reason_required: ReasonRequired = "none"
    recording: Recording = "prompt"
    notary: NotarySettings = NotarySettings()
    limits: LimitSettings = LimitSettings()
    oidc: OidcSettings | None = None
    proxies: ProxySettings = ProxySettings()
    staff: StaffSettings = StaffSettings()
    tls: TlsSettings | None = None
    self_audit_s: float | None = SELF_AUDIT_S
    migration_url: str | None = None
    keys: KeySettings = KeySettings()
    traces: TraceSettings | None = None
    stop_delay_s: float = 0

    def __repr__(self) -> str:
        """Say where things are, and no secret."""
        return f"Settings(data_dir={self.data_dir!r})"


def load() -> Settings:
    """Read the settings, making secrets that do not exist yet.

    ``LEDGER_DATABASE_URL`` names a server to use instead of the embedded one, and
    ``LEDGER_MIGRATION_URL`` the same database for the role that owns it, both verified by
    ``LEDGER_DATABASE_CA``; ``LEDGER_SERVER_SECRET``
    holds 32 bytes in base64; wrapping keys are as ``key_settings`` says;
    ``LEDGER_ORDERS`` is ``auto`` or ``manual``; ``LEDGER_REASON_REQUIRED`` is ``none``,
    ``customers`` or ``all``; ``LEDGER_ACCESS_RECORDING`` is ``prompt`` or ``strict``;
    ``LEDGER_LOG_LEVEL`` is as ``log_settings`` says.

    Raises:
        SettingsError: the URL is malformed; a secret is not 32 bytes in base64, or cannot be read
            or written; ``LEDGER_ORDERS``, ``LEDGER_REASON_REQUIRED`` or
            ``LEDGER_ACCESS_RECORDING`` is something else.
    """
    _from(log_settings.load)
    data_dir = embedded_postgres.default_data_dir()
    keys_dir = data_dir / "keys"
    database_url = _database_url("LEDGER_DATABASE_URL")
    file, _ = wrapping_key_files(data_dir)
    keys = _from(lambda: key_settings.load(file))
    _from(lambda: restored_keys.require_there(data_dir, keys))
    return Settings(
        data_dir=data_dir,
        database_url=database_url,
        migration_url=None if database_url is None else _database_url("LEDGER_MIGRATION_URL"),
        keys=keys,
        key_encryption_key=_wrapping_key(keys, file),
        server_secret=_secret("LEDGER_SERVER_SECRET", keys_dir / "server-secret"),
        orders=_orders(),
        reason_required=_one_of(ReasonRequired, "LEDGER_REASON_REQUIRED"),
        recording=_one_of(Recording, "LEDGER_ACCESS_RECORDING"),
        notary=_from(notary_settings.load),
        limits=_limits(),
        oidc=_from(oidc_settings.load),
        proxies=_from(proxy_settings.load),
        staff=_from(staff_settings.load),
        tls=_from(tls_settings.load),
        self_audit_s=_self_audit_s(),
        traces=_from(trace_settings.load),
        stop_delay_s=_from(lambda: surroundings.seconds_or_none("LEDGER_STOP_DELAY_S", 300)),
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


def _from(load: Callable[[], _T]) -> _T:
    """The settings that a module of their own reads.

    Raises:
        SettingsError: one of them is malformed.
    """
    try:
        return load()
    except SettingError as error:
        raise SettingsError(str(error)) from None


def _limits() -> LimitSettings:
    """How much anybody may ask of a server.

    Raises:
        SettingsError: see ``limit_settings``.
    """
    try:
        return limit_settings.load()
    except LimitSettingsError as error:
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


def _database_url(variable: str) -> str | None:
    """The URL of a server that a variable names; ``None`` where it is not set.

    Raises:
        SettingsError: it is malformed; the text, which may hold a password, is not repeated.
    """
    url = os.environ.get(variable)
    if not url:
        return None
    if not _is_url(url):
        msg = (
            f"{variable} must have the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE,"
            " with special characters in the password written as %40 (@), %2F (/), %3A (:)"
        )
        raise SettingsError(msg)
    return _from(lambda: database_tls.secured(url, surroundings.file("LEDGER_DATABASE_CA")))


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
        ports = [port for port in str(parts.get("port") or "").split(",") if port]
    except psycopg.Error:
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


def _wrapping_key(keys: KeySettings, file: Path) -> bytes:
    """The wrapping key that is preferred, made in its file where there is none; empty for Vault.

    Raises:
        SettingsError: see ``load``.
    """
    match keys.provider:
        case "file":
            if not file.exists():
                return _secret("", file)
            return _from(lambda: read_keys(file))[0]
        case "environment":
            return keys.keys[0]
        case _:
            return b""


def wrapping_key_files(data_dir: Path) -> tuple[Path, Path]:
    """The file of the key-encryption key, and that of the one that is to replace it."""
    current = data_dir / "keys" / "key-encryption-key"
    return current, new_file_of(current)


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
