"""One ``ledger serve`` under test: started, asked whether it is ready, signalled, started again."""

import http.client
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.faults import processes
from tests.faults.processes import send, ticks, wait_gone

READY_S = 60.0
STOP_S = 40.0
"""A graceful stop lets requests under way finish, in 20 s at most; then the writers drain."""
_TAIL_BYTES = 2_000


class Server:
    """A server of the program, in processes of its own, whose errors go to a file."""

    def __init__(self, number: int, folder: Path, clock: Path, bug: str | None) -> None:
        """Nothing is started; the port is a free one, and stays."""
        self.number = number
        self.port = free_port()
        self.log = folder / f"server-{number}.log"
        self._clock = ["--clock", str(clock)]
        self._command = [sys.executable, "-m", "tests.faults.launch", *self._clock]
        if bug is not None:
            self._command += ["--bug", bug]
        self._command += ["serve", "--port", str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}
        # Every process of it that was ever seen: none may be left in the end.
        self._seen: set[int] = set()
        self._is_killed = False

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process; ``None`` where it does not run."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def projectors(self) -> list[int]:
        """The projectors that it started and that have not ended."""
        if self.pid is None:
            return []
        children = processes.children_of(self.pid)
        self._seen.update(children)
        return [pid for pid in children if "api.projector" in processes.command_line(pid)]

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Start it, in this environment or in that of before; does not wait."""
        self._environment = environment or self._environment
        self._is_killed = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until it says that it is ready.

        Raises:
            TimeoutError: it does not in time, or ended.
        """
        for _ in ticks(timeout_s):
            if self.pid is None:
                break
            if self.is_ready():
                self.projectors()
                return
        raise TimeoutError(f"server {self.number} is not ready; its log ends: {self.tail()}")

    def is_ready(self, timeout_s: float = 5.0) -> bool:
        """Whether it says so."""
        return self.status_of("/readyz", timeout_s) == http.HTTPStatus.OK

    def status_of(self, path: str, timeout_s: float = 5.0) -> int | None:
        """The status of an answer to a request without a key; ``None`` without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def kill(self) -> None:
        """Kill it, as a machine's failure would; the projector ends by itself."""
        self.projectors()
        self._is_killed = True
        if self.pid is not None:
            send([self.pid], signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask it to end."""
        self.projectors()
        self._is_killed = True
        if self.pid is not None:
            send([self.pid], signal.SIGTERM)

    def wait_stopped(self) -> int:
        """Wait until it has ended; its exit code.

        Raises:
            TimeoutError: it does not end.
        """
        assert self._process is not None
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"server {self.number} does not stop: {self.tail()}") from None

    def died(self) -> str | None:
        """That it ended though nobody asked it to, and what it said last; ``None`` if not so."""
        if self._process is None or self._is_killed or self._process.poll() is None:
            return None
        return f"server {self.number} ended with code {self._process.returncode}: {self.tail()}"

    def resume(self) -> None:
        """Let every process of it go on that was paused."""
        self.projectors()
        pids = [*self._seen, *([self.pid] if self.pid else [])]
        send([pid for pid in pids if self._is_ours(pid)], signal.SIGCONT)

    def leftovers(self, timeout_s: float) -> list[str]:
        """Processes of it that are still there after so long, by their command lines."""
        ours = [pid for pid in self._seen if self._is_ours(pid)]
        return [processes.command_line(pid) for pid in wait_gone(ours, timeout_s)]

    def tail(self) -> str:
        """The end of what it said."""
        try:
            text = self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""
        # A URL has a password in it.
        return re.sub(r"//[^@/\s]*@", "//…@", text)

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is still one of ours: its number may be another campaign's by now."""
        return " ".join(self._clock) in processes.command_line(pid)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
