"""Health and figures: without a key, and without a word about customers."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.http.bank import Bank

from api.app import create_app
from api.runtime import Runtime


def test_alive_and_ready(own_bank: Bank) -> None:
    """Both answer; lag is told and is no failure."""
    own_bank.open("a")
    assert own_bank.client.get("/livez").json() == {"status": "alive"}
    ready = own_bank.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["lag_events"]["balances"] == 1
    own_bank.catch_up()
    assert own_bank.client.get("/readyz").json()["lag_events"]["balances"] == 0


def test_not_ready_while_a_writer_is_stopped(own_bank: Bank) -> None:
    """A ledger that takes no commands is not ready, and the command is told to come again."""
    own_bank.open("a")
    writer = own_bank.runtime.writers()[own_bank.ledger_id]
    writer.stop()
    assert own_bank.client.get("/livez").status_code == 200
    answer = own_bank.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "writer_stopped")
    refused = own_bank.post("/v1/accounts", {"currency": "EUR"})
    assert (refused.status_code, refused.json()["code"]) == (503, "ledger_busy")
    assert refused.headers["retry-after"] == "1"


def test_not_ready_without_the_database(
    own_bank: Bank, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the database is gone, views and readiness are 503, and life goes on."""
    nowhere = f"postgresql://x@/none?host={tmp_path}"
    runtime.engine.dispose()
    monkeypatch.setattr(runtime, "database_url", nowhere)
    headers = own_bank.headers()
    with TestClient(create_app(_moved(runtime, nowhere))) as client:
        assert client.get("/livez").status_code == 200
        for path in ("/readyz", "/v1/info"):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["retry-after"] == "1"


def _moved(runtime: Runtime, url: str) -> Runtime:
    """The runtime, with its read side looking for the database elsewhere."""
    from ledger_core import database  # noqa: PLC0415 - for this one test

    runtime.engine = database.engine(url, "ledger_reader")
    return runtime


def test_the_figures_count_what_happened(own_bank: Bank) -> None:
    """Requests by template and status, refusals by code, batches, queue and lag."""
    own_bank.open("secret-account", 5)
    own_bank.post("/v1/transfers", {"amount": "5"})
    own_bank.post("/v1/batch", {"commands": [{"type": "x"}, {"type": "y"}]})
    own_bank.get("/v1/accounts/secret-account")
    own_bank.client.get("/secret-path", headers=own_bank.headers())
    text = own_bank.client.get("/metrics").text
    for line in (
        'ledger_requests_total{method="POST",route="/v1/deposits",status="201"} 1.0',
        'ledger_requests_total{method="POST",route="/v1/transfers",status="422"} 1.0',
        'ledger_requests_total{method="GET",route="/v1/accounts/{account_id}",status="200"} 1.0',
        'ledger_requests_total{method="-",route="(none)",status="404"} 1.0',
        'ledger_refusals_total{code="validation_error"} 3.0',
        "ledger_append_seconds_count 2.0",
        "ledger_batch_commands_sum 2.0",
        'ledger_writer_queue_commands{ledger_id="1"} 0.0',
        'ledger_projection_lag_events{ledger_id="1",projection="balances"} 0.0',
        'ledger_head_position{ledger_id="1"} 3.0',
    ):
        assert line in text, line
    assert "secret" not in text
