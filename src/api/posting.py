"""Sending bytes to an address of somebody else's: bounded in time and size, never redirected."""

import http.client
import ssl
from urllib.parse import urlsplit

from api.notary_settings import is_safe

TIMEOUT_S = 10
ANSWER_BYTES_MAX = 65_536

_OK = range(200, 300)


class PostError(RuntimeError):
    """The address did not take what was sent; the message says why, and not where."""


def post(url: str, body: bytes, content_type: str) -> bytes:
    """What the address answers, at most so many bytes.

    Raises:
        PostError: it cannot be reached in time, answers with another status than 2xx (a redirect
            is not followed: it could lead anywhere) or with too much.
    """
    if not is_safe(url):
        raise PostError("the address must be https, or http on this machine")
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(
            host, parts.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, {"Content-Type": content_type})
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise PostError(f"the address does not answer: {type(error).__name__}") from None
    finally:
        connection.close()
    if response.status not in _OK:
        raise PostError(f"the address answers with status {response.status}")
    if len(answer) > ANSWER_BYTES_MAX:
        raise PostError("the address answers with too much")
    return answer
