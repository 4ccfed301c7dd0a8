"""Two event stores for the same work: a transfer as one event with two tags and a condition.

``python -m benchmarks.recorders NAME ADDRESS SECONDS`` drives eventsourcing's DCB recorder on
PostgreSQL or UmaDB and prints what it measured as JSON. The condition is that nothing has happened
to either account since the client last looked; a client that is told otherwise looks again. They
check no balance and keep none: a ledger on them would do that beside. Threads of one process: the
time of both libraries' clients is spent outside Python, or waiting.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol
from urllib.parse import urlsplit

from benchmarks import workloads
from benchmarks.product import free_port
from benchmarks.workloads import Command

BULK = 1_000
CLIENTS_MAX = 16
BATCHES_MADE = 20
UMADB_START_S = 10.0

Event = tuple[bytes, list[str]]
"""Data and tags."""


class Client(Protocol):
    """What a store can do for one client."""

    def append(self, events: Sequence[Event], after: int | None) -> int:
        """Append events; with ``after``, on condition that none after it has one of their tags.

        Raises:
            ConflictError: one has.
        """

    def look(self, tags: Sequence[str], after: int) -> int:
        """Read what has happened since to those tags; up to where that is now known."""


Clients = Callable[[], Client]


class ConflictError(Exception):
    """Something has happened to one of the accounts."""


class UnavailableError(RuntimeError):
    """The store cannot be installed or run here; the message says why."""


class EventsourcingClient:
    """eventsourcing's recorder for PostgreSQL with a table of tags."""

    def __init__(self, recorder: Any) -> None:  # noqa: ANN401 - the library's own types are loose
        """The recorder has a pool of connections."""
        self._recorder = recorder
        self._api: Any = importlib.import_module("eventsourcing.dcb.api")
        self._conflict: Any = importlib.import_module("eventsourcing.persistence").IntegrityError

    def append(self, events: Sequence[Event], after: int | None) -> int:
        """Append, with the condition of ``after``."""
        made = [self._api.DCBEvent("Transferred", data, tags) for data, tags in events]
        condition = None
        if after is not None:
            query = self._query([tag for _, tags in events for tag in tags])
            condition = self._api.DCBAppendCondition(query, after)
        try:
            return int(self._recorder.append(made, condition))
        except self._conflict:
            raise ConflictError from None

    def look(self, tags: Sequence[str], after: int) -> int:
        """Read what has happened since to those tags."""
        found = self._recorder.read(self._query(tags), after=after)
        return int(found.head or after)

    def _query(self, tags: Sequence[str]) -> Any:  # noqa: ANN401
        """Events with any of the tags."""
        return self._api.DCBQuery([self._api.DCBQueryItem([], [tag]) for tag in tags])


class UmadbClient:
    """UmaDB's client."""

    def __init__(self, umadb: Any, address: str) -> None:  # noqa: ANN401 - need not be there
        """Connect."""
        self._umadb = umadb
        self._client = umadb.Client(address)

    def append(self, events: Sequence[Event], after: int | None) -> int:
        """Append, with the condition of ``after``."""
        made = [self._umadb.Event("Transferred", data, tags) for data, tags in events]
        condition = None
        if after is not None:
            query = self._query([tag for _, tags in events for tag in tags])
            condition = self._umadb.AppendCondition(query, after)
        try:
            return int(self._client.append(made, condition))
        except self._umadb.IntegrityError:
            raise ConflictError from None

    def look(self, tags: Sequence[str], after: int) -> int:
        """Read what has happened since to those tags."""
        found = self._client.read(self._query(tags), start=after + 1)
        _, head = found.collect_with_head()
        return int(head or after)

    def _query(self, tags: Sequence[str]) -> Any:  # noqa: ANN401
        """Events with any of the tags."""
        return self._umadb.Query([self._umadb.QueryItem([], [tag]) for tag in tags])


