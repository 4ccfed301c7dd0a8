"""Time in the tests of HTTP: a clock that a test moves, and an order that falls due by it."""

import json
from datetime import date, datetime, timedelta
from typing import Any

from tests.http.bank import Bank, Json
from tests.strategies import START

from ledger_core import log

TODAY = START.date()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """Begin when the tests' banks open."""
        self.at = START

    def now(self) -> datetime:
        """The moment it stands at."""
        return self.at

    def move(self, **by: float) -> None:
        """Let time go by."""
        self.at += timedelta(**by)

    @property
    def today(self) -> date:
        """The day it stands at."""
        return self.at.date()


def ordered(bank: Bank, order_id: str = "rent", **schedule: Any) -> Json:  # noqa: ANN401
    """Order 10 from a to b, daily from today on unless said otherwise."""
    days = {"first_date": TODAY.isoformat(), "unit": "day"} | schedule
    command = {
        "type": "transfer",
        "debit_account_id": "a",
        "credit_account_id": "b",
        "amount": "10",
        "currency": "EUR",
    }
    body = {"order_id": order_id, "schedule": days, "command": command}
    answer = bank.post("/v1/standing-orders", body, role="teller")
    assert answer.status_code == 201, answer.json()
    found: Json = answer.json()
    return found


def in_log(bank: Bank) -> list[Json]:
    """Every event's type and data, from the table: a request would have what is due recorded."""
    with bank.runtime.connect("ledger_reader") as connection:
        events = log.read_events(connection, bank.ledger_id, 0)
    return [{"type": event.type, "data": json.loads(event.data)} for event in events]
