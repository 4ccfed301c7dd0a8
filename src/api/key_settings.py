"""What the surroundings say about wrapping keys: who holds them, and how to reach who does.

``LEDGER_KEY_PROVIDER`` is ``file`` (``LEDGER_DATA_DIR/keys/key-encryption-key``, made on first
use), ``environment`` (``LEDGER_KEY_ENCRYPTION_KEY``: keys of 32 bytes in base64 with commas between
them, the first of which wraps) or ``vault`` (HashiCorp Vault's transit engine, ``LEDGER_VAULT_…``).
Unset, it is ``environment`` where that variable is set, else ``file``. Beside Vault, keys of the
file and the environment still unwrap what they wrapped before. Nothing here is ever logged.
"""

import base64
import binascii
import ipaddress
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from api import surroundings
from api.surroundings import SettingError
from ledger_core.key_provider import KEY_BYTES

PROVIDER = "LEDGER_KEY_PROVIDER"
KEYS = "LEDGER_KEY_ENCRYPTION_KEY"
KEYS_MAX = 10
TIMEOUT_S_MAX = 60.0

_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")

Provider = Literal["given", "file", "environment", "vault"]


class VaultSettings(msgspec.Struct, frozen=True):
    """The transit engine of a Vault: where it is, which key, and how we prove who we are."""

    address: str
    key: str = "ledger"
    mount: str = "transit"
    namespace: str | None = None
    token: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 5.0

    def __repr__(self) -> str:
        """Say where it is, and no secret."""
        return f"VaultSettings(address={self.address!r}, mount={self.mount!r}, key={self.key!r})"


class KeySettings(msgspec.Struct, frozen=True):
    """Who holds the wrapping keys.

    ``given``: whoever made the settings (``Settings.key_encryption_key``). ``keys`` are those of
    the environment, the first of them preferred; ``file`` is where those of a file stand.
    """

    provider: Provider = "given"
    keys: tuple[bytes, ...] = ()
    file: Path | None = None
    vault: VaultSettings | None = None

    def __repr__(self) -> str:
        """Say who, and no secret."""
        return f"KeySettings(provider={self.provider!r}, file={self.file!r}, vault={self.vault!r})"


def load(file: Path) -> KeySettings:
    """Read the settings; ``file`` is where a key of ours would stand.

    Raises:
        SettingError: one is malformed, or missing.
    """
    keys = decoded(surroundings.text(KEYS) or "", KEYS)
    provider = surroundings.text(PROVIDER) or ("environment" if keys else "file")
    match provider:
        case "file":
            if keys:
                msg = f"{PROVIDER} is file: unset {KEYS}, or put its keys into the file, one a line"
                raise SettingError(msg)
            return KeySettings("file", file=file)
        case "environment":
            if not keys:
                msg = f"{PROVIDER} is environment: {KEYS} must hold the key"
                raise SettingError(msg)
            return KeySettings("environment", keys=keys)
        case "vault":
            return KeySettings(
                "vault", keys=keys, file=file if file.exists() else None, vault=_vault()
            )
        case _:
            msg = f"{PROVIDER} must be file, environment or vault"
            raise SettingError(msg)


def decoded(text: str, source: str) -> tuple[bytes, ...]:
    """The keys of a text, between commas or blanks; none for an empty text.

    Raises:
        SettingError: something else; the text is not repeated.
    """
    found = []
    for word in text.replace(",", " ").split():
        try:
            key = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            msg = f"{source} must hold {KEY_BYTES} bytes in base64"
            raise SettingError(msg)
        found.append(key)
    if len(found) > KEYS_MAX:
        msg = f"{source} must hold at most {KEYS_MAX} keys"
        raise SettingError(msg)
    return tuple(found)


def _vault() -> VaultSettings:
    """Where the Vault is.

    Raises:
        SettingError: a setting is malformed or missing.
    """
    token_file = surroundings.text("LEDGER_VAULT_TOKEN_FILE")
    token = surroundings.text("LEDGER_VAULT_TOKEN")
    if (token is None) == (token_file is None):
        msg = "LEDGER_VAULT_TOKEN_FILE or LEDGER_VAULT_TOKEN must say how to log in to Vault"
        raise SettingError(msg)
    return VaultSettings(
        address=_address(),
        key=_name("LEDGER_VAULT_KEY", "ledger"),
        mount=_name("LEDGER_VAULT_MOUNT", "transit"),
        namespace=surroundings.text("LEDGER_VAULT_NAMESPACE"),
        token=token,
        token_file=None if token_file is None else Path(token_file),
        ca_file=surroundings.file("LEDGER_VAULT_CA_FILE"),
        timeout_s=surroundings.seconds("LEDGER_VAULT_TIMEOUT_S", 5, TIMEOUT_S_MAX),
    )


def _address() -> str:
    """Vault's address: https, unless it is on this machine.

    Raises:
        SettingError: it is missing, or something else.
    """
    address = surroundings.text("LEDGER_VAULT_ADDRESS") or ""
    msg = (
        "LEDGER_VAULT_ADDRESS must be https://HOST:PORT, without a path; http only on this machine"
    )
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise SettingError(msg) from None
    is_bare = parts.path in {"", "/"} and not (parts.query or parts.fragment or parts.username)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))
    if not host or not is_bare or not is_safe:
        raise SettingError(msg)
    return address.rstrip("/")


def _is_here(host: str) -> bool:
    """Whether the name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name(variable: str, default: str) -> str:
    """A name that stands in a path of Vault's.

    Raises:
        SettingError: it is none.
    """
    name = surroundings.text(variable) or default
    if _NAME.fullmatch(name) is None:
        msg = f"{variable} must be a name of ASCII letters, digits, - and _"
        raise SettingError(msg)
    return name
