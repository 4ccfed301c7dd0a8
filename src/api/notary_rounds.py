"""The notary at work in a server: signs what has grown, every second, and has it published."""

import threading

import psycopg
import structlog

from api.edge import frames_of
from api.outlets import Outlet, outlets_of
from api.runtime import Runtime
from api.settings import SettingsError

RETRY_S_MAX = 30.0

_log = structlog.get_logger("ledger.notary")


class NotaryRounds:
    """A thread that signs whatever has grown, and the outlets that publish it."""

    def __init__(self, runtime: Runtime) -> None:
        """Start."""
        self._notary = runtime.notary
        self._seconds = runtime.settings.notary.seconds
        self.outlets: list[Outlet] = outlets_of(runtime.settings.notary, runtime.connect)
        for outlet in self.outlets:
            self._notary.listen(outlet.offer)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notary", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sign what there is once more, have it published, and end."""
        self._stopping.set()
        self._thread.join()
        for outlet in self.outlets:
            outlet.stop()

    def _run(self) -> None:
        """Round after round, whatever goes wrong; after a failure ever later."""
        retry_s = self._seconds
        while True:
            is_last = self._stopping.is_set()
            try:
                self._notary.round()
                retry_s = self._seconds
            except Exception as error:  # noqa: BLE001 - the log goes on; so must its notary
                retry_s = min(2 * retry_s, RETRY_S_MAX)
                _log_failure(error, retry_s)
            if is_last:
                return
            self._stopping.wait(retry_s)


def _log_failure(error: Exception, retry_s: float) -> None:
    """Say what failed and where; the database being away for a while is no bug."""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        _log.warning("notary waits", reason=type(error).__name__, retry_s=retry_s)
        return
    _log.error(
        "notary failed",
        error_type=type(error).__name__,
        reason=str(error) if isinstance(error, SettingsError) else None,
        frames=frames_of(error.__traceback__),
        retry_s=retry_s,
    )
