"""The system under test: servers of one ledger, a PostgreSQL of their own, and a network to break.

One ``System`` serves a campaign: its cluster stays, and every run has a database of its own, which
is there until the next run begins, so that it can be checked once the servers are gone.
"""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from sqlalchemy import make_url
from tests import databases
from tests.faults import bugs, processes
from tests.faults.launch import Offset
from tests.faults.postgres import Postgres
from tests.faults.processes import environment, ticks
from tests.faults.proxy import Proxy
from tests.faults.server import READY_S, Server

TEMPLATE = "template_faults"
LEFT_S = 10.0
COMMAND_S = 120.0
HEAL_ATTEMPTS_MAX = 3


class System:
    """Servers, cluster and network of a campaign; a context manager."""

    def __init__(
        self, folder: Path, *, servers: int = 2, disk: bool = False, bug: str | None = None
    ) -> None:
        """Make the cluster, and a template of a migrated database with a ledger and a key.

        ``disk``: the cluster lives on a small disk (see ``tests.faults.disk.why_not``). ``bug`` is
        the name of a deliberate one, in every server. ``folder`` is made where it is not there.
        """
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._data_dir = self.folder / "data"
        self.clock = Offset(self.folder / "clock")
        self.deaths: list[str] = []
        """Servers that ended in this run though no fault asked them to."""
        self.key = ""
        self._bug = bug
        self._database = ""
        self.postgres = Postgres(self.folder / "cluster", disk=disk)
        try:
            self._make_template()
            self.proxy = Proxy(self.postgres.port, servers)
        except BaseException:
            self.postgres.close()
            raise
        self.servers = [
            Server(number, self.folder, self.clock.path, bug) for number in range(servers)
        ]

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @property
    def urls(self) -> list[str]:
        """Where the servers are reached."""
        return [server.url for server in self.servers]

    @property
    def database_url(self) -> str:
        """The run's database, straight and not through the proxy, as the program logs in."""
        return self.postgres.url(self._database)

    @property
    def owner_url(self) -> str:
        """The same, for who owns the tables."""
        return self.postgres.url(self._database, "owner")

    @property
    def superuser_url(self) -> str:
        """The same, for the cluster's superuser."""
        return self.postgres.url(self._database, "superuser")

    def begin(self) -> None:
        """Begin a run: a fresh database, and servers that are ready."""
        self.clock.seconds = 0.0
        self.deaths = []
        self.start_postgres()
        self.proxy.clean()
        self._fresh_database()
        if self._bug is not None:
            bugs.drop_guards(self._bug, self.owner_url)
        for server in self.servers:
            server.start(self._environment(server.number))
        for server in self.servers:
            server.wait_ready()

    def heal(self) -> None:
        """Undo whatever is going on; all servers are ready when this returns.

        Raises:
            TimeoutError: one does not get ready.
        """
        for attempt in range(HEAL_ATTEMPTS_MAX):
            self.clock.seconds = 0.0
            if self.postgres.disk is not None:
                self.postgres.disk.empty()
            self.note_deaths()
            for server in self.servers:
                server.resume()
            self.start_postgres()
            self.proxy.clean()
            for server in self.servers:
                if server.pid is None:
                    server.start()
            try:
                for server in self.servers:
                    server.wait_ready(READY_S / 2)
            except TimeoutError:
                if attempt == HEAL_ATTEMPTS_MAX - 1:
                    raise
            else:
                return

    def end(self, left_s: float = LEFT_S) -> None:
        """Stop the servers as an operator does; the cluster and the run's database stay.

        The processes beside a server have ``left_s`` seconds to follow it.

        Raises:
            AssertionError: one does not exit with 0, or leaves a process behind.
            TimeoutError: one does not end.
        """
        self.note_deaths()
        running = [server for server in self.servers if server.pid is not None]
        for server in running:
            server.ask_to_stop()
        codes = {server.number: server.wait_stopped() for server in running}
        assert all(code == 0 for code in codes.values()), f"exit codes of the servers: {codes}"
        left = [line for server in self.servers for line in server.leftovers(left_s)]
        assert not left, f"processes are left over: {left}"
        # Only Linux tells others' environment; there it finds what nobody has seen start.
        for _ in ticks(left_s):
            if not processes.with_environment("LEDGER_DATA_DIR", str(self._data_dir)):
                return
        raise AssertionError("processes of the servers' are left over")

    def close(self) -> None:
        """Kill whatever still runs, and stop the cluster; the logs stay in the folder."""
        for server in self.servers:
            server.resume()
            server.kill()
        self.proxy.close()
        self.postgres.close()
        shutil.rmtree(self.folder / "cluster", ignore_errors=True)

    def restart(self, server: Server) -> int:
        """Stop a server as an operator does and start it again; the exit code."""
        server.ask_to_stop()
        code = server.wait_stopped()
        server.start()
        server.wait_ready()
        return code

    def note_deaths(self) -> None:
        """Remember servers that ended by themselves; once each."""
        for server in self.servers:
            said = server.died()
            if said is not None and said not in self.deaths:
                self.deaths.append(said)

    def start_postgres(self) -> None:
        """Have the cluster run, on whatever port, and the proxy know."""
        self.postgres.start()
        self.proxy.target(self.postgres.port)

    def _make_template(self) -> None:
        """Make the database that every run's is a copy of, by the program's own commands."""
        owner = self.postgres.url("postgres", "owner")
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        self._database = TEMPLATE
        self._ledger("migrate")
        self.key = self._ledger("keys", "create", "admin").strip()

    def _fresh_database(self) -> None:
        """Make the run's database, and drop that of the run before."""
        before, self._database = self._database, f"run_{uuid.uuid4().hex[:12]}"
        owner = self.postgres.url("postgres", "owner")
        databases.clone(owner, TEMPLATE, self._database)
        if before != TEMPLATE:
            databases.drop(self.postgres.url("postgres", "superuser"), before)

    def _ledger(self, *arguments: str) -> str:
        """Run a command of the program to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", *arguments],
            env={
                **environment(),
                "LEDGER_DATA_DIR": str(self._data_dir),
                "LEDGER_DATABASE_URL": self.database_url,
                "LEDGER_MIGRATION_URL": self.owner_url,
            },
            capture_output=True,
            check=False,
            text=True,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        return done.stdout

    def _environment(self, number: int) -> dict[str, str]:
        """The surroundings of a server: its database is behind its link of the proxy."""
        through = (
            make_url(self.database_url)
            .set(port=self.proxy.ports[number])
            .render_as_string(hide_password=False)
        )
        return {
            **environment(),
            "LEDGER_DATA_DIR": str(self._data_dir),
            "LEDGER_DATABASE_URL": through,
            "LEDGER_SELF_AUDIT": "off",  # Of no use within seconds, and it costs a process.
            "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"),
        }
