"""What is held on an account, as the events on its open holds."""

from collections import deque
from datetime import datetime
from typing import Literal

import msgspec
import sqlalchemy

from ledger_core.accounts import held_changes
from ledger_core.events import Recorded
from ledger_core.holds import Hold
from ledger_core.holds import ids as hold_ids
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted, Side
from projections.kept_queries import KeptKey, kept_items
from projections.reading import AsOf, Reading
from projections.tag_queries import events_tagged_any

_HOLDS_PAGE = 1_000

HoldChange = Literal["placed", "captured", "released"]


class ExplainedHold(msgspec.Struct, frozen=True, kw_only=True):
    """An event on an open hold, and by how much it changed what a side of the account holds."""

    position: int
    hold_id: str
    change: HoldChange
    recorded_at: datetime
    side: Side
    change_minor: int


def open_holds(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, account_id: str, most: int
) -> tuple[dict[Side, int], tuple[ExplainedHold, ...]]:
    """What older open holds hold by side, and the events on the newest of them, ``most`` holds.

    A hold that is resolved holds nothing, and has no part in the figure.
    """
    carried: dict[Side, int] = {"debit": 0, "credit": 0}
    newest: deque[Hold] = deque()
    after: KeptKey | None = None
    while True:
        page = kept_items(
            conn,
            ledger_id,
            "hold",
            status="open",
            tag=f"account:{account_id}",
            as_of=AsOf(reading.position, reading.asked_at),
            after=after,
            limit=_HOLDS_PAGE,
        )
        for _, hold in page.items:
            if not hold.remaining_minor:
                continue
            newest.append(hold)
            if len(newest) > most:
                gone = newest.popleft()
                carried[_side_of(gone, account_id)] += gone.remaining_minor
        if page.next_after is None:
            break
        after = page.next_after
    tags = [f"hold:{hold.hold_id}" for hold in newest]
    items = events_tagged_any(conn, ledger_id, reading, tags) if tags else []
    explained = [found for item in items for found in _of_hold(item, account_id)]
    return carried, tuple(explained)


def _side_of(hold: Hold, account_id: str) -> Side:
    """The side of the account on which it is held."""
    return "debit" if hold.debit_account_id == account_id else "credit"


def _of_hold(item: Recorded, account_id: str) -> list[ExplainedHold]:
    """What an event changed of what is held on the account."""
    event = item.event
    if not isinstance(event, HoldPlaced | HoldReleased | JournalEntryPosted):
        return []  # Something else that names the hold: a refusal.
    change: HoldChange = "captured"
    if isinstance(event, HoldPlaced):
        change = "placed"
    elif isinstance(event, HoldReleased):
        change = "released"
    return [
        ExplainedHold(
            position=item.position,
            hold_id=hold_ids(event, item.position)[0],
            change=change,
            recorded_at=item.recorded_at,
            side=side,
            change_minor=change_minor,
        )
        for held_id, side, change_minor in held_changes(event)
        if held_id == account_id and change_minor
    ]
