"""Routes of checkpoints: the signed heads of the log, and the public keys to check them with."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from fastapi import Path, Query
from fastapi.responses import Response
from pydantic import Field

from api import notary, parameters, signing_keys, timestamps
from api.notary import BeyondLogError, NotaryStoppedError, Signed
from api.parameters import Page, Position
from api.problems import NOT_FOUND, FieldError, Problem, malformed
from api.receipts import NOTARY_STOPPED
from api.sql import driver_connection
from api.views import Reader, ReaderOf, ViewRoute
from ledger_core.merkle import SIZE_MAX
from ledger_core.tiles import LogName

TEXT = "text/plain; charset=utf-8"
_T = TypeVar("_T")


class CheckpointsQuery(Page):
    """Whose checkpoints."""

    log: LogName = Field(default="events", description="Of the events, or of the access log.")


class CheckpointQuery(parameters.Query):
    """Whose checkpoint, and what it must cover."""

    log: LogName = Field(default="events", description="Of the events, or of the access log.")
    min_position: Position | None = Field(
        default=None, description="It must cover this position: signed now, if none does yet."
    )


class LogQuery(parameters.Query):
    """Whose checkpoint."""

    log: LogName = Field(default="events", description="Of the events, or of the access log.")


class KeysQuery(parameters.Query):
    """Nothing may be asked."""


class CheckpointAnswer(msgspec.Struct, frozen=True):
    """A signed head: ``note`` is the checkpoint itself, ``root`` in hexadecimal.

    ``timestamp``: an RFC 3161 response over the note's bytes in base64, where there is one.
    """

    log: LogName
    size: int
    root: str
    signed_at: datetime
    note: str
    timestamp: bytes | None = None


class CheckpointsAnswer(msgspec.Struct, frozen=True):
    """Checkpoints, the newest first; ``position`` is the size of the newest of all."""

    checkpoints: tuple[CheckpointAnswer, ...]
    position: int
    next: str


class KeyAnswer(msgspec.Struct, frozen=True):
    """A public key; ``public_key`` in base64, ``vkey`` as other programs take it."""

    name: str
    algorithm: str
    key_id: str
    public_key: str
    vkey: str


class KeysAnswer(msgspec.Struct, frozen=True):
    """The public keys of a ledger's checkpoints, oldest first: the last two sign now."""

    format: str
    origin: str
    keys: tuple[KeyAnswer, ...]


def answer_of(signed: Signed, timestamp: bytes | None = None) -> CheckpointAnswer:
    """A checkpoint as a document."""
    root = bytes(signed.root).hex()
    return CheckpointAnswer(signed.log, signed.size, root, signed.signed_at, signed.note, timestamp)


async def signing(reader: Reader, sign: Callable[[], _T]) -> _T:
    """What the notary says, off the event loop.

    Raises:
        Problem: the notary has stopped.
    """
    try:
        return await reader.context.reads.off_loop(sign)
    except NotaryStoppedError:
        raise Problem(NOTARY_STOPPED) from None


async def get_checkpoint(reader: ReaderOf, query: Annotated[CheckpointQuery, Query()]) -> Response:
    """The newest checkpoint as a signed note."""
    the_notary, ledger_id = reader.context.runtime.notary, reader.ledger_id
    try:
        if query.min_position is not None:
            asked = query.min_position
            found = await signing(reader, lambda: the_notary.covering(ledger_id, asked, query.log))
            return Response(found.note, media_type=TEXT)
    except BeyondLogError:
        raise malformed(FieldError("not beyond the log's end", "min_position")) from None
    stored = await reader.run(
        lambda connection: notary.newest(driver_connection(connection), ledger_id, query.log)
    )
    if stored is None:
        stored = await signing(reader, lambda: the_notary.at(ledger_id, query.log))
    return Response(stored.note, media_type=TEXT)


async def list_checkpoints(
    reader: ReaderOf, query: Annotated[CheckpointsQuery, Query()]
) -> Response:
    """Checkpoints, the newest first."""
    place = reader.place("list_checkpoints", query)
    up_to = None if place is None else int(place.after[0]) - 1
    found = await reader.run(
        lambda connection: notary.checkpoints(
            driver_connection(connection),
            reader.ledger_id,
            to_size=SIZE_MAX if up_to is None else up_to,
            log=query.log,
            limit=query.limit + 1,
            order="desc",
        )
    )
    shown = found[: query.limit]
    position = place.position if place is not None else (found[0].size if found else 0)
    after = (shown[-1].size,) if len(found) > query.limit else None
    answer = CheckpointsAnswer(
        tuple(answer_of(signed) for signed in shown),
        position,
        reader.cursor("list_checkpoints", query, position, after),
    )
    return _json(answer)


async def get_checkpoint_at(
    reader: ReaderOf,
    size: Annotated[Position, Path()],
    query: Annotated[LogQuery, Query()],
) -> Response:
    """The checkpoint of one size, with its time-stamp."""
    found, stamp = await reader.run(
        lambda connection: (
            notary.at_size(driver_connection(connection), reader.ledger_id, size, query.log),
            timestamps.stored(driver_connection(connection), reader.ledger_id, query.log, size),
        )
    )
    if found is None:
        raise Problem(NOT_FOUND)
    return _json(answer_of(found, stamp))


async def list_checkpoint_keys(reader: ReaderOf, query: Annotated[KeysQuery, Query()]) -> Response:
    """The public keys that checkpoints are checked with."""
    del query  # It has no parameter: whatever is asked is refused.
    settings = reader.context.runtime.settings
    name = await reader.run(
        lambda connection: notary.name_of(driver_connection(connection), reader.ledger_id)
    )
    keys = await reader.context.reads.off_loop(lambda: signing_keys.load(settings))
    return _json(keys.public(notary.origin_of(settings, name)))


def _json(answer: object) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(answer), media_type="application/json")


VIEWS = (
    ViewRoute(
        path="/v1/checkpoint",
        operation="get_checkpoint",
        endpoint=get_checkpoint,
        summary="The newest checkpoint, a signed note",
        media=("text/plain",),
    ),
    ViewRoute(
        path="/v1/checkpoints",
        operation="list_checkpoints",
        endpoint=list_checkpoints,
        summary="Checkpoints, the newest first",
        answer=CheckpointsAnswer,
    ),
    ViewRoute(
        path="/v1/checkpoints/{size}",
        operation="get_checkpoint_at",
        endpoint=get_checkpoint_at,
        summary="The checkpoint of one size",
        answer=CheckpointAnswer,
    ),
    ViewRoute(
        path="/v1/keys/checkpoints",
        operation="list_checkpoint_keys",
        endpoint=list_checkpoint_keys,
        summary="The public keys to check checkpoints with",
        answer=KeysAnswer,
    ),
)
