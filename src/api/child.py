"""A child process of the server's: started, watched, started again if it dies, and ended.

Told what to do by one line on its standard input, which everyone else cannot see; that it ends when
this input does is its own part of the bargain.
"""

import subprocess
import sys
import threading

import structlog

RESTART_S_MIN = 0.5
RESTART_S_MAX = 30.0
# A batch of the projector's takes less; what it is in the middle of is rolled back, and done again.
STOP_S = 10.0
# A child that ran this long was not failing at its start: begin waiting anew.
STEADY_S = 60.0

_log = structlog.get_logger("ledger.serve")


def command_of(module: str) -> list[str]:
    """The command line of a child: the same Python, so the same installation."""
    return [sys.executable, "-m", module]


class Child:
    """A process that runs a module; started again, ever more slowly, if it dies."""

    def __init__(self, name: str, module: str, order: bytes, *, after_s: float = 0) -> None:
        """Start it, after so long, and a thread that watches it.

        ``order`` is the line that it reads; ``name`` what the log and the figures call it.
        """
        self.name = name
        self.restarts = 0
        self._module = module
        self._order = order
        self._after_s = after_s
        self._stopping = threading.Event()
        self._process = None if after_s else self._start()
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process now running; 0 before it is first started."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the process: its input ends, and it finishes what it is at, if that takes no longer.

        One that does not end in ``STOP_S`` is killed: nothing that it does is lost by that.
        """
        self.ask_to_stop()
        self._thread.join(STOP_S)
        if self._thread.is_alive() and self._process is not None:
            _log.error(f"{self.name} does not stop: killed")
            self._process.kill()
        self._thread.join()

    def ask_to_stop(self) -> None:
        """Have the process end, without waiting for that."""
        self._stopping.set()
        if self._process is not None:
            self._end_input(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the process, which ends when this one does: it reads from us."""
        process = subprocess.Popen(  # noqa: S603 - a module of ours
            command_of(self._module),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.write(self._order)
        process.stdin.flush()
        return process

    def _watch(self) -> None:
        """Wait for the process; start it again unless it was to stop."""
        if self._process is None:
            if self._stopping.wait(self._after_s):
                return
            self._process = self._started()
        delay_s = RESTART_S_MIN
        while True:
            process = self._process
            if self._is_running(process, STEADY_S):
                delay_s = RESTART_S_MIN
                process.wait()
            if self._stopping.is_set():
                return
            _log.error(f"{self.name} died", code=process.returncode, restart_s=delay_s)
            self._end_input(process)
            if self._stopping.wait(delay_s):
                return
            delay_s = min(2 * delay_s, RESTART_S_MAX)
            self._process = self._started()
            self.restarts += 1

    def _started(self) -> subprocess.Popen[bytes]:
        """A process just started, whose input ends at once if it is to stop already."""
        process = self._start()
        if self._stopping.is_set():
            self._end_input(process)
        return process

    @staticmethod
    def _is_running(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
        """Whether the process still runs after so long."""
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return True
        return False

    @staticmethod
    def _end_input(process: subprocess.Popen[bytes]) -> None:
        """Close our end of the process's input."""
        if process.stdin is not None:
            process.stdin.close()
