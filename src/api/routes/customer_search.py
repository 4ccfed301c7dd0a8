"""The route that finds customers by personal fields.

What is searched for travels in the body: addresses end up in logs and histories. Whom a search
showed is recorded, and so is one that found nobody.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy

from api.actions import ActionRoute, Done, Request
from api.caching import Keeping
from api.customer_search import (
    FOUND_DEFAULT,
    FOUND_MAX,
    Found,
    IndexIncompleteError,
    require_searchable,
)
from api.parameters import WAIT_S_DEFAULT, WAIT_S_MAX, Fresh
from api.problems import FORBIDDEN, Kind, Problem
from api.views import Reader
from ledger_core.blind_index import Form

INDEX_INCOMPLETE = Kind(
    503,
    "search_index_incomplete",
    "Not every customer can be found yet: an operator has to run `ledger keystore reindex`.",
)

_FieldText = str | None


class SearchFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values of personal fields; a customer has to have all that are given."""

    name: _FieldText = None
    birth_date: _FieldText = None
    email: _FieldText = None
    phone: _FieldText = None
    address: _FieldText = None
    identity_number: _FieldText = None
    tax_number: _FieldText = None


class SearchCustomers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Find customers by whole values of personal fields, which are stored encrypted.

    `normal` leaves aside case, accents, punctuation, the order of a name's words and the ways to
    write a date or a number; `exact` compares the text as it was given. Fields that your role
    hides cannot be searched by. Everybody found is recorded in the access log.
    """

    fields: SearchFields
    match: Form = "normal"
    limit: Annotated[
        int, msgspec.Meta(ge=1, le=FOUND_MAX, description="How many to show at most.")
    ] = FOUND_DEFAULT
    min_position: Annotated[
        int | None,
        msgspec.Meta(description="Wait until the views reflect this position of the log."),
    ] = None
    wait_s: Annotated[
        float, msgspec.Meta(ge=0, le=WAIT_S_MAX, description="How long to wait, in seconds.")
    ] = WAIT_S_DEFAULT


class FoundCustomer(msgspec.Struct, frozen=True):
    """A customer who has the values, as your role sees the profile."""

    customer_id: str
    profile: dict[str, str]
    masked: tuple[str, ...]
    hidden: tuple[str, ...]
    registered_at: datetime
    last_position: int


class FoundCustomers(msgspec.Struct, frozen=True):
    """The customers found, by customer id; `more`: others have the values, too.

    The answer reflects everything up to `position`.
    """

    customers: list[FoundCustomer]
    more: bool
    position: int
    recorded_at: datetime | None


async def search_customers(request: Request, body: SearchCustomers) -> Done:
    """Who has these values."""
    caller = request.known
    given = msgspec.structs.asdict(body.fields)
    fields: dict[str, str] = {name: text for name, text in given.items() if text is not None}
    require_searchable(fields)
    personal = caller.authority.personal
    if any(personal.get(name, "hidden") == "hidden" for name in fields):
        raise Problem(FORBIDDEN)
    reader = Reader(request.context, caller, Keeping("never"))
    await reader.wait(Fresh(min_position=body.min_position, wait_s=body.wait_s))
    search = request.context.runtime.search

    def find(connection: sqlalchemy.Connection) -> Found:
        """The customers."""
        return search.find(
            connection,
            caller.ledger_id,
            personal,
            fields=fields,
            form=body.match,
            limit=body.limit,
        )

    try:
        found = await reader.run(find)
    except IndexIncompleteError:
        raise Problem(INDEX_INCOMPLETE) from None
    request.about(*(f"customer:{item.customer_id}" for item, _ in found.customers))
    return Done(_answer(found))


def _answer(found: Found) -> FoundCustomers:
    """What was found as a document."""
    shown = [
        FoundCustomer(
            item.customer_id,
            profile.profile,
            profile.masked,
            profile.hidden,
            item.registered_at,
            item.last_position,
        )
        for item, profile in found.customers
    ]
    return FoundCustomers(shown, found.is_more, found.position, found.recorded_at)


_EXAMPLE: dict[str, Any] = {"fields": {"name": "weber, anna", "birth_date": "1990-01-31"}}

ACTIONS = (
    ActionRoute(
        path="/v1/customers/search",
        operation="search_customers",
        body=SearchCustomers,
        answer=FoundCustomers,
        act=search_customers,
        summary="Find customers by personal fields",
        example=_EXAMPLE,
        tag="customers",
    ),
)
