"""Standing orders as they stand: the events on them, and what follows from these.

An order is a money movement kept as data, and the days on which it is due; a scheduled entry is
one that is due once. What may be ordered, and how it is run, is for ``standing_orders``.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, Literal, assert_never

import msgspec

from ledger_core.fields import ORDER_PREFIX
from ledger_core.schedules import Schedule, next_after

KIND = "order"

OrderStatus = Literal["active", "ended", "cancelled"]


class StandingOrderCreated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A movement is to be carried out on the days of a schedule.

    ``command`` is the movement as it was put, without key and value date. ``order_id`` absent
    means ``ord_<position>``.
    """

    command: dict[str, Any]
    schedule: Schedule
    order_id: str | None = None
    name: str | None = None


class StandingOrderChanged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What falls due on ``from_date`` or later is different; what is absent stays as it was.

    ``from_date`` absent means the UTC day of the recording.
    """

    order_id: str
    from_date: date | None = None
    amount: str | None = None
    command: dict[str, Any] | None = None
    schedule: Schedule | None = None
    reason: str | None = None


class StandingOrderCancelled(msgspec.Struct, frozen=True, omit_defaults=True):
    """The order is not run any more."""

    order_id: str
    reason: str | None = None


class StandingOrderRan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The occurrence of ``due_date`` was carried out with ``business_date`` as its value date.

    Its entry stands at ``entry_position``; absent: a balancing movement found nothing to move.
    """

    order_id: str
    due_date: date
    business_date: date
    entry_position: int | None = None


class StandingOrderRunRefused(msgspec.Struct, frozen=True, omit_defaults=True):
    """The occurrence of ``due_date`` was refused for the reason ``code``; it is not tried again."""

    order_id: str
    due_date: date
    business_date: date
    code: str
    seen: dict[str, Any] = {}


OrderEvent = (
    StandingOrderCreated
    | StandingOrderChanged
    | StandingOrderCancelled
    | StandingOrderRan
    | StandingOrderRunRefused
)


def order_id_at(event: OrderEvent, position: int) -> str:
    """The order's id: the caller's own, else the one derived from its first position."""
    return event.order_id if event.order_id is not None else f"{ORDER_PREFIX}{position}"


def order_ids(event: OrderEvent, position: int) -> tuple[str, ...]:
    """The one order that an event is about."""
    return (order_id_at(event, position),)


def tags_of(event: OrderEvent, _position: int) -> list[str]:
    """The accounts that the event's movement names; why a run was refused, and on which account."""
    match event:
        case StandingOrderCreated(command=command):
            named = accounts_named(command)
        case StandingOrderChanged(command=changed):
            named = accounts_named(changed or {})
        case StandingOrderRunRefused(code=code, seen=seen):
            return ["refusal:" + code, *("account:" + named for named in accounts_named(seen))]
        case _:
            named = ()
    return ["account:" + account_id for account_id in named]


class OrderChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an order will be for what falls due on ``from_date`` or later."""

    from_date: date
    amount: str | None = None
    command: dict[str, Any] | None = None
    schedule: Schedule | None = None


class Order(msgspec.Struct, frozen=True):
    """A standing order after all that happened to it.

    ``next_date`` is the due date of the next occurrence, ``None`` where there is none any more;
    ``command`` and ``schedule`` are those of that occurrence, the schedule counting from ``since``
    on. ``changes`` come into force later, sorted by their dates. ``runs`` counts occurrences that
    were carried out, ``refusals`` those that were refused.
    """

    order_id: str
    command: dict[str, Any]
    schedule: Schedule
    status: OrderStatus
    next_date: date | None
    position: int
    last_position: int
    name: str | None = None
    since: date | None = None
    last_due_date: date | None = None
    runs: int = 0
    refusals: int = 0
    changes: tuple[OrderChange, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The accounts that the movement names, now or by a change to come."""
        named = set(accounts_named(self.command))
        for change in self.changes:
            named.update(accounts_named(change.command or {}))
        return tuple("account:" + account_id for account_id in sorted(named))


