"""Routes of statements: the postings of one account with a running balance."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal, cast

import msgspec
from fastapi import Query
from fastapi.responses import Response
from pydantic import Field

from api import answers, masking
from api.authority import Showing
from api.cursors import Key
from api.parameters import DatedQuery, Day, Page
from api.views import (
    Decimal,
    Minor,
    PathId,
    Reader,
    ReaderOf,
    Thin,
    ViewRoute,
    moment,
    require_span,
)
from ledger_core.accounts import AccountType
from ledger_core.journal import EntryKind, Side
from ledger_core.log import Connection
from ledger_core.money import decimal_text
from projections.statement_pages import Axis, LineKey
from projections.statement_queries import StatementLine, StatementPage, statement


class LineAnswer(msgspec.Struct, frozen=True, gc=False):
    """One posting; `balance_minor` is the balance after it, in the order of the axis."""

    position: int
    line: int
    entry_id: str
    kind: EntryKind
    recorded_at: datetime
    booking_date: date
    value_date: date
    side: Side
    amount_minor: Minor
    amount: Decimal
    balance_minor: Minor
    balance: Decimal
    counterparties: tuple[str, ...]
    reference: str | None
    description: str | None


class StatementAnswer(msgspec.Struct, frozen=True):
    """A page of an account's statement, with the balances before and after the whole of it."""

    position: Annotated[
        int, msgspec.Meta(description="The answer reflects everything up to this position.")
    ]
    recorded_at: Annotated[
        datetime | None, msgspec.Meta(description="When that position was recorded.")
    ]
    next: Annotated[str, msgspec.Meta(description="The cursor of the next page; empty at the end.")]
    account_id: str
    account_type: AccountType
    currency: str
    scale: int
    normal_side: Side
    name: str | None
    value_date: date | None
    from_date: date | None
    to_date: date | None
    axis: Axis
    opening_minor: Minor
    opening: Decimal
    closing_minor: Minor
    closing: Decimal
    lines: list[LineAnswer]


class StatementQuery(DatedQuery, Page):
    """Which lines, and when."""

    from_date: Day | None = Field(default=None, description="First value date of the lines.")
    to_date: Day | None = Field(default=None, description="Last value date of the lines.")
    axis: Axis = Field(
        default="booking",
        description="Lines and running balance in the order of booking, or by value date.",
    )
    order: Literal["oldest_first", "newest_first"] = "oldest_first"


def statement_answer(
    page: StatementPage, cursor: str, personal: Mapping[str, Showing]
) -> StatementAnswer:
    """A page of a statement as a document, for who sees personal fields like that."""
    scale = page.scale
    is_whole = masking.sees_all(personal)
    return StatementAnswer(
        position=page.position,
        recorded_at=page.recorded_at,
        next=cursor,
        account_id=page.account_id,
        account_type=cast("AccountType", page.account_type),
        currency=page.currency,
        scale=scale,
        normal_side=page.normal_side,
        name=page.name,
        value_date=page.value_date,
        from_date=page.from_date,
        to_date=page.to_date,
        axis=page.axis,
        opening_minor=str(page.opening_minor),
        opening=decimal_text(page.opening_minor, scale),
        closing_minor=str(page.closing_minor),
        closing=decimal_text(page.closing_minor, scale),
        lines=[_line_answer(line, scale, is_whole=is_whole) for line in page.lines],
    )


def _line_answer(line: StatementLine, scale: int, *, is_whole: bool) -> LineAnswer:
    """A line as a document, its members in order; numbers of cards in full if ``is_whole``."""
    said = line.description
    return LineAnswer(
        line.position,
        line.line,
        line.entry_id,
        cast("EntryKind", line.kind),
        line.recorded_at,
        line.booking_date,
        line.value_date,
        line.side,
        str(line.amount_minor),
        decimal_text(line.amount_minor, scale),
        str(line.balance_minor),
        decimal_text(line.balance_minor, scale),
        line.counterparties,
        line.reference,
        said if said is None or is_whole else masking.without_card_numbers(said),
    )


async def get_statement(
    reader: ReaderOf, account_id: PathId, query: Annotated[StatementQuery, Query()]
) -> Response:
    """Every posting on the account, on either axis of time, with the balance after each."""
    body = await statement_body(reader, account_id, query)
    return Response(body, media_type="application/json")


async def statement_body(reader: Reader, account_id: str, query: StatementQuery) -> bytes:
    """The page that a query is about, as it is sent.

    Raises:
        Problem: the days end before they begin, or the cursor is not one of this listing.
    """
    require_span(query.from_date, query.to_date)

    def read(connection: Connection) -> bytes:
        """The page as the views have it."""
        place = reader.place("get_statement", query, account_id=account_id)
        page = statement(
            connection,
            reader.ledger_id,
            account_id,
            as_of=moment(query.as_of, query.as_of_position, place),
            value_date=query.value_date,
            from_date=query.from_date,
            to_date=query.to_date,
            after=None if place is None else _line_key(place.after),
            limit=query.limit,
            axis=query.axis,
            newest_first=query.order == "newest_first",
        )
        after = _cursor_key(page.next_after)
        cursor = reader.cursor("get_statement", query, page.position, after, account_id=account_id)
        return answers.encode(statement_answer(page, cursor, reader.caller.authority.personal))

    return await reader.ask(query, read)


def _line_key(after: Key) -> LineKey:
    """The place of a line, as the cursor has it."""
    *days, position, line = after
    if days:
        return date.fromisoformat(str(days[0])), int(position), int(line)
    return int(position), int(line)


def _cursor_key(place: LineKey | None) -> Key | None:
    """The same, as the cursor is to have it."""
    if place is None:
        return None
    return tuple(part.isoformat() if isinstance(part, date) else part for part in place)


VIEWS = (
    ViewRoute(
        path="/v1/accounts/{account_id}/statement",
        operation="get_statement",
        endpoint=get_statement,
        summary="The statement of an account",
        answer=StatementAnswer,
        thin=Thin(StatementQuery, statement_body),
    ),
)
