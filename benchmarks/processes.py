"""Where the processor's time goes and how large processes are, by what each process is for (Linux).

Processor time is little disturbed by whatever else runs on the machine, so it is what tells whether
a change helped. A backend of PostgreSQL is known by the role that it acts as.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg

_TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """Processor time from ``start`` on, by process."""

    def __init__(self, url: str, own: Mapping[str, int]) -> None:
        """``own`` names processes beside those of the database; ``url`` says which that is."""
        self._url = url
        self._own = own
        self._begun: dict[int, float] = {}

    def start(self) -> None:
        """From now on."""
        self._begun = {pid: cpu_s(pid) for pid in self._processes()}

    def per_item(self, items: int) -> dict[str, float]:
        """Microseconds an item since ``start``, by what the process is for."""
        used: dict[str, float] = {}
        for pid, what in self._processes().items():
            spent = cpu_s(pid) - self._begun.get(pid, 0.0)
            used[what] = used.get(what, 0.0) + 1e6 * spent / items
        return {what: spent for what, spent in used.items() if spent >= 0.05}  # noqa: PLR2004 - noise

    def _processes(self) -> dict[int, str]:
        """Every process that is looked at, and what it is for."""
        return backends(self._url) | {pid: what for what, pid in self._own.items()}


def backends(url: str) -> dict[int, str]:
    """The processes of a database, each with the role that it acts as."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT pid, application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        ).fetchall()
    return {int(pid): f"PostgreSQL, {name or 'background'}" for pid, name in found}


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    """Memory of a process that is in use and its own, in MiB; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon:")]
    return sizes[0] / 1024 if sizes else 0.0


def children(pid: int) -> list[int]:
    """The processes that a process has started, whichever of its threads did."""
    found: list[int] = []
    for of_thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # A thread may end meanwhile.
            found += [int(child) for child in of_thread.read_text().split()]
    return sorted(found)
