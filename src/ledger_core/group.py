"""Account groups: the total of several accounts, and the limits that hold for it.

Part of the kernel: every movement on a member passes ``require_within_groups``. A group's total is
counted on one side (``credit`` for customers' accounts: credits less debits), whatever types its
members have. Who makes groups and joins accounts to them is in ``groups``; that an account joins
is an event of the account too (``accounts``), so the group and the account cannot disagree.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal, assert_never

import msgspec

from ledger_core.accounts import Account, GroupMemberAdded, GroupMemberRemoved
from ledger_core.errors import InsufficientFunds, LimitExceeded
from ledger_core.fields import GROUP_PREFIX
from ledger_core.journal import Side

if TYPE_CHECKING:
    from ledger_core.books import Books

KIND = "group"
# A limited group's members are all summed at every movement of one: some 0.2 ms at this bound.
MEMBERS_MAX = 1_000


class GroupCreated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A group of accounts in one currency was made, as yet without members.

    ``limit_minor`` is how far below zero the total may go (negative: how far above zero it must
    stay), ``ceiling_minor`` the most that it may be; ``None`` means without such a limit.
    ``group_id`` absent means ``grp_<position>``.
    """

    name: str
    currency: str
    group_id: str | None = None
    side: Side = "credit"
    limit_minor: int | None = None
    ceiling_minor: int | None = None


class GroupLimitSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """The group's limits changed; ``None`` means without such a limit.

    With ``keeps_ceiling`` the ceiling was not named and stays as it is.
    """

    group_id: str
    limit_minor: int | None
    reason: str | None = None
    ceiling_minor: int | None = None
    keeps_ceiling: bool = False


GroupEvent = GroupCreated | GroupLimitSet | GroupMemberAdded | GroupMemberRemoved


class Group(msgspec.Struct, frozen=True):
    """A group after some event; members in the order in which they joined."""

    group_id: str
    position: int
    name: str
    currency: str
    side: Side
    limit_minor: int | None
    ceiling_minor: int | None
    members: tuple[str, ...]
    last_position: int
    status: Literal["open"] = "open"

    @property
    def is_limited(self) -> bool:
        """Whether a movement of a member can be beyond a limit of the group's."""
        return self.limit_minor is not None or self.ceiling_minor is not None

    @property
    def tags(self) -> tuple[str, ...]:
        """The members, for listings."""
        return tuple("account:" + account_id for account_id in self.members)


class Totals(msgspec.Struct, frozen=True):
    """Sums over several accounts, counted on one side, in minor units.

    ``posted_minor`` is negative when the other side is larger. What open holds will take from the
    total and bring to it is never negative; a hold from one member to another counts in both.
    """

    posted_minor: int
    outgoing_held_minor: int
    incoming_held_minor: int

    @property
    def net_minor(self) -> int:
        """The total once every hold is captured."""
        return self.posted_minor + self.incoming_held_minor - self.outgoing_held_minor


def group_id_at(event: GroupCreated, position: int) -> str:
    """The group's id: the caller's own, else the one derived from its position."""
    return event.group_id if event.group_id is not None else f"{GROUP_PREFIX}{position}"


def ids(event: GroupEvent, position: int) -> tuple[str, ...]:
    """The group that the event is about."""
    if isinstance(event, GroupCreated):
        return (group_id_at(event, position),)
    return (event.group_id,)


def evolve(group: Group | None, event: GroupEvent, position: int, _recorded_at: datetime) -> Group:
    """The group after an event."""
    if isinstance(event, GroupCreated):
        return Group(
            group_id=group_id_at(event, position),
            position=position,
            name=event.name,
            currency=event.currency,
            side=event.side,
            limit_minor=event.limit_minor,
            ceiling_minor=event.ceiling_minor,
            members=(),
            last_position=position,
        )
    if group is None:
        msg = f"event {position} is about a group that was never created"
        raise ValueError(msg)
    match event:
        case GroupLimitSet(limit_minor=limit_minor):
            ceiling_minor = group.ceiling_minor if event.keeps_ceiling else event.ceiling_minor
            return msgspec.structs.replace(
                group,
                limit_minor=limit_minor,
                ceiling_minor=ceiling_minor,
                last_position=position,
            )
        case GroupMemberAdded(account_id=account_id):
            members = (*group.members, account_id)
        case GroupMemberRemoved(account_id=account_id):
            members = tuple(member for member in group.members if member != account_id)
        case _:
            assert_never(event)
    return msgspec.structs.replace(group, members=members, last_position=position)


