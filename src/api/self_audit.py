"""The self-audit as a job: audits every ledger again and again, at a share of one core.

An audit is due a while after the last of the same ledger ended, whichever server made that. The
first of a process is full; later ones go on from it, until a day has passed. Each result is signed
and stored. A finding is told at once, and the next audit is a full one again.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg
import structlog

from api import clock, self_audits
from api.edge import frames_of
from api.key_check import KeyChecker
from api.key_providers import provider_of
from api.self_audits import SelfAudit
from api.settings import Settings
from ledger_core import log
from ledger_core.database import connect
from ledger_core.log import Connection
from ledger_core.vault import Vault
from projections.auditing import Audited, Auditor

SHARE = 0.2
"""Of the time, how much an audit works; the rest are pauses."""
FULL_EVERY = timedelta(days=1)
SMALL_EVENTS = 100_000
"""A ledger of so many events is audited in full every time: two seconds of work."""
REMEMBERED_MAX = 300_000
"""Accounts and other things that are remembered between audits: some 250 MB."""
FINDINGS_LOGGED_MAX = 20
LOOK_S = 5.0
WAIT_S = 0.25
PATIENCE_S = 600.0
"""How long projections that do not move are waited for."""
RETRY_S_MIN = 5.0
RETRY_S_MAX = 300.0
_KEY_BYTES = 32

_log = structlog.get_logger("ledger.self_audit")


class SelfAuditJob:
    """Audits all ledgers of a database when they are due."""

    def __init__(self, settings: Settings, database_url: str, stop: threading.Event) -> None:
        """Begin with nothing known of any ledger; ``stop`` ends an audit under way."""
        self._settings = settings
        self._url = database_url
        self._stop = stop
        provider = provider_of(settings.keys, settings.key_encryption_key)
        self._vault = Vault(provider, clock.random_bytes)
        self._auditors: dict[int, Auditor] = {}

    def run_forever(self, every: timedelta) -> None:
        """Audit each ledger so long after its last audit ended, until stopped.

        What fails is tried again, with growing pauses: the job must not end.
        """
        retry_s = RETRY_S_MIN
        while not self._stop.is_set():
            try:
                with connect(self._url, "ledger_reader") as connection:
                    while not self._stop.is_set():
                        self._audit_due(connection, every)
                        retry_s = RETRY_S_MIN
                        self._stop.wait(LOOK_S)
            except Exception as error:  # noqa: BLE001 - what went wrong is told; time goes on
                self._auditors.clear()
                _log_failure(error, retry_s)
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)

    def _audit_due(self, connection: Connection, every: timedelta) -> None:
        """Audit the ledgers that are due, one after another."""
        for ledger_id, name in log.ledgers(connection):
            if self._stop.is_set():
                return
            last = self_audits.latest(connection, ledger_id)
            if last is not None and clock.now() < last.ended_at + every:
                continue
            auditor = self._auditors.get(ledger_id)
            if auditor is None:
                auditor = self._auditors[ledger_id] = auditor_of(self._vault, ledger_id)
            if self._must_be_full(connection, ledger_id):
                auditor.forget()
            self._audit(connection, (ledger_id, name), auditor)
            self._make_room()

    def _must_be_full(self, connection: Connection, ledger_id: int) -> bool:
        """Whether everything is to be read again, whatever is remembered."""
        if log.read_head(connection, ledger_id).position <= SMALL_EVENTS:
            return True
        full = self_audits.last_full(connection, ledger_id)
        return full is None or clock.now() >= full + FULL_EVERY

    def _audit(self, connection: Connection, ledger: tuple[int, str], auditor: Auditor) -> None:
        """One audit, its result stored and told."""
        started_at = clock.now()
        audited = run(auditor, connection, rest=self._rest, wait=lambda: self._stop.wait(WAIT_S))
        if audited is None:
            if not self._stop.is_set():
                _log.error("self-audit waits in vain for the projections", ledger_id=ledger[0])
                self._stop.wait(RETRY_S_MAX)
            return
        with connect(self._url, "ledger_writer") as writer:
            told(
                ledger[0],
                self_audits.record(writer, self._settings, ledger, audited, started_at),
            )

    def _rest(self, worked_s: float) -> bool:
        """Pause after some work; whether to go on."""
        return not self._stop.wait(worked_s * (1 / SHARE - 1))

    def _make_room(self) -> None:
        """Forget the largest of what is remembered, until little enough is."""
        while sum(auditor.weight for auditor in self._auditors.values()) > REMEMBERED_MAX:
            largest = max(self._auditors, key=lambda name: self._auditors[name].weight)
            del self._auditors[largest]


def auditor_of(vault: Vault, ledger_id: int) -> Auditor:
    """An auditor that knows nothing yet and can open the keys of persons."""
    checker = KeyChecker(vault, ledger_id)
    return Auditor(ledger_id, lambda: clock.random_bytes(_KEY_BYTES), checker)


def run(
    auditor: Auditor,
    connection: Connection,
    *,
    rest: Callable[[float], bool],
    wait: Callable[[], object],
    patience_s: float = PATIENCE_S,
) -> Audited | None:
    """One audit from its first step to its result.

    ``rest`` is called after each step with the seconds it took, and says whether to go on;
    ``wait`` where the projections are behind, for ``patience_s`` at the most. ``None``: it was to
    stop, or waited in vain.

    Raises:
        SealCheckError, LedgerNotFound: see ``Auditor.audit``.
    """
    steps = auditor.audit(connection)
    begun_s = time.monotonic()
    moved_s = begun_s
    for step in steps:
        now_s = time.monotonic()
        if isinstance(step, Audited):
            return step
        if step == "waiting":
            if now_s - moved_s > patience_s:
                steps.close()
                return auditor.give_up(connection)
            wait()
            if not rest(0):
                break
        else:
            moved_s = now_s
            if not rest(now_s - begun_s):
                break
        begun_s = time.monotonic()
    return None


def told(ledger_id: int, result: SelfAudit) -> None:
    """Log a result: a finding as an error, with ids and no values."""
    said = {
        "ledger_id": ledger_id,
        "kind": result.kind,
        "position": result.position,
        "findings": result.findings_count,
        "duration_s": round(result.duration_s, 3),
    }
    if not result.findings_count:
        _log.info("self-audit found nothing", **said)
        return
    _log.error("SELF-AUDIT FINDS THE LEDGER DAMAGED", **said)
    for finding in result.findings[:FINDINGS_LOGGED_MAX]:
        _log.error(
            "self-audit finding",
            ledger_id=ledger_id,
            kind=finding.kind,
            position=finding.position,
            account_id=finding.account_id,
            customer_id=finding.customer_id,
            flag_id=finding.flag_id,
        )


def _log_failure(error: Exception, retry_s: float) -> None:
    """Say what failed; the database being away for a while is no bug."""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        _log.warning("self-audit waits", reason=type(error).__name__, retry_s=retry_s)
        return
    _log.error(
        "self-audit failed",
        error_type=type(error).__name__,
        frames=frames_of(error.__traceback__),
        retry_s=retry_s,
    )
