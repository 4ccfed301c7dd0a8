"""``python -m benchmarks``: measure, print a table, write it to ``benchmarks/results``.

``BENCH=quick`` makes every part shorter. A server of its own is used, with its default settings
(fsync on), in a temporary folder.
"""

import asyncio
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from api import clock, embedded_postgres, settings
from api.runtime import Runtime
from benchmarks import controls, http_load
from ledger_core import log
from ledger_core.account_terms import OpenAccount
from ledger_core.ledger import Ledger, Submission
from ledger_core.transfers import Transfer
from projections import runner

if TYPE_CHECKING:
    from ledger_core.commands import Command

QUICK = os.environ.get("BENCH") == "quick"
ACCOUNTS = 10_000
SECONDS = 4.0 if QUICK else 15.0
BATCHES = 10 if QUICK else 40
RESULTS = Path(__file__).parent / "results"


def account(number: int) -> str:
    """The id of a benchmark account."""
    return f"acct-{number:06}"


def transfer(hot: int | None = None) -> Transfer:
    """A transfer between two random accounts, or between a random one and ``hot``."""
    debit = random.randrange(ACCOUNTS) if hot is None else hot
    credit = (debit + 1 + random.randrange(ACCOUNTS - 1)) % ACCOUNTS
    return Transfer(
        key=str(clock.new_uuid()),
        debit_account_id=account(debit),
        credit_account_id=account(credit),
        amount="125",
        currency="EUR",
    )


def opened(runtime: Runtime, name: str) -> int:
    """A ledger with its accounts open."""
    ledger_id = runtime.create_ledger(name)
    commands: list[Command] = [
        OpenAccount(
            key=f"open-{number}",
            account_id=account(number),
            account_type="asset",
            currency="EUR",
        )
        for number in range(ACCOUNTS)
    ]
    runtime.execute(ledger_id, commands, "bench")
    with runtime.connect("ledger_projector") as connection:
        runner.catch_up(connection, ledger_id)
    return ledger_id


def library(runtime: Runtime, size: int, hot: int | None) -> float:
    """Transfers a second through ``Ledger.execute``, ``size`` a call; the median over batches."""
    ledger_id = opened(runtime, f"library-{size}-{'uniform' if hot is None else 'hot'}")
    ledger = Ledger(lambda: runtime.connect("ledger_writer"), ledger_id, clock.now, runtime.vault)
    rates: list[float] = []
    for _ in range(BATCHES):
        commands: list[Command] = [transfer(hot) for _ in range(size)]
        started = time.perf_counter()
        outcomes = ledger.execute([Submission(commands, "bench")])[0]
        rates.append(size / (time.perf_counter() - started))
        if any(outcome.status != "recorded" for outcome in outcomes):
            msg = "a transfer was refused"
            raise RuntimeError(msg)
    ledger.close()
    return median(rates[2:])


def event_rows(runtime: Runtime) -> list[str]:
    """The columns after the position of real events, in COPY's text format."""
    ledger_id = runtime.ledger_id("library-1000-uniform")
    with runtime.connect("ledger_reader") as connection:
        stored = log.read_events(connection, ledger_id, ACCOUNTS, 5_000)
    return [
        f"{event.recorded_at.isoformat()}\t{event.type}\t{event.version}"
        f'\t{{"{event.tags[0]}","{event.tags[1]}"}}\t{event.command_key}\t{event.actor}'
        f"\t{event.data.decode()}\t\\\\x{event.leaf_hash.hex()}\n"
        for event in stored
    ]


def single_bodies(hot: int | None) -> Iterator[tuple[str, bytes]]:
    """Bodies of ``POST /v1/transfers``."""
    while True:
        item = transfer(hot)
        body = {
            "debit_account_id": item.debit_account_id,
            "credit_account_id": item.credit_account_id,
            "amount": item.amount,
            "currency": item.currency,
        }
        yield item.key, json.dumps(body).encode()


def batch_bodies(size: int) -> Iterator[tuple[str, bytes]]:
    """Bodies of ``POST /v1/batch``, some made in advance: making them is not what is measured."""
    made = [
        [
            {
                "type": "transfer",
                "debit_account_id": item.debit_account_id,
                "credit_account_id": item.credit_account_id,
                "amount": item.amount,
                "currency": item.currency,
            }
            for item in (transfer() for _ in range(size))
        ]
        for _ in range(3)
    ]
    texts = [json.dumps({"mode": "each", "commands": commands}).encode() for commands in made]
    for text in itertools.cycle(texts):
        yield str(clock.new_uuid()), text


