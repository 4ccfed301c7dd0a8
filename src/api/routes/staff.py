"""Routes by which staff are looked after: who may come in, with which roles.

Who looks after staff hands out no more than they have, and resets nobody who has more.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from api import clock, sessions, staff
from api.actions import ActionRoute, Done, Request
from api.callers import Credential
from api.delegation import require_within
from api.own_session import DoneAnswer
from api.problems import FieldError, Kind, Problem, malformed
from api.routes.staff_views import STAFF_NOT_FOUND
from api.staff import INITIAL_PASSWORD_TIME, ROLES_RULE, Person, StaffError
from api.staff_desk import Drawer

STAFF_EXISTS = Kind(409, "staff_exists", "There is a person of that id already.")
STAFF_CHANGED = Kind(409, "staff_changed", "The person was changed at this moment: try again.")

Act = Callable[[Request, Any], Awaitable[Done]]

_MADE = 201
_CONFLICT = 409


class CreateStaff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take somebody in. `person_id` stays in the logs in clear: an opaque id, no name, no address.

    `permissions` are names that count in approvals beside the roles. The password in the answer
    opens nothing after three days, and is changed at the first log-in.
    """

    person_id: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...] = ()


class SetStaffRoles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give a person these roles and permissions, and no others; at once, sessions included."""

    roles: tuple[str, ...]
    permissions: tuple[str, ...] = ()


class InitialPassword(msgspec.Struct, frozen=True):
    """A person's password for the first log-in, shown this once."""

    person_id: str
    roles: tuple[str, ...]
    password: str
    password_expires_at: datetime


async def create_staff(request: Request, body: CreateStaff) -> Done:
    """Take somebody in, with no more than the caller has."""
    caller = request.known
    _require_forms(body.person_id, body.roles, body.permissions)
    _tell_whom(request, body.person_id, body.roles)
    await _require_within(request, body.roles, body.permissions)

    def create(drawer: Drawer) -> str:
        """The password."""
        password = drawer.passwords.initial()
        is_new = staff.create(
            drawer.connection,
            drawer.ledger_id,
            body.person_id,
            roles=body.roles,
            permissions=body.permissions,
            password_hash=drawer.passwords.hashed(password),
            by=caller.actor,
            at=drawer.at,
        )
        if not is_new:
            raise Problem(STAFF_EXISTS)
        return password

    password = await request.context.staff.work(caller.ledger_id, create)
    return Done(_initial(body.person_id, body.roles, password))


async def set_staff_roles(request: Request, body: SetStaffRoles) -> Done:
    """Give a person other roles: neither the former nor the new ones are more than the caller's."""
    person_id = request.path["person_id"]
    _require_forms(person_id, body.roles, body.permissions, STAFF_NOT_FOUND)
    _tell_whom(request, person_id, body.roles)
    await _require_within(request, body.roles, body.permissions)

    def set_roles(drawer: Drawer, _: Person) -> None:
        """Give the roles."""
        staff.set_roles(
            drawer.connection,
            drawer.ledger_id,
            person_id,
            roles=body.roles,
            permissions=body.permissions,
        )

    await _change(request, set_roles)
    return Done(DoneAnswer())


async def reset_staff(request: Request, _: None) -> Done:
    """Give a person a new first password; second factors are gone, and all sessions ended."""
    issued: list[tuple[Person, str]] = []

    def reset(drawer: Drawer, person: Person) -> None:
        """Let go of everything that the person proved anything by."""
        password = drawer.passwords.initial()
        staff.reset_password(
            drawer.connection, person, drawer.passwords.hashed(password), drawer.at
        )
        drawer.factors.remove_all(person, drawer.at)
        drawer.passkeys.remove_all(person.person_id)
        _forget_attempts(drawer, person)
        issued.append((person, password))

    await _change(request, reset, ends_sessions="all")
    person, password = issued[0]
    return Done(_initial(person.person_id, tuple(person.roles), password))


async def disable_staff(request: Request, _: None) -> Done:
    """Let a person in no longer; all sessions end."""

    def disable(drawer: Drawer, person: Person) -> None:
        """Note since when."""
        staff.set_disabled(drawer.connection, drawer.ledger_id, person.person_id, drawer.at)

    await _change(request, disable, ends_sessions="all", of="anybody")
    return Done(DoneAnswer())


async def enable_staff(request: Request, _: None) -> Done:
    """Let a person in again."""

    def enable(drawer: Drawer, person: Person) -> None:
        """Note it."""
        staff.set_disabled(drawer.connection, drawer.ledger_id, person.person_id, None)

    await _change(request, enable)
    return Done(DoneAnswer())


async def unlock_staff(request: Request, _: None) -> Done:
    """Forget the attempts that failed: the person need not wait."""
    await _change(request, _forget_attempts, of="anybody")
    return Done(DoneAnswer())


async def end_staff_sessions(request: Request, _: None) -> Done:
    """End every session of a person."""
    await _change(request, lambda _drawer, _person: None, ends_sessions="all", of="anybody")
    return Done(DoneAnswer())