@contextmanager
def eventsourcing_store(url: str) -> Iterator[Clients]:
    """The recorder on the database of the run."""
    postgres: Any = importlib.import_module("eventsourcing.postgres")
    recorders: Any = importlib.import_module("eventsourcing.dcb.postgres_tt")
    at = urlsplit(url)
    datastore = postgres.PostgresDatastore(
        at.path.removeprefix("/"),
        at.hostname,
        at.port,
        at.username,
        at.password,
        pool_size=CLIENTS_MAX,
        max_overflow=CLIENTS_MAX,
    )
    try:
        recorder = recorders.PostgresDCBRecorderTT(datastore, events_table_name="bench_dcb")
        recorder.create_table()
        yield lambda: EventsourcingClient(recorder)
    finally:
        datastore.close()


@contextmanager
def umadb_store(_url: str) -> Iterator[Clients]:
    """UmaDB's own server in a process beside, with its default settings, on an empty file.

    Raises:
        UnavailableError: the package is not installed, or the server does not start.
    """
    try:
        umadb: Any = importlib.import_module("umadb")
    except ImportError as error:
        msg = f"the package umadb is not installed ({error})"
        raise UnavailableError(msg) from None
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="umadb-") as folder:
        program = "from umadb.umadb_server_cli import main; main()"
        server = subprocess.Popen(
            [sys.executable, "-c", program, "--listen", address, "--db-path", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await(umadb, f"http://{address}")
            yield lambda: UmadbClient(umadb, f"http://{address}")
        finally:
            server.terminate()
            server.wait(30)


def _await(umadb: Any, address: str) -> None:  # noqa: ANN401 - need not be there
    """Wait until the server answers.

    Raises:
        UnavailableError: it does not.
    """
    deadline = time.monotonic() + UMADB_START_S
    while True:
        try:
            umadb.Client(address).head()
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is not there yet
            if time.monotonic() > deadline:
                msg = f"UmaDB's server does not start: {error}"
                raise UnavailableError(msg) from None
            time.sleep(0.1)
        else:
            return


STORES = {"eventsourcing": eventsourcing_store, "umadb": umadb_store}


def rates(name: str, url: str, seconds: float) -> dict[str, float]:
    """Transfers a second: singly on condition by 1 and 16 clients, hot, and in bulk without one.

    Raises:
        UnavailableError: see ``umadb_store``.
    """
    runs: tuple[tuple[workloads.Name, int], ...] = (
        ("W2", 1),
        ("W2", CLIENTS_MAX),
        ("W3", CLIENTS_MAX),
    )
    measured: dict[str, float] = {}
    with STORES[name](url) as clients:
        for workload, count in runs:
            label = f"one at a time on condition, {workload}, clients: {count}"
            measured[label] = _single(clients, workload, count, seconds)
        client = clients()
        stream = _events(workloads.commands("W2", 900))
        batches = [list(islice(stream, BULK)) for _ in range(BATCHES_MADE)]
        started = time.perf_counter()
        done = 0
        while time.perf_counter() - started < seconds:
            client.append(batches[done % BATCHES_MADE], None)
            done += 1
        label = f"{BULK:,} a call without condition, W2, clients: 1"
        measured[label] = BULK * done / (time.perf_counter() - started)
    return measured


def _single(clients: Clients, workload: workloads.Name, count: int, seconds: float) -> float:
    """Transfers a second of so many clients, each one at a time on condition."""
    counts = [0] * count
    streams = [_events(workloads.commands(workload, 800 + number)) for number in range(count)]
    for stream in streams:
        next(stream)
    deadline = time.perf_counter() + seconds

    def run(number: int) -> None:
        """Append until time is up; after a conflict look and try again."""
        client = clients()
        seen = client.append([next(streams[number])], None)
        while time.perf_counter() < deadline:
            event = next(streams[number])
            while True:
                try:
                    seen = client.append([event], seen)
                except ConflictError:
                    seen = client.look(event[1], seen)
                else:
                    counts[number] += 1
                    break

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _events(stream: Iterator[Command]) -> Iterator[Event]:
    """The transfers as events: their data, and the tags of both accounts."""
    for command in stream:
        accounts = (command["debit_account_id"], command["credit_account_id"])
        yield json.dumps(command).encode(), [f"account:{account}" for account in accounts]


def main() -> None:
    """Measure one store and print the figures, or why there are none."""
    name, url, seconds = sys.argv[1:]
    try:
        print(json.dumps(rates(name, url, float(seconds))))
    except UnavailableError as problem:
        print(json.dumps({"unavailable": str(problem)}))


if __name__ == "__main__":
    main()
