"""The business day: runs every standing order that is due on a date, each occurrence once.

Which orders are due is read from the views, brought up to the head of the log first; what a run
comes to is decided by the ledger's writer alone. So this may be stopped at any point and begun
again, and two may run side by side: an occurrence that was run is found to have been.
"""

import threading
import time
from datetime import date

import msgspec

from api.runtime import Runtime
from ledger_core import kept, log
from ledger_core.errors import LedgerBusy, ValidationFailed
from ledger_core.ledger import Outcome, Submission
from ledger_core.log import Connection
from ledger_core.standing_order import KIND, Order, StandingOrderRan, due_dates
from ledger_core.standing_orders import RunOrder
from projections import runner

# Runs of one transaction: some 100 ms of the writer's time, during which other commands wait.
BATCH_RUNS_MAX = 500
# Batches in a row that come to nothing, because orders were changed after they were read.
FRUITLESS_MAX = 3
# Views that have stood still for so long are brought up here: their projector may be gone.
STILL_S_MAX = 10.0
LOOK_S = 0.1

_DUE = (
    "SELECT k.state FROM views.projections p"
    " JOIN views.kept k ON k.ledger_id = p.ledger_id AND k.slot = p.slot"
    " WHERE p.ledger_id = %s AND p.name = 'kept' AND p.live AND k.ledger_id = %s"
    " AND k.kind = %s AND k.status = 'active' AND k.state ->> 'next_date' <= %s"
    " ORDER BY k.state ->> 'next_date', k.position LIMIT %s"
)


class BusinessDay(msgspec.Struct, frozen=True):
    """What running a business date came to, in occurrences.

    ``ran`` were carried out, ``refused`` were refused (and are not tried again), ``already`` had
    been run by somebody else meanwhile, or were cancelled.
    """

    business_date: date
    ran: int = 0
    refused: int = 0
    already: int = 0


def run(
    runtime: Runtime,
    ledger_id: int,
    business_date: date,
    actor: str,
    stopping: threading.Event | None = None,
) -> BusinessDay:
    """Run all that is due on or before a date, in the order of the due dates.

    ``stopping``, once set, ends it after the batch under way: the rest is run another time.

    Raises:
        ValidationFailed: the date lies after today's, in UTC.
        LedgerBusy: the writer cannot take more now; what was run is run.
        LedgerError: nothing can be judged, again and again.
    """
    if business_date > runtime.now().date():
        raise ValidationFailed("business_date", "not after today (UTC)")
    day = BusinessDay(business_date)
    fruitless = 0
    while stopping is None or not stopping.is_set():
        due = _due(runtime, ledger_id, business_date)
        if not due:
            break
        outcomes = runtime.submit(ledger_id, Submission(due, actor)).result()
        day = _counted(day, outcomes)
        # An order that was changed since it was read is read again.
        fruitless = 0 if _came_to_something(outcomes) else fruitless + 1
        if fruitless == FRUITLESS_MAX:
            raise next((item.error for item in outcomes if item.error), LedgerBusy())
    return day


def _due(runtime: Runtime, ledger_id: int, business_date: date) -> list[RunOrder]:
    """The next runs, in the order of their due dates; none: nothing is due any more."""
    with runtime.connect("ledger_projector") as connection:
        _bring_up(connection, ledger_id, is_projected=runtime.is_projected)
        orders = _due_orders(connection, ledger_id, business_date)
    if not orders:
        return []
    # Orders that were not read may be due from the last one's date on: up to there, no further.
    last = orders[-1].next_date
    until = business_date if len(orders) < BATCH_RUNS_MAX or last is None else last
    runs = [
        (due, number)
        for number, order in enumerate(orders)
        for due in due_dates(order, until, BATCH_RUNS_MAX)
    ]
    return [
        RunOrder(order_id=orders[number].order_id, due_date=due, business_date=business_date)
        for due, number in sorted(runs)[:BATCH_RUNS_MAX]
    ]


def _bring_up(connection: Connection, ledger_id: int, *, is_projected: bool) -> None:
    """Have the views reflect the log up to its head as it stands now.

    A projector beside does that. Whoever did its work too would take the batches from it in turns:
    each would find that what it remembers is not of the last position, and read everything anew.
    """
    goal = log.read_head(connection, ledger_id).position
    reached, stood_s = -1, 0.0
    while is_projected and stood_s < STILL_S_MAX:
        found = min((at for at, _ in runner.positions(connection, ledger_id).values()), default=0)
        if found >= goal:
            return
        stood_s = 0.0 if found > reached else stood_s + LOOK_S
        reached = found
        time.sleep(LOOK_S)
    runner.catch_up(connection, ledger_id, to_position=goal)


def _due_orders(connection: Connection, ledger_id: int, business_date: date) -> list[Order]:
    """The active orders with an occurrence due by a date, the longest due first."""
    rows = connection.execute(
        _DUE, (ledger_id, ledger_id, KIND, business_date.isoformat(), BATCH_RUNS_MAX)
    )
    return [kept.decode(KIND, row[0]) for row in rows]


def _came_to_something(outcomes: list[Outcome]) -> bool:
    """Whether any of the occurrences has now been run, by us or by somebody else."""
    return any(outcome.status in ("recorded", "replayed") for outcome in outcomes)


def _counted(day: BusinessDay, outcomes: list[Outcome]) -> BusinessDay:
    """The figures with those of one batch added; what could not be judged is not counted."""
    ran = refused = already = 0
    for outcome in outcomes:
        if outcome.error is not None:
            continue
        if outcome.status != "recorded":
            already += 1
        elif isinstance(outcome.event, StandingOrderRan):
            ran += 1
        else:
            refused += 1
    return BusinessDay(
        day.business_date, day.ran + ran, day.refused + refused, day.already + already
    )
