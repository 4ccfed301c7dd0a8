"""The clockwork: what falls due happens without a request, and nothing is written otherwise."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import psycopg
import pytest
from tests.http.bank import Bank
from tests.http.timed import TODAY, Clock, in_log, ordered

from api import clockwork as clockwork_module
from api.clockwork import Clockwork
from ledger_core import log
from ledger_core.ledger import Submission


@contextmanager
def ticking(bank: Bank, *, runs_orders: bool = False) -> Iterator[None]:
    """The clockwork of a server, while the block runs."""
    clockwork = Clockwork(bank.runtime, runs_orders=runs_orders)
    try:
        yield
    finally:
        clockwork.stop()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def head(bank: Bank) -> int:
    """The position of the log's last event."""
    with bank.runtime.connect("ledger_reader") as connection:
        return log.read_head(connection, bank.ledger_id).position


def held(bank: Bank, clock: Clock, seconds: int = 60) -> None:
    """Hold 100 on account a for some seconds, and have it in the views."""
    body = {
        "debit_account_id": "a",
        "credit_account_id": "b",
        "amount": "100",
        "currency": "EUR",
        "expires_at": (clock.at + timedelta(seconds=seconds)).isoformat(),
    }
    assert bank.post("/v1/holds", body).is_success
    bank.catch_up()


def newest(bank: Bank) -> str:
    """The type of the log's last event."""
    return str(in_log(bank)[-1]["type"])


def test_a_hold_that_ran_out_while_nobody_was_there_expires_at_the_start(
    timed: Bank, clock: Clock
) -> None:
    """It was due while the server was down: the event says when, and comes once."""
    held(timed, clock)
    clock.move(seconds=600)
    with ticking(timed):
        until(lambda: newest(timed) == "HoldReleased")
        at = head(timed)
        time.sleep(1)
        assert head(timed) == at
    due = (clock.at - timedelta(seconds=540)).isoformat().replace("+00:00", "Z")
    assert in_log(timed)[-1]["data"]["due_at"] == due


def released(bank: Bank, count: int) -> bool:
    """Whether so many holds were released."""
    return [item["type"] for item in in_log(bank)].count("HoldReleased") == count


def test_what_falls_due_meanwhile_happens(timed: Bank, clock: Clock) -> None:
    """One hold after another, as the clock reaches them."""
    held(timed, clock, 60)
    held(timed, clock, 120)
    with ticking(timed):
        for expected in (1, 2):
            clock.move(seconds=60)
            until(partial(released, timed, expected))
            timed.catch_up()


def test_nothing_is_submitted_while_nothing_is_due(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is not even woken: neither before the time comes nor again after it came."""
    woken: list[Submission] = []
    submit = timed.runtime.submit

    def counting(ledger_id: int, submission: Submission) -> object:
        """Count, and submit."""
        woken.append(submission)
        return submit(ledger_id, submission)

    monkeypatch.setattr(timed.runtime, "submit", counting)
    held(timed, clock)
    woken.clear()
    with ticking(timed):
        time.sleep(1)
        assert woken == []
        clock.move(seconds=60)
        until(lambda: newest(timed) == "HoldReleased")
        time.sleep(1)
        assert [len(item.commands) for item in woken] == [0]


def test_orders_run_at_the_start_and_when_the_date_changes(timed: Bank, clock: Clock) -> None:
    """What was missed while the server was down, and then each day by itself."""
    ordered(timed)
    clock.move(days=2)

    def runs() -> int:
        """How many occurrences were run."""
        return sum(item["type"] == "StandingOrderRan" for item in in_log(timed))

    with ticking(timed, runs_orders=True):
        until(lambda: runs() == 3)
        clock.move(days=1)
        until(lambda: runs() == 4)
    dates = {
        item["data"]["business_date"] for item in in_log(timed) if "business_date" in item["data"]
    }
    assert dates == {(TODAY + timedelta(days)).isoformat() for days in (2, 3)}


def test_an_order_for_today_runs_soon(timed: Bank, clock: Clock) -> None:
    """One that is made after the day was run does not wait for tomorrow."""
    with ticking(timed, runs_orders=True):
        time.sleep(0.5)
        ordered(timed)
        clock.move(minutes=5)
        until(lambda: newest(timed) == "StandingOrderRan")


def test_orders_wait_where_somebody_else_runs_them(timed: Bank, clock: Clock) -> None:
    """Without runs_orders only what has a due time happens."""
    ordered(timed)
    clock.move(days=2)
    held(timed, clock)
    clock.move(seconds=60)
    with ticking(timed):
        until(lambda: newest(timed) == "HoldReleased")
        time.sleep(0.5)
    assert "StandingOrderRan" not in [item["type"] for item in in_log(timed)]


def test_a_lost_database_is_found_again(
    timed: Bank, clock: Clock, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection is cut: the clock goes on ticking."""
    monkeypatch.setattr(clockwork_module, "RETRY_S_MIN", 0.1)
    held(timed, clock)
    ordered(timed)
    with ticking(timed, runs_orders=True):
        until(lambda: newest(timed) == "StandingOrderRan")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        clock.move(days=1)
        until(
            lambda: (
                {"HoldReleased", "StandingOrderRan"}
                <= {item["type"] for item in in_log(timed)[-3:]}
            )
        )


def test_a_damaged_ledger_does_not_stop_the_others(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails in one ledger is tried again later; in the others time goes on."""
    held(timed, clock)
    ordered(timed)
    other = Bank(timed.runtime, timed.client, "other")
    other.open("a", 1_000)
    other.open("b")
    held(other, clock)
    ordered(other)
    clock.move(seconds=60)
    submit = timed.runtime.submit

    def failing(ledger_id: int, submission: Submission) -> object:
        """Fail for the first of the ledgers."""
        if ledger_id == timed.ledger_id:
            raise ValueError
        return submit(ledger_id, submission)

    monkeypatch.setattr(timed.runtime, "submit", failing)
    before = head(timed)
    with ticking(timed, runs_orders=True):
        until(
            lambda: {"HoldReleased", "StandingOrderRan"} <= {item["type"] for item in in_log(other)}
        )
    assert head(timed) == before


def test_a_failure_does_not_stop_the_clock(
    timed: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong, it is tried again later."""
    monkeypatch.setattr(clockwork_module, "RETRY_S_MIN", 0.1)
    failures = iter([ValueError("once"), ValueError("twice")])
    submit = timed.runtime.submit

    def failing(ledger_id: int, submission: Submission) -> object:
        """Fail twice."""
        for failure in failures:
            raise failure
        return submit(ledger_id, submission)

    held(timed, clock)
    clock.move(seconds=60)
    monkeypatch.setattr(timed.runtime, "submit", failing)
    with ticking(timed):
        until(lambda: newest(timed) == "HoldReleased")
