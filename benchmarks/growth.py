"""Target 7: the same figures on a small log and on one of millions of events, a million accounts.

``--growth EVENTS``. The large log is written by the product itself, with its projector beside it.
"""

import os
import sys
import time
from itertools import islice

import msgspec

from benchmarks import processes, reading, report, workloads, writing
from benchmarks.controls import Controls
from benchmarks.figures import Book, Figure
from benchmarks.product import Product, decoded, started
from benchmarks.sizes import QUICK

ACCOUNTS = 1_000_000
SMALL_EVENTS = 100_000
WITHIN = 0.85
"""A figure may be this much of what it is on the small log."""
COMMANDS_AT_ONCE = 8_000
REPORT_EVERY = 500_000
LAG_MAX = 200_000
"""While the log is written, the writer waits for views that are further behind than this."""

_SIZES = msgspec.structs.replace(QUICK, rounds=2, sweep=(64,), end_to_end=400_000)


def measured(events: int, accounts: int = ACCOUNTS) -> tuple[str, list[dict[str, str]]]:
    """The figures at both sizes as tables; and how the large log grew: events, rate, memory."""
    small = min(SMALL_EVENTS, events // 2)
    sizes_of: list[dict[str, str]] = []
    with started(min(accounts, small // 2)) as product:
        first = _figures(product, small, sizes_of)
    with started(accounts) as product:
        last = _figures(product, events, sizes_of)
    rows = []
    for name, figure in first.figures.items():
        after = last.figures.get(name)
        if after is None:
            continue
        before_ratio, after_ratio = figure.ratio(first.controls), after.ratio(last.controls)
        if before_ratio is None or after_ratio is None:
            rows.append([name, _seen(figure), _seen(after), "", "", "", ""])
            continue
        kept = after_ratio / before_ratio
        rows.append(
            [
                name,
                f"{figure.rate:,.0f}",
                f"{after.rate:,.0f}",
                f"{before_ratio:.2f} {figure.control}",
                f"{after_ratio:.2f} {figure.control}",
                f"{kept:.2f}",
                "met" if kept >= WITHIN else "NOT MET",
            ]
        )
    heads = ["figure", f"{small:,} events", f"{events:,} events", "ratio", "ratio", "kept", ""]
    memory_heads = list(dict.fromkeys(head for line in sizes_of for head in line))
    memory = [[line.get(head, "") for head in memory_heads] for line in sizes_of]
    text = (
        f"{report.machine()}.\n\n{report.table(heads, rows)}"
        "\nAs the log grows: transfers a second with the projections kept up, and the memory of"
        f" each process in MiB:\n\n{report.table(memory_heads, memory)}"
    )
    return text, sizes_of


def _seen(figure: Figure) -> str:
    """The start, the only figure without a control."""
    return f"{figure.seen('start_s'):.2f} s"


def _figures(product: Product, events: int, memory: list[dict[str, str]]) -> Book:
    """Write the log up to that size, then measure targets 1 to 4 and the start on it."""
    book = Book(Controls(product.owner_url, _SIZES.insert_s))
    begun = product.head()
    _grow(product, events, memory)
    book.controls.prepare(product.ledger_id, begun, _SIZES.copy_rows)
    writing.library(product, book, _SIZES)
    writing.load_file(product, book, _SIZES)
    writing.end_to_end(product, book, _SIZES)
    reading.start(product, book)
    with product.serving() as server:
        writing.over_http(product, server, book, _SIZES)
        memory.append(_memory(product, product.head(), 0.0, server=server.pid))
        reading.balances(product, server, book, _SIZES)
    return book


def _grow(product: Product, events: int, memory: list[dict[str, str]]) -> None:
    """Write transfers, with the projector beside, until the log has that many events."""
    stream = workloads.commands("W1", 500, product.accounts)
    told = product.head()
    since = time.monotonic()
    with product.projecting() as projector:
        while (head := product.head()) < events:
            if head - product.projected() > LAG_MAX:
                time.sleep(0.05)
                continue
            product.execute(decoded(list(islice(stream, COMMANDS_AT_ONCE))))
            if head - told >= REPORT_EVERY:
                rate = (head - told) / (time.monotonic() - since)
                told, since = head, time.monotonic()
                memory.append(_memory(product, head, rate, projector=projector))
                print(f"{head:,} events, {rate:,.0f} a second", file=sys.stderr, flush=True)


def _memory(product: Product, head: int, rate: float, **others: int) -> dict[str, str]:
    """Where the log is, how fast it got there, and the memory of its own that each process has."""
    own = {"writer and benchmark": os.getpid(), **others}
    found = {what: processes.resident_mib(pid) for what, pid in own.items()}
    for pid, what in processes.backends(product.url).items():
        found[what] = found.get(what, 0.0) + processes.resident_mib(pid)
    line = {"events": f"{head:,}", "a second": f"{rate:,.0f}"}
    return line | {what: f"{size:,.0f}" for what, size in found.items()}
