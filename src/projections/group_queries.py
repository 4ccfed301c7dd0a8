"""Questions about account groups: a group, its members, and what they come to together.

The group is the core's own state and the totals are its own sums, so a total says here what it
says when a movement is judged.
"""

from datetime import date, datetime

import msgspec
import sqlalchemy

from ledger_core.errors import GroupNotFound
from ledger_core.group import KIND, Group, Totals, available_of, totals_of
from projections import history, kept_queries
from projections.balance_queries import accounts_of_ids
from projections.reading import NOW, AsOf, resolve


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What one account adds to the totals of its group, in minor units on the group's side."""

    account_id: str
    posted_minor: int
    outgoing_held_minor: int
    incoming_held_minor: int


class GroupTotals(msgspec.Struct, frozen=True, kw_only=True):
    """A group with its members and totals at a moment.

    ``available_minor`` is what the total may still fall by; ``None`` where it has no limit, and
    with a ``value_date``: limits judge the total as it stands.
    """

    group: Group
    members: tuple[Member, ...]
    totals: Totals
    available_minor: int | None
    position: int
    recorded_at: datetime | None
    value_date: date | None


def group_totals(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    group_id: str,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
) -> GroupTotals:
    """The totals of one group, over those who were members then.

    With ``value_date``, of what counts by the end of that day; what is held is as it was then.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        GroupNotFound: no such group at that moment.
    """
    names = (*kept_queries.PROJECTIONS_READ, *history.PROJECTIONS_READ)
    reading = resolve(conn, ledger_id, as_of, *names)
    at_reading = AsOf(reading.position, as_of.recorded_at)
    found = kept_queries.kept_item(conn, ledger_id, KIND, group_id, as_of=at_reading)
    if found is None:
        raise GroupNotFound(field="group_id")
    group: Group = found.state
    members = accounts_of_ids(conn, ledger_id, reading, list(group.members))
    if value_date is not None:
        members = history.accounts_valued_until(conn, ledger_id, reading, members, value_date)
    totals = totals_of(group.side, members)
    return GroupTotals(
        group=group,
        members=tuple(
            _member(account.terms.account_id, totals_of(group.side, [account]))
            for account in members
        ),
        totals=totals,
        available_minor=available_of(group, totals) if value_date is None else None,
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
    )


def _member(account_id: str, share: Totals) -> Member:
    """One member's share of the totals."""
    return Member(
        account_id=account_id,
        posted_minor=share.posted_minor,
        outgoing_held_minor=share.outgoing_held_minor,
        incoming_held_minor=share.incoming_held_minor,
    )
