"""Views of staff: who may come in with which roles, where they are logged in; one's own session."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query
from pydantic import Field

from api import clock, sessions, staff
from api.own_session import SESSION_REQUIRED
from api.parameters import Page
from api.parameters import Query as NoQuery
from api.problems import Kind, Problem
from api.staff import ShownPerson
from api.views import Answer, PathId, Reader, ReaderOf, ViewRoute
from ledger_core.log import Connection
from projections.reading import page_size

STAFF_NOT_FOUND = Kind(404, "staff_not_found", "There is no person of that id.")

_T = TypeVar("_T")


class StaffAnswer(Answer):
    """A member of staff."""

    person_id: str
    roles: list[str]
    permissions: list[str] = Field(description="What counts in approvals beside the roles.")
    created_at: datetime
    created_by: str = Field(description="The actor who took the person in.")
    disabled_at: datetime | None = Field(description="Since when the person is not let in.")
    password_expires_at: datetime | None = Field(
        description="Until when the first password, which is not changed yet, opens anything."
    )


class StaffListing(Answer):
    """A page of the members of staff."""

    staff: list[StaffAnswer]
    next: str = Field(description="The cursor of the next page; empty at the end.")


class ShownSession(Answer):
    """A session that is open, or was left open."""

    session_id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    second_factor_at: datetime | None = Field(
        description="When more than a password was last proved."
    )


class OneStaffAnswer(StaffAnswer):
    """A member of staff, and where the person is logged in."""

    sessions: list[ShownSession]


class ShownPasskey(Answer):
    """A passkey."""

    passkey_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


class OwnSessionAnswer(Answer):
    """Your session, and what it allows."""

    session_id: str
    person: str
    roles: list[str]
    permissions: list[str] = Field(description="What your roles allow in this session, now.")
    created_at: datetime
    expires_at: datetime
    idle_s: int = Field(description="So long after your last request the session ends.")
    second_factor_at: datetime | None = Field(
        description="When you last proved more than a password."
    )
    to_do: list[str] = Field(
        description="What is to be set up before the roles count: `password`, `second_factor`."
    )
    passkeys: list[ShownPasskey]


async def list_staff(reader: ReaderOf, query: Annotated[Page, Query()]) -> StaffListing:
    """The members of staff, by id."""
    place, size = reader.place("list_staff", query), page_size(query.limit)
    after = "" if place is None else str(place.after[0])
    found = await _read(
        reader,
        lambda connection: staff.listed(connection, reader.ledger_id, after=after, limit=size + 1),
    )
    page = found[:size]
    more = (page[-1].person_id,) if len(found) > size else None
    return StaffListing(
        staff=[StaffAnswer(**_shown(person)) for person in page],
        next=reader.cursor("list_staff", query, 0, more),
    )


async def get_staff(
    reader: ReaderOf, person_id: PathId, _: Annotated[NoQuery, Query()]
) -> OneStaffAnswer:
    """A member of staff, and the sessions that did not end."""
    ledger_id, now = reader.ledger_id, clock.now()

    def read(connection: Connection) -> tuple[ShownPerson | None, list[sessions.Session]]:
        """The person and the sessions."""
        person = staff.shown(connection, ledger_id, person_id)
        return person, sessions.listed(connection, ledger_id, person_id, now)

    person, found = await _read(reader, read)
    if person is None:
        raise Problem(STAFF_NOT_FOUND)
    return OneStaffAnswer(**_shown(person), sessions=[_shown_session(item) for item in found])


async def get_own_session(reader: ReaderOf, _: Annotated[NoQuery, Query()]) -> OwnSessionAnswer:
    """Whose session this is, and what it allows."""
    caller = reader.caller
    if caller.credential.kind != "session":
        raise Problem(SESSION_REQUIRED)
    settings = reader.context.runtime.settings.staff

    def read(
        connection: Connection,
    ) -> tuple[sessions.Session | None, list[tuple[str, str, datetime, datetime | None]]]:
        """The session as it is now, and the passkeys."""
        rows = connection.execute(
            "SELECT passkey_id, name, created_at, last_used_at FROM keystore.staff_passkeys"
            " WHERE ledger_id = %s AND person_id = %s ORDER BY created_at, passkey_id",
            (caller.ledger_id, caller.person),
        ).fetchall()
        found = sessions.find(connection, caller.ledger_id, caller.key_id)
        return found, [(row[0], row[1], row[2], row[3]) for row in rows]

    session, passkeys = await _read(reader, read)
    if session is None:
        raise Problem(SESSION_REQUIRED)
    to_do = ["password"] if session.is_new_here else []
    if session.second_factor_at is None:
        to_do.append("second_factor")
    return OwnSessionAnswer(
        session_id=session.session_id,
        person=session.person_id,
        roles=list(session.roles),
        permissions=sorted(caller.authority.permissions),
        created_at=session.created_at,
        expires_at=session.expires_at,
        idle_s=settings.idle_s,
        second_factor_at=session.second_factor_at,
        to_do=to_do,
        passkeys=[
            ShownPasskey(passkey_id=key, name=name, created_at=made, last_used_at=used)
            for key, name, made, used in passkeys
        ],
    )


async def _read(reader: Reader, question: Callable[[Connection], _T]) -> _T:
    """The answer to a question about the key store."""
    return await reader.context.reads.ask(question)


def _shown(person: ShownPerson) -> dict[str, Any]:
    """A person as the members of a document."""
    return msgspec.structs.asdict(person)


def _shown_session(session: sessions.Session) -> ShownSession:
    """A session as a document."""
    return ShownSession(
        session_id=session.session_id,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.expires_at,
        second_factor_at=session.second_factor_at,
    )


VIEWS = (
    ViewRoute(
        path="/v1/sessions/current",
        operation="get_own_session",
        endpoint=get_own_session,
        summary="Your session, and what it allows",
        keep="never",
    ),
    ViewRoute(
        path="/v1/staff",
        operation="list_staff",
        endpoint=list_staff,
        summary="The members of staff",
        keep="never",
    ),
    ViewRoute(
        path="/v1/staff/{person_id}",
        operation="get_staff",
        endpoint=get_staff,
        summary="A member of staff, and the sessions",
        keep="never",
    ),
)
