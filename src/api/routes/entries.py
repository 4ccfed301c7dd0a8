"""Routes of journal entries: book one of any number of postings, and read one."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy
from fastapi import Query
from fastapi.responses import Response
from pydantic import Field

from api import answers, masking
from api.callers import Caller
from api.command_routes import CommandRoute
from api.parameters import AsOfQuery
from api.routes.balances import balance_answer
from api.sql import driver_connection
from api.views import PathId, Reader, ReaderOf, ViewRoute, moment
from ledger_core import events, log
from ledger_core.entries import PostEntry
from ledger_core.errors import EntryNotFound
from ledger_core.fields import ENTRY_PREFIX, position_of
from ledger_core.journal import JournalEntryPosted, entry_id_at
from projections.balance_queries import balances_of_ids
from projections.reading import NOW, AsOf, resolve

COMMANDS = (
    CommandRoute(
        path="/v1/entries",
        command=PostEntry,
        event=JournalEntryPosted,
        summary="Book an entry of 2 to 1,000 postings, balanced in every currency",
        example={
            "postings": [
                {
                    "account_id": "anna-current",
                    "side": "debit",
                    "amount": "250",
                    "currency": "EUR",
                },
                {"account_id": "fees", "side": "credit", "amount": "250", "currency": "EUR"},
            ],
            "description": "Account fee for May",
        },
    ),
)


class EntryDocument(answers.EntryAnswer, frozen=True, omit_defaults=True):
    """A journal entry, and where it was reversed, if it was."""

    reversed_position: int | None = None
    accounts: Annotated[
        list[dict[str, Any]] | None,
        msgspec.Meta(
            description="With `expand=accounts`: the accounts of the postings, as of then.",
            extra_json_schema={"items": {"$ref": "#/components/schemas/BalanceAnswer"}},
        ),
    ] = None


class EntryQuery(AsOfQuery):
    """As of when, and what to show beside the entry."""

    expand: Literal["accounts"] | None = Field(
        default=None, description="`accounts`: the accounts of its postings, too, as of then."
    )


async def get_entry(
    reader: ReaderOf, entry_id: PathId, query: Annotated[EntryQuery, Query()]
) -> Response:
    """A journal entry, by its own id or the one that the ledger gave it, as of then."""
    await reader.wait(query)
    as_of = moment(query.as_of, query.as_of_position)

    def read(connection: sqlalchemy.Connection) -> EntryDocument:
        """The entry, with its accounts where they are asked for."""
        found = _entry(connection, reader, entry_id, as_of)
        if query.expand is None:
            return found
        names = sorted({line.account_id for line in found.postings})
        shown = balances_of_ids(connection, reader.ledger_id, names, as_of=as_of)
        return msgspec.structs.replace(
            found, accounts=[balance_answer(item).model_dump(mode="json") for item in shown]
        )

    found = await reader.run(read)
    if query.expand is None:
        reversed_at = found.reversed_position
        reader.keeping.tag = f"{found.position}" + (f"-{reversed_at}" if reversed_at else "")
    return Response(answers.encode(found), media_type="application/json")


def _entry(
    connection: sqlalchemy.Connection, reader: Reader, entry_id: str, as_of: AsOf
) -> EntryDocument:
    """The entry of that id, and where it was reversed by then.

    Raises:
        EntryNotFound: none was booked by then.
        PositionAhead: the position asked about is not there yet.
    """
    raw, ledger_id = driver_connection(connection), reader.ledger_id
    places = log.find_identities(raw, ledger_id, entry_id)
    if as_of != NOW:  # Now, the log alone tells: an entry is there before it is projected.
        last = resolve(connection, ledger_id, as_of, "event_tags").position
        places = {kind: position for kind, position in places.items() if position <= last}
        if (position_of(entry_id, ENTRY_PREFIX) or 0) > last:
            raise EntryNotFound(field="entry_id")
    position = places.get("entry") or position_of(entry_id, ENTRY_PREFIX)
    stored = log.read_events(raw, ledger_id, position - 1, 1) if position else []
    if not stored or stored[0].position != position:
        raise EntryNotFound(field="entry_id")
    event = events.decode(stored[0].type, stored[0].version, stored[0].data)
    if not isinstance(event, JournalEntryPosted) or entry_id_at(event, position) != entry_id:
        raise EntryNotFound(field="entry_id")
    found = entry_document(event, position, stored[0].recorded_at, places.get("reversal"))
    return as_shown(found, reader.caller)


def entry_document(
    event: JournalEntryPosted, position: int, recorded_at: datetime, reversed_position: int | None
) -> EntryDocument:
    """The entry at a position as a document."""
    answer = answers.entry_answer(event, position, recorded_at)
    values = {name: getattr(answer, name) for name in answer.__struct_fields__}
    return EntryDocument(**values, reversed_position=reversed_position)


def as_shown(found: EntryDocument, caller: Caller) -> EntryDocument:
    """The entry as the caller may see it: its description may name a card."""
    covered = masking.covered(found.description, caller.authority.personal)
    if covered == found.description:
        return found
    return msgspec.structs.replace(found, description=covered)


VIEWS = (
    ViewRoute(
        path="/v1/entries/{entry_id}",
        operation="get_entry",
        endpoint=get_entry,
        summary="A journal entry",
        answer=EntryDocument,
    ),
)
