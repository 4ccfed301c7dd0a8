"""Routes of statements: the postings of one account with a running balance."""

from datetime import date, datetime
from typing import Annotated, Literal, cast

import msgspec
from fastapi import Query
from pydantic import Field

from api.cursors import Key
from api.parameters import DatedQuery, Day, Page
from api.views import (
    Answer,
    Decimal,
    Listing,
    Minor,
    PathId,
    ReaderOf,
    ViewRoute,
    moment,
    plain,
    require_span,
)
from ledger_core.accounts import AccountType
from ledger_core.journal import EntryKind, Side
from ledger_core.money import decimal_text
from projections.statement_pages import Axis, LineKey
from projections.statement_queries import StatementLine, StatementPage, statement


class LineAnswer(Answer):
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
    counterparties: list[str]
    reference: str | None
    description: str | None


class StatementAnswer(Listing):
    """A page of an account's statement, with the balances before and after the whole of it."""

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


def statement_answer(page: StatementPage, cursor: str) -> StatementAnswer:
    """A page of a statement as a document."""
    scale = page.scale
    # The lines by hand: ``plain`` looks at every value of every line.
    document = plain(msgspec.structs.replace(page, lines=()))
    del document["next_after"], document["lines"]
    return StatementAnswer(
        **document,
        lines=[_line_answer(line, scale) for line in page.lines],
        opening=decimal_text(page.opening_minor, scale),
        closing=decimal_text(page.closing_minor, scale),
        next=cursor,
    )


def _line_answer(line: StatementLine, scale: int) -> LineAnswer:
    """A line as a document."""
    return LineAnswer(
        position=line.position,
        line=line.line,
        entry_id=line.entry_id,
        kind=cast("EntryKind", line.kind),
        recorded_at=line.recorded_at,
        booking_date=line.booking_date,
        value_date=line.value_date,
        side=line.side,
        amount_minor=str(line.amount_minor),
        amount=decimal_text(line.amount_minor, scale),
        balance_minor=str(line.balance_minor),
        balance=decimal_text(line.balance_minor, scale),
        counterparties=list(line.counterparties),
        reference=line.reference,
        description=line.description,
    )


async def get_statement(
    reader: ReaderOf, account_id: PathId, query: Annotated[StatementQuery, Query()]
) -> StatementAnswer:
    """Every posting on the account, on either axis of time, with the balance after each."""
    require_span(query.from_date, query.to_date)
    await reader.wait(query)
    place = reader.place("get_statement", query, account_id=account_id)
    page = await reader.run(
        lambda connection: statement(
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
    )
    cursor = reader.cursor(
        "get_statement", query, page.position, _cursor_key(page.next_after), account_id=account_id
    )
    return statement_answer(page, cursor)


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
    ),
)
