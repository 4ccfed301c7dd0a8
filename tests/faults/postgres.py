"""The PostgreSQL under test: a cluster of its own, to be killed, paused and started again.

Where it is to have a small disk, it lives in a file system of its own (``disk``).
"""

import signal
from pathlib import Path
from typing import Literal

from tests.faults import processes
from tests.faults.disk import Disk, Place

from api import embedded_postgres
from api.embedded_postgres import Login

SETTINGS = {
    # The machine does not lose power here. What was written is safe from kill -9 of processes, and
    # a commit is acknowledged once it is written: synchronous_commit stays on.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "shared_buffers": "64MB",
}
GONE_S = 20.0


class Postgres:
    """A cluster, whoever is killed of it."""

    def __init__(self, folder: Path, *, disk: bool) -> None:
        """Make it, on a small disk if asked to; it is running."""
        self.disk = Disk(folder, SETTINGS) if disk else None
        self._place: Disk | Place = self.disk or Place(folder, SETTINGS)
        self._urls: dict[Login, str] = {}
        self._stopped: list[int] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it where it does not run, recover, and wait until it answers.

        Orphans of a postmaster that was killed are waited for: they end by themselves.
        """
        self.resume()
        self.port, self._urls = self._place.start()

    def url(self, database: str, login: Login = "program") -> str:
        """The URL of a database of the cluster, straight to it."""
        return embedded_postgres_url(self._urls[login], database)

    def postmaster(self) -> int | None:
        """The main process; ``None`` where it has ended."""
        pid = self._place.postmaster()
        return pid if pid and processes.is_alive(pid) else None

    def backends(self) -> dict[int, str]:
        """The other processes, and what each calls itself."""
        postmaster = self.postmaster()
        if postmaster is None:
            return {}
        return {pid: processes.command_line(pid) for pid in processes.children_of(postmaster)}

    def kill(self) -> None:
        """Kill the main process alone, and wait until nothing is left of the cluster."""
        postmaster = self.postmaster()
        if postmaster is None:
            return
        everybody = [postmaster, *self.backends()]
        processes.send([postmaster], signal.SIGKILL)
        left = processes.wait_gone(everybody, GONE_S)
        processes.send(left, signal.SIGKILL)

    def pause(self) -> None:
        """Stop every process of it where it stands."""
        postmaster = self.postmaster()
        if postmaster is None:
            return
        # The main process first: it starts no new ones.
        processes.send([postmaster], signal.SIGSTOP)
        self._stopped = [postmaster, *self.backends()]
        processes.send(self._stopped, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        stopped, self._stopped = self._stopped, []
        processes.send(stopped, signal.SIGCONT)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it in an orderly way."""
        self.resume()
        self._place.stop(mode)

    def close(self) -> None:
        """Stop it, and let go of its disk."""
        self.stop("immediate")
        if self.disk is not None:
            self.disk.close()


def embedded_postgres_url(url: str, database: str) -> str:
    """The URL of another database of the same cluster."""
    before, _, after = url.rpartition(f"/{embedded_postgres.DATABASE}?")
    return f"{before}/{database}?{after}"
