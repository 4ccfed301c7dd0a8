"""Routes of explanations: the events behind a balance, a risk flag, a refusal."""

from datetime import date, datetime
from typing import Annotated, Any, Self

from fastapi import Query
from pydantic import Field, model_validator

from api import masking
from api.parameters import AsOfQuery, DatedQuery, Limit, Page, Position
from api.routes.risk_flags import FlagAnswer
from api.views import (
    Answer,
    Decimal,
    Listing,
    Minor,
    PathId,
    QueryText,
    ReaderOf,
    Reflecting,
    ViewRoute,
    moment,
    plain,
)
from ledger_core.journal import EntryKind, Side
from ledger_core.money import decimal_text
from projections.explained_holds import HoldChange
from projections.explaining import BalanceExplanation, explain_balance
from projections.flag_reasons import Direction, explain_flag
from projections.refusal_reasons import MEMBERS_MAX, explain_refusal

LIMIT_OF_REFUSALS = 10


class ExplainedPostingAnswer(Answer):
    """A posting behind the balance; `change_minor` and the balance after it on the normal side.

    `reverses_position` is the entry that this one reverses, `reversed_position` the one by which
    it was reversed.
    """

    position: int
    line: int
    entry_id: str
    kind: EntryKind
    recorded_at: datetime
    value_date: date
    side: Side
    amount_minor: Minor
    change_minor: Minor
    balance_minor: Minor
    counterparties: list[str]
    reference: str | None
    description: str | None
    reverses_position: int | None
    reversed_position: int | None


class CarriedForwardAnswer(Answer):
    """The sum of all postings that count and come before the first that is shown."""

    before_position: int
    before_line: int
    debits_minor: Minor
    credits_minor: Minor
    balance_minor: Minor


class ExplainedHoldAnswer(Answer):
    """An event on an open hold: by how much it changed what is held on that side of the account."""

    position: int
    hold_id: str
    change: HoldChange
    recorded_at: datetime
    side: Side
    change_minor: Minor


class ExplainedLimitAnswer(Answer):
    """The event since which the limit and the ceiling are what they are."""

    position: int
    recorded_at: datetime
    event: str
    limit_minor: Minor | None
    ceiling_minor: Minor | None


class ExplainedBalanceAnswer(Answer):
    """A balance and the events behind it, which come to it exactly.

    Posted: carried forward and every `change_minor` of the postings. Held: carried forward and
    every `change_minor` of the holds on the side on which the account shrinks (incoming: on the
    other). Available: posted less held plus the limit. `adds_up` is false where they do not come to
    the figures of the view: the view is damaged.
    """

    account_id: str
    currency: str
    scale: int
    normal_side: Side
    posted_minor: Minor
    posted: Decimal
    debits_posted_minor: Minor
    credits_posted_minor: Minor
    held_minor: Minor
    incoming_held_minor: Minor
    limit_minor: Minor | None
    available_minor: Minor | None
    carried_forward: CarriedForwardAnswer | None
    postings: list[ExplainedPostingAnswer]
    held_carried_minor: Minor
    incoming_held_carried_minor: Minor
    holds: list[ExplainedHoldAnswer]
    limit: ExplainedLimitAnswer | None
    adds_up: bool
    value_date: date | None


class BalanceExplanationAnswer(Listing, ExplainedBalanceAnswer):
    """A page of the explanation: the newest postings first, then with `next` the older ones.

    Within a page, postings are in the order of booking.
    """


class FlaggedMovementAnswer(Answer):
    """A movement that met the rule, and what all up to it come to."""

    position: int
    line: int
    entry_id: str
    kind: EntryKind
    recorded_at: datetime
    value_date: date
    direction: Direction
    amount_minor: Minor
    amount: Decimal
    count: int
    in_minor: Minor
    out_minor: Minor


class FlagExplanationAnswer(Reflecting):
    """A flag, the rule as it stood, and the movements that met it.

    `rule_position` is the event that set the rule, 0 for its defaults; `quiet_since_position` the
    movement, or the opening, after which a dormant account had none.
    """

    flag: FlagAnswer
    parameters: dict[str, int]
    rule_position: int
    movements: list[FlaggedMovementAnswer]
    quiet_since_position: int | None
    adds_up: bool


class FactAnswer(Answer):
    """An event that stands behind the refusal, with its content as it is in the log."""

    position: int
    recorded_at: datetime
    type: str
    data: dict[str, Any]


