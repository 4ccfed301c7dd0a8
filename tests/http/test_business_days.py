"""Business days end to end: what is due is booked on its day, and what was missed once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from tests.http.bank import Bank
from tests.http.timed import TODAY, Clock, ordered

from api import business_day
from api.runtime import Runtime
from ledger_core.errors import ValidationFailed
from ledger_core.ledger import Submission
from projections import runner


def ran(bank: Bank, day: date, role: str = "teller") -> tuple[int, int, int]:
    """Run a business day: how many ran, were refused, and had run."""
    answer = bank.post("/v1/business-days", {"business_date": day.isoformat()}, role=role)
    assert answer.status_code == 200, answer.json()
    figures = answer.json()
    assert figures["business_date"] == day.isoformat()
    return figures["ran"], figures["refused"], figures["already"]


def balance(bank: Bank, account_id: str) -> str:
    """What the account has."""
    found: str = bank.get(f"/v1/accounts/{account_id}/balance").json()["posted_minor"]
    return found


def test_an_order_is_created_seen_changed_run_and_cancelled(timed: Bank, clock: Clock) -> None:
    """From the first request to the statement, and the address that creation answers."""
    created = ordered(timed)
    assert (created["type"], created["order_id"]) == ("StandingOrderCreated", "rent")
    seen = timed.get("/v1/standing-orders/rent").json()
    assert (seen["status"], seen["next_date"], seen["runs"]) == ("active", TODAY.isoformat(), 0)
    assert seen["command"]["amount"] == "10"
    assert ran(timed, TODAY) == (1, 0, 0)
    line = timed.get("/v1/accounts/b/statement").json()["lines"][-1]
    assert line["value_date"] == TODAY.isoformat()
    change = {"amount": "25", "from_date": (TODAY + timedelta(1)).isoformat()}
    assert timed.post("/v1/standing-orders/rent/change", change).status_code == 201
    clock.move(days=1)
    assert ran(timed, clock.today) == (1, 0, 0)
    assert balance(timed, "b") == "35"
    cancelled = timed.post("/v1/standing-orders/rent/cancel", {"reason": "moved"})
    assert cancelled.json()["type"] == "StandingOrderCancelled"
    clock.move(days=1)
    assert ran(timed, clock.today) == (0, 0, 0)
    listed = timed.get("/v1/standing-orders", account_id="b", status="cancelled").json()
    assert [item["id"] for item in listed["standing_orders"]] == ["rent"]
    again = timed.post("/v1/standing-orders/rent/change", change)
    assert (again.status_code, again.json()["code"]) == (422, "order_ended")


def test_a_projector_beside_does_its_work_alone(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day waits for it; nobody but it brings the views up while it may be expected to."""
    del clock
    monkeypatch.setattr(business_day, "STILL_S_MAX", 60.0)
    monkeypatch.setattr(timed.runtime, "is_projected", True)
    ordered(timed)
    stop = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        day = threads.submit(ran, timed, TODAY)
        assert not stop.wait(0.3)
        assert not day.done()
        threads.submit(runner.run_forever, timed.runtime.database_url, stop)
        try:
            assert day.result() == (1, 0, 0)
        finally:
            stop.set()


