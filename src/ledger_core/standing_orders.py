"""Standing orders: create, change and cancel them, and what a run of one is to carry out.

An order is run for one occurrence at a time, in the order of their due dates, each at most once.
The entry is booked by the shell (``order_runs``) just before the run's own event.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from ledger_core.errors import OrderEnded, OrderExists, OrderNotFound, ValidationFailed
from ledger_core.fields import ORDER_PREFIX, require_id, require_new_id, require_text
from ledger_core.money import minor_from_text
from ledger_core.movements import (
    MovementCommand,
    kept,
    on_occasion,
    require_keepable,
    require_possible,
)
from ledger_core.schedules import Schedule, next_after, require_schedule
from ledger_core.standing_order import (
    KIND,
    Order,
    OrderChange,
    StandingOrderCancelled,
    StandingOrderChanged,
    StandingOrderCreated,
    evolve,
)

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

# A first date further back is a slip of the pen: every occurrence since would be caught up.
BACKDATED_DAYS_MAX = 366
# Changes that are still to come into force.
CHANGES_MAX = 20

_NOTES = frozenset({"order_id", "due_date"})


class CreateOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="create_order", forbid_unknown_fields=True
):
    """Carry out ``command``, a money movement, on the days of a schedule.

    The movement has no key and no value date: each run has its own.
    """

    key: str = ""
    order_id: str | None = None
    name: str | None = None
    schedule: Schedule
    command: MovementCommand

    def needs(self, wants: "Wants") -> None:
        """The order's id, and what the movement needs."""
        if self.order_id is not None:
            wants.kept.add((KIND, self.order_id))
        self.command.needs(wants)


class ChangeOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="change_order", forbid_unknown_fields=True
):
    """Change what falls due on ``from_date`` (left out: today, UTC) or later and has not run yet.

    ``command`` is another movement, or ``amount`` another amount in it; ``schedule`` other days.
    """

    key: str = ""
    order_id: str
    from_date: date | None = None
    amount: str | None = None
    command: MovementCommand | None = None
    schedule: Schedule | None = None
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The order, and what a new movement needs."""
        wants.kept.add((KIND, self.order_id))
        if self.command is not None:
            self.command.needs(wants)


class CancelOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="cancel_order", forbid_unknown_fields=True
):
    """Run an order no more."""

    key: str = ""
    order_id: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The order."""
        wants.kept.add((KIND, self.order_id))


class RunOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="run_order", forbid_unknown_fields=True
):
    """Carry out the occurrence of ``due_date`` on a business date: the ledger's own command."""

    order_id: str
    due_date: date
    business_date: date

    @property
    def key(self) -> str:
        """One run, one key: it has a blank, so no caller can choose it."""
        return f"run {self.order_id} {self.due_date.isoformat()}"

    def needs(self, wants: "Wants") -> None:
        """The order; what its movement needs is loaded when the order is known."""
        wants.kept.add((KIND, self.order_id))


def decide_creation(books: "Books", command: CreateOrder) -> tuple[StandingOrderCreated, ...]:
    """Create the order.

    Raises:
        ValidationFailed: a malformed field, a schedule that began too long ago, or a movement
            that belongs to one occasion.
        OrderExists: the id is taken.
        NotFound, SameAccount, UnknownCurrency, CurrencyMismatch, Unbalanced: the movement could
            never be carried out.
    """
    require_new_id(command.order_id, field="order_id", prefix=ORDER_PREFIX)
    require_text(command.name, field="name")
    _require_days(books, command.schedule, after=None)
    require_keepable(command.command, notes=_NOTES)
    if command.order_id is not None:
        taken = books.kept(KIND, command.order_id)
        if taken is not None:
            raise OrderExists(position=taken.position)
    values = kept(command.command)
    _require_movement(books, values)
    return (StandingOrderCreated(values, command.schedule, command.order_id, command.name),)


