"""The server's certificate, taken anew when its files change: no restart when it is renewed."""

import ssl
import threading

import structlog

from api import tls_settings
from api.surroundings import SettingError
from api.tls_settings import TlsSettings

WATCH_INTERVAL_S = 10.0

_log = structlog.get_logger("ledger.tls")


class TlsWatch:
    """A thread that loads certificate and key again when one of their files changed.

    What was loaded is handed to each handshake as a whole: a context that is loaded in place has
    for an instant a certificate and no key, and refuses whoever connects then.
    """

    def __init__(
        self, settings: TlsSettings, context: ssl.SSLContext, interval_s: float = WATCH_INTERVAL_S
    ) -> None:
        """Watch from now on; ``context`` is what the server speaks TLS by."""
        self._settings = settings
        self._newest = context
        self._interval_s = interval_s
        self._loaded = self._state()
        self._stopping = threading.Event()
        context.sni_callback = self._hand_out
        self._thread = threading.Thread(target=self._watch, name="tls-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        """Look now and then; files that do not fit yet are tried again at the next look."""
        while not self._stopping.wait(self._interval_s):
            found = self._state()
            if found is None or found == self._loaded:
                continue
            try:
                self._newest = tls_settings.context(self._settings)
            except SettingError:
                _log.warning("certificate not renewed: certificate and key do not fit together")
                continue
            self._loaded = found
            _log.info("certificate renewed")

    def _hand_out(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Show a client that connects what was loaded last, whatever name it asks for."""
        connection.context = self._newest

    def _state(self) -> tuple[tuple[int, int], ...] | None:
        """What tells a changed file: its time and its size; ``None``: one is not there just now."""
        try:
            states = [file.stat() for file in (self._settings.certificate, self._settings.key)]
        except OSError:
            return None
        return tuple((state.st_mtime_ns, state.st_size) for state in states)
