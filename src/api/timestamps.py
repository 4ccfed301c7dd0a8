"""Time-stamps of an outside authority (RFC 3161): that a checkpoint existed by a moment.

Of every so many checkpoints one is sent (its hash, and nothing else), and what comes back is kept
beside it. An answer that is not about that checkpoint is refused; and with the authority's root
certificates at hand, one that it did not sign.
"""

from datetime import datetime
from pathlib import Path

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from api.notary import Signed
from api.posting import PostError, post
from ledger_core.log import Connection
from ledger_core.tiles import LogName

_REQUEST = "application/timestamp-query"
_GRANTED = frozenset({PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS})


class TimestampError(RuntimeError):
    """The authority did not answer with a time-stamp of what it was sent; the message says how."""


def stamp(url: str, note: str, roots: Path | None) -> tuple[bytes, datetime]:
    """The authority's answer about a note, as it came, and the time that it certifies.

    Raises:
        TimestampError: it cannot be reached, refuses, or answers with something else.
    """
    data = note.encode()
    request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        answer = post(url, request.as_bytes(), _REQUEST)
        response = decode_timestamp_response(answer)
    except PostError as error:
        raise TimestampError(str(error)) from None
    except ValueError:
        raise TimestampError("the answer is no time-stamp response") from None
    if PKIStatus(response.status) not in _GRANTED:
        raise TimestampError("the authority refuses")
    if response.tst_info.nonce != request.nonce or (
        response.tst_info.message_imprint.message != request.message_imprint.message
    ):
        raise TimestampError("the time-stamp is not of what was sent")
    if roots is not None:
        verify(response, data, roots)
    return answer, response.tst_info.gen_time


def verify(response: TimeStampResponse, data: bytes, roots: Path) -> None:
    """A time-stamp of those bytes was signed by an authority with one of the root certificates.

    Raises:
        TimestampError: it was not, or the certificates cannot be read.
    """
    try:
        certificates = x509.load_pem_x509_certificates(roots.read_bytes())
    except (OSError, ValueError):
        raise TimestampError("the root certificates of the authority cannot be read") from None
    builder = VerifierBuilder()
    for certificate in certificates:
        builder = builder.add_root_certificate(certificate)
    try:
        builder.build().verify_message(response, data)
    except (VerificationError, ValueError):
        raise TimestampError("the time-stamp is not signed by the authority") from None


def keep(connection: Connection, signed: Signed, answer: bytes, at: datetime) -> None:
    """Keep the authority's answer beside its checkpoint."""
    connection.execute(
        "INSERT INTO audit.timestamps (ledger_id, log, size, stamped_at, response)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (signed.ledger_id, signed.log, signed.size, at, answer),
    )


def stored(connection: Connection, ledger_id: int, log: LogName, size: int) -> bytes | None:
    """The authority's answer about the checkpoint of that size, if there is one."""
    row = connection.execute(
        "SELECT response FROM audit.timestamps WHERE ledger_id = %s AND log = %s AND size = %s",
        (ledger_id, log, size),
    ).fetchone()
    return None if row is None else bytes(row[0])
