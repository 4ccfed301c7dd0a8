"""The results of self-audits: stored once, signed, never changed.

The note of each is a statement signed by the ledger's keys; its text binds the findings by their
SHA-256.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import psycopg

from api import clock, signing_keys
from api.notary import origin_of
from api.settings import Settings
from ledger_core.log import Connection
from projections.auditing import Audited, Kind
from projections.findings import Finding

FORMAT = "ledger-audit/1"
AUDITS_MAX = 1_000
"""A longer page is several pages."""

_COLUMNS = (
    "audit_no, kind, started_at, ended_at, position, recorded_at, encode(root, 'hex'), events,"
    " accounts, findings_count, findings, imbalance_minor, note"
)


_INSERT = (
    "INSERT INTO audit.self_audits (ledger_id, audit_no, kind, started_at, ended_at, position,"
    " recorded_at, root, events, accounts, findings_count, findings, imbalance_minor, note)"
    " SELECT %s, coalesce(max(audit_no), 0) + 1, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
    " %s::json, %s::json, %s FROM audit.self_audits WHERE ledger_id = %s"
)


class SelfAudit(msgspec.Struct, frozen=True):
    """A self-audit: up to which position everything was compared, what was found, and the note.

    ``root`` is the tree's at that position, in hexadecimal; ``events`` were read by this audit.
    ``imbalance_minor`` is debits minus credits of each currency.
    """

    audit_no: int
    kind: Kind
    started_at: datetime
    ended_at: datetime
    position: int
    recorded_at: datetime | None
    root: str
    events: int
    accounts: int
    findings_count: int
    findings: tuple[Finding, ...]
    imbalance_minor: dict[str, int]
    note: str

    @property
    def duration_s(self) -> float:
        """How long it took, pauses included."""
        return (self.ended_at - self.started_at).total_seconds()


def statement(origin: str, audited: Audited, ended_at: datetime) -> str:
    """What is signed: eight lines.

    Format, origin, position, root, number of findings, time, kind, SHA-256 of the findings as JSON.
    """
    lines = (
        FORMAT,
        origin,
        str(audited.position),
        base64.b64encode(bytes.fromhex(audited.root)).decode(),
        str(audited.findings_count),
        ended_at.astimezone(UTC).isoformat(),
        audited.kind,
        sha256(encoded(audited.findings)).hexdigest(),
    )
    return "".join(f"{line}\n" for line in lines)


def encoded(findings: Sequence[Finding]) -> bytes:
    """The findings as the JSON text that is stored, and whose hash is signed.

    Members sorted by name, no blanks, in UTF-8.
    """
    return msgspec.json.encode(list(findings), order="sorted")


def record(
    connection: Connection,
    settings: Settings,
    ledger: tuple[int, str],
    audited: Audited,
    started_at: datetime,
) -> SelfAudit:
    """Sign and store a result of the ledger given by id and name, in the writer's role.

    Raises:
        SettingsError: the signing keys cannot be read.
    """
    ledger_id, name = ledger
    ended_at = max(clock.now(), started_at)
    origin = origin_of(settings, name)
    text = statement(origin, audited, ended_at)
    note = signing_keys.load(settings).sign(origin, text)
    while True:
        try:
            row = connection.execute(
                f"{_INSERT} RETURNING {_COLUMNS}",
                (
                    ledger_id,
                    audited.kind,
                    started_at,
                    ended_at,
                    audited.position,
                    audited.recorded_at,
                    bytes.fromhex(audited.root),
                    audited.events,
                    audited.accounts,
                    audited.findings_count,
                    encoded(audited.findings).decode(),
                    msgspec.json.encode(audited.imbalance_minor).decode(),
                    note,
                    ledger_id,
                ),
            ).fetchone()
        except psycopg.errors.UniqueViolation:
            continue  # Another server's audit ended at the same moment.
        assert row is not None  # noqa: S101 - RETURNING of one inserted row
        return _self_audit(row)


def latest(connection: Connection, ledger_id: int) -> SelfAudit | None:
    """The newest result of a ledger, if there is any."""
    found = listed(connection, ledger_id, None, 1)
    return found[0] if found else None


def listed(
    connection: Connection, ledger_id: int, before: int | None, limit: int
) -> list[SelfAudit]:
    """The results of a ledger, the newest first; only those before number ``before``, if given."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM audit.self_audits"  # noqa: S608 - our own columns
        " WHERE ledger_id = %s AND audit_no < %s ORDER BY audit_no DESC LIMIT %s",
        (ledger_id, 2**62 if before is None else before, min(limit, AUDITS_MAX)),
    )
    return [_self_audit(row) for row in rows]


def last_full(connection: Connection, ledger_id: int) -> datetime | None:
    """When the newest full audit began, if there was one."""
    row = connection.execute(
        "SELECT started_at FROM audit.self_audits WHERE ledger_id = %s AND kind = 'full'"
        " ORDER BY audit_no DESC LIMIT 1",
        (ledger_id,),
    ).fetchone()
    return None if row is None else row[0]


def _self_audit(row: tuple[Any, ...]) -> SelfAudit:
    """The result behind a row of ``_COLUMNS``."""
    fields = dict(zip(SelfAudit.__struct_fields__, row, strict=True))
    for name in ("findings", "imbalance_minor"):
        fields[name] = msgspec.json.decode(fields[name])
    return msgspec.convert(fields, SelfAudit)
