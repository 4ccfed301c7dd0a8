"""What the surroundings say about checkpoints: whose they are, and where they are published.

``LEDGER_ORIGIN``: what the names of logs begin with. ``LEDGER_SIGNING_KEY``: 32 secret bytes in
base64, or several, the newest last; without it they are made in ``LEDGER_DATA_DIR/keys``.
``LEDGER_CHECKPOINT_FILE``, ``LEDGER_CHECKPOINT_URL``: where checkpoints go besides the database.
``LEDGER_CHECKPOINT_SECONDS``: how often at most a growing log is signed without being asked to.
``LEDGER_TIMESTAMP_URL``, ``LEDGER_TIMESTAMP_EVERY``, ``LEDGER_TIMESTAMP_ROOTS``: an RFC 3161
authority, for which checkpoints, and the certificates it must answer with.
"""

import base64
import binascii
import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from api import surroundings
from api.surroundings import SettingError
from ledger_core import notes

SECRET_BYTES = 32
ORIGIN_DEFAULT = "ledger-core.invalid"
# A log's name is the origin, the ledger's name of up to 63 characters, and "/access".
ORIGIN_CHARACTERS_MAX = 180
SECONDS_MAX = 3_600
TIMESTAMP_EVERY_DEFAULT = 60
TIMESTAMP_EVERY_MAX = 1_000_000


class NotarySettings(msgspec.Struct, frozen=True):
    """Whose checkpoints are signed, with which secrets, how often, and where they go."""

    origin: str = ORIGIN_DEFAULT
    secrets: tuple[bytes, ...] = ()
    seconds: float = 1.0
    file: Path | None = None
    url: str | None = None
    timestamp_url: str | None = None
    timestamp_every: int = TIMESTAMP_EVERY_DEFAULT
    timestamp_roots: Path | None = None

    def __repr__(self) -> str:
        """Say whose they are, and no secret."""
        return f"NotarySettings(origin={self.origin!r})"


def load() -> NotarySettings:
    """Read the settings.

    Raises:
        SettingError: one is malformed.
    """
    file = os.environ.get("LEDGER_CHECKPOINT_FILE")
    roots = os.environ.get("LEDGER_TIMESTAMP_ROOTS")
    every = os.environ.get("LEDGER_TIMESTAMP_EVERY") or str(TIMESTAMP_EVERY_DEFAULT)
    if not (every.isascii() and every.isdigit() and 1 <= int(every) <= TIMESTAMP_EVERY_MAX):
        msg = f"LEDGER_TIMESTAMP_EVERY must be a whole number from 1 to {TIMESTAMP_EVERY_MAX}"
        raise SettingError(msg)
    return NotarySettings(
        origin=_origin(),
        secrets=_secrets(),
        seconds=surroundings.seconds("LEDGER_CHECKPOINT_SECONDS", 1, SECONDS_MAX),
        file=Path(file) if file else None,
        url=_url("LEDGER_CHECKPOINT_URL"),
        timestamp_url=_url("LEDGER_TIMESTAMP_URL"),
        timestamp_every=int(every),
        timestamp_roots=Path(roots) if roots else None,
    )


def _origin() -> str:
    """What the names of logs begin with.

    Raises:
        SettingError: no name may begin so.
    """
    origin = os.environ.get("LEDGER_ORIGIN") or ORIGIN_DEFAULT
    try:
        notes.require_name(origin)
    except ValueError:
        origin = ""
    if not origin or origin.endswith("/") or len(origin) > ORIGIN_CHARACTERS_MAX:
        msg = (
            f"LEDGER_ORIGIN must be a name like bank.example/ledgers: 1 to {ORIGIN_CHARACTERS_MAX}"
            " ASCII characters without blanks, '+' and a final slash"
        )
        raise SettingError(msg)
    return origin


def _secrets() -> tuple[bytes, ...]:
    """The secrets behind the signing keys, the newest last.

    Raises:
        SettingError: one is not 32 bytes in base64; the text is not repeated.
    """
    text = os.environ.get("LEDGER_SIGNING_KEY") or ""
    found = []
    for part in text.replace(",", " ").split():
        try:
            secret = base64.b64decode(part.encode("ascii"), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != SECRET_BYTES:
            msg = f"LEDGER_SIGNING_KEY must hold {SECRET_BYTES} bytes in base64, or several such"
            raise SettingError(msg)
        found.append(secret)
    return tuple(found)


def _url(variable: str) -> str | None:
    """An address to post to: https, or http on this machine.

    Raises:
        SettingError: another one; it is not repeated, for it may hold a password.
    """
    url = os.environ.get(variable)
    if not url:
        return None
    if not is_safe(url):
        msg = f"{variable} must be an https:// address, or http:// on this machine (127.0.0.1)"
        raise SettingError(msg)
    return url


def is_safe(url: str) -> bool:
    """Whether what is posted there is not for everyone on the way to see."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - is checked when it is asked for
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or not url.isascii() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
