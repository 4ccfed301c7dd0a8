"""The open loop sends when it is due, counts what came of it, and judges what it was made for."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from benchmarks.mixture import Kind, Mixture
from benchmarks.open_loop import Bucket, OpenPlan, class_of, percentile, upper_s
from benchmarks.processes import children
from benchmarks.sampling import Memory, growth
from benchmarks.soak_report import Soak, Target, markdown

from benchmarks import open_loop, soak

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
def port() -> Iterator[int]:
    """A server that refuses every third request of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            """Answer each request, which comes as a whole."""
            with connection:
                number = 0
                while connection.recv(65_536):
                    number += 1
                    connection.sendall(OK if number % 3 else BUSY)

        def accept() -> None:
            """Serve each connection in a thread."""
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(listening.getsockname()[1])


def test_what_is_offered_is_answered_refused_or_given_up(port: int) -> None:
    """Phases one after another; each request that fell due is counted once."""
    plan = OpenPlan(
        address=f"http://key@127.0.0.1:{port}",
        phases=[(400.0, 0.5), (0.0, 0.2), (200.0, 0.5)],
        connections=4,
        accounts=10,
        seed=1,
    )
    result = open_loop.result_of(open_loop.start(plan))
    found = open_loop.total(result.buckets)
    assert found.accepted == result.statuses["200"]
    assert found.refused == result.statuses["503"]
    assert sum(found.latencies.values()) == found.accepted
    assert sum(found.refused_since_sent.values()) == found.refused
    assert found.accepted > found.refused > 0
    assert (result.broken, result.unanswered) == (0, 0)


def test_requests_are_whole_and_captures_follow_their_holds() -> None:
    """Every kind comes, with a key of its own and the length of its body."""
    mixture = Mixture("h:1", "key", 1, 100)
    made = [mixture.next() for _ in range(1_000)]
    kinds = {kind for kind, _, _ in made}
    assert kinds == {Kind.TRANSFER, Kind.PLACE_HOLD, Kind.READ_BALANCE}
    for kind, data, hold_id in made:
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"Authorization: Bearer key" in head
        if kind is not Kind.READ_BALANCE:
            assert b"Content-Length: %d" % len(body) in head
        assert (kind is Kind.PLACE_HOLD) == bool(hold_id)
    assert len({data for _, data, _ in made if b"Idempotency-Key" in data}) > 600
    assert mixture.capture(b"h-1").startswith(b"POST /v1/holds/h-1/capture HTTP/1.1\r\n")


def test_a_class_of_times_is_five_per_cent_wide() -> None:
    """A time lies below the upper bound of its class, and not by much."""
    for seconds in (0.000_2, 0.01, 0.1, 1.5, 20.0):
        upper = upper_s(class_of(seconds))
        assert seconds <= upper <= seconds * 1.05
    assert percentile({class_of(0.01): 99, class_of(5.0): 1}, 99) < 0.011
    assert percentile({}, 99) == 0


def test_recovery_is_from_when_on_all_is_well() -> None:
    """A second that is well and is followed by one that is not does not count."""
    well = Bucket(accepted=10, latencies={class_of(0.01): 10})
    slow = Bucket(accepted=10, latencies={class_of(2.0): 10})
    refusing = Bucket(accepted=10, refused=1, latencies={class_of(0.01): 10})
    never = [False] * 5
    assert soak.recovered_after([well] * 5, 0.1, never) == 0
    assert soak.recovered_after([slow, well, refusing, well, well], 0.1, never) == 3
    assert soak.recovered_after([well] * 4 + [slow], 0.1, never) is None
    assert soak.recovered_after([well] * 5, 0.1, [True, True, False, False, False]) == 2


def test_growth_compares_the_last_third_with_the_first() -> None:
    """By kind of process, from after the warm-up on."""
    samples = [Memory(at_s, {"server": 100.0 if at_s < 60 else 110.0}) for at_s in range(90)]
    found = growth(samples, 30.0, 89.0)["server"]
    assert found.percent == pytest.approx(10)
    assert growth(samples, 0.0, 59.0)["server"].percent == 0


def _begin(begun: list[subprocess.Popen[bytes]], is_asked: threading.Event) -> None:
    """Begin a process, and live on until it was asked for."""
    begun.append(subprocess.Popen(["sleep", "60"]))
    is_asked.wait(60)


def test_a_process_is_found_whichever_thread_began_it() -> None:
    """The self-audit is begun by a timer."""
    begun: list[subprocess.Popen[bytes]] = []
    is_asked = threading.Event()
    thread = threading.Thread(target=_begin, args=(begun, is_asked))
    thread.start()
    try:
        while not begun:
            time.sleep(0.01)
        assert begun[0].pid in children(os.getpid())
    finally:
        is_asked.set()
        thread.join()
        begun[0].kill()
        begun[0].wait()


def test_a_missed_target_says_so() -> None:
    """In the table, for people."""
    found = Soak(
        machine="a machine",
        capacity_per_s=1_000.0,
        rate_per_s=700.0,
        seconds=60.0,
        answered=42_000,
        answered_per_s=700.0,
        percentiles_ms={"99": 12.0},
        warm_up_s=15.0,
        memory={"server": (100.0, 110.0, 10.0)},
        lags={"balances": (5.0, 0.1)},
        errors={"500": 1},
        database_mib=(10.0, 20.0),
        client_cores=0.1,
        memory_over_time=[],
        targets=[Target("a", is_met=False, found="2", wanted="1")],
    )
    text = markdown(found)
    assert "| a | 1 | 2 | missed |" in text
    assert "| server | 100.0 | 110.0 | +10.0 % |" in text
    assert "Errors: {'500': 1}" in text
