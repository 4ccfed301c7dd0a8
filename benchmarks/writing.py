"""The parts of a run that write: by the library, over HTTP, from a file, end to end.

Every measurement stands between two measurements of its control.
"""

import gc
import os
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import load, processes, workloads
from benchmarks.figures import Book
from benchmarks.processes import Meter
from benchmarks.product import Product, Server, decoded
from benchmarks.sizes import Sizes
from benchmarks.workloads import Command

OURS = str(Path(__file__).parent / "adapters" / "ours.py")
# The driver of the end-to-end run waits while the views are further behind than this: what it
# measures is the rate that writer and projectors keep up together.
LAG_PACED_S = 1.5
LAG_LOOK_S = 0.1
BATCHES_MAX = 200
"""Small batches are so many; else their number of commits would take the run's time."""


def begin(product: Product, book: Book, sizes: Sizes) -> None:
    """Write the log that is rebuilt and verified, and take the bytes of its events for C."""
    first = product.head()
    stream = workloads.commands("W1", 1, product.accounts)
    for batch in batches_of(stream, sizes.log_transfers, 8_000):
        product.execute(batch)
    book.controls.prepare(product.ledger_id, first, sizes.copy_rows)
    book.controls.measure("C", "I", "I1")


def library(product: Product, book: Book, sizes: Sizes) -> None:
    """Target 1: ``Ledger.execute``, no projector beside it, everything else on."""
    streams: list[tuple[workloads.Name, workloads.KeyForm, int]] = [
        ("W1", "uuid7", 10),
        ("W1", "uuid7", 100),
        ("W2", "uuid7", 1_000),
        ("W3", "uuid7", 1_000),
        ("W1", "uuid7", 1_000),
        ("W2", "uuid7", 8_000),
        ("W3", "uuid7", 8_000),
        ("W1", "uuid7", 8_000),
        ("W4", "uuid7", 8_000),
        ("W1", "text", 8_000),
    ]
    for number in range(sizes.rounds):
        book.controls.measure("C")
        for workload, keys, size in streams:
            stream = workloads.commands(workload, 100 + number, product.accounts, keys)
            count = min(sizes.library_commands, BATCHES_MAX * size)
            meter = Meter(product.url, {})
            meter.start()
            begun = time.monotonic()
            elapsed, cpu_s = timed(product, stream, count, size)
            name = f"library, batches of {size:,}, {workload}"
            book.add(
                name if keys == "uuid7" else f"{name}, random text keys",
                "commands/s" if workload == "W4" else "transfers/s",
                "C",
                begun=begun,
                rate=count / elapsed,
                cpu={"caller": 1e6 * cpu_s / count, **meter.per_item(count)},
            )
            book.controls.measure("C")
        product.catch_up()


def timed(
    product: Product, stream: Iterator[Command], count: int, size: int
) -> tuple[float, float]:
    """Seconds in ``Ledger.execute`` for that many commands in batches, by clock and by processor.

    Each batch is made just before it is sent, as a program's commands are; that is not counted.
    """
    elapsed = cpu_s = 0.0
    for first in range(0, count, size):
        batch = decoded(list(islice(stream, min(size, count - first))))
        cpu_s -= time.process_time()
        elapsed -= time.perf_counter()
        product.execute(batch)
        elapsed += time.perf_counter()
        cpu_s += time.process_time()
    return elapsed, cpu_s


def over_http(product: Product, server: Server, book: Book, sizes: Sizes) -> None:
    """Targets 2 and 4: one command a request, and batches, with the projector running."""
    runs: list[tuple[workloads.Name, int]] = [
        *(("W1", connections) for connections in sizes.sweep),
        ("W3", 64),
        ("W4", 64),
    ]
    for number in range(sizes.rounds):
        book.controls.measure("I", "I1")
        for workload, connections in runs:
            plan = plan_for(product, server, sizes, connections, number)
            _http_round(
                product, book, msgspec.structs.replace(plan, workload=workload), server.meter()
            )
            book.controls.measure("I")
        book.controls.measure("C")
        batch = plan_for(product, server, sizes, 2, number)
        _http_round(product, book, msgspec.structs.replace(batch, what="batch"), server.meter())
        book.controls.measure("C", "I")


def plan_for(
    product: Product, server: Server, sizes: Sizes, connections: int, seed: int
) -> load.Plan:
    """What the load generator is to do, but for the workload."""
    return load.Plan(
        adapter=OURS,
        address=server.address,
        connections=connections,
        seconds=sizes.http_s,
        accounts=product.accounts,
        seed=seed,
    )


