"""What the routes of views share: their line in the table, waiting, cursors, money on the wire."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Coroutine, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import sqlalchemy
from fastapi import Depends, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api import cursors
from api.caching import KEEPING, Keep, Keeping
from api.callers import Caller
from api.context import Context
from api.cursors import Key, Place
from api.due import head_after
from api.parameters import AsOfQuery, Fresh, Page, caller_of, filters_of
from api.paths import path_id
from api.problems import FieldError, malformed
from ledger_core.errors import LedgerBusy, ValidationFailed
from ledger_core.fields import require_id, require_text
from ledger_core.log import Connection
from projections.reading import AsOf, PositionAhead

# How long a read waits for what was due to be reflected.
DUE_WAIT_S = 2.0

_T = TypeVar("_T")
_Q = TypeVar("_Q", bound=BaseModel)

_MINOR: dict[str, Any] = {
    "description": "Minor units.",
    "pattern": "^-?[0-9]+$",
    "examples": ["1250"],
}
_DECIMAL: dict[str, Any] = {"description": "The same, as people write it.", "examples": ["12.50"]}
# In words that either kind of document understands.
Minor = Annotated[str, Field(**_MINOR), msgspec.Meta(**_MINOR)]
Decimal = Annotated[str, Field(**_DECIMAL), msgspec.Meta(**_DECIMAL)]


class ViewRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Where a view is read; ``operation`` is its name in the table of roles.

    ``keep`` says how long an answer may be kept that is not pinned to a position. ``answer`` is
    the type of the document where the endpoint encodes it itself, ``headers`` what it adds,
    ``media`` are media types of the answer besides JSON, or instead of it, and ``thin`` is how the
    same answer is had without the framework.
    """

    path: str
    operation: str
    endpoint: Callable[..., Any]
    summary: str
    keep: Keep = "check"
    answer: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    thin: "Thin[Any] | None" = None

    def keeping(self, parameters: Container[str]) -> Keeping:
        """How long the answer to a request may be kept: what is of a past position, for good."""
        pinned = self.keep == "check" and "as_of_position" in parameters
        return Keeping("for_ever" if pinned else self.keep)


class Thin(msgspec.Struct, Generic[_Q], frozen=True):
    """How a view of one account is read without the framework (``direct_views``)."""

    query: type[_Q]
    body: Callable[["Reader", str, _Q], Awaitable[bytes]]