def decide_change(books: "Books", command: ChangeOrder) -> tuple[StandingOrderChanged, ...]:
    """Change the order; ``()`` where it is so already.

    Raises:
        ValidationFailed: a malformed field, nothing to change, or no occurrence left.
        OrderNotFound, OrderEnded: there is no such order that still runs.
        NotFound, SameAccount, UnknownCurrency, CurrencyMismatch, Unbalanced: the new movement
            could never be carried out.
    """
    require_id(command.order_id, field="order_id")
    require_text(command.reason, field="reason")
    if command.amount is not None:
        minor_from_text(command.amount)
        if command.command is not None:
            raise ValidationFailed("amount", "an amount or a whole command, not both")
    elif command.command is None and command.schedule is None:
        raise ValidationFailed("amount", "an amount, a command or a schedule")
    if command.schedule is not None:
        require_schedule(command.schedule)
    if command.command is not None:
        require_keepable(command.command, notes=_NOTES)
    order = _active(books, command.order_id)
    if command.schedule is not None:
        _require_days(books, command.schedule, after=order.last_due_date)
    values = None
    if command.command is not None:
        values = kept(command.command)
        _require_movement(books, values)
    event = StandingOrderChanged(
        command.order_id,
        command.from_date,
        command.amount,
        values,
        command.schedule,
        command.reason,
    )
    return (event,) if _is_change(books, order, event) else ()


def decide_cancellation(books: "Books", command: CancelOrder) -> tuple[StandingOrderCancelled, ...]:
    """Cancel the order; ``()`` where it is cancelled already.

    Raises:
        ValidationFailed: a malformed field.
        OrderNotFound: no such order.
        OrderEnded: it has run for the last time.
    """
    require_id(command.order_id, field="order_id")
    require_text(command.reason, field="reason")
    order = _order(books, command.order_id)
    if order.status == "cancelled":
        return ()
    if order.status == "ended":
        raise OrderEnded(order_id=command.order_id, status=order.status)
    return (StandingOrderCancelled(command.order_id, command.reason),)


def movement_of(books: "Books", command: RunOrder) -> MovementCommand | None:
    """The movement that a run is to carry out; ``None``: that occurrence is not due any more.

    Raises:
        ValidationFailed: a business date after today's or before the due date; a due date that is
            not the next one.
        OrderNotFound: no such order.
    """
    require_id(command.order_id, field="order_id")
    if command.business_date > books.today:
        raise ValidationFailed("business_date", "not after today (UTC)")
    if command.business_date < command.due_date:
        raise ValidationFailed("business_date", "on or after the due date")
    order = _order(books, command.order_id)
    if order.next_date is None or command.due_date < order.next_date:
        return None
    if command.due_date > order.next_date:
        raise ValidationFailed("due_date", "the order's next date")
    return _on_occasion(order, command.due_date, command.business_date)


def kept_movements(books: "Books", order_id: str) -> tuple[MovementCommand, ...]:
    """The movements of an order, the one that is next and those to come by its changes."""
    order = books.kept(KIND, order_id)
    if not isinstance(order, Order):
        return ()
    to_come = [change.command for change in order.changes if change.command is not None]
    return tuple(on_occasion(values, books.today, {}) for values in (order.command, *to_come))


def ordered_movements(
    books: "Books", event: StandingOrderCreated | StandingOrderChanged
) -> tuple[MovementCommand, ...]:
    """The movements that an event yet to be recorded would order, or have run on other days.

    A change is followed by those that are to come later: an amount that was to change in one
    movement changes in another one then.
    """
    if isinstance(event, StandingOrderCreated):
        return (on_occasion(event.command, books.today, {}),)
    order = _order(books, event.order_id)
    from_date = event.from_date or books.today
    made = OrderChange(from_date, event.amount, event.command)
    values, ordered = order.command, list[dict[str, Any]]()
    for change in sorted((*order.changes, made), key=lambda item: item.from_date):
        values = change.command or values
        if change.amount is not None:
            values = {**values, "amount": change.amount}
        replaced = event.command is None or change.command is not None
        if ordered and event.schedule is None and replaced:
            break  # What comes from here on is in already, or is as it was ordered before.
        if change is made or ordered:
            ordered.append(values)
    return tuple(on_occasion(item, books.today, {}) for item in ordered)


