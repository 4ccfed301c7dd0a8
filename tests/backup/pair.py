"""Two PostgreSQL servers on one machine: a primary and a standby that follows it."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import psycopg
from tests.faults.program import free_port

from api import embedded_postgres, postgres_programs
from api.embedded_postgres import DATABASE, ROLES, Cluster, Login
from api.postgres_programs import Server
from api.restored_server import give_away

SETTINGS = {"fsync": "off", "shared_buffers": "16MB", "wal_keep_size": "1GB"}
WAIT_S = 60.0
_NAME = "standby"

Commit = Literal["on", "remote_apply"]


class Pair:
    """The servers; ``url`` names both, so that whoever connects finds the one that is written."""

    def __init__(self, folder: Path) -> None:
        """Start a primary, and a standby made of it by a base backup."""
        self.primary = embedded_postgres.ensure_running(folder / "one", settings=SETTINGS)
        self._one = embedded_postgres.server_folder(folder / "one")
        self._home = folder / "two"
        self._two = self._home / "postgresql"
        self._port = free_port()
        self._home.mkdir(mode=0o700)
        done = postgres_programs.client(
            "pg_basebackup",
            f"--pgdata={self._two}",
            "--checkpoint=fast",
            "--no-sync",
            f"--dbname=host=127.0.0.1 port={self.primary.port} user={ROLES['superuser']}",
            password=self.primary.passwords["superuser"],
        )
        assert done.returncode == 0, done.stderr
        (self._two / "standby.signal").touch()
        give_away(self._home, self._two)
        self._server = Server.of(self._home, self._two)
        self.start_standby()

    @property
    def standby(self) -> Cluster:
        """How to log in to the standby: as to the primary, on its own port."""
        return Cluster(self._home, self._port, self.primary.passwords)

    def url(self, login: Login = "program") -> str:
        """URL of both, of which libpq takes the one that can be written to."""
        return (
            f"postgresql://{ROLES[login]}:{self.primary.passwords[login]}"
            f"@127.0.0.1:{self.primary.port},127.0.0.1:{self._port}/{DATABASE}"
            "?target_session_attrs=read-write&require_auth=scram-sha-256"
        )

    def start_standby(self) -> None:
        """Start the standby, which follows the primary where it left off."""
        password = self.primary.passwords["superuser"]
        settings = {
            **embedded_postgres.SETTINGS,
            **SETTINGS,
            "port": str(self._port),
            "primary_conninfo": f"host=127.0.0.1 port={self.primary.port} user=postgres"
            f" password={password} application_name={_NAME}",
            "wal_retrieve_retry_interval": "100ms",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._ctl("start", "--silent", "--wait", f"--options={shlex.join(words)}")

    def stop_standby(self) -> None:
        """Stop it: what is written from now on it does not have."""
        self._ctl("stop", "--mode=fast", "--wait")

    def follow(self, commit: Commit | None) -> None:
        """Have commits wait for the standby; ``None``: for nobody."""
        with _superuser(self.primary) as connection:
            names = "" if commit is None else _NAME
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            connection.execute(f"ALTER SYSTEM SET synchronous_commit = '{commit or 'on'}'")
            connection.execute("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        expected = [("async" if commit is None else "sync",)]
        wait_for(lambda: self.ask(self.primary, state) == expected, "the standby follows")

    def kill_primary(self) -> None:
        """End every process of the primary at once, as the power going out would."""
        pid = int((self._one / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children")
        found = children.read_text().split() if children.exists() else []
        for process in [pid, *map(int, found)]:
            os.kill(process, signal.SIGKILL)

    def promote(self) -> None:
        """Make the standby the primary."""
        self._ctl("promote", "--wait")

    def restart_primary(self) -> None:
        """Start the old primary again, as one that nobody told of the other."""
        embedded_postgres.ensure_running(self.primary.data_dir, settings=SETTINGS)

    def close(self) -> None:
        """Stop both."""
        embedded_postgres.stop(self.primary.data_dir, mode="immediate")
        self._server.run(
            "pg_ctl",
            "stop",
            "--mode=immediate",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(self._home)

    @staticmethod
    def ask(cluster: Cluster, query: str) -> list[tuple[Any, ...]]:
        """What a query gives on one of the servers."""
        with _superuser(cluster) as connection:
            return connection.execute(query).fetchall()

    def _ctl(self, *arguments: str) -> None:
        """Run ``pg_ctl`` on the standby."""
        with (self._home / "log").open("ab") as output:
            done = self._server.run(
                "pg_ctl", *arguments, stdin=subprocess.DEVNULL, stdout=output.fileno()
            )
        assert done.returncode == 0, (self._home / "log").read_text()[-2000:]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so; a minute means that it never will be."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.05)


def _superuser(cluster: Cluster) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection of the superuser's."""
    return psycopg.connect(cluster.url(login="superuser"), autocommit=True)
