"""Routes of sessions: logging in, proving again that it is you, logging out.

Logging in is public, and records itself in the access log: who, and how it ended.
"""

from datetime import datetime
from typing import Any

import msgspec

from api import clock, log_in, sessions
from api.actions import ActionRoute, Done, Request
from api.log_in import NO_LEDGER, Let, Refused
from api.own_session import (
    PASSKEY_EXAMPLE,
    PROOF_REFUSED,
    DoneAnswer,
    PasskeyCredential,
    Typed,
    begin_attempt,
    credential_of,
    person_of,
    require_typed,
    session_of,
    too_many_attempts,
)
from api.passkeys import PasskeyRefused
from api.problems import FieldError, Kind, Problem, malformed
from api.reasons import reason_of
from api.staff_desk import Drawer
from ledger_core.access_log import NewAccess
from ledger_core.log import find_ledger

LOG_IN_REFUSED = Kind(
    401,
    "log_in_refused",
    "Nobody is let in: the person, password, code or passkey is not right, or not valid now.",
)
NOBODY = "person:?"
"""Who tried to log in and is nobody we know; what was typed is not kept: it may be a password."""

_CHALLENGE = (("WWW-Authenticate", "Bearer"),)
_LOCKED = 429
_LET_IN = 201


class LogIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log in with a password, and a code: of the app, or a recovery code.

    Whoever has no second factor yet leaves the code out, and sets one up. The answer does not tell
    whether the person, the password or the code was wrong.
    """

    person: Typed
    password: Typed
    code: str = ""
    ledger: Typed = "main"


class BeginPasskeyLogIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a challenge that a passkey answers."""

    ledger: Typed = "main"


class PasskeyLogIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log in with a passkey alone: having it, and being verified by its device, are two factors."""

    credential: PasskeyCredential
    ledger: Typed = "main"


class StepUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prove again that it is you, by a code or a passkey: it counts for five minutes."""

    code: str | None = None
    credential: PasskeyCredential | None = None


class SessionAnswer(msgspec.Struct, frozen=True):
    """A session that began. `token` is sent as `Authorization: Bearer`, and shown this once.

    `to_do` names what is to be set up before the session allows what the roles do: `password`,
    `second_factor`.
    """

    session_id: str
    token: str
    person: str
    roles: tuple[str, ...]
    expires_at: datetime
    idle_s: int
    to_do: tuple[str, ...]


class PasskeyOptions(msgspec.Struct, frozen=True):
    """What the browser's `navigator.credentials` is told, as `publicKey`."""

    public_key: dict[str, Any] = msgspec.field(name="publicKey")


async def log_in_with_password(request: Request, body: LogIn) -> Done:
    """Let somebody in by password and code."""
    require_typed(person=body.person, password=body.password, ledger=body.ledger)
    if body.code:
        require_typed(code=body.code)
    client = client_of(request)
    ledger_id = await _ledger_id(request, body.ledger)
    outcome = await request.context.staff.work(
        ledger_id,
        lambda drawer: log_in.by_password(drawer, body.person, body.password, body.code, client),
    )
    return await _answer(request, ledger_id, "log_in", outcome)


async def begin_passkey_log_in(request: Request, body: BeginPasskeyLogIn) -> Done:
    """Give out a challenge; nothing is kept of it."""
    require_typed(ledger=body.ledger)
    ledger_id = await _ledger_id(request, body.ledger)
    options = await request.context.staff.work(
        ledger_id,
        lambda drawer: drawer.passkeys.options_to_prove(
            "log_in", None, "", drawer.at, clock.random_bytes
        ),
    )
    return Done(PasskeyOptions(options))


async def log_in_with_passkey(request: Request, body: PasskeyLogIn) -> Done:
    """Let somebody in by a passkey."""
    require_typed(ledger=body.ledger)
    client, credential = client_of(request), credential_of(body.credential)
    ledger_id = await _ledger_id(request, body.ledger)
    outcome = await request.context.staff.work(
        ledger_id, lambda drawer: log_in.by_passkey(drawer, credential, client)
    )
    return await _answer(request, ledger_id, "log_in_with_passkey", outcome)


async def log_out(request: Request, _: None) -> Done:
    """End the session."""
    caller = session_of(request)
    await request.context.staff.transact(
        caller.ledger_id,
        lambda drawer: sessions.end(drawer.connection, caller.ledger_id, caller.key_id, drawer.at),
    )
    request.context.key_ring.forget(caller.ledger_id, caller.key_id)
    return Done(DoneAnswer())


async def log_out_everywhere(request: Request, _: None) -> Done:
    """End every session of the person, this one too."""
    caller = session_of(request)
    ended = await request.context.staff.transact(
        caller.ledger_id,
        lambda drawer: sessions.end_all(
            drawer.connection, caller.ledger_id, caller.person, drawer.at
        ),
    )
    for session_id in ended:
        request.context.key_ring.forget(caller.ledger_id, session_id)
    return Done(DoneAnswer())


async def begin_step_up(request: Request, _: None) -> Done:
    """Give out a challenge that one of the person's passkeys answers."""
    caller = session_of(request)
    options = await request.context.staff.work(
        caller.ledger_id,
        lambda drawer: drawer.passkeys.options_to_prove(
            "step_up", caller.person, caller.key_id, drawer.at, clock.random_bytes
        ),
    )
    return Done(PasskeyOptions(options))


