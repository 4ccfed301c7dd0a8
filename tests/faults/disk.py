"""A cluster on a disk that is small, and can be filled.

The disk is a file system in memory, of limited size, mounted where nobody else sees it: in a mount
namespace of a process of ours (``python -m tests.faults.disk``), which starts PostgreSQL there.
Root needs no more than that; anybody else makes a user namespace first, in which they may mount.
Linux only, and some systems forbid it: then ``why_not`` says so, and the fault is left out.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from tests.faults.processes import Helper, environment, say

from api import embedded_postgres
from api.embedded_postgres import Login

DISK_BYTES = 512 * 1024 * 1024
"""A cluster of runs needs about a third; what is filled is memory."""
_LOGINS: tuple[Login, ...] = ("program", "owner", "superuser")
_NEW_MOUNTS = 0x0002_0000
_NEW_USERS = 0x1000_0000
_PRIVATE_BELOW = 0x4_0000 | 0x4000
_FILLER = "filler"
_BLOCK_BYTES = 64 * 1024


class Place:
    """A cluster in a folder: started, found, stopped."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Nothing runs yet."""
        self._folder = folder
        self._settings = settings

    def start(self) -> tuple[int, dict[Login, str]]:
        """Start it, and wait until it answers: its port, and its URL for each who logs in."""
        cluster = embedded_postgres.ensure_running(self._folder, settings=self._settings)
        return cluster.port, {login: cluster.url(login=login) for login in _LOGINS}

    def postmaster(self) -> int:
        """The number of its main process, running or not; 0 where none is known."""
        try:
            text = (self._folder / "postgresql" / "postmaster.pid").read_text()
            return int(text.splitlines()[0])
        except (OSError, IndexError, ValueError):
            return 0

    def stop(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop it."""
        embedded_postgres.stop(self._folder, mode=mode)


class Disk:
    """The same on a small disk, kept by a process of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Mount it.

        Raises:
            RuntimeError: this system does not let us; see ``why_not``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._keeper = Helper("tests.faults.disk", str(folder), json.dumps(dict(settings)))

    def start(self) -> tuple[int, dict[Login, str]]:
        """As ``Place``."""
        answer = self._keeper.tell("start")
        return int(answer["port"]), answer["urls"]

    def postmaster(self) -> int:
        """As ``Place``."""
        return int(self._keeper.tell("postmaster")["pid"])

    def stop(self, mode: Literal["fast", "immediate"]) -> None:
        """As ``Place``."""
        self._keeper.tell("stop", mode=mode)

    def fill(self, leave_bytes: int = 0) -> None:
        """Fill the disk, but for so many bytes."""
        self._keeper.tell("fill", leave_bytes=leave_bytes)

    def empty(self) -> None:
        """Take away what it was filled with."""
        self._keeper.tell("empty")

    def free_bytes(self) -> int:
        """How many bytes are free."""
        return int(self._keeper.tell("free")["bytes"])

    def close(self) -> None:
        """End the process; the disk goes with the last process on it."""
        self._keeper.close()


@lru_cache(maxsize=1)
def why_not() -> str | None:
    """Why there can be no small disk on this system; ``None`` where there can."""
    if not sys.platform.startswith("linux"):
        return "a small disk needs mount namespaces, which only Linux has"
    tried = subprocess.run(
        [sys.executable, "-m", "tests.faults.disk", "--try"],
        env=environment(),
        capture_output=True,
        check=False,
        text=True,
    )
    return None if tried.returncode == 0 else tried.stdout.strip() or "the try failed"


# The process that keeps the disk.


def _mount(folder: Path) -> None:
    """Mount a small disk on the folder, for this process and those that it starts.

    Raises:
        OSError: this system does not let us.
    """
    system = ctypes.CDLL(None, use_errno=True)

    def require(result: int, what: str) -> None:
        """A call of the system's has succeeded."""
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")

    user, group = os.geteuid(), os.getegid()
    try:
        require(system.unshare(_NEW_MOUNTS), "no mount namespace")
    except OSError:
        require(system.unshare(_NEW_USERS | _NEW_MOUNTS), "no user namespace")
        # Everybody keeps their number; what is gained is the right to mount in here.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    require(system.mount(None, b"/", None, _PRIVATE_BELOW, None), "mounts stay shared")
    options = f"size={DISK_BYTES},mode=0700".encode()
    require(system.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, options), "no mount")


class _Keeper:
    """Serves the harness."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Keep the cluster in that folder, which is the disk."""
        self._folder = folder
        self._place = Place(folder / "cluster", settings)

    def obey(self, order: dict[str, Any]) -> dict[str, object]:
        """Do what the harness says."""
        match order["do"]:
            case "start":
                port, urls = self._place.start()
                return {"port": port, "urls": urls}
            case "postmaster":
                return {"pid": self._place.postmaster()}
            case "stop":
                self._place.stop(order["mode"])
            case "fill":
                self._fill(order["leave_bytes"])
            case "empty":
                (self._folder / _FILLER).unlink(missing_ok=True)
            case "free":
                return {"bytes": self._free_bytes()}
        return {}

    def _fill(self, leave_bytes: int) -> None:
        """Write until nothing more fits; the disk's size bounds it."""
        with (self._folder / _FILLER).open("ab", buffering=0) as file:
            while self._free_bytes() > leave_bytes:
                try:
                    file.write(bytes(_BLOCK_BYTES))
                except OSError:
                    return

    def _free_bytes(self) -> int:
        """How much is free."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize


def main() -> None:
    """Mount, and serve until the harness closes our input; then stop the cluster."""
    if sys.argv[1:] == ["--try"]:
        try:
            _mount(Path("/tmp"))  # Seen by this process alone.
        except OSError as error:
            sys.stdout.write(f"this system lets us mount no small disk: {error.strerror}\n")
            sys.exit(1)
        return
    folder = Path(sys.argv[1])
    try:
        _mount(folder)
    except OSError as error:
        say({"error": str(error)})
        return
    keeper = _Keeper(folder, json.loads(sys.argv[2]))
    say({})
    for line in sys.stdin:
        try:
            say(keeper.obey(json.loads(line)))
        except (OSError, embedded_postgres.EmbeddedPostgresError) as error:
            say({"error": str(error)})
    embedded_postgres.stop(folder / "cluster", mode="immediate")


if __name__ == "__main__":
    main()
