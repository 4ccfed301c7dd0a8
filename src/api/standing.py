"""Where a ledger and its projections stand: the head of the log, and who is how far behind it."""

from datetime import datetime

import msgspec

from ledger_core import log
from ledger_core.log import Connection
from projections import runner


class ProjectionStanding(msgspec.Struct, frozen=True):
    """How far a projection is, and how many events it lacks."""

    position: int
    recorded_at: datetime | None
    lag_events: int


class Standing(msgspec.Struct, frozen=True):
    """A ledger's head, and its projections."""

    ledger_id: int
    name: str
    position: int
    recorded_at: datetime
    projections: dict[str, ProjectionStanding]


def standing(connection: Connection, ledger_id: int, name: str) -> Standing:
    """Where the ledger stands now.

    Raises:
        LedgerNotFound: no such ledger.
    """
    views = runner.positions(connection, ledger_id)
    head = log.read_head(connection, ledger_id)
    return Standing(
        ledger_id,
        name,
        head.position,
        head.recorded_at,
        {
            view: ProjectionStanding(position, recorded_at, max(0, head.position - position))
            for view, (position, recorded_at) in sorted(views.items())
        },
    )


def standings(connection: Connection) -> list[Standing]:
    """Where every ledger stands now."""
    return [standing(connection, ledger_id, name) for ledger_id, name in log.ledgers(connection)]
