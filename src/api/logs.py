"""Structured logs: one JSON object a line on standard error, with ids and never names.

What the libraries log goes the same way without what their exceptions say: that can hold what
somebody sent, so only type and place are written. Lines of no urgency are written many at a time,
within a moment: a system call a request would cost more than the rest of its line.
"""

import atexit
import logging
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from api import clock, log_settings
from api.edge import frames_of

# How long a line may wait to be written, and how many may: a process killed hard loses these.
FLUSH_S = 0.05
LINES_MAX = 10_000

_encoder = msgspec.json.Encoder(enc_hook=str)


def configure() -> None:
    """Send every log of this process to standard error, as JSON.

    Raises:
        SettingError: ``LEDGER_LOG_LEVEL`` is none.
    """
    level = log_settings.load()
    lines = _Lines(sys.stderr.buffer)
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, _timestamp, _to_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, _timestamp, _without_message],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _to_text],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


class _Lines:
    """The lines that wait to be written; may be added to by any thread."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to the file, also at the process's end."""
        self._file = file
        self._lines: deque[bytes] = deque()
        self._writing = threading.Lock()
        self._has_lines = threading.Event()
        threading.Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.flush)

    def info(self, line: bytes) -> None:
        """Write a line in a moment."""
        self._lines.append(line)
        if not self._has_lines.is_set():
            self._has_lines.set()
        if len(self._lines) > LINES_MAX:
            self.flush()

    def warning(self, line: bytes) -> None:
        """Write a line now, with what waits before it."""
        self._lines.append(line)
        self.flush()

    error = critical = warning

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            self._has_lines.clear()
            waiting = [self._lines.popleft() for _ in range(len(self._lines))]
            if waiting:
                with suppress(OSError):  # Nobody reads any more: the server's work goes on.
                    self._file.write(b"\n".join(waiting) + b"\n")
                    self._file.flush()

    def _run(self) -> None:
        """Write what waits, again and again."""
        while True:
            self._has_lines.wait()
            time.sleep(FLUSH_S)
            self.flush()


class _Handler(logging.Handler):
    """Takes what the libraries log, which is never less than a warning."""

    def __init__(self, lines: _Lines) -> None:
        """Write among our own lines."""
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._lines.warning(self.format(record).encode())


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say when."""
    event["timestamp"] = clock.now()
    return event


def _without_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep of an exception its type and place, and nothing that it says."""
    found = event.pop("exc_info", None)
    if found:
        error = found[1] if isinstance(found, tuple) else sys.exc_info()[1]
        event["error_type"] = type(error).__name__
        event["frames"] = frames_of(None if error is None else error.__traceback__)
    return event


def _to_bytes(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    """The line."""
    return _encoder.encode(event)


def _to_text(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """The line, for the standard library's handlers."""
    return _to_bytes(logger, method, event).decode()