def test_a_day_is_run_where_the_projector_is_gone(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views that stand still are brought up by whoever needs them."""
    del clock
    monkeypatch.setattr(business_day, "STILL_S_MAX", 0.2)
    monkeypatch.setattr(timed.runtime, "is_projected", True)
    ordered(timed)
    assert ran(timed, TODAY) == (1, 0, 0)


def test_missed_days_are_caught_up_once(timed: Bank, clock: Clock) -> None:
    """Nobody ran four days: then all at once, on the day they are run, and never again."""
    ordered(timed)
    clock.move(days=4)
    for expected in ((5, 0, 0), (0, 0, 0)):
        assert ran(timed, clock.today) == expected
    assert balance(timed, "b") == "50"
    assert ran(timed, TODAY + timedelta(1)) == (0, 0, 0)
    booked = [event for event in timed.events() if event["type"] == "JournalEntryPosted"]
    due = [event["data"]["metadata"]["due_date"] for event in booked[1:]]
    assert due == [(TODAY + timedelta(days)).isoformat() for days in range(5)]
    assert {event["data"]["value_date"] for event in booked[1:]} == {clock.today.isoformat()}


def test_a_past_business_date_runs_what_was_due_by_then(timed: Bank, clock: Clock) -> None:
    """Days can be run one after another, in their own names."""
    ordered(timed)
    clock.move(days=2)
    for days in range(3):
        assert ran(timed, TODAY + timedelta(days)) == (1, 0, 0)
    assert balance(timed, "b") == "30"


def test_what_is_refused_is_counted_and_not_tried_again(timed: Bank, clock: Clock) -> None:
    """The account is blocked on one day: that run is lost, the next is not."""
    ordered(timed)
    freeze = {"cause": "court", "effect": "debit"}
    assert timed.post("/v1/accounts/a/freeze", freeze).is_success
    assert ran(timed, TODAY) == (0, 1, 0)
    assert timed.post("/v1/accounts/a/unfreeze", {"cause": "court"}).is_success
    assert ran(timed, TODAY) == (0, 0, 0)
    clock.move(days=1)
    assert ran(timed, clock.today) == (1, 0, 0)
    refused = [item for item in timed.events() if item["type"] == "StandingOrderRunRefused"]
    assert [item["data"]["code"] for item in refused] == ["account_blocked"]


def test_all_orders_run_in_the_order_of_their_days(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one batch: no order overtakes another that was due before."""
    monkeypatch.setattr(business_day, "BATCH_RUNS_MAX", 4)
    for number in range(7):
        ordered(timed, f"o{number}", first_date=(TODAY + timedelta(number % 3)).isoformat())
    clock.move(days=4)
    # Three begin today, two tomorrow, two the day after: 5, 4 and 3 days each.
    assert ran(timed, clock.today) == (3 * 5 + 2 * 4 + 2 * 3, 0, 0)
    runs = [item["data"] for item in timed.events() if item["type"] == "StandingOrderRan"]
    assert [item["due_date"] for item in runs] == sorted(item["due_date"] for item in runs)


class OneBatch(threading.Event):
    """Lets one batch through, as a process that is killed after its first commit would."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        super().__init__()
        self._asked = 0

    def is_set(self) -> bool:
        """Whether this was asked before."""
        self._asked += 1
        return self._asked > 1


def test_a_day_that_was_broken_off_is_finished_later(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half was run when the process ended: another does the rest, and none of it twice."""
    monkeypatch.setattr(business_day, "BATCH_RUNS_MAX", 3)
    ordered(timed)
    clock.move(days=6)
    half = business_day.run(timed.runtime, timed.ledger_id, clock.today, "cli", OneBatch())
    assert (half.ran, half.refused, half.already) == (3, 0, 0)
    with Runtime(timed.runtime.settings, now=clock.now) as other:
        rest = business_day.run(other, timed.ledger_id, clock.today, "cli")
    assert (rest.ran, rest.refused, rest.already) == (4, 0, 0)
    assert balance(timed, "b") == "70"


def test_two_runners_at_once_book_once(timed: Bank, clock: Clock) -> None:
    """Two processes run the same day: together they run everything, each occurrence once."""
    for number in range(20):
        ordered(timed, f"o{number}")
    clock.move(days=2)
    with (
        Runtime(timed.runtime.settings, now=clock.now) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        futures = [
            pool.submit(business_day.run, runtime, timed.ledger_id, clock.today, "cli")
            for runtime in (timed.runtime, other)
        ]
        days = [future.result() for future in futures]
    assert sum(day.ran for day in days) == 60
    assert balance(timed, "b") == "600"


def test_an_order_that_is_changed_after_it_was_read_is_read_again(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was due by its old days is not run; what is due by the new ones is."""
    ordered(timed)
    clock.move(days=2)
    submit = timed.runtime.submit
    first = (TODAY - timedelta(3)).isoformat()
    changes = iter([{"from_date": first, "schedule": {"first_date": first, "unit": "week"}}])

    def overtaken(ledger_id: int, submission: Submission) -> object:
        """Before the first runs come in, the order is changed."""
        for change in changes:
            assert timed.post("/v1/standing-orders/rent/change", change).is_success
        return submit(ledger_id, submission)

    monkeypatch.setattr(timed.runtime, "submit", overtaken)
    day = business_day.run(timed.runtime, timed.ledger_id, clock.today, "cli")
    assert (day.ran, day.refused, day.already) == (1, 0, 0)
    runs = [item["data"] for item in timed.events() if item["type"] == "StandingOrderRan"]
    assert [item["due_date"] for item in runs] == [first]


def test_a_day_that_has_not_come_is_refused(timed: Bank, clock: Clock) -> None:
    """In UTC, by the server's clock; by the function and over HTTP."""
    tomorrow = clock.today + timedelta(1)
    answer = timed.post("/v1/business-days", {"business_date": tomorrow.isoformat()})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    with pytest.raises(ValidationFailed):
        business_day.run(timed.runtime, timed.ledger_id, tomorrow, "cli")


def test_what_is_no_request_for_a_day_is_refused(timed: Bank) -> None:
    """Other members, no date, a dry run, or a role that does not work at the counter."""
    for body in ({}, {"business_date": "today"}, {"business_date": "2026-03-02", "x": 1}):
        assert timed.post("/v1/business-days", body).status_code == 422
    day = {"business_date": TODAY.isoformat()}
    assert timed.post("/v1/business-days?dry_run=true", day).status_code == 422
    assert timed.post("/v1/business-days", day, role="reader").status_code == 403
    assert ran(timed, TODAY, role="admin") == (0, 0, 0)