def _http_round(product: Product, book: Book, plan: load.Plan, meter: Meter) -> None:
    """One run of the load generator on commands; every answer must be that it was recorded."""
    before = product.head()
    begun = time.monotonic()
    result = load.run(plan)
    size = plan.batch_size if plan.what == "batch" else 1
    answered = sum(result.statuses.values())
    recorded = product.head() - before
    if set(result.statuses) - {"200", "201"} or recorded < answered * size:
        msg = f"of {answered} requests {recorded} events: {result.statuses}"
        raise RuntimeError(msg)
    route = "batch of 1,000" if plan.what == "batch" else "transfers"
    connections = f"{plan.connections} connection{'s' if plan.connections > 1 else ''}"
    where = "" if plan.what == "batch" else f", {connections}"
    name = f"POST /v1/{route}, {plan.workload}{where}"
    if plan.workload == "W4":
        name = f"single commands over HTTP, W4{where}"
    book.add(
        name,
        "commands/s" if plan.workload == "W4" else "transfers/s",
        "C" if plan.what == "batch" else "I",
        begun=begun,
        rate=result.rate * size,
        cpu={
            "load generator": result.client_cpu_us / size,
            **meter.per_item(answered * size),
        },
        seen=latencies(result),
    )
    book.histograms[name] = result.histogram


def latencies(result: load.LoadResult) -> dict[str, float]:
    """What is noted of a run of the load generator."""
    return {
        "p50_ms": result.ms("50"),
        "p99_ms": result.ms("99"),
        "p99.9_ms": result.ms("99.9"),
    }


def load_file(product: Product, book: Book, sizes: Sizes) -> None:
    """Target 2: ``ledger load`` of a file, less what the program needs to start and end."""
    encode = msgspec.json.Encoder().encode
    for number in range(min(2, sizes.rounds)):
        stream = workloads.commands("W1", 200 + number, product.accounts)
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as empty:
            idle_s, _ = product.command_line("load", empty.name)
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
            file.writelines(encode(command) + b"\n" for command in islice(stream, sizes.load_lines))
            file.flush()
            book.controls.measure("C")
            begun = time.monotonic()
            elapsed, report = product.command_line("load", file.name)
        if report["recorded"] != sizes.load_lines:
            msg = f"not every line was recorded: {report}"
            raise RuntimeError(msg)
        book.add(
            "ledger load, W1",
            "transfers/s",
            "C",
            begun=begun,
            rate=sizes.load_lines / less(elapsed, idle_s),
            seen={"idle_s": idle_s},
        )
        book.controls.measure("C")


def less(elapsed: float, idle_s: float) -> float:
    """The time of the work alone; where that is too short to tell, half of it all."""
    return max(elapsed - idle_s, elapsed / 2)


class _Lag(threading.Thread):
    """Looks how long ago that was acknowledged which the views have now."""

    def __init__(self, product: Product) -> None:
        """Begin with nothing acknowledged."""
        super().__init__(daemon=True)
        self._product = product
        self._ended = threading.Event()
        self.positions: list[int] = []
        self.times: list[float] = []
        self.now_s = 0.0
        self.worst_s = 0.0

    def run(self) -> None:
        """Look until told to stop."""
        while not self._ended.wait(LAG_LOOK_S):
            self.look()

    def look(self) -> float:
        """The lag now, in seconds: 0 when the views have all that was acknowledged."""
        projected = self._product.projected()
        at = bisect_right(self.positions, projected)
        self.now_s = time.perf_counter() - self.times[at] if at < len(self.times) else 0.0
        self.worst_s = max(self.worst_s, self.now_s)
        return self.now_s

    def acknowledged(self, position: int) -> None:
        """Note that everything up to a position has been acknowledged."""
        self.times.append(time.perf_counter())
        self.positions.append(position)

    def stop(self) -> None:
        """Look no longer."""
        self._ended.set()
        self.join()


def end_to_end(product: Product, book: Book, sizes: Sizes) -> None:
    """Target 3: write with the projector beside, as fast as the views keep within two seconds."""
    stream = workloads.commands("W1", 300, product.accounts)
    product.catch_up()
    batches = batches_of(stream, sizes.end_to_end, 8_000)
    gc.freeze()
    lag = _Lag(product)
    with product.projecting() as projector:
        # Takes in what other writers appended; and the projector has started when it is seen.
        product.await_projected(product.execute(decoded(list(islice(stream, 1)))))
        meter = product.meter(projector=projector)
        lag.start()
        book.controls.measure("C")
        begun = time.monotonic()
        started = time.perf_counter()
        for batch in batches:
            while lag.now_s > LAG_PACED_S:
                time.sleep(LAG_LOOK_S / 10)
            lag.acknowledged(product.execute(batch))
        elapsed = time.perf_counter() - started
        at_end_s = lag.look()
        while lag.look() > 0:
            time.sleep(LAG_LOOK_S)
        drained = time.perf_counter() - started
        lag.stop()
        book.add(
            "end to end, all projections, W1",
            "transfers/s",
            "C",
            begun=begun,
            rate=sizes.end_to_end / elapsed,
            seen={
                "lag_s": at_end_s,
                "worst_lag_s": lag.worst_s,
                "until_all_projected": sizes.end_to_end / drained,
                "projector_mib": processes.resident_mib(projector),
                "writer_mib": processes.resident_mib(os.getpid()),
            },
            cpu=meter.per_item(sizes.end_to_end),
        )
    book.controls.measure("C")


def batches_of(stream: Iterator[Command], count: int, size: int) -> Sequence[list[Any]]:
    """That many commands as the library takes them, in batches."""
    return [
        decoded(list(islice(stream, min(size, count - first)))) for first in range(0, count, size)
    ]
