"""Sending bytes to an address of somebody else's: bounded in time and size, never redirected.

Where to is a setting of who runs the program, and may be in the house. What no setting means is
refused even so: the services that clouds offer to their own machines, and what is nobody's address.
"""

from urllib.parse import urlsplit

from api import outbound
from api.notary_settings import is_safe
from api.outbound import Asked, OutboundError

ANSWER_BYTES_MAX = 65_536

_OK = range(200, 300)


class PostError(RuntimeError):
    """The address did not take what was sent; the message says why, and not where."""


def post(url: str, body: bytes, content_type: str) -> bytes:
    """What the address answers, at most so many bytes.

    Raises:
        PostError: it may not be asked, cannot be reached in time, answers with another status than
            2xx (a redirect is not followed: it could lead anywhere) or with too much.
    """
    if not is_safe(url):
        raise PostError("the address must be https, or http on this machine")
    asked = Asked(
        method="POST",
        body=body,
        headers={"Content-Type": content_type},
        answer_bytes_max=ANSWER_BYTES_MAX,
    )
    try:
        status, answer = outbound.exchange(urlsplit(url), asked, outbound.is_ordinary)
    except OutboundError as error:
        raise PostError(str(error)) from None
    if status not in _OK:
        raise PostError(f"the address answers with status {status}")
    return answer