class Answer(BaseModel):
    """A document that a view answers with."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Reflecting(Answer):
    """An answer that says which moment of the ledger it reflects."""

    position: int = Field(description="The answer reflects everything up to this position.")
    recorded_at: datetime | None = Field(description="When that position was recorded.")


class Listing(Reflecting):
    """A page of a listing."""

    next: str = Field(description="The cursor of the next page; empty at the end.")


class Reader:
    """The read side as one caller has it: one ledger, and nothing else.

    ``keeping`` is how long the answer may be kept, and its tag; an endpoint may know better.
    """

    def __init__(self, context: Context, caller: Caller, keeping: Keeping) -> None:
        """Read for that caller."""
        self.context = context
        self.caller = caller
        self.ledger_id = caller.ledger_id
        self.keeping = keeping
        self._secret = context.runtime.settings.server_secret

    async def run(self, query: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """The query's answer.

        Raises:
            LedgerBusy: it would not be found in time.
        """
        return await self._in_room(self.context.reads.run(query))

    async def ask(self, query: AsOfQuery, question: Callable[[Connection], _T]) -> _T:
        """``wait``, and the answer to a question asked of the driver.

        Whether anything was due is mostly looked up beside the question, in one transaction.

        Raises:
            PositionAhead: as ``wait`` says.
        """
        due, ledger_id, reads = self.context.due, self.ledger_id, self.context.reads
        now = due.moment(None)
        is_settled = query.as_of_position is not None or due.is_believed(ledger_id, now)
        if query.min_position is not None or query.as_of is not None or is_settled:
            await self.wait(query)
            return await self._in_room(reads.ask(question))
        seen_at = asyncio.get_running_loop().time()

        def look(connection: Connection) -> _T:
            """The answer, and what is due."""
            due.look(connection, ledger_id, seen_at)
            return question(connection)

        found = await self._in_room(reads.ask(look))
        if not due.is_due(ledger_id, now):
            return found
        await self.wait(query)
        return await self._in_room(reads.ask(question))

    async def _in_room(self, answer: Coroutine[None, None, _T]) -> _T:
        """What a query that has yet to begin answers, if there is room for it.

        Raises:
            LedgerBusy: it would not be found in time.
        """
        room, loop = self.context.view_room, asyncio.get_running_loop()
        try:
            among = room.begin(1)
        except LedgerBusy:
            answer.close()
            raise
        begun_at_s = loop.time()
        try:
            return await answer
        finally:
            room.end(1)
            room.learn(among, loop.time() - begun_at_s)

    async def wait(self, query: Fresh) -> None:
        """Wait until the views reflect the position that the request asks for.

        Raises:
            PositionAhead: they do not within the time that the request allows.
        """
        await self._record_due(query)
        asked = query.min_position
        if asked is not None:
            await self._until(asked, query.wait_s)

    async def _record_due(self, query: Fresh) -> None:
        """Have recorded what was due by the moment that is asked about.

        Raises:
            PositionAhead: a past moment is asked about, and the views do not reflect it in time.
        """
        if not isinstance(query, AsOfQuery) or query.as_of_position is not None:
            return
        due, ledger_id, as_of = self.context.due, self.ledger_id, query.as_of
        moment = due.moment(as_of)
        if as_of is None and due.is_believed(ledger_id, moment):
            return
        seen_at = asyncio.get_running_loop().time()
        await self.run(lambda connection: due.look(connection, ledger_id, seen_at))
        if not due.is_due(ledger_id, moment):
            return
        runtime = self.context.runtime
        head = await self.context.reads.off_loop(lambda: head_after(runtime, ledger_id))
        try:
            await self._until(head, min(query.wait_s, DUE_WAIT_S))
        except PositionAhead:
            if as_of is not None:
                raise
            # What is shown now is what it says: as of the position that it names.

    async def _until(self, asked: int, wait_s: float) -> None:
        """Wait until the views reflect a position.

        Raises:
            PositionAhead: they do not within that time.
            LedgerBusy: too many wait already.
        """
        await self.context.waiting.until(self.ledger_id, asked, wait_s)

    def place(self, operation: str, query: Page, **ids: str) -> Place | None:
        """Where the page begins, if it is not the first.

        Raises:
            Problem: the cursor is not one of this listing.
        """
        if query.cursor is None:
            return None
        scope = cursors.Scope(self.ledger_id, operation, filters_of(query, **ids))
        return cursors.read(self._secret, scope, query.cursor)

    def cursor(
        self, operation: str, query: Page, position: int, after: Key | None, **ids: str
    ) -> str:
        """The cursor for what comes after a page; empty where nothing does."""
        if after is None:
            return ""
        scope = cursors.Scope(self.ledger_id, operation, filters_of(query, **ids))
        return cursors.write(self._secret, scope, Place(position, after))


async def reader_of(request: Request) -> Reader:
    """The reader for whoever sent the request."""
    caller = await caller_of(request)
    return Reader(request.app.state.context, caller, request.scope[KEEPING])


def moment(as_of: datetime | None, as_of_position: int | None, place: Place | None = None) -> AsOf:
    """The moment that a request is about; a later page is about that of the first."""
    if place is not None:
        return AsOf(place.position, as_of)
    return AsOf(as_of_position, as_of)


def require_span(first: date | None, last: date | None) -> None:
    """A span of days does not end before it begins.

    Raises:
        Problem: it does.
    """
    if first is not None and last is not None and last < first:
        raise malformed(FieldError("not before from_date", "to_date"))


def plain(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any answer of a query
    """The fields of a query's answer, nested ones too, with amounts as strings of minor units."""
    shown: dict[str, Any] = _plain(msgspec.to_builtins(value, builtin_types=(datetime, date)))
    return shown


def _plain(value: Any) -> Any:  # noqa: ANN401 - walks any JSON-like value
    """A value with every ``…_minor`` below it as a string, and tuples as lists."""
    if isinstance(value, Mapping):
        return {
            name: str(item) if _is_amount(name, item) else _plain(item)
            for name, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _is_amount(name: object, item: object) -> bool:
    """Whether a member is an amount in minor units."""
    return isinstance(name, str) and name.endswith("_minor") and isinstance(item, int)


def _id(segment: str) -> str:
    """The id that a segment of the address names."""
    return _checked(path_id(segment))


def _checked(value: str) -> str:
    """An id of the form that ids have."""
    try:
        require_id(value, field="id")
    except ValidationFailed as error:
        raise ValueError(error.rule) from None
    return value


def _text(value: str) -> str:
    """A text of the form that texts have."""
    try:
        require_text(value, field="text")
    except ValidationFailed as error:
        raise ValueError(error.rule) from None
    return value


PathId = Annotated[str, AfterValidator(_id)]
QueryId = Annotated[str, AfterValidator(_checked)]
QueryText = Annotated[str, AfterValidator(_text)]
ReaderOf = Annotated[Reader, Depends(reader_of)]
