"""Routes of customers as the bank sees them: profile, accounts, activity and flags in one read.

Personal fields are shown as the caller's roles say; once a person was forgotten there is no
profile. All of them in clear, with a reason: ``unmasking``.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

import sqlalchemy
from fastapi import Query
from pydantic import Field

from api import masking, profiles
from api.callers import Caller
from api.masking import ShownProfile
from api.parameters import AsOfQuery, DatedQuery, Page
from api.routes.balances import BalanceAnswer, balance_answer
from api.routes.risk_flags import FlagAnswer
from api.sql import driver_connection
from api.views import (
    Answer,
    Decimal,
    Listing,
    Minor,
    PathId,
    Reader,
    ReaderOf,
    Reflecting,
    ViewRoute,
    moment,
    plain,
)
from ledger_core.journal import EntryKind, Side
from ledger_core.money import decimal_text
from projections.customer_360 import Profile
from projections.customer_queries import Activity, Customer360, customer, customers

RECENT_DEFAULT = 20
RECENT_MAX = 100

_MASKED = Field(description="Fields of the profile of which only a part is shown.")
_HIDDEN = Field(description="Fields that the customer has and that are not shown.")


class CustomerAnswer(Answer):
    """A customer; `profile` is null once the person was forgotten."""

    customer_id: str
    profile: dict[str, str] | None
    masked: Annotated[list[str], _MASKED]
    hidden: Annotated[list[str], _HIDDEN]
    erased: bool
    registered_at: datetime
    last_position: int


class CustomersAnswer(Listing):
    """Customers, by customer id."""

    customers: list[CustomerAnswer]


class LinkedAccount(Answer):
    """An account of the customer's, in which roles, and its balance."""

    roles: list[str]
    balance: BalanceAnswer


class ActivityAnswer(Answer):
    """A posting on one of the customer's accounts."""

    account_id: str
    currency: str
    scale: int
    position: int
    line: int
    entry_id: str
    kind: EntryKind
    recorded_at: datetime
    value_date: date
    side: Side
    amount_minor: Minor
    amount: Decimal
    balance_minor: Minor
    counterparties: list[str]
    reference: str | None
    description: str | None


class Customer360Answer(Reflecting):
    """Everything about a customer; `profile` is null once the person was forgotten."""

    customer_id: str
    profile: dict[str, str] | None
    masked: Annotated[list[str], _MASKED]
    hidden: Annotated[list[str], _HIDDEN]
    erased: bool
    registered_at: datetime
    last_position: int
    accounts: list[LinkedAccount]
    recent: list[ActivityAnswer]
    flags: list[FlagAnswer]
    value_date: date | None


class CustomersQuery(AsOfQuery, Page):
    """As of when, and which page."""


class CustomerQuery(DatedQuery):
    """When, and how much of the activity."""

    recent: int = Field(default=RECENT_DEFAULT, ge=1, le=RECENT_MAX)


async def get_customer(
    reader: ReaderOf, customer_id: PathId, query: Annotated[CustomerQuery, Query()]
) -> Customer360Answer:
    """Profile, accounts with balances, newest activity and open flags of a customer."""
    await reader.wait(query)
    as_of = moment(query.as_of, query.as_of_position)

    def read(connection: sqlalchemy.Connection) -> tuple[Customer360, ShownProfile | None]:
        """The customer, and the profile."""
        found = customer(
            connection,
            reader.ledger_id,
            customer_id,
            as_of=as_of,
            value_date=query.value_date,
            recent=query.recent,
        )
        return found, shown_profiles(reader, connection, [found])[0]

    found, profile = await reader.run(read)
    return Customer360Answer(
        customer_id=found.customer_id,
        **_members(profile),
        registered_at=found.registered_at,
        last_position=found.last_position,
        accounts=[
            LinkedAccount(roles=list(item.roles), balance=balance_answer(item.balance))
            for item in found.accounts
        ],
        recent=[_activity(item, reader.caller) for item in found.recent],
        flags=[FlagAnswer(**plain(flag)) for flag in found.flags],
        value_date=found.value_date,
        position=found.position,
        recorded_at=found.recorded_at,
    )


async def list_customers(
    reader: ReaderOf, query: Annotated[CustomersQuery, Query()]
) -> CustomersAnswer:
    """The customers registered by then, by customer id, as they were."""
    await reader.wait(query)
    place = reader.place("list_customers", query)
    after = None if place is None else str(place.after[0])
    as_of = moment(query.as_of, query.as_of_position, place)

    def read(connection: sqlalchemy.Connection) -> tuple[CustomersAnswer, str | None]:
        """A page of customers with their profiles, and where the next begins."""
        page = customers(connection, reader.ledger_id, as_of=as_of, after=after, limit=query.limit)
        answer = CustomersAnswer(
            customers=customer_answers(reader, connection, page.items),
            next="",
            position=page.position,
            recorded_at=page.recorded_at,
        )
        return answer, page.next_after

    answer, next_after = await reader.run(read)
    key = None if next_after is None else (next_after,)
    cursor = reader.cursor("list_customers", query, answer.position, key)
    return answer.model_copy(update={"next": cursor})


def customer_answers(
    reader: Reader, connection: sqlalchemy.Connection, found: Sequence[Profile]
) -> list[CustomerAnswer]:
    """Customers as the caller may see them, as documents of a listing."""
    return [
        CustomerAnswer(
            customer_id=item.customer_id,
            **_members(profile),
            registered_at=item.registered_at,
            last_position=item.last_position,
        )
        for item, profile in zip(found, shown_profiles(reader, connection, found), strict=True)
    ]


def shown_profiles(
    reader: Reader, connection: sqlalchemy.Connection, found: Sequence[Profile | Customer360]
) -> list[ShownProfile | None]:
    """The profiles as the caller may see them; ``None`` where the person was forgotten."""
    return profiles.shown(
        reader.context.runtime.vault,
        driver_connection(connection),
        reader.ledger_id,
        found,
        reader.caller.authority.personal,
    )


def _members(profile: ShownProfile | None) -> dict[str, Any]:
    """What an answer says of a profile."""
    if profile is None:
        return {"profile": None, "masked": [], "hidden": [], "erased": True}
    return {
        "profile": profile.profile,
        "masked": list(profile.masked),
        "hidden": list(profile.hidden),
        "erased": False,
    }


def _activity(item: Activity, caller: Caller) -> ActivityAnswer:
    """A posting as a document."""
    members = masking.covered_document(plain(item), caller.authority.personal)
    return ActivityAnswer(**members, amount=decimal_text(item.amount_minor, item.scale))


VIEWS = (
    ViewRoute(
        path="/v1/customers",
        operation="list_customers",
        endpoint=list_customers,
        summary="Customers",
        keep="never",
    ),
    ViewRoute(
        path="/v1/customers/{customer_id}",
        operation="get_customer",
        endpoint=get_customer,
        summary="Everything about a customer",
        keep="never",
    ),
)
