"""Routes by which staff look after their own password, codes and passkeys.

Whoever has a second factor already proves it anew before anything about it changes: a session that
was taken from somebody must not let the taker stay.
"""

from datetime import datetime

import msgspec

from api import clock, sessions, staff
from api.actions import ActionRoute, Done, Request
from api.callers import Caller
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
)
from api.passkeys import NAME_CHARACTERS_MAX, PasskeyRefused
from api.passwords import weakness_of
from api.problems import FieldError, Kind, Problem, malformed
from api.roles import require_fresh
from api.routes.sessions import PasskeyOptions
from api.staff import Person
from api.staff_desk import Drawer

LAST_FACTOR = Kind(
    409, "last_second_factor", "This is your last second factor: set up another one first."
)
PASSKEY_NOT_FOUND = Kind(404, "passkey_not_found", "You have no passkey of that id.")

_CONFLICT = 409
_LOCKED = 429
_MADE = 201


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choose another password: 12 to 128 characters of any kind; a sentence does well.

    Your other sessions end.
    """

    password: Typed
    new_password: Typed


class ConfirmTotp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give a code of the app that has the new secret: from now on it counts."""

    code: Typed


class AddPasskey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Add a passkey that the browser made for the challenge; `name` is for you to know it by."""

    name: Typed
    credential: PasskeyCredential


class TotpSecret(msgspec.Struct, frozen=True):
    """The secret for an app that makes codes, shown this once; `uri` is what a QR code holds."""

    secret: str
    uri: str


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Codes that each count once in the place of a code of the app, shown this once.

    Empty where you have some from before.
    """

    recovery_codes: tuple[str, ...]


class PasskeyAdded(msgspec.Struct, frozen=True):
    """The new passkey, and recovery codes if there were none before, shown this once."""

    passkey_id: str
    name: str
    created_at: datetime
    recovery_codes: tuple[str, ...]


async def change_password(request: Request, body: ChangePassword) -> Done:
    """Keep another password, if the one of now is right."""
    caller = session_of(request)
    require_typed(password=body.password, new_password=body.new_password)
    weakness = weakness_of(body.new_password, caller.person)
    if weakness is None and body.new_password == body.password:
        weakness = "another one than now"
    if weakness is not None:
        raise malformed(FieldError(weakness, "new_password", "/new_password"))

    def change(drawer: Drawer) -> list[str] | None:
        """The sessions that ended; ``None``: the password is not right."""
        begin_attempt(drawer, "person", caller.person)
        person = person_of(drawer, caller)
        if not drawer.passwords.is_right(person.password_hash, body.password):
            return None
        kept = drawer.passwords.hashed(body.new_password)
        with drawer.connection.transaction():
            drawer.attempts.forget("person", caller.person)
            staff.set_password(drawer.connection, person, kept)
            return sessions.end_all(
                drawer.connection, caller.ledger_id, caller.person, drawer.at, but=caller.key_id
            )

    ended = await request.context.staff.work(caller.ledger_id, change)
    if ended is None:
        raise Problem(PROOF_REFUSED)
    for session_id in (*ended, caller.key_id):
        request.context.key_ring.forget(caller.ledger_id, session_id)
    return Done(DoneAnswer())


async def begin_totp(request: Request, _: None) -> Done:
    """Make a secret for codes by time, which counts once it is confirmed."""
    caller = session_of(request)

    def propose(drawer: Drawer) -> TotpSecret:
        """The secret."""
        person = _in_charge(drawer, caller)
        proposed = drawer.factors.propose(person, "Ledger", drawer.at)
        return TotpSecret(proposed.secret, proposed.uri)

    return Done(await request.context.staff.transact(caller.ledger_id, propose))


async def confirm_totp(request: Request, body: ConfirmTotp) -> Done:
    """Have the secret count; the session is one with a second factor from now on."""
    caller = session_of(request)
    require_typed(code=body.code)

    def confirm(drawer: Drawer) -> tuple[str, ...] | None:
        """The recovery codes, where there were none; ``None``: the code is not right."""
        begin_attempt(drawer, "code", caller.person)
        with drawer.connection.transaction():
            person = _in_charge(drawer, caller)
            if not drawer.factors.confirm(person, body.code, drawer.at):
                return None
            drawer.attempts.forget("code", caller.person)
            return _proved(drawer, caller, person)

    codes = await request.context.staff.work(caller.ledger_id, confirm)
    if codes is None:
        raise Problem(PROOF_REFUSED)
    request.context.key_ring.forget(caller.ledger_id, caller.key_id)
    return Done(RecoveryCodes(codes))


async def remove_totp(request: Request, _: None) -> Done:
    """Take no codes by time any more."""
    caller = session_of(request)

    def remove(drawer: Drawer) -> None:
        """Remove the secret, unless nothing else is left."""
        person = _in_charge(drawer, caller)
        if not person.passkeys:
            raise Problem(LAST_FACTOR)
        drawer.factors.remove_totp(person, drawer.at)

    await request.context.staff.transact(caller.ledger_id, remove)
    return Done(DoneAnswer())


async def renew_recovery_codes(request: Request, _: None) -> Done:
    """Make new recovery codes in the place of the former ones."""
    caller = session_of(request)

    def renew(drawer: Drawer) -> tuple[str, ...]:
        """The codes."""
        person = _in_charge(drawer, caller)
        if not person.has_second_factor:
            raise Problem(LAST_FACTOR)
        return drawer.factors.renew_recovery_codes(person)

    return Done(RecoveryCodes(await request.context.staff.transact(caller.ledger_id, renew)))


