"""What an operator watches of the server itself, in Prometheus' text format.

Its queues, the processes beside it, the traces that it sends, the newest backup.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.backup_store import BackupError, Store
from api.intake import Intake
from api.reads import READ_THREADS, Reads
from api.tracing import Tracing
from ledger_core.writer import Writer

if TYPE_CHECKING:
    from api.child import Child

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, after the name in brackets: time in user and in system mode, in ticks.
_USER_TICKS, _SYSTEM_TICKS = 11, 12


class QueueFigures(Collector):
    """What waits: for each writer of this process, and for the threads that read."""

    def __init__(
        self, writers: Callable[[], dict[int, Writer]], intake: Intake, reads: Reads
    ) -> None:
        """Watch these."""
        self._writers = writers
        self._intake = intake
        self._reads = reads

    def collect(self) -> Iterable[Metric]:
        """The figures, as the library asks for them."""
        commands = GaugeMetricFamily(
            "ledger_writer_queue_commands",
            "Commands that wait for the writer.",
            labels=("ledger_id",),
        )
        running = GaugeMetricFamily(
            "ledger_writer_up", "1 where the writer takes commands.", labels=("ledger_id",)
        )
        labels = ("ledger_id", "kind")
        wait = GaugeMetricFamily(
            "ledger_queue_wait_seconds",
            "How long what is under way takes, by the rate of late.",
            labels=labels,
        )
        room = GaugeMetricFamily(
            "ledger_queue_room_commands",
            "How many commands may be under way before more are refused.",
            labels=labels,
        )
        for ledger_id, writer in self._writers().items():
            where = (str(ledger_id),)
            commands.add_metric(where, writer.commands_waiting)
            running.add_metric(where, writer.is_running)
            for kind, rooms in (("single", self._intake.singles), ("batch", self._intake.batches)):
                found = rooms.of(ledger_id)
                wait.add_metric((*where, kind), found.wait_s)
                room.add_metric((*where, kind), found.limit)
        under_way = GaugeMetricFamily(
            "ledger_reads_under_way", "Queries asked of the read threads and not yet answered."
        )
        under_way.add_metric((), self._reads.under_way)
        threads = GaugeMetricFamily("ledger_read_threads", "How many are answered at once.")
        threads.add_metric((), READ_THREADS)
        return (commands, running, wait, room, under_way, threads)


class ChildFigures(Collector):
    """The processes beside the server: whether they run, and what they use (Linux)."""

    def __init__(self) -> None:
        """There are none yet; whoever starts them sets ``children``."""
        self.children: Sequence[Child] = ()

    def collect(self) -> Iterable[Metric]:
        """The figures, as the library asks for them."""
        labels = ("process",)
        up = GaugeMetricFamily("ledger_process_up", "1 where it runs.", labels=labels)
        restarts = CounterMetricFamily(
            "ledger_process_restarts", "How often it died and was started again.", labels=labels
        )
        memory = GaugeMetricFamily(
            "ledger_process_resident_bytes", "Memory that it uses.", labels=labels
        )
        cpu = CounterMetricFamily(
            "ledger_process_cpu_seconds", "Processor time of the one that runs.", labels=labels
        )
        for child in self.children:
            where = (child.name,)
            up.add_metric(where, child.is_running)
            restarts.add_metric(where, child.restarts)
            used = _used(child.pid)
            if used is not None:
                memory.add_metric(where, used[0])
                cpu.add_metric(where, used[1])
        return (up, restarts, memory, cpu)


class TraceFigures(Collector):
    """How many spans were sent, and how many are missing."""

    def __init__(self, tracing: Tracing | None) -> None:
        """Watch this; ``None``: there are no traces, and all figures are 0."""
        self._tracing = tracing

    def collect(self) -> Iterable[Metric]:
        """The figures, as the library asks for them."""
        sent = CounterMetricFamily("ledger_traces_spans", "Spans sent to the collector.")
        dropped = CounterMetricFamily(
            "ledger_traces_dropped",
            "Not traced (rate: too many a second), or spans lost (queue, export).",
            labels=("reason",),
        )
        tracing = self._tracing
        sent.add_metric((), 0 if tracing is None else tracing.exported)
        for reason in ("rate", "queue", "export"):
            count = 0 if tracing is None else getattr(tracing.drops, reason)
            dropped.add_metric((reason,), count)
        return (sent, dropped)


class BackupFigures(Collector):
    """The newest base backup in the folder that the server knows."""

    def __init__(self, folder: Path | None) -> None:
        """Watch that folder; ``None``: backups are made by others."""
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """When it ended."""
        ended = GaugeMetricFamily(
            "ledger_backup_ended_seconds", "When the newest base backup ended, since 1970."
        )
        newest = None if self._folder is None else newest_backup(self._folder)
        if newest is not None:
            ended.add_metric((), newest.timestamp())
        return (ended,)


def newest_backup(folder: Path) -> datetime | None:
    """When the newest base backup in a folder ended; ``None`` where there is none to be read."""
    try:
        return max((record.ended_at for record in Store(folder).records()), default=None)
    except (BackupError, OSError):
        return None


def _used(pid: int) -> tuple[int, float] | None:
    """Memory in bytes and processor time in seconds of a process, where the system tells."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, IndexError, ValueError):
        return None
    ticks = int(after_name[_USER_TICKS]) + int(after_name[_SYSTEM_TICKS])
    return pages * _PAGE_BYTES, ticks / _TICKS_PER_S
