"""Refusals as RFC 9457 problem documents: one table from each refusal to its HTTP status.

A problem says which rule was broken and what the ledger saw; it never repeats what the caller
sent. ``type`` is ``urn:ledger:problem:<code>`` and ``code`` is for programs: both are stable.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from ledger_core import errors
from ledger_core.errors import LedgerError, ValidationFailed
from projections.reading import PositionAhead

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

Headers = Sequence[tuple[str, str]]


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field that breaks a rule: its name, the rule, and where it stands in the body."""

    rule: str
    field: str | None = None
    pointer: str | None = None


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document; ``seen`` holds the values on which the refusal rests."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    seen: dict[str, Any] = {}
    request_id: str | None = None


class Kind(msgspec.Struct, frozen=True):
    """A refusal that has its reason in HTTP itself, not in the ledger."""

    status: int
    code: str
    sentence: str


MALFORMED_JSON = Kind(400, "malformed_json", "The body is not one JSON document in UTF-8.")
DUPLICATE_MEMBER = Kind(400, "duplicate_member", "An object of the body names a member twice.")
KEY_REQUIRED = Kind(
    400, "idempotency_key_required", "Send the header Idempotency-Key with every command."
)
KEY_MISMATCH = Kind(
    400, "idempotency_key_mismatch", "The header Idempotency-Key and the body's key must be equal."
)
IF_MATCH_NOT_TAKEN = Kind(
    400,
    "if_match_not_taken",
    "If-Match is taken by commands on one account; elsewhere use the field if_version.",
)
INVALID_CURSOR = Kind(
    400, "invalid_cursor", "The cursor is not one that this request with these filters was given."
)
UNAUTHENTICATED = Kind(
    401, "unauthenticated", "Send Authorization: Bearer with a valid key or token."
)
FORBIDDEN = Kind(403, "forbidden", "Your roles and scopes do not allow this.")
STEP_UP_REQUIRED = Kind(
    403, "step_up_required", "Prove again that it is you: log in with your second factor."
)
NOT_FOUND = Kind(404, "not_found", "There is nothing at this address.")
METHOD_NOT_ALLOWED = Kind(405, "method_not_allowed", "This address does not take that method.")
BODY_TOO_LARGE = Kind(413, "body_too_large", "The body is larger than this address takes.")
UNSUPPORTED_MEDIA_TYPE = Kind(
    415, "unsupported_media_type", "Send the body as Content-Type: application/json."
)
DATABASE_UNAVAILABLE = Kind(
    503, "database_unavailable", "The database cannot be reached now; try again."
)
DATABASE_READ_ONLY = Kind(
    503, "database_read_only", "The database takes no changes now: it is a standby, or set so."
)
INTERNAL_ERROR = Kind(500, "internal_error", "Something failed here; the request id names it.")

