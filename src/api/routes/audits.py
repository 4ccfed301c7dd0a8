"""Routes of the self-audits: what the ledger found when it folded itself anew, and signed."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from api import parameters, self_audits
from api.parameters import Page
from api.problems import NOT_FOUND, Problem
from api.self_audits import SelfAudit
from api.sql import driver_connection
from api.views import Answer, ReaderOf, ViewRoute, plain


class FindingAnswer(Answer):
    """Something that is not as the log, or its seal, says: what, where, expected and found."""

    kind: str
    message: str
    position: int | None
    account_id: str | None
    customer_id: str | None
    flag_id: str | None
    expected: str | None
    found: str | None


class AuditAnswer(Answer):
    """A self-audit, as it was signed and stored."""

    audit_no: int = Field(description="1 for the ledger's first self-audit.", examples=[42])
    kind: Literal["full", "continued"] = Field(
        description="`full`: the whole log was read. `continued`: what came since the last one, and"
        " every row that can change."
    )
    started_at: datetime
    ended_at: datetime
    position: int = Field(description="Everything up to this position was folded and compared.")
    recorded_at: datetime | None = Field(description="When that position was recorded.")
    root: str = Field(description="The tree's root there, in hexadecimal.")
    events: int = Field(description="How many events this audit read.")
    accounts: int = Field(description="How many accounts were compared.")
    findings_count: int = Field(description="0: nothing is wrong.", examples=[0])
    findings: list[FindingAnswer] = Field(description="The first 100 of the findings.")
    imbalance_minor: dict[str, str] = Field(
        description="Debits minus credits by currency, in minor units.", examples=[{"EUR": "0"}]
    )
    note: str = Field(description="The result as a note signed by the ledger's keys.")


class AuditsAnswer(Answer):
    """Self-audits, the newest first."""

    audits: list[AuditAnswer]
    position: int = Field(description="The position of the newest of all.")
    next: str = Field(description="The cursor of the next page; empty at the end.")


class AuditsQuery(Page):
    """Which page."""


class LatestQuery(parameters.Query):
    """Nothing may be asked."""


async def list_audits(reader: ReaderOf, query: Annotated[AuditsQuery, Query()]) -> AuditsAnswer:
    """The ledger's self-audits, the newest first."""
    place = reader.place("list_audits", query)
    before = None if place is None else int(place.after[0])
    found = await reader.run(
        lambda connection: self_audits.listed(
            driver_connection(connection), reader.ledger_id, before, query.limit + 1
        )
    )
    shown = found[: query.limit]
    newest = found[0].position if found else 0
    position = newest if place is None else place.position
    after = (shown[-1].audit_no,) if len(found) > query.limit else None
    return AuditsAnswer(
        audits=[audit_answer(item) for item in shown],
        position=position,
        next=reader.cursor("list_audits", query, position, after),
    )


async def get_latest_audit(
    reader: ReaderOf, _query: Annotated[LatestQuery, Query()]
) -> AuditAnswer:
    """The newest self-audit of the ledger; 404 while there is none."""
    found = await reader.run(
        lambda connection: self_audits.latest(driver_connection(connection), reader.ledger_id)
    )
    if found is None:
        raise Problem(NOT_FOUND)
    return audit_answer(found)


def audit_answer(item: SelfAudit) -> AuditAnswer:
    """A self-audit as a document."""
    sums = {currency: str(difference) for currency, difference in item.imbalance_minor.items()}
    return AuditAnswer(**{**plain(item), "imbalance_minor": sums})


VIEWS = (
    ViewRoute(
        path="/v1/audits/latest",
        operation="get_latest_audit",
        endpoint=get_latest_audit,
        summary="The newest self-audit",
    ),
    ViewRoute(
        path="/v1/audits", operation="list_audits", endpoint=list_audits, summary="Self-audits"
    ),
)