def creation_of(event: StandingOrderCreated) -> CreateOrder:
    """The command whose first answer this event was, without its key."""
    return CreateOrder(
        order_id=event.order_id,
        name=event.name,
        schedule=event.schedule,
        command=msgspec.convert(event.command, MovementCommand),
    )


def change_of(event: StandingOrderChanged) -> ChangeOrder:
    """The command whose first answer this event was, without its key."""
    changed = event.command
    return ChangeOrder(
        order_id=event.order_id,
        from_date=event.from_date,
        amount=event.amount,
        command=None if changed is None else msgspec.convert(changed, MovementCommand),
        schedule=event.schedule,
        reason=event.reason,
    )


def cancellation_of(event: StandingOrderCancelled) -> CancelOrder:
    """The command whose first answer this event was, without its key."""
    return CancelOrder(order_id=event.order_id, reason=event.reason)


def _on_occasion(order: Order, due_date: date, business_date: date) -> MovementCommand:
    """The order's movement as it is carried out for one occurrence."""
    notes = {"order_id": order.order_id, "due_date": due_date.isoformat()}
    return on_occasion(order.command, business_date, notes)


def _order(books: "Books", order_id: str) -> Order:
    """The order of that id.

    Raises:
        OrderNotFound: none.
    """
    order = books.kept(KIND, order_id)
    if not isinstance(order, Order):
        raise OrderNotFound(field="order_id")
    return order


def _active(books: "Books", order_id: str) -> Order:
    """The order, which still runs.

    Raises:
        OrderNotFound: no such order.
        OrderEnded: it is cancelled, or has run for the last time.
    """
    order = _order(books, order_id)
    if order.status != "active":
        raise OrderEnded(order_id=order_id, status=order.status)
    return order


def _require_days(books: "Books", schedule: Schedule, *, after: date | None) -> None:
    """The schedule is well formed, has an occurrence left, and did not begin too long ago.

    Raises:
        ValidationFailed: it is not so.
    """
    require_schedule(schedule)
    due = next_after(schedule, after)
    if due is None:
        raise ValidationFailed("schedule", "at least one occurrence that has not run yet")
    if due < books.today - timedelta(days=BACKDATED_DAYS_MAX):
        raise ValidationFailed(
            "schedule.first_date", f"at most {BACKDATED_DAYS_MAX} days before today"
        )


def _require_movement(books: "Books", values: dict[str, Any]) -> None:
    """The movement could be carried out as a run would, on some day.

    Raises:
        LedgerError: see ``movements.require_possible``.
    """
    # Of what a run notes only the names count here: as many must have room beside the caller's.
    notes = dict.fromkeys(_NOTES, ORDER_PREFIX)
    require_possible(books, on_occasion(values, books.today, notes))


def _is_change(books: "Books", order: Order, event: StandingOrderChanged) -> bool:
    """Whether the order would be another one after the event.

    Raises:
        ValidationFailed: a date long past, an amount in a movement that has none, too many
            changes to come, or no occurrence left.
    """
    from_date = event.from_date or books.today
    if from_date < books.today - timedelta(days=BACKDATED_DAYS_MAX):
        raise ValidationFailed("from_date", f"at most {BACKDATED_DAYS_MAX} days before today")
    change = OrderChange(from_date, event.amount, event.command)
    values = order.command
    for item in sorted((*order.changes, change), key=lambda item: item.from_date):
        values = item.command or values
        if item.amount is not None and "amount" not in values:
            raise ValidationFailed("amount", "none: the movement has no amount of its own")
    after = evolve(order, event, order.last_position, books.recorded_at)
    if after.next_date is None:
        raise ValidationFailed("schedule", "at least one occurrence that has not run yet")
    if len(after.changes) > CHANGES_MAX:
        raise ValidationFailed("from_date", f"at most {CHANGES_MAX} changes that are to come")
    return after != order
