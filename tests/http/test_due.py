"""What is due is never shown as not yet due, whoever reads first."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.http.bank import Bank
from tests.http.timed import Clock, in_log

from api import cli_support
from projections import runner

HOLD = {
    "hold_id": "h",
    "debit_account_id": "a",
    "credit_account_id": "b",
    "amount": "300",
    "currency": "EUR",
    "timeout_s": 60,
}


@pytest.fixture
def projected(timed: Bank) -> Iterator[Bank]:
    """That bank with its views kept up to date, and a hold that expires in a minute."""
    stop = threading.Event()
    projector = threading.Thread(
        target=runner.run_forever,
        args=(timed.runtime.database_url, stop),
        kwargs={"poll_s": 0.01},
    )
    projector.start()
    timed.post("/v1/holds", HOLD)
    yield timed
    stop.set()
    projector.join()


def test_the_first_read_after_the_due_time_is_right(projected: Bank, clock: Clock) -> None:
    """With nothing that woke the ledger in between: balance, totals and the hold itself."""
    placed = projected.get("/v1/holds/h").json()
    assert placed["status"] == "open"
    clock.at += timedelta(seconds=61)
    headers = projected.headers()
    before = projected.client.get("/v1/accounts/a/balance", headers=headers).json()
    assert (before["held_minor"], before["available_minor"]) == ("0", "1000")
    assert projected.client.get("/v1/holds/h", headers=headers).json()["status"] == "expired"


def test_the_due_moment_is_answered_once_and_for_all(projected: Bank, clock: Clock) -> None:
    """As of the due time nothing is held, from the first answer on; just before, it was."""
    due_at = projected.get("/v1/holds/h").json()["expires_at"]
    clock.at += timedelta(seconds=61)
    path, headers = "/v1/accounts/a/balance", projected.headers()
    answers = [
        projected.client.get(path, params={"as_of": due_at}, headers=headers) for _ in range(2)
    ]
    assert {answer.json()["held_minor"] for answer in answers} == {"0"}
    assert answers[0].headers["etag"] == answers[1].headers["etag"]
    totals = projected.client.get(
        "/v1/accounts/totals", params={"prefix": "a", "as_of": due_at}, headers=headers
    ).json()
    assert totals["totals"][0]["debits_held_minor"] == "0"


def test_the_command_line_records_what_is_due_before_it_reads(timed: Bank, clock: Clock) -> None:
    """Although no server runs."""
    timed.post("/v1/holds", HOLD)
    clock.at += timedelta(seconds=61)
    cli_support.catch_up(timed.runtime, timed.ledger_id)
    assert in_log(timed)[-1]["type"] == "HoldReleased"
