"""The route that says what this is: program, ledger, head of the log, and the projections' lag."""

from datetime import datetime
from typing import Annotated

import sqlalchemy
from fastapi import Query
from pydantic import Field

from api.parameters import Fresh
from api.sql import driver_connection
from api.standing import Standing, standing
from api.version import program_version
from api.views import Answer, ReaderOf, ViewRoute, plain
from ledger_core import log
from ledger_core.errors import LedgerNotFound


class ProjectionAnswer(Answer):
    """How far a projection is."""

    position: int
    recorded_at: datetime | None
    lag_events: int = Field(description="How many events it has not taken in yet.")


class InfoAnswer(Answer):
    """This program and the ledger that the API key opens."""

    name: str
    version: str
    ledger_id: int
    ledger: str
    position: int = Field(description="The last position of the log; 0 where it is empty.")
    recorded_at: datetime | None
    projections: dict[str, ProjectionAnswer]


async def get_info(reader: ReaderOf, query: Annotated[Fresh, Query()]) -> InfoAnswer:
    """Program, ledger, and where its log and projections stand."""
    await reader.wait(query)
    found = await reader.run(lambda connection: _standing(connection, reader.ledger_id))
    return InfoAnswer(
        name="ledger-core",
        version=program_version(),
        ledger_id=found.ledger_id,
        ledger=found.name,
        position=found.position,
        recorded_at=found.recorded_at if found.position else None,
        projections={
            name: ProjectionAnswer(**plain(view)) for name, view in found.projections.items()
        },
    )


def _standing(connection: sqlalchemy.Connection, ledger_id: int) -> Standing:
    """Where the ledger stands.

    Raises:
        LedgerNotFound: no such ledger.
    """
    raw = driver_connection(connection)
    for found, name in log.ledgers(raw):
        if found == ledger_id:
            return standing(raw, ledger_id, name)
    raise LedgerNotFound


VIEWS = (
    ViewRoute(path="/v1/info", operation="get_info", endpoint=get_info, summary="What this is"),
)