async def step_up(request: Request, body: StepUp) -> Done:
    """Note that the person proved to be there."""
    caller = session_of(request)
    if (body.code is None) == (body.credential is None):
        raise malformed(FieldError("code or credential, one of them"))
    if body.code is not None:
        require_typed(code=body.code)
    credential = None if body.credential is None else credential_of(body.credential)

    def prove(drawer: Drawer) -> bool:
        """Whether the code or the passkey is right."""
        begin_attempt(drawer, "code", caller.person)
        with drawer.connection.transaction():
            if credential is None:
                person = person_of(drawer, caller)
                is_right = drawer.factors.take(person, body.code or "", drawer.at) is not None
            else:
                proved = drawer.passkeys.prove("step_up", caller.key_id, credential, drawer.at)
                is_right = proved == caller.person
            if is_right:
                drawer.attempts.forget("code", caller.person)
                sessions.prove(drawer.connection, caller.ledger_id, caller.key_id, drawer.at)
            return is_right

    try:
        is_right = await request.context.staff.work(caller.ledger_id, prove)
    except PasskeyRefused:
        is_right = False
    if not is_right:
        raise Problem(PROOF_REFUSED)
    request.context.key_ring.forget(caller.ledger_id, caller.key_id)
    return Done(DoneAnswer())


def client_of(request: Request) -> str | None:
    """The address that an attempt came from, where that is known."""
    return None if request.client is None else request.client[0]


async def _ledger_id(request: Request, name: str) -> int:
    """The ledger of that name; ``NO_LEDGER`` where there is none, which is not said."""
    if not name.isprintable():
        return NO_LEDGER
    found = await request.context.reads.ask(lambda connection: find_ledger(connection, name))
    return NO_LEDGER if found is None else found


async def _answer(request: Request, ledger_id: int, operation: str, outcome: Let | Refused) -> Done:
    """Record how it ended, and answer so.

    Raises:
        Problem: nobody was let in, or it could not be recorded.
    """
    if isinstance(outcome, Let):
        person = outcome.person
        await _record(request, ledger_id, operation, person.person_id, _LET_IN)
        to_do = []
        if person.password_expires_at is not None:
            to_do.append("password")
        if not outcome.is_proved:
            to_do.append("second_factor")
        return Done(
            SessionAnswer(
                outcome.session_id,
                outcome.token,
                person.person_id,
                tuple(person.roles),
                outcome.expires_at,
                request.context.runtime.settings.staff.idle_s,
                tuple(to_do),
            )
        )
    if outcome.wait_s:
        # Nothing was looked at, so there is nothing to record, however often it is tried.
        raise too_many_attempts(outcome.wait_s)
    await _record(request, ledger_id, operation, outcome.person_id, LOG_IN_REFUSED.status)
    raise Problem(LOG_IN_REFUSED, headers=_CHALLENGE)


async def _record(
    request: Request, ledger_id: int, operation: str, person_id: str | None, status: int
) -> None:
    """Have an attempt in the access log of its ledger, if there is such a ledger.

    Raises:
        Problem: it cannot be recorded.
    """
    if ledger_id == NO_LEDGER:
        return
    actor = NOBODY if person_id is None else f"person:{person_id}"
    access = NewAccess(
        actor,
        operation,
        () if person_id is None else (actor,),
        reason_of(request.headers),
        request.trace.request_id,
        status,
        None,
    )
    await request.context.accesses.record(ledger_id, access)


_PERSON = {"person": "t-4711", "password": "four wild geese at noon", "code": "123456"}

ACTIONS = (
    ActionRoute(
        path="/v1/sessions",
        operation="log_in",
        body=LogIn,
        answer=SessionAnswer,
        act=log_in_with_password,
        summary="Log in with password and code",
        example={**_PERSON, "ledger": "main"},
        status=_LET_IN,
        public=True,
        tag="sessions",
        refusals=(_LOCKED,),
    ),
    ActionRoute(
        path="/v1/sessions/passkey-challenge",
        operation="begin_passkey_log_in",
        body=BeginPasskeyLogIn,
        answer=PasskeyOptions,
        act=begin_passkey_log_in,
        summary="A challenge to log in by passkey",
        example={"ledger": "main"},
        public=True,
        tag="sessions",
    ),
    ActionRoute(
        path="/v1/sessions/passkey",
        operation="log_in_with_passkey",
        body=PasskeyLogIn,
        answer=SessionAnswer,
        act=log_in_with_passkey,
        summary="Log in with a passkey",
        example={"ledger": "main", "credential": dict(PASSKEY_EXAMPLE)},
        status=_LET_IN,
        public=True,
        tag="sessions",
        refusals=(_LOCKED,),
    ),
    ActionRoute(
        path="/v1/sessions/current/log-out",
        operation="log_out",
        body=None,
        answer=DoneAnswer,
        act=log_out,
        summary="End this session",
        tag="sessions",
        refusals=(409,),
    ),
    ActionRoute(
        path="/v1/sessions/current/log-out-everywhere",
        operation="log_out_everywhere",
        body=None,
        answer=DoneAnswer,
        act=log_out_everywhere,
        summary="End all your sessions",
        tag="sessions",
        refusals=(409,),
    ),
    ActionRoute(
        path="/v1/sessions/current/step-up-challenge",
        operation="begin_step_up",
        body=None,
        answer=PasskeyOptions,
        act=begin_step_up,
        summary="A challenge to prove by passkey that it is you",
        tag="sessions",
        refusals=(409,),
    ),
    ActionRoute(
        path="/v1/sessions/current/step-up",
        operation="step_up",
        body=StepUp,
        answer=DoneAnswer,
        act=step_up,
        summary="Prove by code or passkey that it is you",
        example={"code": "123456"},
        tag="sessions",
        refusals=(409, _LOCKED),
    ),
)
