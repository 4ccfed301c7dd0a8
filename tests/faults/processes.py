"""Processes of a fault run: helpers that are told what to do, and what the system says of others.

What ``/proc`` tells is asked of ``ps`` where there is none (macOS).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()
POLL_S = 0.02
_ENDED = frozenset("ZX")


class Helper:
    """A process of ours that takes one JSON object a line, answers each with one, and ends with us.

    An answer with ``error`` is raised. Several threads may use it.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        """Run that module of the harness; its first answer is in ``greeting``."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
            start_new_session=True,  # Ctrl-C is for the harness, which ends its helpers itself.
        )
        self.pid = self._process.pid
        self._turn = threading.Lock()
        self.greeting = self._answer()

    def tell(self, do: str, **details: object) -> dict[str, Any]:
        """Have the process do something, to its end; what it answers.

        Raises:
            RuntimeError: it could not, or has ended.
        """
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def close(self, timeout_s: float = 20.0) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        """The next line of the process.

        Raises:
            RuntimeError: it is an error, or the process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a helper of the harness ended")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise RuntimeError(str(found["error"]))
        return found


def say(answer: dict[str, object]) -> None:
    """Answer the harness, from within a helper."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def environment(**more: str) -> dict[str, str]:
    """The environment of a process of the harness, which finds the program and these modules."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(
        str(folder) for folder in (root, root / "src", root / "verifier" / "src")
    )
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LEDGER_") and name != "PYTHONPATH"
    }
    return {**ours, "PYTHONPATH": path, **more}


def children_of(pid: int) -> list[int]:
    """The processes that a process started and that have not ended."""
    return [
        child
        for child, (parent, state) in _table().items()
        if parent == pid and state not in _ENDED
    ]


def command_line(pid: int) -> str:
    """How a process was called, or what it calls itself; empty where it is gone."""
    if not _HAS_PROC:
        return _ps("-o", "command=", "-p", str(pid)).strip()
    try:
        return (
            (_PROC / str(pid) / "cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
            .strip()
        )
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process has not ended; one that nobody collected yet has."""
    entry = _table(pid).get(pid)
    return entry is not None and entry[1] not in _ENDED


def state_of(pid: int) -> str:
    """How a process is: ``R``uns, ``S``leeps, ``T``: is stopped, ``Z``: ended; empty: is gone."""
    entry = _table(pid).get(pid)
    return "" if entry is None else entry[1]


def with_environment(name: str, value: str) -> list[int]:
    """The processes whose environment says so; none are found where there is no ``/proc``."""
    if not _HAS_PROC:
        return []
    wanted = f"{name}={value}".encode()
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0") and is_alive(
                int(entry.name)
            ):
                found.append(int(entry.name))
    return found


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Signal processes, those that are gone excepted."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_gone(pids: Sequence[int], timeout_s: float) -> list[int]:
    """Wait until these processes have ended; those that have not in time."""
    for _ in ticks(timeout_s):
        pids = [pid for pid in pids if is_alive(pid)]
        if not pids:
            break
    return list(pids)


def ticks(timeout_s: float) -> Iterator[None]:
    """Come by again and again until the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def _table(pid: int | None = None) -> dict[int, tuple[int, str]]:
    """Of each process, or that one: who started it, and its state as one letter."""
    if not _HAS_PROC:
        rows = [line.split() for line in _ps("-axo", "pid=,ppid=,stat=").splitlines()]
        return {int(row[0]): (int(row[1]), row[2][0]) for row in rows if len(row) == 3}
    names = (
        [entry.name for entry in _PROC.iterdir() if entry.name.isdigit()]
        if pid is None
        else [str(pid)]
    )
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            # The name of the program, in brackets, may hold anything.
            fields = (_PROC / name / "stat").read_text(errors="replace").rpartition(")")[2].split()
            found[int(name)] = (int(fields[1]), fields[0])
    return found


def _ps(*arguments: str) -> str:
    """What ``ps`` prints."""
    return subprocess.run(["ps", *arguments], capture_output=True, check=False, text=True).stdout
