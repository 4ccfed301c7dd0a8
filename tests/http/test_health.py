"""Health and figures: without a key, and without a word about customers."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient
from tests import databases
from tests.http.bank import Bank

from api import readiness
from api.app import create_app
from api.runtime import Runtime

if TYPE_CHECKING:
    from api.app import Application


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


def test_a_database_that_takes_no_changes_is_said_to_be_read_only(own_bank: Bank) -> None:
    """Not ready, and commands are 503 and no bug; then it heals, and they are taken."""
    own_bank.open("a", 5)
    _set_read_only(own_bank, "on")
    ready = own_bank.client.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "database_read_only")
    assert ready.headers["retry-after"] == "1"
    assert own_bank.client.get("/livez").status_code == 200
    body = {"account_id": "a", "amount": "1", "currency": "EUR"}
    refused = own_bank.post("/v1/deposits", body, key="k")
    assert (refused.status_code, refused.json()["code"]) == (503, "ledger_busy")
    assert refused.json()["seen"] == {"reason": "database_read_only"}
    made = own_bank.client.post(
        "/v1/keys", json={"role": "teller", "name": "t"}, headers=own_bank.headers()
    )
    assert (made.status_code, made.json()["code"]) in {
        (503, "database_read_only"),
        (503, "access_log_unavailable"),
    }
    _set_read_only(own_bank, "off")
    assert own_bank.client.get("/readyz").status_code == 200
    assert own_bank.post("/v1/deposits", body, key="k").status_code == 201


def test_a_database_that_says_nothing_is_told_in_time(
    own_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are taken and never answered: not ready all the same, and life goes on."""
    monkeypatch.setattr(readiness, "LOOK_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = int(silent.getsockname()[1])
        monkeypatch.setattr(
            own_bank.runtime, "database_url", f"postgresql://x@127.0.0.1:{port}/none"
        )
        with TestClient(create_app(own_bank.runtime)) as client:
            for _ in range(3):
                answer = client.get("/readyz")
                assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
                assert client.get("/livez").status_code == 200


def test_a_server_that_is_to_stop_is_not_ready(own_bank: Bank) -> None:
    """At once, while it still answers."""
    app = cast("Application", own_bank.client.app)
    app.state.context.stop.is_begun = True
    answer = own_bank.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "stopping")
    assert own_bank.client.get("/livez").status_code == 200
    own_bank.open("a")


def _set_read_only(bank: Bank, setting: str) -> None:
    """Have new connections take no changes, and end the old ones: what a failover comes to."""
    url = databases.superuser_of(bank.runtime.database_url)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("SET default_transaction_read_only = off")
        row = owner.execute("SELECT current_database()").fetchone()
        assert row is not None
        owner.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(
                sql.Identifier(row[0]), sql.Literal(setting)
            )
        )
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


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
