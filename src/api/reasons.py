"""Why somebody reads or acts: the header ``Ledger-Reason``, and who must send it.

Two things ask for a reason: the server's setting ``LEDGER_REASON_REQUIRED``, for what is read
(``recording``), and a role, for the permissions that it names in ``reason_for``.
"""

from collections.abc import Sequence

from api.callers import Caller
from api.problems import Kind, Problem
from ledger_core.access_log import require_reason
from ledger_core.errors import ValidationFailed

HEADER = b"ledger-reason"

MALFORMED = Kind(
    400,
    "malformed_reason",
    "Ledger-Reason is UTF-8 of up to 200 characters on one line, no control characters, once.",
)
REQUIRED = Kind(400, "reason_required", "Say why you do this: send the header Ledger-Reason.")

Headers = Sequence[tuple[bytes, bytes]]


def reason_of(headers: Headers) -> str:
    """Why the caller reads; empty where it is not said.

    Raises:
        Problem: the header is there twice, or not a line of text.
    """
    sent = [value for name, value in headers if name == HEADER]
    if not sent:
        return ""
    try:
        reason = sent[0].decode().strip()
        require_reason(reason)
    except (UnicodeDecodeError, ValidationFailed):
        raise Problem(MALFORMED) from None
    if len(sent) > 1:
        raise Problem(MALFORMED)
    return reason


def require_reasoned(caller: Caller, operation: str, headers: Headers) -> None:
    """The caller says why, where their roles ask for it.

    Raises:
        Problem: they do not, or the header is malformed.
    """
    if operation in caller.authority.reason_for:
        require_given(headers)


def require_given(headers: Headers) -> None:
    """The caller says why.

    Raises:
        Problem: they do not, or the header is malformed.
    """
    if not reason_of(headers):
        raise Problem(REQUIRED)
