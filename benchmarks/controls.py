"""The controls: what PostgreSQL itself does on this machine, in this minute.

C: COPY of the very bytes of events of the log, as text, into a table with the primary key alone,
1,000 rows a transaction. I: durable INSERT of one row a transaction on 16 connections, by the same
client that drives everything else; I1 the same on one connection. The machine is noisy: each is
measured again and again through the run, and a figure is set against those just before and after.
"""

import time
from pathlib import Path
from statistics import median
from typing import Literal

import psycopg

from benchmarks import load
from ledger_core import database

Name = Literal["C", "I", "I1"]

COPY_ROWS = 1_000
INSERT_CLIENTS = 16
ADAPTER = str(Path(__file__).parent / "adapters" / "insert_control.py")


class Controls:
    """Every measurement of the controls, with its time."""

    def __init__(self, url: str, insert_s: float) -> None:
        """``url``: of a role that may make tables; ``insert_s``: how long I is measured."""
        self._url = url
        self._insert_s = insert_s
        self._chunks: list[bytes] = []
        self.measured: dict[Name, list[tuple[float, float]]] = {"C": [], "I": [], "I1": []}

    def prepare(self, ledger_id: int, after: int, rows: int) -> None:
        """Take the bytes of that many events of the log."""
        with (
            database.connect(self._url, "ledger_reader") as connection,
            connection.cursor() as cursor,
            cursor.copy(
                "COPY (SELECT * FROM ledger.events WHERE ledger_id = %s AND position > %s"
                " ORDER BY position LIMIT %s) TO STDOUT",
                (ledger_id, after, rows),
            ) as copy,
        ):
            lines = [bytes(line) for line in copy]
        self._chunks = [
            b"".join(lines[first : first + COPY_ROWS]) for first in range(0, len(lines), COPY_ROWS)
        ]
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS bench_copy, bench_insert")
            connection.execute("CREATE TABLE bench_copy (LIKE ledger.events)")
            connection.execute("ALTER TABLE bench_copy ADD PRIMARY KEY (ledger_id, position)")
            connection.execute("CREATE TABLE bench_insert (key text PRIMARY KEY, data text)")

    def measure(self, *names: Name) -> None:
        """Measure these now."""
        for name in names:
            rate = self._copy_rate() if name == "C" else self._insert_rate(name)
            self.measured[name].append((time.monotonic(), rate))

    def around(self, name: Name, begun: float, ended: float) -> float:
        """The control at that time: the mean of the last before and the first after."""
        before = [rate for at, rate in self.measured[name] if at <= begun][-1:]
        after = [rate for at, rate in self.measured[name] if at >= ended][:1]
        near = before + after
        return sum(near) / len(near)

    def summary(self) -> dict[str, dict[str, float]]:
        """Of each control the median, the lowest and the highest, and how often it was measured."""
        return {
            name: {
                "median": median(rate for _, rate in found),
                "min": min(rate for _, rate in found),
                "max": max(rate for _, rate in found),
                "times": len(found),
            }
            for name, found in self.measured.items()
            if found
        }

    def _copy_rate(self) -> float:
        """Rows a second of C."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("TRUNCATE bench_copy")
            started = time.perf_counter()
            for chunk in self._chunks:
                with (
                    connection.transaction(),
                    connection.cursor() as cursor,
                    cursor.copy("COPY bench_copy FROM STDIN") as copy,
                ):
                    copy.write(chunk)
            return COPY_ROWS * len(self._chunks) / (time.perf_counter() - started)

    def _insert_rate(self, name: Name) -> float:
        """Transactions a second of I or I1."""
        clients = INSERT_CLIENTS if name == "I" else 1
        plan = load.Plan(
            adapter=ADAPTER,
            address=self._url,
            connections=clients,
            seconds=self._insert_s,
            workload="W2",
            warm_up_s=0.3,
        )
        return load.run(plan).rate