def totals_of(side: Side, accounts: Iterable[Account]) -> Totals:
    """The sums over accounts, counted on ``side``, whatever their own normal sides are."""
    posted_minor = debits_held = credits_held = 0
    for account in accounts:
        posted_minor += account.credits_posted_minor - account.debits_posted_minor
        debits_held += account.debits_held_minor
        credits_held += account.credits_held_minor
    if side == "credit":
        return Totals(posted_minor, debits_held, credits_held)
    return Totals(-posted_minor, credits_held, debits_held)


def available_of(group: Group, totals: Totals) -> int | None:
    """What the group's total may still fall by; ``None`` where it has no limit."""
    if group.limit_minor is None:
        return None
    return totals.posted_minor - totals.outgoing_held_minor + group.limit_minor


def require_within_groups(books: "Books", after: Mapping[str, Account]) -> None:
    """A movement leaves every group of the accounts it touches within its limits, or closer.

    ``after`` is what the touched accounts come to; ``books`` holds them as they are, and all other
    members. Exactly reaching a limit is allowed, and so is a movement within the group.

    Raises:
        InsufficientFunds: a group's total would go below its limit.
        LimitExceeded: a group's total would go above its ceiling.
    """
    for group_id in dict.fromkeys(
        group_id for account in after.values() for group_id in account.terms.groups
    ):
        group = books.kept(KIND, group_id)
        if isinstance(group, Group) and group.is_limited:
            _require_within(group, books.accounts, after)


def _require_within(
    group: Group, accounts: Mapping[str, Account], changed: Mapping[str, Account]
) -> None:
    """As ``require_within_groups``, for one group."""
    touched = [name for name, item in changed.items() if group.group_id in item.terms.groups]
    was = totals_of(group.side, (accounts[name] for name in touched))
    becomes = totals_of(group.side, (changed[name] for name in touched))
    if becomes.net_minor == was.net_minor:
        return  # Within the group, or a hold that becomes an entry.
    before = totals_of(group.side, (accounts[member] for member in group.members))
    after = Totals(
        before.posted_minor + becomes.posted_minor - was.posted_minor,
        before.outgoing_held_minor + becomes.outgoing_held_minor - was.outgoing_held_minor,
        before.incoming_held_minor + becomes.incoming_held_minor - was.incoming_held_minor,
    )
    _require_above_limit(group, before, after)
    _require_below_ceiling(group, before, after)


def _require_above_limit(group: Group, before: Totals, after: Totals) -> None:
    """The total does not go below the limit, or further below it.

    Raises:
        InsufficientFunds: it does.
    """
    available_minor, left_minor = available_of(group, before), available_of(group, after)
    if available_minor is None or left_minor is None or left_minor >= min(0, available_minor):
        return
    raise InsufficientFunds(
        group_id=group.group_id,
        posted_minor=str(before.posted_minor),
        held_minor=str(before.outgoing_held_minor),
        available_minor=str(available_minor),
        limit_minor=str(group.limit_minor),
        needed_minor=str(available_minor - left_minor),
    )


def _require_below_ceiling(group: Group, before: Totals, after: Totals) -> None:
    """The total does not go above the ceiling, or further above it.

    Raises:
        LimitExceeded: it does.
    """
    if group.ceiling_minor is None:
        return
    present_minor = before.posted_minor + before.incoming_held_minor
    reached_minor = after.posted_minor + after.incoming_held_minor
    if reached_minor <= max(group.ceiling_minor, present_minor):
        return
    raise LimitExceeded(
        group_id=group.group_id,
        posted_minor=str(before.posted_minor),
        held_minor=str(before.incoming_held_minor),
        ceiling_minor=str(group.ceiling_minor),
        reached_minor=str(reached_minor),
    )
