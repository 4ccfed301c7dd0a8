"""Sessions of staff as a scheme: looked up, and noted to be in use once in a while."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from api import sessions
from api.callers import Credential
from api.reads import Reads
from api.sessions import Session
from api.staff_settings import StaffSettings
from ledger_core.log import Connection

_log = structlog.get_logger("ledger.sessions")


class SessionScheme:
    """Finds sessions; used by the event loop alone."""

    def __init__(
        self,
        reads: Reads,
        connect: Callable[[], Connection],
        settings: StaffSettings,
        server_secret: bytes,
        now: Callable[[], datetime],
    ) -> None:
        """Look up by ``reads``, and note by connections that act as ``ledger_writer``."""
        self._reads = reads
        self._connect = connect
        self._settings = settings
        self._server_secret = server_secret
        self._now = now
        self._seeing: dict[tuple[int, str], asyncio.Task[None]] = {}

    def takes(self, presented: str) -> bool:
        """Whether a text begins as tokens of sessions do."""
        return presented.startswith(sessions.PREFIX)

    async def find(self, presented: str) -> Credential | None:
        """The credential of an open session."""
        parts = sessions.parse(presented)
        if parts is None:
            return None
        session = await self._reads.ask(
            lambda connection: sessions.find(connection, parts.ledger_id, parts.session_id)
        )
        is_secret = sessions.matches(session, parts, self._server_secret)
        now = self._now()
        if session is None or not is_secret or not session.is_open(now, self._settings.idle_s):
            return None
        name = (session.ledger_id, session.session_id)
        if now - session.last_seen_at >= sessions.SEEN_EVERY and name not in self._seeing:
            self._seeing[name] = asyncio.get_running_loop().create_task(self._see(session, now))
        return session.credential()

    async def _see(self, session: Session, at: datetime) -> None:
        """Note that a session is in use; where that fails, the next request does it."""

        def note() -> None:
            """Write it down."""
            with self._connect() as connection:
                sessions.see(connection, session, at)

        try:
            await self._reads.off_loop(note)
        except Exception as error:  # noqa: BLE001 - no request is to fail for this
            _log.warning("session not noted", error_type=type(error).__name__)
        finally:
            del self._seeing[session.ledger_id, session.session_id]
