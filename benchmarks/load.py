"""The load generator: a process of its own that keeps connections busy for some seconds.

``python -m benchmarks.load`` reads a ``Plan`` as JSON from its standard input and writes a
``LoadResult`` to its standard output. Every connection sends its next request as soon as it has the
answer to the one before (a closed loop). Requests are made before the clock starts; the warm-up is
not counted. What it measures is told by the client: a request's time is from its first byte sent to
the last byte of its answer.
"""

import gc
import math
import select
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from types import ModuleType
from typing import Literal, NoReturn

import msgspec

from benchmarks import adapters, workloads
from benchmarks.adapters import Request, renamed
from benchmarks.connections import Connection, Ready, connect

What = Literal["transfer", "batch", "balance", "call"]

# Made in advance; beyond, a request is made when it is needed.
RATE_EXPECTED = 16_000
BATCH_RATE_EXPECTED = 120
ANSWER_TIMEOUT_S = 30.0
HISTOGRAM_STEPS = 20
"""Latencies are counted in this many classes a decade."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, to whom, for how long."""

    adapter: str
    address: str
    connections: int
    seconds: float
    what: What = "transfer"
    workload: workloads.Name = "W1"
    accounts: int = workloads.ACCOUNTS
    keys: workloads.KeyForm = "uuid7"
    batch_size: int = 1_000
    seed: int = 1
    warm_up_s: float = 0.5
    ids: dict[str, str] = {}
    paths: list[str] = []
    """The addresses to read, in turn, where ``what`` is ``call``."""


class LoadResult(msgspec.Struct, kw_only=True):
    """What came of it. Times in seconds; ``statuses`` counts every answer, also of the warm-up."""

    requests: int
    elapsed: float
    statuses: dict[str, int]
    percentiles: dict[str, float]
    histogram: dict[str, int]
    client_cpu_us: float
    """Processor time of the client for a request, in microseconds."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.elapsed

    def ms(self, percent: str) -> float:
        """A percentile in milliseconds."""
        return 1_000 * self.percentiles[percent]


def run(plan: Plan) -> LoadResult:
    """Carry out a plan in a process of its own.

    Raises:
        RuntimeError: that process failed; what it said has gone to the standard error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        msg = "the load generator failed"
        raise RuntimeError(msg)
    return msgspec.json.decode(done.stdout, type=LoadResult)


class _Client:
    """A connection, what it is to send, and when it sent last."""

    __slots__ = ("connection", "made", "sent_at", "stream")

    def __init__(self, connection: Connection, stream: Iterator[Request]) -> None:
        """Nothing is sent yet."""
        self.connection = connection
        self.stream = stream
        self.made: deque[Ready] = deque()
        self.sent_at = 0.0

    def make(self) -> None:
        """Make one more request ready."""
        self.made.append(self.connection.ready(next(self.stream)))

    def send(self) -> bool:
        """Send the next request; whether all of it is on its way."""
        if not self.made:
            self.make()
        request = self.made.popleft()
        self.sent_at = time.perf_counter()
        return self.connection.send(request)


def carry_out(plan: Plan) -> LoadResult:
    """Carry out a plan in this process."""
    adapter = adapters.load(Path(plan.adapter))
    headers = adapter.credentials(plan.address) if hasattr(adapter, "credentials") else {}
    clients = [
        _Client(connect(adapter.KIND, plan.address, headers), _requests(plan, adapter, number))
        for number in range(plan.connections)
    ]
    expected = BATCH_RATE_EXPECTED if plan.what == "batch" else RATE_EXPECTED
    # In turn, as they will be sent: the keys then come in the order of their time.
    for _ in range(int(expected * (plan.seconds + plan.warm_up_s) / plan.connections) + 1):
        for client in clients:
            client.make()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return _timed(clients, plan.warm_up_s, plan.seconds)
    finally:
        gc.enable()
        for client in clients:
            client.connection.close()