class RefusalExplanationAnswer(Reflecting):
    """A refusal: what was asked for and seen, and the events and balances that made it so.

    It was judged on everything up to `judged_position`; the balances are those of that moment.
    """

    refusal_position: int
    refused_at: datetime
    actor: str
    code: str
    sentence: str
    seen: dict[str, Any]
    command: dict[str, Any]
    judged_position: int
    facts: list[FactAnswer]
    balances: list[ExplainedBalanceAnswer]
    members_left_out: int = Field(
        description=f"Members of a group of more than {MEMBERS_MAX}, whose balances are left out."
    )


class BalanceExplanationQuery(DatedQuery, Page):
    """When, about which day, and which page."""

    currency: QueryText | None = Field(
        default=None, description="What the account is kept in; refused if it is another."
    )


class FlagExplanationQuery(AsOfQuery):
    """As of when."""


class RefusalExplanationQuery(AsOfQuery):
    """Which refusal: the one recorded at a position, or the newest of a command with that key."""

    position: Position | None = Field(default=None, description="Where the refusal is recorded.")
    key: QueryText | None = Field(default=None, description="The refused command's key.")
    limit: Limit = LIMIT_OF_REFUSALS

    @model_validator(mode="after")
    def _one_refusal(self) -> Self:
        """A position or a key, and not both."""
        if (self.position is None) == (self.key is None):
            raise ValueError("position or key, and not both")
        return self


def balance_document(found: BalanceExplanation) -> dict[str, Any]:
    """A balance explained, as a document of its members."""
    document = plain(found)
    for left_out in ("next_after", "position", "recorded_at"):
        del document[left_out]
    return document | {"posted": decimal_text(found.posted_minor, found.scale)}


async def get_balance_explanation(
    reader: ReaderOf, account_id: PathId, query: Annotated[BalanceExplanationQuery, Query()]
) -> BalanceExplanationAnswer:
    """Every posting, open hold and limit behind a balance; what is not shown is carried forward."""
    await reader.wait(query)
    operation = "get_balance_explanation"
    place = reader.place(operation, query, account_id=account_id)
    found = await reader.run(
        lambda connection: explain_balance(
            connection,
            reader.ledger_id,
            account_id,
            as_of=moment(query.as_of, query.as_of_position, place),
            value_date=query.value_date,
            currency=query.currency,
            after=None if place is None else (int(place.after[0]), int(place.after[1])),
            limit=query.limit,
        )
    )
    return BalanceExplanationAnswer.model_validate(
        masking.covered_document(balance_document(found), reader.caller.authority.personal)
        | {
            "next": reader.cursor(
                operation, query, found.position, found.next_after, account_id=account_id
            ),
            "position": found.position,
            "recorded_at": found.recorded_at,
        }
    )


async def get_flag_explanation(
    reader: ReaderOf, flag_id: PathId, query: Annotated[FlagExplanationQuery, Query()]
) -> FlagExplanationAnswer:
    """The rule by which a flag was raised, and the movements that met it."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: explain_flag(
            connection,
            reader.ledger_id,
            flag_id,
            as_of=moment(query.as_of, query.as_of_position),
        )
    )
    document = plain(found)
    scale = document.pop("scale")
    for item, movement in zip(document["movements"], found.movements, strict=True):
        item["amount"] = decimal_text(movement.amount_minor, scale)
    return FlagExplanationAnswer.model_validate(document)


async def get_refusal_explanation(
    reader: ReaderOf, query: Annotated[RefusalExplanationQuery, Query()]
) -> RefusalExplanationAnswer:
    """Why a command was refused: by the position of its refusal, or by the command's key."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: explain_refusal(
            connection,
            reader.ledger_id,
            position=query.position,
            key=query.key,
            as_of=moment(query.as_of, query.as_of_position),
            limit=query.limit,
        )
    )
    document = plain(found)
    document["refused_at"] = document.pop("recorded_at")
    document["recorded_at"] = document.pop("reflected_at")
    document["balances"] = [balance_document(item) for item in found.balances]
    shown = masking.covered_document(document, reader.caller.authority.personal)
    return RefusalExplanationAnswer.model_validate(shown)


VIEWS = (
    ViewRoute(
        path="/v1/accounts/{account_id}/explanation",
        operation="get_balance_explanation",
        endpoint=get_balance_explanation,
        summary="The events behind a balance",
    ),
    ViewRoute(
        path="/v1/risk-flags/{flag_id}/explanation",
        operation="get_flag_explanation",
        endpoint=get_flag_explanation,
        summary="The events behind a risk flag",
    ),
    ViewRoute(
        path="/v1/refusals/explanation",
        operation="get_refusal_explanation",
        endpoint=get_refusal_explanation,
        summary="The events behind a refusal",
    ),
)
