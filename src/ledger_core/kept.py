"""Kept state: what the ledger keeps by id beside accounts and customers, one registry for all.

Holds, groups, the period, and whatever a capability adds: each *kind* says which events touch
which of its ids, and how its state changes by them. The same ``evolve`` is used when a command is
decided, when the projection ``kept`` is kept up to date (which the writer loads from), and when
the log is verified. A state may fall due: the shell then appends the event that this amounts to
before it decides anything else.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, get_args

import msgspec

from ledger_core import (
    access_role,
    account_limits,
    approval_policies,
    approvals,
    group,
    holds,
    period,
    standing_order,
    template,
)
from ledger_core.access_role import AccessRole, RoleRetired, RoleSet
from ledger_core.account_limits import LimitChange, LimitChangeScheduled
from ledger_core.accounts import GroupMemberAdded, GroupMemberRemoved, LimitSet
from ledger_core.approval_policies import ApprovalPolicySet, ApprovalsUsed, Policy
from ledger_core.approvals import ApprovalEvent, ApprovalRequest, ApprovalRequested
from ledger_core.group import Group, GroupCreated, GroupLimitSet
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted
from ledger_core.period import Period, PeriodClosed, PeriodReopened
from ledger_core.standing_order import Order, OrderEvent
from ledger_core.template import Template, TemplateDefined, TemplateRetired

# Any: the types of event and state differ from kind to kind; each keeper ties its own together.
State = Any


class Keeper(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of state is kept.

    ``ids`` are those of this kind that an event at a position touches; ``evolve`` is the state
    after it (from ``None`` at first). ``resident``: few, so that all are in the writer's memory.
    ``due`` is the event that a state's ``due_at`` amounts to.
    """

    kind: str
    state: type
    events: tuple[type, ...]
    ids: Callable[[Any, int], tuple[str, ...]]
    evolve: Callable[[Any, Any, int, datetime], State]
    resident: bool = False
    due: Callable[[State], Any] | None = None


KEEPERS: Mapping[str, Keeper] = MappingProxyType(
    {
        keeper.kind: keeper
        for keeper in (
            Keeper(
                kind="hold",
                state=holds.Hold,
                events=(HoldPlaced, HoldReleased, JournalEntryPosted),
                ids=holds.ids,
                evolve=holds.evolve,
                due=holds.expiry_of,
            ),
            Keeper(
                kind=group.KIND,
                state=Group,
                events=(GroupCreated, GroupLimitSet, GroupMemberAdded, GroupMemberRemoved),
                ids=group.ids,
                evolve=group.evolve,
            ),
            Keeper(
                kind=period.KIND,
                state=Period,
                events=(PeriodClosed, PeriodReopened),
                ids=period.ids,
                evolve=period.evolve,
                resident=True,
            ),
            Keeper(
                kind=account_limits.KIND,
                state=LimitChange,
                events=(LimitChangeScheduled, LimitSet),
                ids=account_limits.ids,
                evolve=account_limits.evolve,
                due=account_limits.due,
            ),
            Keeper(
                kind=approval_policies.KIND,
                state=Policy,
                events=(ApprovalPolicySet,),
                ids=approval_policies.ids,
                evolve=approval_policies.evolve,
                resident=True,
            ),
            Keeper(
                kind=approval_policies.USED_KIND,
                state=ApprovalsUsed,
                events=(ApprovalPolicySet, ApprovalRequested),
                ids=approval_policies.used_ids,
                evolve=approval_policies.evolve_used,
                resident=True,
            ),
            Keeper(
                kind=approvals.KIND,
                state=ApprovalRequest,
                events=get_args(ApprovalEvent),
                ids=approvals.ids,
                evolve=approvals.evolve,
            ),
            Keeper(
                kind=standing_order.KIND,
                state=Order,
                events=get_args(OrderEvent),
                ids=standing_order.order_ids,
                evolve=standing_order.evolve,
            ),
            Keeper(
                kind=template.KIND,
                state=Template,
                events=(TemplateDefined, TemplateRetired),
                ids=template.ids,
                evolve=template.evolve,
            ),
            Keeper(
                kind=access_role.KIND,
                state=AccessRole,
                events=(RoleSet, RoleRetired),
                ids=access_role.ids,
                evolve=access_role.evolve,
                resident=True,
            ),
        )
    }
)


def _by_event() -> dict[type, tuple[Keeper, ...]]:
    """The keepers that each type of event concerns."""
    types = {kind for keeper in KEEPERS.values() for kind in keeper.events}
    return {
        kind: tuple(keeper for keeper in KEEPERS.values() if kind in keeper.events)
        for kind in types
    }


_BY_EVENT: Mapping[type, tuple[Keeper, ...]] = MappingProxyType(_by_event())
_DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = MappingProxyType(
    {keeper.kind: msgspec.json.Decoder(keeper.state) for keeper in KEEPERS.values()}
)
# Keys in a fixed order, so that the same state is the same text wherever it is kept.
_ENCODER = msgspec.json.Encoder(order="deterministic")

Place = tuple[str, str]
"""A kind and an id of it."""


def touched(event: object, position: int) -> Iterable[tuple[Keeper, str]]:
    """The states that an event changes: the keeper and the id."""
    if type(event) is JournalEntryPosted and event.hold_id is None:  # The hot path.
        return ()
    return [
        (keeper, kept_id)
        for keeper in _BY_EVENT.get(type(event), ())
        for kept_id in keeper.ids(event, position)
    ]


def due_at(state: State) -> datetime | None:
    """When the state falls due, if it ever does."""
    moment: datetime | None = getattr(state, "due_at", None)
    return moment


def tags(state: State) -> tuple[str, ...]:
    """What the state is listed by."""
    named: tuple[str, ...] = getattr(state, "tags", ())
    return named


def due_event(place: Place, state: State) -> Any:  # noqa: ANN401 - an event of its kind
    """The event that the state's due time amounts to."""
    keeper = KEEPERS[place[0]]
    assert keeper.due is not None  # noqa: S101 - only such kinds have a due time
    return keeper.due(state)


def encode(state: State) -> bytes:
    """The state as it is stored."""
    return _ENCODER.encode(state)


def decode(kind: str, data: bytes | str) -> State:
    """The state behind what is stored."""
    return _DECODERS[kind].decode(data)