def _timed(clients: Sequence[_Client], warm_up_s: float, seconds: float) -> LoadResult:
    """Keep all connections busy; then wait for the answers that are still due."""
    poller = select.epoll()
    by_socket = {client.connection.fileno(): client for client in clients}
    latencies = array("d")
    statuses: dict[int, int] = {}
    cpu_s = time.process_time()
    begin = time.perf_counter() + warm_up_s
    end = begin + seconds
    for number, client in by_socket.items():
        poller.register(number, select.EPOLLIN)
        if not client.send():
            poller.modify(number, select.EPOLLIN | select.EPOLLOUT)
    busy = len(by_socket)
    while busy:
        for number, event in poller.poll(ANSWER_TIMEOUT_S) or _nothing_came():
            client = by_socket[number]
            if event & select.EPOLLOUT and client.connection.go_on():
                poller.modify(number, select.EPOLLIN)
            status = client.connection.receive() if event & ~select.EPOLLOUT else 0
            if not status:
                continue
            now = time.perf_counter()
            statuses[status] = statuses.get(status, 0) + 1
            if now >= end:
                busy -= 1
                poller.unregister(number)
                continue
            if now >= begin:
                latencies.append(now - client.sent_at)
            if not client.send():
                poller.modify(number, select.EPOLLIN | select.EPOLLOUT)
    poller.close()
    cpu_s = time.process_time() - cpu_s
    return summary(latencies, statuses, seconds, cpu_s)


def _nothing_came() -> NoReturn:
    """Give up.

    Raises:
        TimeoutError: no answer on any connection for a long time.
    """
    msg = f"no answer within {ANSWER_TIMEOUT_S} s"
    raise TimeoutError(msg)


def summary(
    latencies: Sequence[float], statuses: Mapping[int, int], elapsed: float, cpu_s: float
) -> LoadResult:
    """Percentiles and classes of the latencies."""
    ordered = sorted(latencies)
    known = ordered or [elapsed]  # Nothing was answered in time: it takes at least that long.
    histogram: dict[str, int] = {}
    for latency in ordered:
        step = class_of(latency)
        histogram[step] = histogram.get(step, 0) + 1
    return LoadResult(
        requests=len(ordered),
        elapsed=elapsed,
        statuses={str(status): count for status, count in sorted(statuses.items())},
        percentiles={
            name: known[min(len(known) - 1, int(len(known) * float(name) / 100))]
            for name in ("50", "90", "99", "99.9", "100")
        },
        histogram=histogram,
        client_cpu_us=1e6 * cpu_s / max(1, sum(statuses.values())),
    )


def class_of(latency: float) -> str:
    """The lower bound, in ms, of the class of the histogram that a latency falls into."""
    step = max(0, int(HISTOGRAM_STEPS * math.log10(max(latency, 1e-9) * 100_000)))
    return f"{0.01 * 10 ** (step / HISTOGRAM_STEPS):.4g}"


def _requests(plan: Plan, adapter: ModuleType, number: int) -> Iterator[Request]:
    """What one connection sends, without end."""
    if plan.what == "call":
        first = number * len(plan.paths) // plan.connections
        for path in cycle(plan.paths[first:] + plan.paths[:first]):
            yield adapters.Call("GET", path)
    if plan.what == "balance":
        names = workloads.account_ids(plan.accounts)
        for index in cycle(range(number, len(names), plan.connections)):
            name = names[index]
            yield adapter.balance(plan.ids.get(name, name))
    stream = workloads.commands(plan.workload, 1_000 * plan.seed + number, plan.accounts, plan.keys)
    commands = (renamed(command, plan.ids) for command in stream)
    one: Callable[[workloads.Command], Request] = adapter.transfer
    if plan.what == "transfer":
        yield from map(one, commands)
    while True:
        yield adapter.batch(list(islice(commands, plan.batch_size)))


def main() -> None:
    """Read the plan, carry it out, write the result."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(carry_out(plan)))


if __name__ == "__main__":
    main()
