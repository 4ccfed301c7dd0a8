"""A load that does not wait for answers: a process of its own that sends when a request is due.

``python -m benchmarks.open_loop`` reads an ``OpenPlan`` from its standard input and writes an
``OpenResult`` to its standard output. Requests fall due at random (a Poisson process), whatever
became of those before. One that finds every connection busy waits for one, and its time counts from
when it was due: what a slow server keeps from being sent is not forgotten (no coordinated
omission). What waited longer than ``GIVE_UP_S`` for a connection is given up, and counted as that.
With a rate of 0 the loop is closed: each connection sends as soon as it has its answer.
"""

import gc
import math
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from benchmarks.connections import BrokenConnectionError, answer_status
from benchmarks.mixture import Kind, Mixture

GIVE_UP_S = 2.0
ANSWER_TIMEOUT_S = 30.0
STEPS = 50
"""Latencies are counted in this many classes a decade: 5 % wide."""
_CLASSES = 6 * STEPS
_LEAST_S = 0.000_1
_SENT_AT_ONCE = 64
# More than an answer has, and few enough that the system is not asked for memory each time.
_RECEIVE_BYTES = 16 * 1024
_LENGTH = b"content-length: "
_REFUSED = frozenset({429, 503})


class OpenPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: phases of so many requests a second for so many seconds, one after another."""

    address: str
    phases: list[tuple[float, float]]
    connections: int
    accounts: int
    seed: int
    bucket_s: float = 1.0


class Bucket(msgspec.Struct):
    """What was answered in one stretch of time; times are counted by class from the due time on.

    ``refused_since_sent`` counts from when the request was sent.
    """

    accepted: int = 0
    refused: int = 0
    given_up: int = 0
    latencies: dict[int, int] = {}
    refused_latencies: dict[int, int] = {}
    refused_since_sent: dict[int, int] = {}


class OpenResult(msgspec.Struct, kw_only=True):
    """Buckets from the beginning on; every answer by status; what went wrong; the client's time."""

    begun_at: float
    buckets: list[Bucket]
    statuses: dict[str, int]
    broken: int
    """Connections that ended under a request: it has no answer, which is an error."""
    unanswered: int
    cpu_s: float


def class_of(seconds: float) -> int:
    """The class that a time falls into."""
    if seconds <= _LEAST_S:
        return 0
    return min(_CLASSES - 1, int(STEPS * math.log10(seconds / _LEAST_S)))


def upper_s(number: int) -> float:
    """The upper bound of a class, in seconds."""
    return float(_LEAST_S * 10 ** ((number + 1) / STEPS))


def percentile(counts: dict[int, int], percent: float) -> float:
    """The time that so many per cent did not exceed, in seconds; 0 where nothing was counted."""
    total = sum(counts.values())
    seen = 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= total * percent / 100:
            return upper_s(number)
    return 0.0


