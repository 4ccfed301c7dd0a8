"""How long staff stay logged in, and under which name passkeys are made: environment variables."""

from urllib.parse import urlsplit

import msgspec

from api import surroundings
from api.surroundings import SettingError

IDLE_S = 900
IDLE_S_MAX = 86_400
SESSION_S = 28_800
SESSION_S_MAX = 604_800
# Sessions are seen to be in use once in so long; a shorter idle time would end them in use.
IDLE_S_MIN = 60
HOST = "localhost"
ORIGIN = "http://localhost:8000"
ORIGINS_MAX = 20

_LOCAL = "localhost"


class StaffSettings(msgspec.Struct, frozen=True):
    """Sessions end ``idle_s`` after their last request, and ``session_s`` after they began.

    Passkeys are made for the host name ``passkey_host`` and used from pages of
    ``passkey_origins``.
    """

    idle_s: int = IDLE_S
    session_s: int = SESSION_S
    passkey_host: str = HOST
    passkey_origins: tuple[str, ...] = (ORIGIN,)


def load() -> StaffSettings:
    """Read ``LEDGER_SESSION_IDLE_S``, ``LEDGER_SESSION_S`` and ``LEDGER_PASSKEY_ORIGINS``.

    ``LEDGER_PASSKEY_HOST`` is the host of the first origin where it is not given.

    Raises:
        SettingError: one of them is malformed.
    """
    origins = surroundings.words("LEDGER_PASSKEY_ORIGINS", (ORIGIN,))
    hosts = [_host_of(origin) for origin in origins]
    if len(origins) > ORIGINS_MAX or None in hosts:
        raise SettingError(
            "LEDGER_PASSKEY_ORIGINS must be https://HOST or https://HOST:PORT, several with a comma"
            " between them (http:// only for localhost)"
        )
    host = surroundings.text("LEDGER_PASSKEY_HOST") or str(hosts[0])
    if not all(found == host or str(found).endswith(f".{host}") for found in hosts):
        raise SettingError(
            "LEDGER_PASSKEY_HOST must be the host of every one of LEDGER_PASSKEY_ORIGINS, or a"
            " domain that all of them are in"
        )
    return StaffSettings(
        _seconds("LEDGER_SESSION_IDLE_S", IDLE_S, IDLE_S_MAX),
        _seconds("LEDGER_SESSION_S", SESSION_S, SESSION_S_MAX),
        host,
        origins,
    )


def _seconds(variable: str, otherwise: int, most: int) -> int:
    """A number of seconds.

    Raises:
        SettingError: it is none, or out of bounds.
    """
    text = surroundings.text(variable) or str(otherwise)
    if text.isascii() and text.isdigit() and IDLE_S_MIN <= int(text) <= most:
        return int(text)
    raise SettingError(f"{variable} must be a whole number of seconds from {IDLE_S_MIN} to {most}")


def _host_of(origin: str) -> str | None:
    """The host name of an origin, as browsers write it; ``None``: it is none."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None or (parts.scheme != "https" and (parts.scheme, host) != ("http", _LOCAL)):
        return None
    written = f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")
    return host if written == origin else None
