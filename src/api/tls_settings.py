"""What the surroundings say about the server's own TLS.

``LEDGER_TLS_CERT`` and ``LEDGER_TLS_KEY``: the server's chain of certificates and its key (PEM).
``LEDGER_TLS_CLIENT_CA``: the authorities of client certificates, which then every client must show,
or may (``LEDGER_TLS_CLIENTS=optional``). ``LEDGER_TLS_MINIMUM``: ``1.2`` or ``1.3``.
"""

import ssl
from pathlib import Path
from typing import Literal, cast

import msgspec

from api import surroundings
from api.surroundings import SettingError

Minimum = Literal["1.2", "1.3"]
Clients = Literal["required", "optional"]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the server's TLS. ``client_ca`` ``None``: no client certificate is asked for."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    clients: Clients = "required"
    minimum: Minimum = "1.2"


def load() -> TlsSettings | None:
    """Read the settings; ``None``: the server speaks plain HTTP.

    Raises:
        SettingError: one is malformed, names no file, or stands without the others; or the files
            do not fit together.
    """
    certificate = surroundings.file("LEDGER_TLS_CERT")
    key = surroundings.file("LEDGER_TLS_KEY")
    client_ca = surroundings.file("LEDGER_TLS_CLIENT_CA")
    if certificate is None or key is None:
        if certificate is not None or key is not None or client_ca is not None:
            msg = "LEDGER_TLS_CERT and LEDGER_TLS_KEY must be set together"
            raise SettingError(msg)
        return None
    found = TlsSettings(
        certificate=certificate,
        key=key,
        client_ca=client_ca,
        clients=cast("Clients", _one_of("LEDGER_TLS_CLIENTS", ("required", "optional"))),
        minimum=cast("Minimum", _one_of("LEDGER_TLS_MINIMUM", ("1.2", "1.3"))),
    )
    context(found)
    return found


def context(settings: TlsSettings) -> ssl.SSLContext:
    """What the server speaks TLS by, from the files as they are now.

    Raises:
        SettingError: the files are no certificate and its key, or no authorities; or the key asks
            for a password, which nobody is there to type.
    """
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = _VERSIONS[settings.minimum]
    found.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    found.set_alpn_protocols(["http/1.1"])
    try:
        found.load_cert_chain(settings.certificate, settings.key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError):
        msg = (
            "LEDGER_TLS_CERT and LEDGER_TLS_KEY must be a chain of certificates and its key in PEM,"
            " the key without a password"
        )
        raise SettingError(msg) from None
    if settings.client_ca is not None:
        try:
            found.load_verify_locations(settings.client_ca)
        except (OSError, ssl.SSLError):
            msg = "LEDGER_TLS_CLIENT_CA must hold certificates in PEM"
            raise SettingError(msg) from None
        is_required = settings.clients == "required"
        found.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    return found


def _no_password() -> str:
    """Refuse to answer, so that OpenSSL does not ask at a terminal.

    Raises:
        ValueError: always.
    """
    raise ValueError("the key has a password")


def _one_of(variable: str, known: tuple[str, ...]) -> str:
    """The value of a variable; the first of those known where it is not set.

    Raises:
        SettingError: none of those known.
    """
    found = surroundings.text(variable) or known[0]
    if found not in known:
        msg = f"{variable} must be {' or '.join(known)}"
        raise SettingError(msg)
    return found