async def begin_passkey(request: Request, _: None) -> Done:
    """Give out a challenge for which a browser makes a passkey."""
    caller = session_of(request)

    def begin(drawer: Drawer) -> PasskeyOptions:
        """What the browser is told."""
        _in_charge(drawer, caller)
        return PasskeyOptions(
            drawer.passkeys.options_to_add(
                caller.person, caller.key_id, drawer.at, clock.random_bytes
            )
        )

    return Done(await request.context.staff.work(caller.ledger_id, begin))


async def add_passkey(request: Request, body: AddPasskey) -> Done:
    """Keep a passkey; the session is one with a second factor from now on."""
    caller = session_of(request)
    if not 1 <= len(body.name) <= NAME_CHARACTERS_MAX or not body.name.isprintable():
        rule = f"1 to {NAME_CHARACTERS_MAX} printable characters"
        raise malformed(FieldError(rule, "name", "/name"))
    credential = credential_of(body.credential)

    def add(drawer: Drawer) -> PasskeyAdded:
        """The passkey, and recovery codes."""
        person = _in_charge(drawer, caller)
        made = drawer.passkeys.add(caller.person, caller.key_id, body.name, credential, drawer.at)
        codes = _proved(drawer, caller, person)
        return PasskeyAdded(made.passkey_id, made.name, made.created_at, codes)

    try:
        added = await request.context.staff.transact(caller.ledger_id, add)
    except PasskeyRefused:
        raise Problem(PROOF_REFUSED) from None
    request.context.key_ring.forget(caller.ledger_id, caller.key_id)
    return Done(added)


async def remove_passkey(request: Request, _: None) -> Done:
    """Take a passkey no more."""
    caller, passkey_id = session_of(request), request.path["passkey_id"]

    def remove(drawer: Drawer) -> None:
        """Remove it, unless nothing else is left."""
        person = _in_charge(drawer, caller)
        if passkey_id not in {key.passkey_id for key in drawer.passkeys.of_person(caller.person)}:
            raise Problem(PASSKEY_NOT_FOUND)
        if person.totp is None and person.passkeys == 1:
            raise Problem(LAST_FACTOR)
        drawer.passkeys.remove(caller.person, passkey_id)

    await request.context.staff.transact(caller.ledger_id, remove)
    return Done(DoneAnswer())


def _in_charge(drawer: Drawer, caller: Caller) -> Person:
    """The person, who proved a moment ago to be there if there is any way to prove it.

    Raises:
        Problem: a second factor has to be proved anew.
    """
    person = person_of(drawer, caller)
    if person.has_second_factor:
        require_fresh(caller, drawer.at)
    return person


def _proved(drawer: Drawer, caller: Caller, person: Person) -> tuple[str, ...]:
    """Note the second factor in the session; recovery codes, where there are none left."""
    sessions.prove(drawer.connection, caller.ledger_id, caller.key_id, drawer.at)
    if drawer.factors.recovery_codes_left(person):
        return ()
    return drawer.factors.renew_recovery_codes(person)


ACTIONS = (
    ActionRoute(
        path="/v1/sessions/current/password",
        operation="change_password",
        body=ChangePassword,
        answer=DoneAnswer,
        act=change_password,
        summary="Choose another password",
        example={
            "password": "four wild geese at noon",
            "new_password": "a kettle of green herons",
        },
        tag="sessions",
        refusals=(_CONFLICT, _LOCKED),
    ),
    ActionRoute(
        path="/v1/sessions/current/totp",
        operation="begin_totp",
        body=None,
        answer=TotpSecret,
        act=begin_totp,
        summary="A secret for an app that makes codes",
        tag="sessions",
        refusals=(_CONFLICT,),
    ),
    ActionRoute(
        path="/v1/sessions/current/totp/confirm",
        operation="confirm_totp",
        body=ConfirmTotp,
        answer=RecoveryCodes,
        act=confirm_totp,
        summary="Confirm that the app makes codes",
        example={"code": "123456"},
        tag="sessions",
        refusals=(_CONFLICT, _LOCKED),
    ),
    ActionRoute(
        path="/v1/sessions/current/totp/remove",
        operation="remove_totp",
        body=None,
        answer=DoneAnswer,
        act=remove_totp,
        summary="Take no codes of the app any more",
        tag="sessions",
        refusals=(_CONFLICT,),
    ),
    ActionRoute(
        path="/v1/sessions/current/recovery-codes",
        operation="renew_recovery_codes",
        body=None,
        answer=RecoveryCodes,
        act=renew_recovery_codes,
        summary="New recovery codes",
        tag="sessions",
        refusals=(_CONFLICT,),
    ),
    ActionRoute(
        path="/v1/sessions/current/passkey-challenge",
        operation="begin_passkey",
        body=None,
        answer=PasskeyOptions,
        act=begin_passkey,
        summary="A challenge to make a passkey",
        tag="sessions",
        refusals=(_CONFLICT,),
    ),
    ActionRoute(
        path="/v1/sessions/current/passkeys",
        operation="add_passkey",
        body=AddPasskey,
        answer=PasskeyAdded,
        act=add_passkey,
        summary="Add a passkey",
        example={"name": "blue key", "credential": dict(PASSKEY_EXAMPLE)},
        status=_MADE,
        tag="sessions",
        refusals=(_CONFLICT,),
    ),
    ActionRoute(
        path="/v1/sessions/current/passkeys/{passkey_id}/remove",
        operation="remove_passkey",
        body=None,
        answer=DoneAnswer,
        act=remove_passkey,
        summary="Remove a passkey",
        tag="sessions",
        refusals=(_CONFLICT,),
    ),
)
