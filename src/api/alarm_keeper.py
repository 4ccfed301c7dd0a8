"""The job that raises alarms from the access log, beside the projector in its process.

Each is one line of the log, with ids and no names, as soon as it is raised.
"""

import threading

import psycopg
import structlog

from ledger_core import database
from ledger_core.log import Connection
from projections import alarms
from projections.alarm_rules import Alarm, Watch

POLL_S = 0.5
RETRY_S_MAX = 30.0
WATCHES_MAX = 1_000
"""Ledgers whose counts are remembered; those of others are made from the log when needed."""

_log = structlog.get_logger("ledger.alarms")


def run_forever(url: str, stop: threading.Event) -> None:
    """Raise alarms until told to stop, whatever goes wrong; after a failure ever later."""
    retry_s = POLL_S
    while not stop.is_set():
        try:
            with database.connect(url, "ledger_projector") as connection:
                watches: dict[int, Watch] = {}
                while not stop.is_set():
                    keep_up(connection, watches)
                    retry_s = POLL_S
                    stop.wait(POLL_S)
        except psycopg.Error as error:
            retry_s = min(2 * retry_s, RETRY_S_MAX)
            _log.warning("alarms wait", reason=type(error).__name__, retry_s=retry_s)
            stop.wait(retry_s)


def keep_up(connection: Connection, watches: dict[int, Watch]) -> None:
    """Raise the alarms of what was read since, in every ledger; ``watches``: what was counted."""
    for ledger_id, number in alarms.heads(connection).items():
        watch = watches.get(ledger_id)
        if watch is not None and watch.number >= number:
            continue
        if len(watches) >= WATCHES_MAX:
            watches.clear()
        watches[ledger_id], raised = alarms.keep_up(connection, ledger_id, watch)
        for alarm in raised:
            _tell(ledger_id, alarm)


def _tell(ledger_id: int, alarm: Alarm) -> None:
    """Write an alarm's line."""
    _log.warning(
        "ALARM",
        ledger_id=ledger_id,
        alarm_id=alarm.alarm_id,
        rule=alarm.rule,
        actor=alarm.actor,
        count=alarm.count,
        since=alarm.first_at,
    )
