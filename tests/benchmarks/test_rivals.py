"""The option for rivals: both examples are driven by the same clients, against real servers."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import uvicorn
from benchmarks.adapters import ours, plain_sql
from benchmarks.product import free_port

from api.app import create_app
from api.runtime import Runtime
from api.settings import Settings
from benchmarks import adapters, load, rivals, sizes, workloads

FOLDER = Path(ours.__file__).parent


def test_plain_sql_is_driven_and_balances(owner_url: str) -> None:
    """The stand-in ledger does the work: every transfer has two entries, and they come to zero."""
    table = rivals.drive(FOLDER / "plain_sql.py", owner_url, sizes.SMOKE)
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[1].strip() for row in rows][-1] == "balance"
    assert all(row.split("|")[-2].strip() == "0" for row in rows)
    with psycopg.connect(owner_url) as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM plain.transfers), count(*), sum(amount)"
            " FROM plain.entries"
        ).fetchone()
    assert found is not None
    assert found[0] > 0
    assert found[1:] == (2 * found[0], 0)


@pytest.fixture
def address(database_url: str, tmp_path: Path) -> Iterator[str]:
    """Our own server on a port, and a key for it."""
    settings = Settings(
        data_dir=tmp_path,
        database_url=database_url,
        key_encryption_key=b"K" * 32,
        server_secret=b"S" * 32,
    )
    port = free_port()
    with Runtime(settings) as runtime:
        key = runtime.create_key(runtime.create_ledger("main"), "teller", "bench")
        config = uvicorn.Config(create_app(runtime), port=port, log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://{key}@127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


def test_our_own_server_is_driven(address: str) -> None:
    """The harness drives our server by an adapter too: every transfer and batch is recorded."""
    table = rivals.drive(FOLDER / "ours.py", address, sizes.SMOKE)
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| one transfer")]
    assert len(rows) == len(sizes.SMOKE.sweep) + 2
    assert all(row[-2].strip() == "0" for row in rows)


def test_mixed_commands_are_all_recorded(address: str) -> None:
    """W4 over HTTP, on several connections at once: nothing in it is ever refused."""
    ours.prepare(address, workloads.account_ids(sizes.SMOKE.accounts))
    plan = load.Plan(
        adapter=str(FOLDER / "ours.py"),
        address=address,
        connections=8,
        seconds=0.5,
        workload="W4",
        accounts=sizes.SMOKE.accounts,
    )
    assert set(load.run(plan).statuses) == {"201"}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "KIND"),
        ('KIND = "smtp"', "KIND"),
        ('KIND = "sql"', "prepare"),
        ('KIND = "sql"\ndef prepare(address, accounts): ...', "transfer"),
    ],
)
def test_what_is_no_adapter_is_told(tmp_path: Path, text: str, missing: str) -> None:
    """A file that lacks something is refused with what it lacks."""
    adapter = tmp_path / "adapter.py"
    adapter.write_text(text)
    with pytest.raises(adapters.AdapterError, match=missing):
        adapters.load(adapter)


def test_accounts_are_renamed() -> None:
    """A ledger that makes its own ids is asked by those."""
    command: workloads.Command = {"debit_account_id": "a", "credit_account_id": "b", "amount": "1"}
    assert adapters.renamed(command, {"a": "17", "b": "18"}) == {
        "debit_account_id": "17",
        "credit_account_id": "18",
        "amount": "1",
    }
    assert plain_sql.balance("17").parameters == ("17",)


def test_our_routes_are_those_of_the_server() -> None:
    """Commands of every kind are sent where the server takes them, the path's fields left out."""
    call = ours.transfer({"type": "freeze_account", "key": "k", "account_id": "a/b", "cause": "c"})
    assert call.path == "/v1/accounts/a%2Fb/freeze"
    assert call.body == b'{"cause":"c"}'
    assert call.headers == {"Idempotency-Key": "k"}
