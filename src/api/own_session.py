"""What actions on one's own session share: whose it is, and refusals in words of their own."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from api.actions import Request
from api.callers import Caller
from api.lock_out import Kind as Counted
from api.problems import FieldError, Kind, Problem, malformed, pointer_of
from api.staff import Person, find_locked
from api.staff_desk import Drawer

SESSION_REQUIRED = Kind(
    409,
    "session_required",
    "This is for persons who are logged in with a password or a passkey: log in first.",
)
PROOF_REFUSED = Kind(
    403, "proof_refused", "The password, code or passkey is not right, or not valid now."
)
TOO_MANY_ATTEMPTS = Kind(
    429, "too_many_attempts", "Too many attempts failed: wait before the next one."
)

TEXT_CHARACTERS_MAX = 200
"""What is typed in has no more: names, passwords, codes."""

Typed = Annotated[
    str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": TEXT_CHARACTERS_MAX})
]
"""Something that a person types; its form is looked at where it is used."""


class PasskeyResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an authenticator, each member in base64url.

    `attestationObject` is there when a passkey is made, `authenticatorData` and `signature` when it
    is used.
    """

    client_data_json: str = msgspec.field(name="clientDataJSON")
    attestation_object: str | None = msgspec.field(name="attestationObject", default=None)
    authenticator_data: str | None = msgspec.field(name="authenticatorData", default=None)
    signature: str | None = None
    user_handle: str | None = msgspec.field(name="userHandle", default=None)


class PasskeyCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A `PublicKeyCredential` as its `toJSON()` gives it; members not named here are ignored."""

    id: str
    raw_id: str = msgspec.field(name="rawId")
    response: PasskeyResponse
    type: str = "public-key"


PASSKEY_EXAMPLE: Mapping[str, Any] = {
    "id": "lVxY1SvqRlGhSRAC7PsyCA",
    "rawId": "lVxY1SvqRlGhSRAC7PsyCA",
    "type": "public-key",
    "response": {"clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0"},
}


class DoneAnswer(msgspec.Struct, frozen=True):
    """It is done."""

    done: bool = True


def credential_of(credential: PasskeyCredential) -> dict[str, Any]:
    """What an authenticator answered, as the library takes it: without what is not there."""
    return _without_none(msgspec.to_builtins(credential))


def session_of(request: Request) -> Caller:
    """The caller, who is logged in.

    Raises:
        Problem: it is a key or a token.
    """
    caller = request.known
    if caller.credential.kind != "session":
        raise Problem(SESSION_REQUIRED)
    request.about(f"person:{caller.person}")
    return caller


def person_of(drawer: Drawer, caller: Caller) -> Person:
    """The person whose session it is, whom nobody else changes in this transaction.

    Raises:
        Problem: there is no such person any more.
    """
    person = find_locked(drawer.connection, drawer.ledger_id, caller.person)
    if person is None:
        raise Problem(SESSION_REQUIRED)
    return person


def begin_attempt(drawer: Drawer, kind: Counted, person_id: str) -> None:
    """Count an attempt of somebody who is logged in.

    Raises:
        Problem: too many failed, the next one has to wait.
    """
    wait_s = drawer.attempts.begin(kind, person_id, drawer.at)
    if wait_s:
        raise too_many_attempts(wait_s)


def too_many_attempts(wait_s: int) -> Problem:
    """The refusal of an attempt that was not looked at."""
    return Problem(TOO_MANY_ATTEMPTS, headers=(("Retry-After", str(wait_s)),))


def require_typed(**fields: str) -> None:
    """Each of these was typed in, and is not longer than anything that is typed.

    Raises:
        Problem: one is empty or too long.
    """
    errors = [
        FieldError(f"1 to {TEXT_CHARACTERS_MAX} characters", name, pointer_of(name))
        for name, text in fields.items()
        if not 1 <= len(text) <= TEXT_CHARACTERS_MAX
    ]
    if errors:
        raise malformed(*errors)


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    """The members of a document that have a value."""
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in document.items()
        if value is not None
    }