STATUS_OF: Mapping[type[LedgerError], int] = MappingProxyType(
    {
        errors.ValidationFailed: 422,
        errors.UnknownCurrency: 422,
        errors.SameAccount: 422,
        errors.CurrencyMismatch: 422,
        errors.Unbalanced: 422,
        errors.InsufficientFunds: 422,
        errors.AccountIsClosed: 422,
        errors.AccountIsBlocked: 422,
        errors.AccountNotEmpty: 422,
        errors.AccountNotClosed: 422,
        errors.AlreadyReversed: 422,
        errors.NotReversible: 422,
        errors.CustomerErasedAlready: 422,
        errors.LimitExceeded: 422,
        errors.PeriodIsClosed: 422,
        errors.ConditionFailed: 422,
        errors.NotAHold: 422,
        errors.HoldMismatch: 422,
        errors.ExceedsHold: 422,
        errors.HoldAlreadyCaptured: 422,
        errors.HoldAlreadyVoided: 422,
        errors.HoldHasExpired: 422,
        errors.KycNotCleared: 422,
        errors.OrderEnded: 422,
        errors.ApprovalNeeded: 422,
        errors.AlreadyVoted: 422,
        errors.AlreadyCompleted: 422,
        errors.AlreadyRejected: 422,
        errors.AlreadyWithdrawn: 422,
        errors.RateMissing: 422,
        errors.MakerCannotApprove: 403,
        errors.NotPermitted: 403,
        errors.AmountAboveAuthority: 403,
        errors.VersionConflict: 412,
        errors.IdempotencyConflict: 422,
        errors.BatchFailed: 422,
        errors.NotAttempted: 422,
        errors.RepeatedInBatch: 422,
        errors.AccountExists: 409,
        errors.CustomerExists: 409,
        errors.UnitExists: 409,
        errors.EntryExists: 409,
        errors.HoldExists: 409,
        errors.GroupExists: 409,
        errors.OrderExists: 409,
        errors.ApprovalExists: 409,
        errors.ReferenceConflict: 409,
        errors.AccountNotFound: 404,
        errors.BlockNotFound: 404,
        errors.CustomerNotFound: 404,
        errors.EntryNotFound: 404,
        errors.HoldNotFound: 404,
        errors.TemplateNotFound: 404,
        errors.GroupNotFound: 404,
        errors.OrderNotFound: 404,
        errors.ApprovalNotFound: 404,
        errors.PolicyNotFound: 404,
        errors.RoleNotFound: 404,
        errors.FlagNotFound: 404,
        errors.RefusalNotFound: 404,
        errors.LedgerNotFound: 404,
        errors.LinkNotFound: 404,
        errors.LedgerBusy: 503,
        PositionAhead: 409,
    }
)

# Another attempt may succeed without anything being changed.
_RETRY = (errors.LedgerBusy, PositionAhead)

encode = msgspec.json.Encoder(enc_hook=str).encode


class Problem(Exception):  # noqa: N818 - a refusal, not a failure of the program
    """A refusal for a reason of HTTP's; carries what its document needs."""

    def __init__(
        self, kind: Kind, *, fields: Sequence[FieldError] = (), headers: Headers = ()
    ) -> None:
        """Keep the kind, the fields at fault and the headers that go with it."""
        super().__init__(kind.code)
        self.kind = kind
        self.fields = tuple(fields)
        self.headers = headers


def malformed(*fields: FieldError) -> Problem:
    """The refusal of fields that do not have the form that they must have."""
    kind = Kind(422, ValidationFailed.code, ValidationFailed.sentence)
    return Problem(kind, fields=fields)


def body_of(error: Problem | LedgerError, pointer: str = "") -> ProblemBody:
    """The document for a refusal; ``pointer`` is where in the body its command stands."""
    if isinstance(error, Problem):
        kind = error.kind
        return _body(kind.status, kind.code, kind.sentence, fields=error.fields)
    status = STATUS_OF[type(error)]
    if isinstance(error, ValidationFailed):
        field = FieldError(error.rule, error.field, pointer + pointer_of(error.field))
        return _body(status, error.code, error.sentence, fields=(field,))
    return _body(status, error.code, error.sentence, seen=dict(error.seen))


def headers_of(error: Problem | LedgerError) -> Headers:
    """The headers that go with a refusal."""
    if isinstance(error, Problem):
        return error.headers
    return (("Retry-After", str(RETRY_AFTER_S)),) if isinstance(error, _RETRY) else ()


def pointer_of(field: str) -> str:
    """The JSON pointer (RFC 6901) to a field: ``postings[3].amount`` is ``/postings/3/amount``."""
    return "/" + field.replace("[", ".").replace("]", "").replace(".", "/")


def _body(
    status: int,
    code: str,
    sentence: str,
    *,
    fields: tuple[FieldError, ...] = (),
    seen: dict[str, object] | None = None,
) -> ProblemBody:
    """A document whose title is its code in words."""
    title = code.replace("_", " ").capitalize()
    return ProblemBody(
        f"urn:ledger:problem:{code}", title, status, code, sentence, fields, seen or {}
    )