async def _change(
    request: Request,
    change: Callable[[Drawer, Person], None],
    *,
    ends_sessions: Literal["all", "none"] = "none",
    of: Literal["anybody", "within"] = "within",
) -> None:
    """Change something about the person whom the address names, in one transaction.

    ``of`` ``within``: only about who has no more than the caller.

    Raises:
        Problem: there is no such person, or the person has more than the caller.
    """
    caller, context, person_id = request.known, request.context, request.path["person_id"]
    if not staff.is_person_id(person_id):
        raise Problem(STAFF_NOT_FOUND)
    request.about(f"person:{person_id}")
    person = await context.staff.work(
        caller.ledger_id,
        lambda drawer: staff.find(drawer.connection, drawer.ledger_id, person_id),
    )
    if person is None:
        raise Problem(STAFF_NOT_FOUND)
    if of == "within":
        held = await context.role_book.authority(_as_credential(person))
        require_within(caller, held, person.permissions)

    def whole(drawer: Drawer) -> list[str]:
        """The sessions that ended."""
        found = staff.find_locked(drawer.connection, drawer.ledger_id, person_id)
        if found is None or (found.roles, found.permissions) != (person.roles, person.permissions):
            raise Problem(STAFF_CHANGED)
        change(drawer, found)
        if ends_sessions == "none":
            return []
        return sessions.end_all(drawer.connection, drawer.ledger_id, person_id, drawer.at)

    for session_id in await context.staff.transact(caller.ledger_id, whole):
        context.key_ring.forget(caller.ledger_id, session_id)


async def _require_within(
    request: Request, roles: Sequence[str], permissions: Sequence[str]
) -> None:
    """Roles are those of the ledger, and give no more than the caller has.

    Raises:
        Problem: they are not, or do.
    """
    caller = request.known
    given = await request.context.role_book.authority_of_roles(caller.ledger_id, roles)
    if given is None:
        raise malformed(FieldError(ROLES_RULE, "roles", "/roles"))
    require_within(caller, given, permissions)


def _require_forms(
    person_id: str,
    roles: Sequence[str],
    permissions: Sequence[str],
    otherwise: Kind | None = None,
) -> None:
    """A person, roles and permissions have their form.

    Raises:
        Problem: one of them has not; ``otherwise`` where it is the person in the address.
    """
    try:
        staff.require_forms(person_id, roles, permissions)
    except StaffError as error:
        if error.field == "person_id" and otherwise is not None:
            raise Problem(otherwise) from None
        raise malformed(FieldError(error.rule, error.field, f"/{error.field}")) from None


def _tell_whom(request: Request, person_id: str, roles: Sequence[str]) -> None:
    """Have it recorded who is given which roles."""
    request.about(f"person:{person_id}", *(f"role:{role}" for role in roles))


def _forget_attempts(drawer: Drawer, person: Person) -> None:
    """Forget what failed of a person's attempts."""
    drawer.attempts.forget("person", person.person_id)
    drawer.attempts.forget("code", person.person_id)


def _as_credential(person: Person) -> Credential:
    """What a person would be to the table of roles, if logged in."""
    return Credential(
        ledger_id=person.ledger_id,
        credential_id="",
        kind="session",
        actor=f"person:{person.person_id}",
        person=person.person_id,
        roles=tuple(person.roles),
    )


def _initial(person_id: str, roles: tuple[str, ...], password: str) -> InitialPassword:
    """A first password, as it is shown once."""
    until = clock.now() + INITIAL_PASSWORD_TIME
    return InitialPassword(person_id, roles, password, until)


def _about_one(name: str, act: Act, summary: str, answer: type[msgspec.Struct]) -> ActionRoute:
    """The route of an action on one person, which takes no body."""
    verb = name.partition("_")[0] if name != "end_staff_sessions" else "log-out"
    return ActionRoute(
        path=f"/v1/staff/{{person_id}}/{verb}",
        operation=name,
        body=None,
        answer=answer,
        act=act,
        summary=summary,
        tag="staff",
        refusals=(_CONFLICT,),
    )


ACTIONS = (
    ActionRoute(
        path="/v1/staff",
        operation="create_staff",
        body=CreateStaff,
        answer=InitialPassword,
        act=create_staff,
        summary="Take somebody in",
        example={"person_id": "t-4711", "roles": ["teller"], "permissions": []},
        status=_MADE,
        tag="staff",
        refusals=(_CONFLICT,),
    ),
    ActionRoute(
        path="/v1/staff/{person_id}/roles",
        operation="set_staff_roles",
        body=SetStaffRoles,
        answer=DoneAnswer,
        act=set_staff_roles,
        summary="Give a person other roles",
        example={"roles": ["teller"], "permissions": []},
        tag="staff",
        refusals=(_CONFLICT,),
    ),
    _about_one(
        "reset_staff", reset_staff, "A new first password; second factors go", InitialPassword
    ),
    _about_one("disable_staff", disable_staff, "Let a person in no longer", DoneAnswer),
    _about_one("enable_staff", enable_staff, "Let a person in again", DoneAnswer),
    _about_one("unlock_staff", unlock_staff, "Forget a person's failed attempts", DoneAnswer),
    _about_one(
        "end_staff_sessions", end_staff_sessions, "End all sessions of a person", DoneAnswer
    ),
)
