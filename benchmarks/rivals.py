"""Another ledger on the same work, by the same clients: ``--rival FILE --address URL``.

The adapter says how it is asked; see ``benchmarks.adapters``. What is sent, how many connections
send it, and what counts as an answer is the same for all.
"""

import time
from pathlib import Path

import msgspec

from benchmarks import adapters, load, report, workloads
from benchmarks.sizes import Sizes

SQL_CONNECTIONS_MAX = 64
"""PostgreSQL allows a hundred by default."""
GOOD = {"200", "201", "202", "204"}


def drive(file: Path, address: str, sizes: Sizes) -> str:
    """Measure the ledger behind an adapter; the table.

    Raises:
        AdapterError: the file is no adapter.
    """
    adapter = adapters.load(file)
    begun = time.monotonic()
    ids = adapter.prepare(address, workloads.account_ids(sizes.accounts))
    prepared_s = time.monotonic() - begun
    plan = load.Plan(
        adapter=str(file.absolute()),
        address=address,
        connections=1,
        seconds=sizes.http_s,
        accounts=sizes.accounts,
        ids=ids,
    )
    replace = msgspec.structs.replace
    most = SQL_CONNECTIONS_MAX if adapter.KIND == "sql" else max(sizes.sweep)
    plans = [replace(plan, connections=count) for count in sizes.sweep if count <= most]
    plans += [replace(plan, connections=64, workload=name) for name in ("W2", "W3")]
    if hasattr(adapter, "batch"):
        plans += [
            replace(plan, connections=2, what="batch", workload=name) for name in ("W1", "W3")
        ]
    if hasattr(adapter, "balance"):
        plans.append(replace(plan, connections=64, what="balance"))
    rows = [_row(item) for item in plans]
    return (
        f"{file.name}: {sizes.accounts:,} accounts prepared in {prepared_s:.1f} s.\n\n"
        + report.table(["work", "connections", "a second", "p50 ms", "p99 ms", "refused"], rows)
    )


def _row(plan: load.Plan) -> list[str]:
    """Carry out a plan; its line of the table."""
    result = load.run(plan)
    size = plan.batch_size if plan.what == "batch" else 1
    what = {
        "transfer": f"one transfer a request, {plan.workload}",
        "batch": f"{plan.batch_size:,} transfers a request, {plan.workload}",
        "balance": "balance",
    }[plan.what]
    refused = sum(count for status, count in result.statuses.items() if status not in GOOD)
    return [
        what,
        str(plan.connections),
        f"{result.rate * size:,.0f}",
        f"{result.ms('50'):.2f}",
        f"{result.ms('99'):.2f}",
        str(refused),
    ]
