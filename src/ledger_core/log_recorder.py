"""The log as a ``DCBRecorder`` of the ``eventsourcing`` library (dynamic consistency boundary).

Programs written against the library's interface can read, append to and subscribe to a ledger's
log. Appends take the same lock, seal the same tree and obey the same grants as the ledger's own.
Payloads that are not JSON objects are kept as a JSON string of their base64.
"""

import base64
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
    DCBSubscription,
)
from eventsourcing.persistence import IntegrityError, ProgrammingError
from psycopg import sql

from ledger_core import log
from ledger_core.appending import append
from ledger_core.log import Connection, Head, NewEvent, StoredEvent

ACTOR = "dcb"
POLL_S = 0.02


class LogRecorder(DCBRecorder):
    """One ledger's log behind the library's interface; safe for use by several threads.

    ``connect`` opens a connection that may write to the log; each call uses one of its own.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        ledger_id: int,
        clock: Callable[[], datetime],
    ) -> None:
        """Nothing is opened before the first call."""
        self._connect = connect
        self._ledger_id = ledger_id
        self._clock = clock

    def read(
        self,
        query: DCBQuery | None = None,
        *,
        after: int | None = None,
        limit: int | None = None,
    ) -> DCBReadResponse:
        """Events after a position that match any item of the query, in order.

        ``head`` is the log's last position, or with a limit the last position returned.
        """
        with self._connect() as connection:
            head = log.read_head(connection, self._ledger_id).position
        found = self._read(query, after or 0, head, limit)
        if limit is None:
            return _Response(found, head or None)
        events = list(found)
        return _Response(iter(events), events[-1].position if events else None)

    def append(
        self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None
    ) -> int:
        """Append events; the position of the last.

        Raises:
            IntegrityError: events match the condition, so nothing was appended.
            ProgrammingError: no events.
        """
        if not events:
            msg = "at least one event must be appended"
            raise ProgrammingError(msg)
        with self._connect() as connection:
            head = log.begin(connection, self._ledger_id)
            if condition is not None:
                self._check(connection, condition, head)
            appended = append(
                connection,
                self._ledger_id,
                head,
                max(self._clock(), head.recorded_at),
                [
                    NewEvent(event.type, 1, event.tags, None, ACTOR, _wrapped(event.data))
                    for event in events
                ],
            )
        return appended.position

    def subscribe(
        self, query: DCBQuery | None = None, *, after: int | None = None
    ) -> "LogSubscription":
        """Events after a position that match the query, waiting for new ones."""
        return LogSubscription(self, query, after)

    def _check(self, connection: Connection, condition: DCBAppendCondition, head: Head) -> None:
        """No event matches the condition.

        Raises:
            IntegrityError: one does.
        """
        bounds = (condition.after or 0, head.position)
        clause = _clause(condition.fail_if_events_match)
        if log.matching(connection, self._ledger_id, clause, bounds, 1):
            raise IntegrityError(condition)

    def _read(
        self, query: DCBQuery | None, after: int, up_to: int, limit: int | None
    ) -> Iterator[DCBSequencedEvent]:
        """Matching events within ``(after, up_to]``, a bounded number in memory."""
        clause = _clause(query)
        left = limit
        while after < up_to and left != 0:
            size = log.READ_ROWS_MAX if left is None else min(left, log.READ_ROWS_MAX)
            with self._connect() as connection:
                stored = log.matching(connection, self._ledger_id, clause, (after, up_to), size)
            for event in stored:
                yield _sequenced(event)
            if len(stored) < size:
                return
            after = stored[-1].position
            left = None if left is None else left - len(stored)


class LogSubscription(DCBSubscription[LogRecorder]):
    """Matching events as they come; ``next`` blocks until there is one or it is stopped."""

    def __init__(
        self, recorder: LogRecorder, query: DCBQuery | None = None, after: int | None = None
    ) -> None:
        """Begin after a position."""
        super().__init__(recorder, query, after)
        self._stopped = threading.Event()
        self._pending: Iterator[DCBSequencedEvent] = iter(())

    def stop(self) -> None:
        """End the subscription; a blocked ``next`` raises ``StopIteration``."""
        super().stop()
        self._stopped.set()

    def __next__(self) -> DCBSequencedEvent:
        """The next matching event."""
        while not self._stopped.is_set():
            event = next(self._pending, None)
            if event is not None:
                self._last_position = event.position
                return event
            response = self._recorder.read(
                self._query, after=self._last_position, limit=log.READ_ROWS_MAX
            )
            if response.head is None:
                self._stopped.wait(POLL_S)
            self._pending = response
        raise StopIteration


class _Response(DCBReadResponse):
    """Events and the head they were read at."""

    def __init__(self, events: Iterator[DCBSequencedEvent], head: int | None) -> None:
        """Hold both."""
        self._events = events
        self._head = head

    @property
    def head(self) -> int | None:
        """The head: see ``LogRecorder.read``."""
        return self._head

    def __next__(self) -> DCBSequencedEvent:
        """The next event."""
        return next(self._events)


def _clause(query: DCBQuery | None) -> tuple[sql.Composable, list[Any]]:
    """The query as a condition on a row of ``events``, with its parameters."""
    if query is None or not query.items:
        return sql.SQL("true"), []
    parts: list[sql.Composable] = []
    parameters: list[Any] = []
    for item in query.items:
        terms: list[sql.Composable] = [sql.SQL("true")]
        if item.types:
            terms.append(sql.SQL("type = ANY(%s)"))
            parameters.append(item.types)
        if item.tags:
            terms.append(sql.SQL("tags @> %s::text[]"))
            parameters.append(item.tags)
        parts.append(sql.SQL(" AND ").join(terms))
    return sql.SQL("({})").format(sql.SQL(") OR (").join(parts)), parameters


def _wrapped(data: bytes) -> bytes:
    """The payload as JSON: itself if it is a JSON object, else a string of its base64."""
    if data.startswith(b"{") and b"\\u0000" not in data:
        try:
            msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            return data
    return b'"' + base64.b64encode(data) + b'"'


def _sequenced(stored: StoredEvent) -> DCBSequencedEvent:
    """A stored event in the library's terms, its payload unwrapped."""
    data = stored.data
    if data.startswith(b'"'):
        data = base64.b64decode(data[1:-1])
    event = DCBEvent(type=stored.type, data=data, tags=list(stored.tags))
    return DCBSequencedEvent(event=event, position=stored.position)
