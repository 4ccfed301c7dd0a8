"""Where checkpoints go besides the database: a file, an address, a time-stamping authority.

Each outlet is a thread of its own with what it has yet to send: signing never waits for any of
them. What cannot be sent is tried again, ever later. What a process had not sent when it ended is
not sent later: the next checkpoint covers what that one did.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import structlog

from api import posting, timestamps
from api.notary import Signed
from api.notary_settings import NotarySettings
from ledger_core.database import Role
from ledger_core.log import Connection

RETRY_S_MIN = 1.0
RETRY_S_MAX = 60.0
# Of what waits longer than this many checkpoints, the oldest are given up.
WAITING_MAX = 10_000
STOP_S = 2.0

Keeps = Literal["all", "newest"]

_TEXT = "text/plain; charset=utf-8"

_log = structlog.get_logger("ledger.outlets")


class Outlet:
    """One place to send checkpoints to: all of them in order, or of each log the newest."""

    def __init__(self, name: str, send: Callable[[Signed], None], keeps: Keeps) -> None:
        """Start the thread that sends."""
        self.name = name
        self.sent = 0
        self.failures = 0
        self._send = send
        self._keeps = keeps
        self._waiting: OrderedDict[tuple[object, ...], Signed] = OrderedDict()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"outlet-{name}", daemon=True)
        self._thread.start()

    def offer(self, signed: Signed) -> None:
        """Have a checkpoint sent; returns at once."""
        key: tuple[object, ...] = (signed.ledger_id, signed.log)
        if self._keeps == "all":
            key += (signed.size,)
        with self._changed:
            self._waiting[key] = signed
            if len(self._waiting) > WAITING_MAX:
                self._waiting.popitem(last=False)
                self.failures += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Send what waits, if it goes at once, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        """Send one after another until stopped."""
        retry_s = RETRY_S_MIN
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                key, signed = next(iter(self._waiting.items()))
            try:
                self._send(signed)
            except Exception as error:  # noqa: BLE001 - whatever fails out there is tried again
                self.failures += 1
                _log_failure(self.name, error, retry_s)
                with self._changed:
                    if self._changed.wait_for(lambda: self._stopping, retry_s):
                        return
                retry_s = min(2 * retry_s, RETRY_S_MAX)
                continue
            retry_s = RETRY_S_MIN
            self.sent += 1
            with self._changed:
                if self._waiting.get(key) is signed:
                    del self._waiting[key]


def file_sender(target: Path) -> Callable[[Signed], None]:
    """Appends notes to a file, each with an empty line after it; or adds files to a folder.

    A path that is a folder, or ends with a slash, is one: every note is a file of its own there.
    """
    is_folder = target.is_dir() or str(target).endswith(os.sep)

    def send(signed: Signed) -> None:
        """Write one note, all at once."""
        path, more = target, os.O_APPEND
        if is_folder:
            name = f"ledger-{signed.ledger_id}-{signed.log}-{signed.size:015}.txt"
            path, more = target / name, os.O_EXCL
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | more, 0o644)
        except FileExistsError:
            return  # Another server wrote it.
        try:
            os.write(descriptor, (signed.note + ("" if is_folder else "\n")).encode())
        finally:
            os.close(descriptor)

    return send


def url_sender(url: str) -> Callable[[Signed], None]:
    """Posts notes to an address."""

    def send(signed: Signed) -> None:
        """Post one note."""
        posting.post(url, signed.note.encode(), _TEXT)

    return send


def timestamp_sender(
    settings: NotarySettings, connect: Callable[[Role], Connection]
) -> Callable[[Signed], None]:
    """Has every so many checkpoints of a log, the first included, stamped by an authority."""
    seen: dict[tuple[int, str], int] = {}

    def send(signed: Signed) -> None:
        """Have one checkpoint stamped, if it is one that is to be."""
        key = signed.ledger_id, signed.log
        if seen.get(key, 0) % settings.timestamp_every == 0 and settings.timestamp_url:
            answer, at = timestamps.stamp(
                settings.timestamp_url, signed.note, settings.timestamp_roots
            )
            with connect("ledger_writer") as connection:
                timestamps.keep(connection, signed, answer, at)
        seen[key] = seen.get(key, 0) + 1

    return send


def outlets_of(settings: NotarySettings, connect: Callable[[Role], Connection]) -> list[Outlet]:
    """The outlets that the settings name."""
    found = []
    if settings.file is not None:
        found.append(Outlet("file", file_sender(settings.file), "all"))
    if settings.url is not None:
        found.append(Outlet("url", url_sender(settings.url), "newest"))
    if settings.timestamp_url is not None:
        found.append(Outlet("timestamp", timestamp_sender(settings, connect), "all"))
    return found


def _log_failure(name: str, error: Exception, retry_s: float) -> None:
    """Say what failed; what the other end said is its own words, and not repeated."""
    known = isinstance(error, posting.PostError | timestamps.TimestampError)
    reason = str(error) if known else type(error).__name__
    _log.warning("checkpoint not published", outlet=name, reason=reason, retry_s=retry_s)