def evolve(order: Order | None, event: OrderEvent, position: int, recorded_at: datetime) -> Order:
    """The order after an event."""
    if isinstance(event, StandingOrderCreated):
        return _created(event, position)
    assert order is not None  # noqa: S101 - an order begins with its creation
    match event:
        case StandingOrderChanged():
            return _changed(order, event, position, recorded_at.date())
        case StandingOrderCancelled():
            return _with(order, status="cancelled", next_date=None, last_position=position)
        case StandingOrderRan(due_date=due_date):
            runs, refusals = order.runs + 1, order.refusals
        case StandingOrderRunRefused(due_date=due_date):
            runs, refusals = order.runs, order.refusals + 1
        case _:
            assert_never(event)
    return _settled(
        _with(order, last_due_date=due_date, runs=runs, refusals=refusals, last_position=position)
    )


def due_dates(order: Order, until: date, most: int) -> tuple[date, ...]:
    """The due dates up to ``until`` (inclusive), the first ``most`` of those not yet run."""
    found: list[date] = []
    due = order.next_date
    while due is not None and due <= until and len(found) < most:
        found.append(due)
        due = _next_due(order, due)
    return tuple(found)


def accounts_named(values: dict[str, Any]) -> tuple[str, ...]:
    """The accounts that a kept movement names, each once: ``…account_id``, and a template's."""
    return tuple(dict.fromkeys(_account_ids(values)))


def _created(event: StandingOrderCreated, position: int) -> Order:
    """A new order."""
    return Order(
        order_id=order_id_at(event, position),
        command=event.command,
        schedule=event.schedule,
        status="active",
        next_date=next_after(event.schedule, None),
        position=position,
        last_position=position,
        name=event.name,
    )


def _changed(order: Order, event: StandingOrderChanged, position: int, today: date) -> Order:
    """The order with one more change to come, in the order of their dates."""
    change = OrderChange(event.from_date or today, event.amount, event.command, event.schedule)
    changes = sorted((*order.changes, change), key=lambda item: item.from_date)
    return _settled(_with(order, changes=tuple(changes), last_position=position))


def _settled(order: Order) -> Order:
    """The order with its next date worked out, and the changes made that are in force by then."""
    due = _next_due(order, order.last_due_date)
    if due is None:
        return _with(order, next_date=None, status="ended", changes=())
    command, schedule, since = order.command, order.schedule, order.since
    for change in order.changes:
        if change.from_date > due:
            break
        command = change.command or command
        if change.amount is not None:
            command = {**command, "amount": change.amount}
        if change.schedule is not None:
            schedule, since = change.schedule, change.from_date
    return _with(
        order,
        next_date=due,
        command=command,
        schedule=schedule,
        since=since,
        changes=tuple(item for item in order.changes if item.from_date > due),
    )


def _next_due(order: Order, after: date | None) -> date | None:
    """The first due date later than ``after``, by the schedules as they follow one another."""
    schedules = [
        (order.since, order.schedule),
        *((item.from_date, item.schedule) for item in order.changes if item.schedule is not None),
    ]
    for index, (since, schedule) in enumerate(schedules):
        until = schedules[index + 1][0] if index + 1 < len(schedules) else None
        floor = after
        if since is not None and (after is None or after < since):
            floor = since - timedelta(days=1)
        due = next_after(schedule, floor)
        if due is not None and (until is None or due < until):
            return due
    return None


def _with(order: Order, **changes: object) -> Order:
    """The order with some fields changed."""
    return msgspec.structs.replace(order, **changes)


def _account_ids(value: object) -> Iterator[str]:
    """Every account id within plain JSON values, in order."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name.endswith("account_id") and isinstance(item, str):
                yield item
            elif name == "accounts" and isinstance(item, dict):
                yield from (named for named in item.values() if isinstance(named, str))
            else:
                yield from _account_ids(item)
    elif isinstance(value, list):
        for item in value:
            yield from _account_ids(item)
