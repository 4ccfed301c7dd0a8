"""A server on files that are being restored: seen by nobody else, until it has replayed its log.

It listens on a socket in a folder that only its own user may enter, and asks for no password, since
the passwords of the server that was backed up are not in the backup. What recovery is told is told
on the command line, so nothing of it stays behind in the restored files.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from api.backup_store import BackupError
from api.embedded_postgres import DATABASE, ROLES, Login
from api.postgres_programs import Server, server_user

REPLAY_TIMEOUT_S = 7 * 24 * 3_600
"""Replaying takes as long as it takes: some 100 MB of log a second."""
BEFORE_TARGET = "recovery ended before configured recovery target was reached"

_HBA = "restoring_hba.conf"
_LOG_LINES = 5
_POLL_S = 0.05
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "wal_level": "logical",
    "hot_standby": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "max_slot_wal_keep_size": "0",
}


class TargetNotReachedError(BackupError):
    """The log ends before the point that was asked for."""


class RestoredServer:
    """A server on the files of ``folder``, which lies in ``data_dir``; stopped by ``close``."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        """Nothing is started."""
        self._server = Server.of(data_dir, folder)
        self._folder = folder
        self._log = data_dir / f"{folder.name}.log"
        self._sockets = Path(tempfile.mkdtemp(prefix="ledger-restore-"))
        if self._server.user is not None:
            os.chown(self._sockets, *self._server.user)
        self._is_running = False

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.close()

    def recover(self, target: Mapping[str, str], *, sync: bool = True) -> None:
        """Replay the log up to a target and open the database there, as a timeline of its own.

        Raises:
            TargetNotReachedError: the log ends before.
            BackupError: the server does not get that far; the message has the end of its log.
        """
        (self._folder / "recovery.signal").touch(mode=0o600)
        self._own("recovery.signal")
        # The log lies in pg_wal already: nothing is to be fetched from anywhere.
        recovery = {
            "restore_command": "false",
            "recovery_target_action": "promote",
            "recovery_target_timeline": "current",
        }
        self._start({**recovery, **target}, sync=sync)

    def url(self, login: Login = "superuser", database: str = DATABASE) -> str:
        """URL of a database of it."""
        return f"postgresql://{ROLES[login]}@/{database}?host={self._sockets}"

    def connect(self, database: str = DATABASE) -> psycopg.Connection[Any]:
        """A connection of the superuser's."""
        return psycopg.connect(self.url(database=database), autocommit=True)

    def close(self) -> None:
        """Stop, with all on the disk, and leave nothing of ours in its folder."""
        if self._is_running:
            self._ctl("stop", "--mode=fast", "--wait", f"--timeout={REPLAY_TIMEOUT_S}")
            self._is_running = False
        (self._folder / _HBA).unlink(missing_ok=True)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _start(self, settings: Mapping[str, str], *, sync: bool) -> None:
        """Start, and wait until the database is open.

        Raises:
            TargetNotReachedError, BackupError: as ``recover``.
        """
        (self._folder / _HBA).write_text("local all all trust\n")
        self._own(_HBA)
        options = {
            **_SETTINGS,
            **settings,
            "unix_socket_directories": str(self._sockets),
            "hba_file": str(self._server.place / _HBA),
            **({} if sync else {"fsync": "off"}),
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._log.unlink(missing_ok=True)
        started = self._ctl(
            "start",
            "--silent",
            "--wait",
            f"--timeout={REPLAY_TIMEOUT_S}",
            f"--options={shlex.join(words)}",
        )
        self._is_running = started.returncode == 0
        while self._is_running and not self._is_open():
            time.sleep(_POLL_S)
            self._is_running = self._ctl("status").returncode == 0
        if not self._is_running:
            raise self._problem()

    def _is_open(self) -> bool:
        """Whether the log was replayed and the database takes us in."""
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _problem(self) -> BackupError:
        """Why the server ended."""
        lines = self._log.read_text(errors="replace").splitlines()
        if any(BEFORE_TARGET in line for line in lines):
            return TargetNotReachedError("The log ends before the point that was asked for.")
        tail = "\n".join(lines[-_LOG_LINES:])
        return BackupError(f"PostgreSQL cannot replay the log; the end of its own:\n{tail}")

    def _ctl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run ``pg_ctl``, with the log of the server for what it prints."""
        with self._log.open("ab") as output:
            return self._server.run(
                "pg_ctl", *arguments, stdin=subprocess.DEVNULL, stdout=output.fileno()
            )

    def _own(self, name: str) -> None:
        """Give a file of ours to the server's user."""
        if self._server.user is not None:
            os.chown(self._folder / name, *self._server.user)


def give_away(data_dir: Path, folder: Path) -> None:
    """As root: give a folder and all in it to the user whom the server runs as."""
    if os.geteuid() != 0:
        return
    user = server_user(data_dir, data_dir)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, *user, follow_symlinks=False)