class Server:
    """``ledger serve`` as a user would start it, on a port of its own."""

    def __init__(self, port: int, ledger: str) -> None:
        """Start it and wait until it is ready."""
        self.port = port
        self._process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--port", str(port), "--ledger", ledger],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1)
            except OSError:
                time.sleep(0.1)
            else:
                return
        msg = "the server did not become ready"
        raise RuntimeError(msg)

    def stop(self) -> None:
        """Stop it as Ctrl-C would."""
        self._process.terminate()
        self._process.wait(60)


def over_http(runtime: Runtime) -> list[dict[str, object]]:
    """Single transfers on 1, 32 and 64 connections, and batches of 1,000."""
    ledger_id = opened(runtime, "http")
    key = runtime.create_key(ledger_id, "teller", "bench")
    server = Server(8765, "http")
    rows: list[dict[str, object]] = []
    try:
        for connections, hot in ((1, None), (32, None), (32, 0), (64, None)):
            result = asyncio.run(
                http_load.run(
                    server.port,
                    "/v1/transfers",
                    key,
                    bodies=lambda _, hot=hot: single_bodies(hot),  # type: ignore[misc]
                    connections=connections,
                    seconds=SECONDS,
                )
            )
            rows.append(http_row(f"HTTP single, {connections} connections", hot, result, 1, "I"))
        result = asyncio.run(
            http_load.run(
                server.port,
                "/v1/batch",
                key,
                bodies=lambda _: batch_bodies(1_000),
                connections=2,
                seconds=SECONDS,
            )
        )
        rows.append(http_row("HTTP batch of 1,000, 2 connections", None, result, 1_000, "C"))
    finally:
        server.stop()
    return rows


def http_row(
    what: str, hot: int | None, result: http_load.LoadResult, size: int, control: str
) -> dict[str, object]:
    """A line of the table for a run over HTTP."""
    return {
        "what": what + ("" if hot is None else ", hot account"),
        "rate": result.rate * size,
        "control": control,
        "p50_ms": result.percentile_ms(50),
        "p99_ms": result.percentile_ms(99),
        "statuses": result.statuses,
    }


def report(rows: list[dict[str, object]], rates: dict[str, float]) -> str:
    """The table in Markdown."""
    lines = [
        (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
            f" Python {platform.python_version()}; BENCH={'quick' if QUICK else 'full'}."
        ),
        (
            f"C (raw COPY, 1,000 rows a transaction): {rates['C']:,.0f} rows/s;"
            f" I (durable INSERT, 16 clients): {rates['I']:,.0f}/s."
        ),
        "",
        "| what | transfers/s | ratio | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        rate, control = float(str(row["rate"])), str(row["control"])
        p50, p99 = row.get("p50_ms"), row.get("p99_ms")
        times = [f"{value:.1f}" if isinstance(value, float) else "" for value in (p50, p99)]
        lines.append(
            f"| {row['what']} | {rate:,.0f} | {rate / rates[control]:.2f} {control}"
            f" | {times[0]} | {times[1]} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure everything."""
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder:
        os.environ["LEDGER_DATA_DIR"] = folder
        Path(folder).chmod(0o711)
        try:
            with Runtime(settings.load()) as runtime:
                rows: list[dict[str, object]] = [
                    {
                        "what": f"library, batches of {size:,}"
                        + (", hot account" if hot == 0 else ""),
                        "rate": library(runtime, size, hot),
                        "control": "C",
                    }
                    for size, hot in ((1_000, None), (1_000, 0), (8_000, None))
                ]
                rates = {
                    "C": controls.copy_rate(runtime.database_url, event_rows(runtime), 5),
                    "I": controls.insert_rate(runtime.database_url, SECONDS),
                }
                rows += over_http(runtime)
        finally:
            embedded_postgres.stop(Path(folder))
    table = report(rows, rates)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text(table)
    (RESULTS / "latest.json").write_text(json.dumps({"rates": rates, "rows": rows}, indent=1))
    print(table)


if __name__ == "__main__":
    main()
