"""Routes of API keys: made, rotated and ended by whoever may, within what they may themselves.

A key's text is in one answer only, that to the request that made it: where that answer is lost, the
key is there without anybody knowing it, and is to be ended.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
import sqlalchemy
from fastapi import Query
from pydantic import Field

from api import api_keys, clock
from api.actions import ActionRoute, Done, Request
from api.api_keys import ApiKey, KeyRefused, NewKey
from api.key_granting import admit, bound_by, instant, require_may_have
from api.parameters import Page
from api.problems import NOT_FOUND, FieldError, Problem, malformed
from api.sql import driver_connection
from api.views import Answer, PathId, ReaderOf, ViewRoute
from ledger_core.log import Connection
from projections.reading import page_size

OVERLAP_S_DEFAULT = 86_400

_HOLDING = "a key that holds, and was not rotated yet"
_T = TypeVar("_T")


class CreateKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make an API key; the answer shows it for the only time.

    It allows no more than you may yourself: permissions, amounts, fields. `scopes` narrows its role
    further: permissions like `accounts.read` or `accounts.*`. It acts for you unless it names
    another `person`, which only who may manage staff can do; `permissions` count when that person
    approves. `rate_per_s`: how many requests a second it may send. `certificate_sha256`: it counts
    only over connections of the client certificate with that hash, in hexadecimal.
    """

    role: str
    name: str
    person: str | None = None
    permissions: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    rate_per_s: float | None = None
    certificate_sha256: str | None = None


class RotateKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a key that replaces another: the same in all but its secret and its time.

    The old key goes on to hold for `overlap_s` seconds (a day; at most 31 days), so that there is
    time to carry the new one to where it is used; then it opens nothing. Without `expires_at`, the
    new key is good for as long as the old one was when it was made.
    """

    overlap_s: int = OVERLAP_S_DEFAULT
    expires_at: datetime | None = None


class CreatedKeyAnswer(msgspec.Struct, frozen=True):
    """A key that was made; `key` is shown this once.

    The key that it `replaces` holds until `replaced_until`.
    """

    key: str
    key_id: str
    role: str
    person: str
    expires_at: datetime | None
    replaces: str | None = None
    replaced_until: datetime | None = None


class EndedKeyAnswer(msgspec.Struct, frozen=True):
    """A key that opens nothing from that moment on."""

    key_id: str
    revoked_at: datetime


class ApiKeyAnswer(Answer):
    """An API key, without its secret, which nobody has but its holder."""

    key_id: str
    role: str
    name: str
    person: str = Field(description="Who acts by it, in approvals.")
    permissions: list[str] = Field(description="What counts when that person approves.")
    scopes: list[str] | None = Field(description="What it is narrowed to; null: all of its role.")
    status: str = Field(description="`active`, `ending` (it was rotated), `expired`, `revoked`.")
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None = Field(description="In the future while a rotated key holds on.")
    last_used_at: datetime | None = Field(description="To the minute; null: never.")
    replaces: str | None = Field(description="The id of the key that it was made for.")
    rate_per_s: float | None
    certificate_sha256: str | None


class ApiKeysAnswer(Answer):
    """A page of the keys of the ledger, oldest first."""

    keys: list[ApiKeyAnswer]
    next: str = Field(description="The cursor of the next page; empty at the end.")


async def list_keys(reader: ReaderOf, query: Annotated[Page, Query()]) -> ApiKeysAnswer:
    """The API keys of the ledger, oldest first, ended ones too."""
    place = reader.place("list_keys", query)
    after = None if place is None else (_moment(place.after[0]), str(place.after[1]))
    size = page_size(query.limit)

    def read(connection: sqlalchemy.Connection) -> list[ApiKey]:
        """What follows the page before, and one more."""
        raw = driver_connection(connection)
        return api_keys.list_keys(raw, reader.ledger_id, after=after, limit=size + 1)

    found = await reader.run(read)
    shown = found[:size]
    last = (shown[-1].created_at.isoformat(), shown[-1].key_id) if len(found) > size else None
    return ApiKeysAnswer(
        keys=[_answer(key, clock.now()) for key in shown],
        next=reader.cursor("list_keys", query, 0, last),
    )


async def get_key(reader: ReaderOf, key_id: PathId) -> ApiKeyAnswer:
    """An API key."""
    found = await reader.run(
        lambda connection: api_keys.find(driver_connection(connection), reader.ledger_id, key_id)
    )
    if found is None:
        raise Problem(NOT_FOUND)
    return _answer(found, clock.now())


async def create_key(request: Request, body: CreateKey) -> Done:
    """Make a key."""
    caller, context, at = request.known, request.context, clock.now()
    new = NewKey(
        role=body.role,
        name=body.name,
        expires_at=instant(body.expires_at, "expires_at"),
        person=body.person,
        permissions=body.permissions,
        scopes=body.scopes,
        rate_per_s=body.rate_per_s,
        certificate_sha256=_hash(body.certificate_sha256),
        created_by=caller.actor,
    )
    new = await admit(caller, context.role_book, new, at)
    made = await context.reads.off_loop(lambda: context.runtime.make_key(caller.ledger_id, new))
    request.about(f"key:{made.key_id}")
    person = new.person or made.key_id
    return Done(CreatedKeyAnswer(made.text, made.key_id, new.role, person, new.expires_at))


async def rotate_key(request: Request, body: RotateKey) -> Done:
    """Make a key that replaces another."""
    caller, context, at = request.known, request.context, clock.now()
    key = await _find(request)
    if not key.is_valid(at):
        raise malformed(FieldError(_HOLDING))
    await require_may_have(caller, context.role_book, key)
    try:
        until = api_keys.overlap_end(at, body.overlap_s)
        expires_at = instant(body.expires_at, "expires_at")
        new = api_keys.successor(key, expires_at=expires_at, created_by=caller.actor, at=at)
        api_keys.require_future(new, at)
    except KeyRefused as refusal:
        raise malformed(FieldError(refusal.rule, refusal.field, f"/{refusal.field}")) from None
    bound = bound_by(caller, msgspec.structs.replace(new, person=caller.person))
    new = msgspec.structs.replace(bound, person=new.person)
    made = await context.reads.off_loop(
        lambda: context.runtime.replace_key(caller.ledger_id, new, until)
    )
    if made is None:
        raise malformed(FieldError(_HOLDING))
    _forget(request, key.key_id)
    request.about(f"key:{made.key_id}")
    replaced_until = until if key.ends_at is None else min(until, key.ends_at)
    return Done(
        CreatedKeyAnswer(
            made.text,
            made.key_id,
            new.role,
            new.person or made.key_id,
            new.expires_at,
            key.key_id,
            replaced_until,
        )
    )


async def revoke_key(request: Request, _: object) -> Done:
    """End a key, now and for good; one that has ended stays as it is."""
    caller, at = request.known, clock.now()
    key = await _find(request)

    def end(connection: Connection) -> bool:
        """End it."""
        return api_keys.revoke(connection, caller.ledger_id, key.key_id, at)

    is_ended = await _write(request, end)
    _forget(request, key.key_id)
    revoked_at = at if is_ended else (await _find(request)).revoked_at
    return Done(EndedKeyAnswer(key.key_id, revoked_at or at))


async def _find(request: Request) -> ApiKey:
    """The key of the caller's ledger that the address names.

    Raises:
        Problem: there is none.
    """
    key_id, ledger_id = request.path["key_id"], request.known.ledger_id

    def look(connection: Connection) -> ApiKey | None:
        return api_keys.find(connection, ledger_id, key_id)

    found = await request.context.reads.ask(look) if _is_id(key_id) else None
    if found is None:
        raise Problem(NOT_FOUND)
    request.about(f"key:{found.key_id}")
    return found


async def _write(request: Request, work: Callable[[Connection], _T]) -> _T:
    """What ``work`` returns, done as the writer off the event loop."""
    runtime = request.context.runtime

    def run() -> _T:
        """Do it on a connection of its own."""
        with runtime.connect("ledger_writer") as connection:
            return work(connection)

    return await request.context.reads.off_loop(run)


def _forget(request: Request, key_id: str) -> None:
    """Have this server know at once that a key was changed; others do in a moment."""
    context, ledger_id = request.context, request.known.ledger_id
    context.key_scheme.forget(ledger_id, key_id)
    context.key_ring.forget(ledger_id, key_id)


def _is_id(key_id: str) -> bool:
    """Whether a text can be the id of a key: anything else is not asked of the database."""
    return key_id.isascii() and key_id.isalnum()


def _hash(text: str | None) -> bytes | None:
    """The SHA-256 that a body names in hexadecimal.

    Raises:
        Problem: it is none.
    """
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        rule = "a SHA-256 hash: 64 hexadecimal digits"
        field = "certificate_sha256"
        raise malformed(FieldError(rule, field, f"/{field}")) from None


def _moment(text: object) -> datetime:
    """The moment in a cursor of ours."""
    return datetime.fromisoformat(str(text))


def _answer(key: ApiKey, at: datetime) -> ApiKeyAnswer:
    """A key as a document."""
    hashed = key.certificate_sha256
    return ApiKeyAnswer(
        key_id=key.key_id,
        role=key.role,
        name=key.name,
        person=key.person,
        permissions=list(key.permissions),
        scopes=None if key.scopes is None else list(key.scopes),
        status=key.status(at),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
        replaces=key.replaces,
        rate_per_s=key.rate_per_s,
        certificate_sha256=None if hashed is None else hashed.hex(),
    )


_EXAMPLE: dict[str, Any] = {
    "role": "teller",
    "name": "counter 3",
    "scopes": ["movements.post", "accounts.read"],
    "expires_at": "2027-01-31T12:00:00Z",
}

ACTIONS = (
    ActionRoute(
        path="/v1/keys",
        operation="create_key",
        body=CreateKey,
        answer=CreatedKeyAnswer,
        act=create_key,
        summary="Make an API key",
        example=_EXAMPLE,
        status=201,
    ),
    ActionRoute(
        path="/v1/keys/{key_id}/rotate",
        operation="rotate_key",
        body=RotateKey,
        answer=CreatedKeyAnswer,
        act=rotate_key,
        summary="Replace an API key by a new one",
        example={"overlap_s": 3600},
        status=201,
    ),
    ActionRoute(
        path="/v1/keys/{key_id}/revoke",
        operation="revoke_key",
        body=None,
        answer=EndedKeyAnswer,
        act=revoke_key,
        summary="End an API key for good",
    ),
)
VIEWS = (
    ViewRoute(
        path="/v1/keys",
        operation="list_keys",
        endpoint=list_keys,
        summary="The API keys of the ledger",
        keep="never",
    ),
    ViewRoute(
        path="/v1/keys/{key_id}",
        operation="get_key",
        endpoint=get_key,
        summary="An API key",
        keep="never",
    ),
)
