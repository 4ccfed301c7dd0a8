"""Where the time goes: ``--profile`` prints, for every hot path, three views of the same run.

py-spy says where Python's time goes (if it is installed: ``pip install py-spy``),
pg_stat_statements what PostgreSQL spends on which statement, auto_explain how a sample of the
statements was executed. The figures of a run under observation are no measurements.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec
import psycopg

from api import embedded_postgres
from benchmarks import load, reading, report, workloads, writing
from benchmarks.product import CLI, LEDGER, Product, decoded, started
from benchmarks.sizes import QUICK

SERVER_SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements,auto_explain",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "on",
    "track_io_timing": "on",
}
FUNCTIONS_SHOWN = 14
STATEMENTS_SHOWN = 8
PLANS_SHOWN = 6
PLAN_LINES_MAX = 14
TRANSFERS = 200_000
LOAD_S = 6.0
PY_SPY = ("record", "--rate=100", "--format=raw", "--duration=600", "--nonblocking")

_PLAN = re.compile(r"duration: ([0-9.]+) ms  plan:\n((?:\t.*\n)+)")


def profiled() -> str:
    """Profiles of writing, projecting, HTTP, reads, rebuild and verify."""
    with started(20_000, server_settings=SERVER_SETTINGS) as product:
        superuser = embedded_postgres.ensure_running(product.folder).url(login="superuser")
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        parts = [
            _part("Library, batches of 8,000", product, superuser, TRANSFERS, _library),
            _part("Projector, all projections", product, superuser, TRANSFERS, _projector),
        ]
        with product.serving() as server:
            for name, what, connections in (
                ("POST /v1/transfers, 64 connections", "transfer", 64),
                ("POST /v1/batch of 1,000", "batch", 2),
                ("Balance, 64 connections", "balance", 64),
            ):
                plan = msgspec.structs.replace(
                    writing.plan_for(product, server, QUICK, connections, 1),
                    what=what,
                    seconds=LOAD_S,
                )
                parts.append(_part(name, product, superuser, 0, _loaded(plan, server.pid)))
        for name, arguments in (
            ("ledger rebuild all", ("rebuild", "all")),
            ("ledger verify", ("verify",)),
        ):
            parts.append(_part(name, product, superuser, product.head(), _command(arguments)))
        parts.append(_plans(product, superuser))
    return "\n".join(parts)


Run = Callable[[Product], tuple[int, Counter[tuple[str, ...]]]]
"""Do the work; how many items it was, and how often each stack of functions was seen."""


def _part(name: str, product: Product, superuser: str, items: int, run: Run) -> str:
    """The profile of a path as Markdown."""
    print(f"{name} …", file=sys.stderr, flush=True)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_statements_reset()")
        done, stacks = run(product)
        statements = connection.execute(
            "SELECT calls, total_exec_time + total_plan_time, rows, shared_blks_hit,"
            " shared_blks_read, wal_bytes, query FROM pg_stat_statements WHERE query !~ 'pg_stat'"
            " ORDER BY 2 DESC LIMIT %s",
            (STATEMENTS_SHOWN,),
        ).fetchall()
    items = items or done
    rows = [
        [
            f"{1000 * spent / items:.2f}",
            f"{calls:,}",
            f"{found:,}",
            f"{hit:,}",
            f"{read:,}",
            f"{wal / items:,.0f}",
            " ".join(query.split())[:90].replace("|", "¦"),
        ]
        for calls, spent, found, hit, read, wal, query in statements
    ]
    heads = ["µs an item", "calls", "rows", "pages hit", "read", "WAL bytes an item", "statement"]
    return f"### {name}\n\n{items:,} items.\n\n{_functions(stacks)}\n{report.table(heads, rows)}"


def _library(product: Product) -> tuple[int, Counter[tuple[str, ...]]]:
    """Write by the library."""
    stream = workloads.commands("W1", 600, product.accounts)
    batches = writing.batches_of(stream, TRANSFERS, 8_000)
    with _watched(os.getpid()) as stacks:
        for batch in batches:
            product.execute(batch)
    return TRANSFERS, stacks


def _projector(product: Product) -> tuple[int, Counter[tuple[str, ...]]]:
    """Bring the views up to what the library wrote, in this process."""
    with _watched(os.getpid()) as stacks:
        product.catch_up()
    return TRANSFERS, stacks


def _loaded(plan: load.Plan, pid: int) -> Run:
    """Have the load generator drive the server."""

    def run(product: Product) -> tuple[int, Counter[tuple[str, ...]]]:
        """Drive it, watched, once the views have what came before."""
        product.await_projected(product.head())
        with _watched(pid) as stacks:
            result = load.run(plan)
        size = plan.batch_size if plan.what == "batch" else 1
        return size * sum(result.statuses.values()), stacks

    return run


def _command(arguments: tuple[str, ...]) -> Run:
    """Run a command of the command line."""

    def run(product: Product) -> tuple[int, Counter[tuple[str, ...]]]:
        """Run it, watched from its start."""
        process = subprocess.Popen(
            [*CLI, *arguments, "--ledger", LEDGER, "--json"],
            stdout=subprocess.DEVNULL,
        )
        with _watched(process.pid) as stacks:
            process.wait()
        return product.head(), stacks

    return run


@contextmanager
def _watched(pid: int) -> Iterator[Counter[tuple[str, ...]]]:
    """Have py-spy look at a process a hundred times a second while the block runs."""
    stacks: Counter[tuple[str, ...]] = Counter()
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        yield stacks
        return
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks.txt"
        watcher = subprocess.Popen(
            [program, *PY_SPY, "--output", str(raw), "--pid", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield stacks
        watcher.send_signal(signal.SIGINT)
        watcher.wait(60)
        for line in raw.read_text().splitlines() if raw.exists() else []:
            stack, _, count = line.rpartition(" ")
            # Looking on without stopping the process, py-spy may read what is being overwritten.
            if count.isdigit():
                stacks[tuple(stack.split(";"))] += int(count)


def _functions(stacks: Counter[tuple[str, ...]]) -> str:
    """The functions in which most of the time was spent: by themselves, and with their callees."""
    total = sum(stacks.values())
    if not total:
        return "py-spy is not installed here.\n"
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, count in stacks.items():
        names = [re.sub(r":\d+\)$", ")", name) for name in stack]
        own[names[-1]] += count
        for name in set(names):
            within[name] += count
    rows = [
        [f"{100 * count / total:.0f} %", f"{100 * within[name] / total:.0f} %", name]
        for name, count in own.most_common(FUNCTIONS_SHOWN)
    ]
    return report.table(["itself", "with what it calls", "function"], rows)


def _plans(product: Product, superuser: str) -> str:
    """Plans of the slowest different statements of a short run of everything."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("ALTER DATABASE ledger SET auto_explain.log_min_duration = 0")
    log = product.folder / "postgresql.log"
    begun = log.stat().st_size
    stream = workloads.commands("W1", 700, product.accounts)
    with product.serving() as server:
        for _ in range(3):
            product.ledger.close()
            product.execute(decoded(list(islice(stream, 1_000))))
            reading.glance(product, server)
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(begun)
        text = file.read()
    slowest: dict[str, tuple[float, str]] = {}
    for took, plan in _PLAN.findall(text):
        query = " ".join(plan.partition("\n")[0].split())[:60]
        slowest[query] = max(slowest.get(query, (0.0, "")), (float(took), plan))
    shown = sorted(slowest.values(), reverse=True)[:PLANS_SHOWN]
    blocks = [
        f"{took} ms\n\n"
        + "\n".join(
            "    " + line.strip("\n\t")[:140] for line in plan.splitlines()[:PLAN_LINES_MAX]
        )
        for took, plan in shown
    ]
    return "### Plans of the slowest statements\n\n" + "\n\n".join(blocks) + "\n"
