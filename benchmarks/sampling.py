"""What is looked at beside a long load: memory of every process, and how far the views are behind.

Memory is what a process has in use and for itself (``RssAnon``), and apart from it what the
processes of PostgreSQL share, of which each shows as much as it has touched. The processes of one
kind are one row: connections come and go, and a new backend is no growth of the old ones.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import psycopg

from benchmarks.processes import backends, children

Connection = psycopg.Connection[tuple[object, ...]]

MEMORY_S = 1.0
LAG_S = 0.25
SHARED = "PostgreSQL, shared memory"

_LAG = (
    "SELECT p.name, h.position - p.position, extract(epoch FROM clock_timestamp() - e.recorded_at)"
    " FROM views.projections p JOIN ledger.heads h USING (ledger_id)"
    " LEFT JOIN ledger.events e ON e.ledger_id = p.ledger_id AND e.position = p.position + 1"
    " AND p.position < h.position"
    " WHERE p.ledger_id = %s AND p.live"
)


class Memory(msgspec.Struct, frozen=True):
    """MiB at a moment, by what the processes are for."""

    at_s: float
    mib: dict[str, float]


class Lag(msgspec.Struct, frozen=True):
    """How far the projection that is furthest behind was, and each, at a moment.

    Seconds are the age of the first event that a view lacks; 0 where it lacks none.
    """

    at_s: float
    events: dict[str, int]
    seconds: dict[str, float]


class Sampler:
    """Two threads that look, until stopped."""

    def __init__(self, url: str, ledger_id: int, server_pid: int, folder: Path) -> None:
        """Begin; ``folder`` is that of the embedded PostgreSQL's data."""
        self._url = url
        self._ledger_id = ledger_id
        self._server_pid = server_pid
        self._folder = folder
        self._stopping = threading.Event()
        self.memory: list[Memory] = []
        self.lags: list[Lag] = []
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._keep, args=(look, every_s), daemon=True)
            for look, every_s in ((self._look_memory, MEMORY_S), (self._look_lag, LAG_S))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _keep(self, look: Callable[[Connection], None], every_s: float) -> None:
        """Look again and again on a connection of its own."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stopping.wait(every_s):
                try:
                    look(connection)
                except (psycopg.Error, OSError) as error:
                    self.failures.append(type(error).__name__)
                    return

    def _look_memory(self, _connection: Connection) -> None:
        """Look at the memory of all processes."""
        names = processes(self._url, self._server_pid)
        mib: dict[str, float] = {}
        shared = 0.0
        for pid, name in names.items():
            own, common = resident(pid)
            mib[name] = mib.get(name, 0.0) + own
            if name.startswith("PostgreSQL"):
                shared = max(shared, common)
        mib[SHARED] = shared
        self.memory.append(Memory(time.time(), mib))

    def _look_lag(self, connection: Connection) -> None:
        """Look how far the views are behind."""
        rows = connection.execute(_LAG, (self._ledger_id,)).fetchall()
        events = {str(name): int(str(lag)) for name, lag, _ in rows}
        seconds = {str(name): max(0.0, float(str(age or 0))) for name, _, age in rows}
        self.lags.append(Lag(time.time(), events, seconds))


def processes(url: str, server_pid: int) -> dict[int, str]:
    """Every process that takes part, and what it is for."""
    found = {server_pid: "server"}
    for child in children(server_pid):
        found[child] = child_name(child)
    return found | backends(url)


def child_name(pid: int) -> str:
    """What a child of the server is for."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "gone"
    return "projector" if b"api.projector" in line else "self-audit"


def resident(pid: int) -> tuple[float, float]:
    """MiB of a process that are its own, and that it shares; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {
        line.partition(":")[0]: int(line.split()[1]) / 1024
        for line in lines
        if line.startswith("Rss")
    }
    return sizes.get("RssAnon", 0.0), sizes.get("RssShmem", 0.0)


class Growth(msgspec.Struct, frozen=True):
    """MiB of processes of one kind: medians of the first and last third after the warm-up."""

    before_mib: float
    after_mib: float

    @property
    def percent(self) -> float:
        """By how much it grew."""
        return 100 * (self.after_mib / self.before_mib - 1) if self.before_mib else 0.0


def growth(samples: Sequence[Memory], from_s: float, to_s: float) -> Mapping[str, Growth]:
    """How the memory of each kind of process changed in a stretch of time."""
    within = [sample for sample in samples if from_s <= sample.at_s <= to_s]
    third = len(within) // 3
    names = sorted({name for sample in within for name in sample.mib})
    return {
        name: Growth(
            median([sample.mib.get(name, 0.0) for sample in within[:third]]),
            median([sample.mib.get(name, 0.0) for sample in within[-third:]]),
        )
        for name in names
        if third
    }


def median(values: Sequence[float]) -> float:
    """The one in the middle; 0 of none."""
    return sorted(values)[len(values) // 2] if values else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many per cent do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
