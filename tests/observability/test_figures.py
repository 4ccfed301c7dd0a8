"""The figures tell what happened, also when the database is away or somebody changed a table."""

import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tests.http.bank import Bank

from api import backup_store, clock, database_figures
from api.app import create_app
from api.child import Child
from api.runtime import Runtime
from api.server_figures import ChildFigures, newest_backup

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _figures(client: TestClient) -> Figures:
    """Every sample that is served, by name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _of(figures: Figures, name: str, **labels: str) -> float:
    """One sample."""
    return figures[name, tuple(sorted(labels.items()))]


def _until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_lag_is_the_age_of_the_oldest_event_that_waits(own_bank: Bank, runtime: Runtime) -> None:
    """In events and in seconds, of every projection of every ledger; 0 where nothing waits."""
    began = clock.now()
    own_bank.open("a", 5)
    runtime.create_ledger("idle")
    where = {"ledger_id": str(own_bank.ledger_id), "projection": "balances"}
    time.sleep(0.2)
    found = _figures(own_bank.client)
    assert _of(found, "ledger_projection_lag_events", **where) == 3
    age_s = _of(found, "ledger_projection_lag_seconds", **where)
    assert 0.2 <= age_s <= (clock.now() - began).total_seconds()
    own_bank.catch_up()
    found = _figures(own_bank.client)
    assert _of(found, "ledger_projection_lag_events", **where) == 0
    lags = {key: value for key, value in found.items() if key[0].endswith("_lag_seconds")}
    assert set(lags.values()) == {0.0}
    assert {dict(key[1])["ledger_id"] for key in lags} == {"1", "2"}
    assert _of(found, "ledger_ledgers") == 2
    assert _of(found, "ledger_database_up") == 1


def test_a_trial_balance_that_was_tampered_with_shows_at_once(
    own_bank: Bank, superuser_url: str
) -> None:
    """It is added up from the rows that are there, at every look."""
    own_bank.open("a", 500)
    own_bank.catch_up()
    where = {"ledger_id": str(own_bank.ledger_id), "currency": "EUR"}
    name = "ledger_trial_balance_difference_minor"
    assert _of(_figures(own_bank.client), name, **where) == 0
    with psycopg.connect(superuser_url) as connection:
        connection.execute(
            "UPDATE views.trial_balance SET debits_posted_minor = debits_posted_minor + 7"
            " WHERE account_type = 'liability'"
        )
    assert _of(_figures(own_bank.client), name, **where) == 7


def test_transactions_and_queues_are_counted(own_bank: Bank) -> None:
    """How many commands one took, what waits and what may."""
    own_bank.open("a", 5)
    body = {"account_id": "a", "amount": "5", "currency": "EUR"}
    commands = [{"type": "deposit", "key": f"d{at}", **body} for at in range(20)]
    assert own_bank.post("/v1/batch", {"commands": commands}).is_success
    found = _figures(own_bank.client)
    assert _of(found, "ledger_transaction_commands_count") == 3
    assert _of(found, "ledger_transaction_commands_sum") == 22
    assert _of(found, "ledger_transaction_seconds_sum") > 0
    where = {"ledger_id": str(own_bank.ledger_id)}
    assert _of(found, "ledger_writer_queue_commands", **where) == 0
    assert _of(found, "ledger_writer_up", **where) == 1
    assert _of(found, "ledger_queue_wait_seconds", kind="single", **where) == 0
    assert _of(found, "ledger_queue_room_commands", kind="batch", **where) > 1_000
    assert _of(found, "ledger_reads_under_way") == 0
    assert (
        0
        < _of(found, "ledger_database_connections")
        < _of(found, "ledger_database_connections_max")
    )
    assert _of(found, "process_resident_memory_bytes") > 1_000_000
    assert _of(found, "process_cpu_seconds_total") > 0


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a database that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"postgresql://x@127.0.0.1:{listening.getsockname()[1]}/none"


def test_figures_are_served_while_the_database_is_away(
    own_bank: Bank, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was seen last stays, and it is said that the database is down; then it is back."""
    own_bank.open("a", 5)
    monkeypatch.setattr(database_figures, "LOOK_S", 5.0)
    app = create_app(runtime)
    with TestClient(app) as client:
        before = _figures(client)
        assert _of(before, "ledger_database_up") == 1
        figures = app.state.context.database_figures
        good, url = figures._connect, runtime.database_url  # noqa: SLF001 - the database goes away
        figures._disconnect()  # noqa: SLF001 - likewise
        monkeypatch.setattr(runtime, "database_url", f"postgresql://x@/none?host={tmp_path}")
        during = _figures(client)
        assert _of(during, "ledger_database_up") == 0
        where = {"ledger_id": str(own_bank.ledger_id)}
        assert _of(during, "ledger_head_position", **where) == 3
        waits = {"projection": "balances", **where}
        name = "ledger_projection_lag_seconds"
        assert _of(during, name, **waits) > _of(before, name, **waits)
        read_at = _of(before, "ledger_figures_read_seconds")
        assert _of(during, "ledger_figures_read_seconds") == read_at
        assert _of(during, "process_cpu_seconds_total") > 0
        monkeypatch.setattr(runtime, "database_url", url)
        assert good is figures._connect  # noqa: SLF001 - the same way to it
        assert _of(_figures(client), "ledger_database_up") == 1


def test_a_database_that_says_nothing_holds_up_no_figures(
    runtime: Runtime, black_hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread waits for it, whoever asks."""
    monkeypatch.setattr(database_figures, "LOOK_S", 0.2)
    monkeypatch.setattr(runtime, "database_url", black_hole)
    with TestClient(create_app(runtime)) as client:
        begun = time.monotonic()
        for _ in range(3):
            found = _figures(client)
            assert _of(found, "ledger_database_up") == 0
            assert not [key for key in found if key[0] == "ledger_head_position"]
        assert time.monotonic() - begun < 8  # The driver would wait for ten seconds each time.


def test_a_process_that_dies_is_counted() -> None:
    """And whether it runs now, by the name that the log has for it."""
    child = Child("quick", "this", b"\n")  # A module that prints a poem and ends.
    figures = ChildFigures()
    figures.children = [child]
    try:
        _until(lambda: child.restarts > 0)
    finally:
        child.stop()
    samples = {
        sample.name: (sample.labels, sample.value)
        for metric in figures.collect()
        for sample in metric.samples
    }
    assert samples["ledger_process_restarts_total"] == ({"process": "quick"}, child.restarts)
    assert samples["ledger_process_up"] == ({"process": "quick"}, 0)


def test_the_newest_backup_is_found(tmp_path: Path) -> None:
    """None where there is none, or nothing that can be read."""
    assert newest_backup(tmp_path / "none") is None
    store = backup_store.Store(tmp_path)
    at = clock.now()
    for number in (1, 3, 2):
        record = backup_store.Record(
            name=f"b{number}",
            series="20260101t000000z",
            system_identifier="1",
            timeline=1,
            start_lsn="0/1",
            end_lsn="0/2",
            received_lsn="0/2",
            began_at=at,
            ended_at=at + timedelta(minutes=number),
            program="0",
            revision="0019",
            wrapping_key=None,
            heads=(),
            manifest_sha256="",
            size_bytes=1,
        )
        store._record_path(record.series, record.name).parent.mkdir(parents=True, exist_ok=True)  # noqa: SLF001 - as a backup does
        store.add(record)
    assert newest_backup(tmp_path) == at + timedelta(minutes=3)
