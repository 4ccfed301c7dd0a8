"""``ledger staff …``: who may log in, with which roles. The first person is taken in here.

Whoever may run the program on this machine hands out any role. What is done is recorded in the
access log, as everything is that shows anything. Imports are made inside the commands, so that
``ledger --help`` is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cyclopts import App

from api.cli_support import (
    DEFAULT_LEDGER,
    Common,
    Failed,
    answer,
    ledger_name,
    record_read,
    writing_runtime,
)

if TYPE_CHECKING:
    from api.staff import Person
    from api.staff_desk import Drawer

staff_app = App(name="staff", help="Staff: who may log in, with which roles.")

_NOBODY = "There is no person of that id."


@staff_app.command
def create(
    person: str,
    /,
    *,
    role: list[str],
    permission: list[str] | None = None,
    common: Common | None = None,
) -> None:
    """Take PERSON in with --role, as often as need be; prints the password for the first log-in.

    PERSON stays in the logs in clear: an opaque id, no name and no address. --permission, as often
    as need be, counts in approvals beside the roles. The password is shown once, is changed at the
    first log-in, and opens nothing after three days.
    """
    from api import cli_reads, staff

    permissions = permission or []
    with _at_desk(common, "create_staff", person, role, creates_ledger=True) as drawer:
        _require_roles(drawer, role)
        password = drawer.passwords.initial()
        try:
            is_new = staff.create(
                drawer.connection,
                drawer.ledger_id,
                person,
                roles=role,
                permissions=permissions,
                password_hash=drawer.passwords.hashed(password),
                by=cli_reads.actor(),
                at=drawer.at,
            )
        except staff.StaffError as error:
            raise Failed(_sentence(error.field, error.rule)) from None
        if not is_new:
            msg = "There is a person of that id already."
            raise Failed(msg)
    shown = {"person_id": person, "roles": sorted(role), "password": password}
    answer(common or Common(), shown, password)


@staff_app.command(name="list")
def list_people(*, common: Common | None = None) -> None:
    """The people who may log in, without anything that they prove themselves by."""
    from api import output, staff

    def page(after: str) -> list[staff.ShownPerson]:
        """The people after one of them."""
        return staff.listed(drawer.connection, drawer.ledger_id, after=after, limit=output.PAGE)

    found: list[staff.ShownPerson] = []
    with _at_desk(common, "list_staff", None, ()) as drawer:
        while some := page(found[-1].person_id if found else ""):
            found += some
    lines = [
        f"{person.person_id}  {','.join(person.roles)}  {','.join(person.permissions) or '-'}"
        f"  {_state(person)}"
        for person in found
    ]
    shown = [
        {
            "person_id": person.person_id,
            "roles": list(person.roles),
            "permissions": list(person.permissions),
            "created_at": person.created_at,
            "created_by": person.created_by,
            "disabled_at": person.disabled_at,
            "password_expires_at": person.password_expires_at,
        }
        for person in found
    ]
    answer(common or Common(), shown, "\n".join(lines) or "Nobody.")


@staff_app.command
def roles(
    person: str,
    /,
    *,
    role: list[str],
    permission: list[str] | None = None,
    common: Common | None = None,
) -> None:
    """Give PERSON the roles and permissions that are named, and no others."""
    from api import staff

    with _at_desk(common, "set_staff_roles", person, role) as drawer:
        _require_roles(drawer, role)
        try:
            is_there = staff.set_roles(
                drawer.connection,
                drawer.ledger_id,
                person,
                roles=role,
                permissions=permission or [],
            )
        except staff.StaffError as error:
            raise Failed(_sentence(error.field, error.rule)) from None
        if not is_there:
            raise Failed(_NOBODY)
    answer(common or Common(), {"person_id": person, "roles": sorted(role)}, "Done.")


@staff_app.command
def reset(person: str, /, *, common: Common | None = None) -> None:
    """Give PERSON a new first password; second factors are gone, and all sessions end."""
    issued: list[str] = []

    def act(drawer: Drawer, found: Person) -> None:
        """Let go of everything that the person proved anything by."""
        from api import sessions, staff

        password = drawer.passwords.initial()
        hashed = drawer.passwords.hashed(password)
        staff.reset_password(drawer.connection, found, hashed, drawer.at)
        drawer.factors.remove_all(found, drawer.at)
        drawer.passkeys.remove_all(person)
        _forget_attempts(drawer, person)
        sessions.end_all(drawer.connection, drawer.ledger_id, person, drawer.at)
        issued.append(password)

    _change(common, "reset_staff", person, act)
    answer(common or Common(), {"person_id": person, "password": issued[0]}, issued[0])


@staff_app.command
def disable(person: str, /, *, common: Common | None = None) -> None:
    """Let PERSON in no longer; all sessions end."""

    def act(drawer: Drawer, _: Person) -> None:
        """Note since when."""
        from api import sessions, staff

        staff.set_disabled(drawer.connection, drawer.ledger_id, person, drawer.at)
        sessions.end_all(drawer.connection, drawer.ledger_id, person, drawer.at)

    _change(common, "disable_staff", person, act)
    answer(common or Common(), {"person_id": person, "disabled": True}, "Disabled.")


@staff_app.command
def enable(person: str, /, *, common: Common | None = None) -> None:
    """Let PERSON in again."""

    def act(drawer: Drawer, _: Person) -> None:
        """Note it."""
        from api import staff

        staff.set_disabled(drawer.connection, drawer.ledger_id, person, None)

    _change(common, "enable_staff", person, act)
    answer(common or Common(), {"person_id": person, "disabled": False}, "Enabled.")


@staff_app.command
def unlock(person: str, /, *, common: Common | None = None) -> None:
    """Forget the attempts of PERSON that failed: the next one need not wait."""
    _change(common, "unlock_staff", person, lambda drawer, _: _forget_attempts(drawer, person))
    answer(common or Common(), {"person_id": person, "locked": False}, "Unlocked.")


@staff_app.command(name="log-out")
def log_out(person: str, /, *, common: Common | None = None) -> None:
    """End all sessions of PERSON."""
    ended: list[str] = []

    def act(drawer: Drawer, _: Person) -> None:
        """End them."""
        from api import sessions

        ended.extend(sessions.end_all(drawer.connection, drawer.ledger_id, person, drawer.at))

    _change(common, "end_staff_sessions", person, act)
    shown = {"person_id": person, "ended": len(ended)}
    answer(common or Common(), shown, f"{len(ended)} sessions ended.")


def _change(
    common: Common | None,
    operation: str,
    person_id: str,
    act: Callable[[Drawer, Person], None],
) -> None:
    """Change something about a person, in one transaction.

    Raises:
        Failed: there is no such person.
    """
    from api import staff

    with (
        _at_desk(common, operation, person_id, ()) as drawer,
        drawer.connection.transaction(),
    ):
        found = staff.find_locked(drawer.connection, drawer.ledger_id, person_id)
        if found is None:
            raise Failed(_NOBODY)
        act(drawer, found)


@contextmanager
def _at_desk(
    common: Common | None,
    operation: str,
    person_id: str | None,
    given: list[str] | tuple[()],
    *,
    creates_ledger: bool = False,
) -> Iterator[Drawer]:
    """What work on staff needs, once it is recorded what is about to be done.

    Raises:
        Failed: it cannot be recorded, or the id is none that a person may have.
    """
    from api import clock, staff
    from api.passwords import Passwords
    from api.staff_desk import Drawer

    if person_id is not None and not staff.is_person_id(person_id):
        raise Failed(_sentence("PERSON", staff.PERSON_RULE))
    name = ledger_name(common)
    with writing_runtime() as runtime:
        # A mistyped name must not make a ledger; the default one may be there before its first use.
        is_new = creates_ledger and name == DEFAULT_LEDGER
        ledger_id = (runtime.create_ledger if is_new else runtime.ledger_id)(name)
        about = () if person_id is None else (f"person:{person_id}",)
        record_read(
            runtime, ledger_id, common, operation, *about, *(f"role:{role}" for role in given)
        )
        passwords = Passwords(runtime.settings.server_secret, clock.random_bytes)
        with runtime.connect("ledger_writer") as connection:
            yield Drawer(runtime, passwords, connection, ledger_id, clock.now())


def _require_roles(drawer: Drawer, given: list[str]) -> None:
    """The roles are roles of the ledger.

    Raises:
        Failed: one is not.
    """
    from api import role_book

    known = role_book.read(drawer.connection, drawer.ledger_id)
    if not known.keys() >= set(given):
        msg = f"There is no such role; there are: {', '.join(sorted(known))}."
        raise Failed(msg)


def _forget_attempts(drawer: Drawer, person_id: str) -> None:
    """Forget what failed of a person's attempts."""
    drawer.attempts.forget("person", person_id)
    drawer.attempts.forget("code", person_id)


def _state(person: object) -> str:
    """Whether a person may come in."""
    if getattr(person, "disabled_at", None) is not None:
        return "disabled"
    if getattr(person, "password_expires_at", None) is not None:
        return "first password"
    return "active"


def _sentence(field: str, rule: str) -> str:
    """The sentence about a field that does not have its form."""
    return f"{field}: {rule}."
