"""TLS to PostgreSQL: the certificate of the server is checked, and that it is of its host.

``LEDGER_DATABASE_CA`` names the authorities of the server's certificate. With it every connection
is ``sslmode=verify-full``, whoever of the program's processes makes it. Without, the URL says what
libpq is to do; a server elsewhere that is not verified so is spoken of in the log.
"""

import ipaddress
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from api.surroundings import SettingError

VERIFIED = "verify-full"


def secured(url: str, authorities: Path | None) -> str:
    """The URL, verifying the server by these authorities; as it is where there are none.

    Raises:
        SettingError: the URL itself asks for less, or for other authorities.
    """
    if authorities is None:
        return url
    address, _, query = url.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    root = str(authorities)
    if given.get("sslmode", VERIFIED) != VERIFIED or given.get("sslrootcert", root) != root:
        msg = (
            f"the URL of the database must not name an sslmode but {VERIFIED}, or other"
            " authorities, where LEDGER_DATABASE_CA is set"
        )
        raise SettingError(msg)
    query = urlencode(given | {"sslmode": VERIFIED, "sslrootcert": root}, quote_via=quote)
    return f"{address}?{query}"


def is_verified(url: str) -> bool:
    """Whether nobody on the way to the server can read along or stand in for it.

    So it is on this machine, too: by a socket, or a loopback address.
    """
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    parts = conninfo_to_dict(plain)
    if parts.get("sslmode") == VERIFIED:
        return True
    named = str(parts.get("hostaddr") or parts.get("host") or "")
    return all(_is_here(host) for host in named.split(","))


def _is_here(host: str) -> bool:
    """Whether a host is this machine; empty and a path are its sockets."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
