"""Routes of the access log: who read what about which account or customer, for auditors.

To look at it is a read as well, and recorded there.
"""

from datetime import datetime
from typing import Annotated

import msgspec
import sqlalchemy
from fastapi import Query
from pydantic import AfterValidator, Field

from api.parameters import Instant, Page
from api.sql import driver_connection
from api.views import Answer, PathId, QueryText, Reader, ReaderOf, ViewRoute
from ledger_core import access_log
from ledger_core.access_log import AccessFilters, StoredAccess
from ledger_core.errors import ValidationFailed
from projections.links import linked_accounts
from projections.reading import AsOf, page_size, resolve


def _subject(value: str) -> str:
    """A subject of the form that subjects have."""
    try:
        access_log.require_subject(value)
    except ValidationFailed as error:
        raise ValueError(error.rule) from None
    return value


class AccessAnswer(Answer):
    """A read, as it stands in the access log."""

    number: int = Field(description="Its place in the access log: from 1, without a gap.")
    at: datetime = Field(description="When it was recorded.")
    actor: str = Field(description="Who read: an API key or, on the command line, a user.")
    operation: str = Field(description="What was called: an `operationId` of this document.")
    subjects: list[str] = Field(
        description="The accounts and customers asked about and shown; `ledger`: all of them."
    )
    reason: str = Field(description="Why, as the header `Ledger-Reason` said; empty: not said.")
    request_id: str
    status: int = Field(description="How it was answered; 400 and above: nothing was shown.")
    position: int | None = Field(description="The position of the ledger that was shown.")
    leaf_hash: str = Field(description="Of its leaf in the tree of the access log.")


class AccessesAnswer(Answer):
    """A page of the access log, newest first."""

    accesses: list[AccessAnswer]
    next: str = Field(description="The cursor of the next page; empty at the end.")
    number: int = Field(description="The last number of the access log at the first page.")


class SpanQuery(Page):
    """Of which time, by whom, by which operation."""

    actor: QueryText | None = Field(default=None, description="Who read: `key:…` or `cli:…`.")
    operation: QueryText | None = Field(default=None, description="For example `get_customer`.")
    since: Instant | None = Field(default=None, description="Recorded then or later.")
    until: Instant | None = Field(default=None, description="Recorded then or earlier.")


class AccessesQuery(SpanQuery):
    """And about whom."""

    subject: Annotated[QueryText, AfterValidator(_subject)] | None = Field(
        default=None,
        description="`account:anna`, `customer:c1`, `entry:e1`, `hold:h1`; `ledger`: all at once.",
    )


async def list_accesses(
    reader: ReaderOf, query: Annotated[AccessesQuery, Query()]
) -> AccessesAnswer:
    """Who read what, newest first; all filters hold together. This read will be there as well."""
    subjects = () if query.subject is None else (query.subject,)
    filters = _filters(query, subjects)
    return await _page(reader, "list_accesses", query, filters)


async def list_account_accesses(
    reader: ReaderOf, account_id: PathId, query: Annotated[SpanQuery, Query()]
) -> AccessesAnswer:
    """Who read about an account, newest first."""
    filters = _filters(query, (f"account:{account_id}",))
    return await _page(reader, "list_account_accesses", query, filters, account_id=account_id)


async def list_customer_accesses(
    reader: ReaderOf, customer_id: PathId, query: Annotated[SpanQuery, Query()]
) -> AccessesAnswer:
    """Who read about a customer or about an account that the customer holds now, newest first."""

    def accounts(connection: sqlalchemy.Connection) -> list[str]:
        """The accounts that the customer holds."""
        reading = resolve(connection, reader.ledger_id, AsOf(), "customer_360", "event_tags")
        found = linked_accounts(connection, reader.ledger_id, reading, customer_id)
        return [f"account:{account_id}" for account_id in found]

    subjects = (f"customer:{customer_id}", *await reader.run(accounts))
    filters = _filters(query, subjects)
    return await _page(reader, "list_customer_accesses", query, filters, customer_id=customer_id)


def _filters(query: SpanQuery, subjects: tuple[str, ...]) -> AccessFilters:
    """What a request asks for."""
    return AccessFilters(
        subjects=subjects,
        actor=query.actor,
        operation=query.operation,
        since=query.since,
        until=query.until,
    )


async def _page(
    reader: Reader, operation: str, query: SpanQuery, filters: AccessFilters, **ids: str
) -> AccessesAnswer:
    """A page of the access log."""
    place = reader.place(operation, query, **ids)
    size = page_size(query.limit)

    def read(connection: sqlalchemy.Connection) -> tuple[int, list[StoredAccess]]:
        """The log's end at the first page, and what follows the page before."""
        raw = driver_connection(connection)
        if place is None:
            last = access_log.read_head(raw, reader.ledger_id).number
            up_to = last
        else:
            last, up_to = place.position, int(place.after[0]) - 1
        found = access_log.find(raw, reader.ledger_id, filters, up_to=up_to, limit=size + 1)
        return last, found

    last, found = await reader.run(read)
    shown = found[:size]
    after = (shown[-1].number,) if len(found) > size else None
    return AccessesAnswer(
        accesses=[_answer(access) for access in shown],
        next=reader.cursor(operation, query, last, after, **ids),
        number=last,
    )


def _answer(access: StoredAccess) -> AccessAnswer:
    """An access as a document."""
    members = msgspec.structs.asdict(access)
    members["subjects"] = list(access.subjects)
    members["leaf_hash"] = access.leaf_hash.hex()
    return AccessAnswer(**members)


VIEWS = (
    ViewRoute(
        path="/v1/accesses",
        operation="list_accesses",
        endpoint=list_accesses,
        summary="Who read what",
        keep="never",
    ),
    ViewRoute(
        path="/v1/accounts/{account_id}/accesses",
        operation="list_account_accesses",
        endpoint=list_account_accesses,
        summary="Who read about an account",
        keep="never",
    ),
    ViewRoute(
        path="/v1/customers/{customer_id}/accesses",
        operation="list_customer_accesses",
        endpoint=list_customer_accesses,
        summary="Who read about a customer",
        keep="never",
    ),
)
