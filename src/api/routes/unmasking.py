"""The route that shows personal fields in clear, whatever the caller's role masks: with a reason.

It is an operation of its own with a permission of its own, so that the access log tells it from
ordinary reads.
"""

from typing import Annotated

import sqlalchemy
from fastapi import Query, Request
from pydantic import Field

from api.masking import CLEAR, ShownProfile
from api.parameters import AsOfQuery
from api.problems import FieldError, Problem, malformed
from api.profiles import shown
from api.reasons import REQUIRED, reason_of
from api.sql import driver_connection
from api.views import PathId, ReaderOf, Reflecting, ViewRoute, moment
from ledger_core.customers import PERSONAL_FIELDS
from ledger_core.errors import CustomerNotFound
from projections.customer_360 import Profile
from projections.customer_queries import profiles
from projections.reading import Page


class PersonalAnswer(Reflecting):
    """Personal fields of a customer in clear; `personal` is null once the person was forgotten."""

    customer_id: str
    personal: dict[str, str] | None
    erased: bool


class PersonalQuery(AsOfQuery):
    """When, and which fields."""

    fields: str | None = Field(
        default=None,
        description="Only these fields, with commas between them; without, all there are.",
        examples=["identity_number,phone"],
    )


async def unmask_customer(
    request: Request,
    reader: ReaderOf,
    customer_id: PathId,
    query: Annotated[PersonalQuery, Query()],
) -> PersonalAnswer:
    """Personal fields in clear; the header `Ledger-Reason` is required, whatever the role."""
    if not reason_of(request.scope["headers"]):
        raise Problem(REQUIRED)
    wanted = _wanted(query.fields)
    await reader.wait(query)
    as_of = moment(query.as_of, query.as_of_position)

    def read(
        connection: sqlalchemy.Connection,
    ) -> tuple[Page[Profile, str], list[ShownProfile | None]]:
        """The profile as of that moment, and what of it was asked for in clear."""
        page = profiles(connection, reader.ledger_id, [customer_id], as_of=as_of)
        clear = shown(
            reader.context.runtime.vault,
            driver_connection(connection),
            reader.ledger_id,
            page.items,
            {name: showing for name, showing in CLEAR.items() if name in wanted},
        )
        return page, clear

    page, clear = await reader.run(read)
    if not page.items:
        raise CustomerNotFound(field="customer_id")
    profile = clear[0]
    personal = None
    if profile is not None:
        personal = {name: text for name, text in profile.profile.items() if name in wanted}
    return PersonalAnswer(
        customer_id=customer_id,
        personal=personal,
        erased=profile is None,
        position=page.position,
        recorded_at=page.recorded_at,
    )


def _wanted(fields: str | None) -> frozenset[str]:
    """The fields that are asked for.

    Raises:
        Problem: one is no personal field.
    """
    if fields is None:
        return PERSONAL_FIELDS
    wanted = frozenset(fields.split(","))
    if not wanted <= PERSONAL_FIELDS:
        known = ", ".join(sorted(PERSONAL_FIELDS))
        raise malformed(FieldError(f"personal fields with commas between them: {known}", "fields"))
    return wanted


VIEWS = (
    ViewRoute(
        path="/v1/customers/{customer_id}/personal",
        operation="unmask_customer",
        endpoint=unmask_customer,
        summary="Personal fields in clear, for a reason",
        keep="never",
    ),
)
