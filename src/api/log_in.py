"""Logging in: a password and a code, or a passkey, become a session.

What is answered does not tell an unknown person from a wrong password, from a wrong code or from a
person who may not come in; and it takes one comparison of a password in either case. Attempts are
counted before they are judged (``lock_out``).
"""

from datetime import datetime
from typing import Any

import msgspec

from api import clock, sessions, staff
from api.lock_out import Kind
from api.passkeys import PasskeyRefused
from api.staff import Person
from api.staff_desk import Drawer

NO_LEDGER = 0
"""Stands for a ledger that does not exist, where attempts are counted."""


class Let(msgspec.Struct, frozen=True):
    """Somebody who was let in: the session, and the token, shown this once.

    ``is_proved``: by more than a password.
    """

    person: Person
    session_id: str
    token: str
    expires_at: datetime
    is_proved: bool


class Refused(msgspec.Struct, frozen=True):
    """Nobody was let in. ``person_id``: whose attempt it was, if it is anybody's we know.

    ``wait_s``: it was not even looked at, and the next attempt must wait so long.
    """

    person_id: str | None = None
    wait_s: int = 0


def by_password(
    drawer: Drawer, person_id: str, password: str, code: str, client: str | None
) -> Let | Refused:
    """Let in who knows the password, and has a second factor or none yet."""
    wait_s = _begin(drawer, ("client", client), ("person", person_id))
    person = staff.find(drawer.connection, drawer.ledger_id, person_id)
    known = None if person is None else person.person_id
    if wait_s:
        return Refused(known, wait_s)
    may_enter = person is not None and person.password_opens(drawer.at)
    kept = person.password_hash if person is not None and may_enter else None
    # Whoever there is: the time that this takes says nothing.
    if not drawer.passwords.is_right(kept, password) or person is None:
        return Refused(known)
    with drawer.connection.transaction():
        proved = None
        if person.has_second_factor:
            proved = drawer.factors.take(person, code, drawer.at)
            if proved is None:
                return Refused(known)
        _forgive(drawer, person, client)
        if drawer.passwords.is_outdated(person.password_hash):
            staff.keep_anew(drawer.connection, person, drawer.passwords.hashed(password))
        return _let(drawer, person, is_proved=proved is not None)


def by_passkey(drawer: Drawer, credential: dict[str, Any], client: str | None) -> Let | Refused:
    """Let in who has a passkey, and was verified by its device."""
    known = drawer.passkeys.person_of(credential)
    wait_s = _begin(drawer, ("client", client))
    if wait_s:
        return Refused(known, wait_s)
    try:
        with drawer.connection.transaction():
            person_id = drawer.passkeys.prove("log_in", "", credential, drawer.at)
            person = staff.find(drawer.connection, drawer.ledger_id, person_id)
            if person is None or person.disabled_at is not None:
                return Refused(known)
            _forgive(drawer, None, client)
            return _let(drawer, person, is_proved=True)
    except PasskeyRefused:
        return Refused(known)


def _begin(drawer: Drawer, *names: tuple[Kind, str | None]) -> int:
    """Count an attempt under each name; how long to wait where one of them is locked."""
    for kind, name in names:
        if name is not None:
            wait_s = drawer.attempts.begin(kind, name, drawer.at)
            if wait_s:
                return wait_s
    return 0


def _forgive(drawer: Drawer, person: Person | None, client: str | None) -> None:
    """The attempt succeeded: forget what was counted of it, and everything of long ago."""
    if client is not None:
        drawer.attempts.forgive("client", client)
    if person is not None:
        drawer.attempts.forget("person", person.person_id)
    drawer.attempts.forget_old(drawer.at)
    drawer.passkeys.forget_old_challenges(drawer.at)


def _let(drawer: Drawer, person: Person, *, is_proved: bool) -> Let:
    """Begin the session."""
    session_id, token, expires_at = sessions.begin(
        drawer.connection,
        drawer.ledger_id,
        person.person_id,
        second_factor_at=drawer.at if is_proved else None,
        at=drawer.at,
        settings=drawer.settings,
        server_secret=drawer.server_secret,
        random_bytes=clock.random_bytes,
    )
    return Let(person, session_id, token, expires_at, is_proved)
