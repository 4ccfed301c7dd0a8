"""``ledger run-orders``: what is due is run from the command line, too."""

import json
from datetime import timedelta

import pytest
from tests.imports.conftest import Run

from api import clock, settings


def _lines(first_date: str) -> str:
    """A bank whose account A has 100, and a daily order of 60 to B."""
    command = {
        "type": "transfer",
        "debit_account_id": "A",
        "credit_account_id": "B",
        "amount": "60",
        "currency": "EUR",
    }
    schedule = {"first_date": first_date, "unit": "day"}
    return "\n".join(
        json.dumps(line)
        for line in (
            {"type": "open_account", "key": "a", "account_id": "A", "currency": "EUR"},
            {"type": "open_account", "key": "b", "account_id": "B", "currency": "EUR"},
            {"type": "deposit", "key": "d", "account_id": "A", "amount": "100", "currency": "EUR"},
            {"type": "create_order", "key": "o", "schedule": schedule, "command": command},
        )
    )


def test_orders_run_from_the_command_line(run: Run) -> None:
    """Each occurrence once, with the figures for people or as JSON; missed days are caught up."""
    today = clock.today()
    yesterday = today - timedelta(1)
    assert run("load", "-", stdin=_lines(yesterday.isoformat()))[0] == 0
    code, printed, _ = run("run-orders", "--date", yesterday.isoformat())
    assert (code, printed) == (0, f"{yesterday}: 1 ran, 0 refused, 0 ran already.\n")
    code, printed, _ = run("run-orders", "--json")
    figures = json.loads(printed)
    assert code == 0
    assert figures.pop("business_date") >= today.isoformat()
    assert figures.pop("refused") >= 1  # Not enough is left; one more if midnight has passed.
    assert figures == {"ran": 0, "already": 0}


def test_a_day_that_is_none_or_has_not_come_is_refused(run: Run) -> None:
    """One sentence, exit code 1."""
    assert run("migrate")[0] == 0
    code, printed, problem = run("run-orders", "--date", "tomorrow")
    assert (code, printed) == (1, "")
    assert problem == "ledger: --date is a day as YYYY-MM-DD.\n"
    code, _, problem = run("run-orders", "--date", "9999-12-31")
    assert code == 1
    assert "not after today" in problem


def test_how_orders_run_is_a_setting_of_two_values(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything else is named, before anything is begun."""
    monkeypatch.setenv("LEDGER_ORDERS", "sometimes")
    code, _, problem = run("migrate")
    assert (code, problem) == (1, "ledger: LEDGER_ORDERS must be auto or manual\n")
    for orders in ("auto", "manual"):
        monkeypatch.setenv("LEDGER_ORDERS", orders)
        assert settings.load().orders == orders
    monkeypatch.setenv("LEDGER_ORDERS", "")
    assert settings.load().orders == "auto"