def start(plan: OpenPlan) -> "subprocess.Popen[bytes]":
    """Begin to carry out a plan in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.open_loop"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(plan))
    process.stdin.close()
    process.stdin = None
    return process


def result_of(process: "subprocess.Popen[bytes]") -> OpenResult:
    """What came of a plan that was begun.

    Raises:
        RuntimeError: the process failed.
    """
    text, _ = process.communicate()
    if process.returncode:
        msg = "the load generator failed"
        raise RuntimeError(msg)
    return msgspec.json.decode(text, type=OpenResult)


class _Client:
    """A connection, and the request under way on it."""

    __slots__ = ("due_at", "hold", "is_held", "kind", "received", "sent_at", "socket")

    def __init__(self) -> None:
        """Not connected."""
        self.socket: socket.socket | None = None
        self.received = b""
        self.due_at = self.sent_at = 0.0
        self.kind = Kind.TRANSFER
        self.hold = b""
        self.is_held = False


class _Run:
    """One plan being carried out."""

    def __init__(self, plan: OpenPlan) -> None:
        """Nothing is sent yet."""
        self._plan = plan
        at = urlsplit(plan.address)
        self._at = (str(at.hostname), int(at.port or 80))
        self._mixture = Mixture(
            f"{at.hostname}:{at.port}", str(at.username), plan.seed, plan.accounts
        )
        self._random = random.Random(plan.seed)
        self._poller = select.epoll()
        self._by_socket: dict[int, _Client] = {}
        self._idle = deque(_Client() for _ in range(plan.connections))
        self._buckets: list[Bucket] = []
        self._statuses: dict[int, int] = {}
        self._broken = 0
        self._begin = 0.0

    def run(self) -> OpenResult:
        """Carry it out."""
        for client in self._idle:
            self._connect(client)
        gc.collect()
        gc.freeze()
        cpu_s, begun_at = time.process_time(), time.time()
        self._begin = end = time.perf_counter()
        for rate, seconds in self._plan.phases:
            begin, end = end, end + seconds
            if rate:
                self._open(rate, begin, end)
            else:
                self._closed(end)
        unanswered = self._await_answers()
        return OpenResult(
            begun_at=begun_at,
            buckets=self._buckets,
            statuses={str(status): count for status, count in sorted(self._statuses.items())},
            broken=self._broken,
            unanswered=unanswered,
            cpu_s=time.process_time() - cpu_s,
        )

    def _open(self, rate: float, begin: float, end: float) -> None:
        """Send what falls due."""
        draw = self._random.expovariate
        due_at = begin + draw(rate)
        while (now := time.perf_counter()) < end:
            for _ in range(_SENT_AT_ONCE):
                if due_at > now:
                    break
                if now - due_at > GIVE_UP_S:
                    self._bucket(now).given_up += 1
                elif self._idle:
                    self._send(self._idle.popleft(), due_at)
                else:
                    break
                due_at += draw(rate)
            is_waiting = due_at <= now and bool(self._idle)
            self._answers(0.0 if is_waiting else min(0.02, max(0.0, due_at - now)) or 0.001)

    def _closed(self, end: float) -> None:
        """Send as soon as there is an answer."""
        while (now := time.perf_counter()) < end:
            while self._idle:
                self._send(self._idle.popleft(), now)
            self._answers(0.02)

    def _await_answers(self) -> int:
        """Wait for the answers that are due; how many never came."""
        deadline = time.perf_counter() + ANSWER_TIMEOUT_S
        while (left := self._plan.connections - len(self._idle)) and time.perf_counter() < deadline:
            self._answers(0.1)
        return left

    def _send(self, client: _Client, due_at: float) -> None:
        """Send the next request on a connection."""
        if client.is_held:
            client.kind, data = Kind.CAPTURE_HOLD, self._mixture.capture(client.hold)
            client.is_held = False
        else:
            client.kind, data, client.hold = self._mixture.next()
        client.due_at = due_at
        if client.socket is None:
            self._connect(client)
        assert client.socket is not None
        client.sent_at = time.perf_counter()
        # A request is far smaller than what the system takes at once on an idle connection.
        if client.socket.send(data) != len(data):
            raise BrokenConnectionError("the system took only a part of a request")

    def _answers(self, wait_s: float) -> None:
        """Take the answers that come within a time."""
        for number, _ in self._poller.poll(wait_s):
            client = self._by_socket[number]
            assert client.socket is not None
            try:
                data = client.socket.recv(_RECEIVE_BYTES)
            except OSError:
                data = b""
            if not data:
                self._ended(client)
                continue
            client.received = data = client.received + data if client.received else data
            status = _status(data)
            if status:
                self._answered(client, status)

    def _answered(self, client: _Client, status: int) -> None:
        """Count an answer; its connection is free."""
        now = time.perf_counter()
        is_closing = b"\r\nconnection: close\r\n" in client.received
        client.received = b""
        self._statuses[status] = self._statuses.get(status, 0) + 1
        bucket = self._bucket(now)
        number = class_of(now - client.due_at)
        if status in _REFUSED:
            bucket.refused += 1
            bucket.refused_latencies[number] = bucket.refused_latencies.get(number, 0) + 1
            number = class_of(now - client.sent_at)
            bucket.refused_since_sent[number] = bucket.refused_since_sent.get(number, 0) + 1
            # A capture that was refused is sent again: its hold waits for it.
            client.is_held = client.kind is Kind.CAPTURE_HOLD
        else:
            bucket.accepted += 1
            bucket.latencies[number] = bucket.latencies.get(number, 0) + 1
            client.is_held = client.kind is Kind.PLACE_HOLD and status == 201  # noqa: PLR2004
        if is_closing:
            self._disconnect(client)
        client.sent_at = 0.0
        self._idle.append(client)

    def _ended(self, client: _Client) -> None:
        """The server closed a connection: with a request under way that is an error."""
        self._disconnect(client)
        if client.sent_at:
            self._broken += 1
            client.sent_at = 0.0
            client.received = b""
            self._idle.append(client)

    def _bucket(self, now: float) -> Bucket:
        """The bucket of that moment."""
        number = int((now - self._begin) / self._plan.bucket_s)
        while len(self._buckets) <= number:
            self._buckets.append(Bucket(latencies={}, refused_latencies={}, refused_since_sent={}))
        return self._buckets[number]

    def _connect(self, client: _Client) -> None:
        """Open a connection."""
        connection = client.socket = socket.create_connection(self._at, 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)  # noqa: FBT003 - the method's own signature
        self._poller.register(connection, select.EPOLLIN)
        self._by_socket[connection.fileno()] = client

    def _disconnect(self, client: _Client) -> None:
        """Close a connection."""
        assert client.socket is not None
        del self._by_socket[client.socket.fileno()]
        self._poller.unregister(client.socket)
        client.socket.close()
        client.socket = None


def _status(data: bytes) -> int:
    """As ``answer_status``, in a fraction of the time where our own server answers."""
    at = data.find(_LENGTH)
    end = data.find(b"\r\n\r\n")
    if 0 <= at < end:
        length = int(data[at + len(_LENGTH) : data.index(b"\r", at + len(_LENGTH))])
        if len(data) == end + 4 + length:
            return int(data[9:12])
    return answer_status(data)


def add(into: Bucket, one: Bucket) -> None:
    """Add what one bucket counted to another."""
    into.accepted += one.accepted
    into.refused += one.refused
    into.given_up += one.given_up
    for counts, more in (
        (into.latencies, one.latencies),
        (into.refused_latencies, one.refused_latencies),
        (into.refused_since_sent, one.refused_since_sent),
    ):
        for number, count in more.items():
            counts[number] = counts.get(number, 0) + count


def total(buckets: Sequence[Bucket]) -> Bucket:
    """Several buckets as one."""
    found = Bucket(latencies={}, refused_latencies={}, refused_since_sent={})
    for one in buckets:
        add(found, one)
    return found


def main() -> None:
    """Read the plan, carry it out, write the result."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=OpenPlan)
    if sys.platform == "linux":  # Where else clients share the processors, they do as they may.
        # Clients on machines of their own would not take a processor from the server at each of
        # its answers: who wakes here waits for one that is free.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    sys.stdout.buffer.write(msgspec.json.encode(_Run(plan).run()))


if __name__ == "__main__":
    main()
