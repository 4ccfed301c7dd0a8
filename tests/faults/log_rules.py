"""The log by itself: no position missing, no time backwards, every byte under the sealed tree.

Leaves and tree are made anew from ``docs/formats.md`` with ``hashlib``; then the independent
verifier, which shares no code with the program either, reads the same log as an auditor would.
"""

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg
from tests.faults.fold import Row
from tests.faults.history import Finding

from ledger_verify.checking import check as check_export
from ledger_verify.findings import Report
from ledger_verify.trust import Trust

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_log(connection: psycopg.Connection[tuple[Any, ...]]) -> list[Row]:
    """Every event of the only ledger, in order."""
    rows = connection.execute(
        "SELECT position, recorded_at, type, version, tags, command_key, actor, data::text,"
        " leaf_hash FROM ledger.events ORDER BY position"
    )
    return [
        Row(
            position=row[0],
            recorded_at=row[1],
            type=row[2],
            version=row[3],
            tags=list(row[4]),
            key=row[5],
            actor=row[6],
            stored=row[7].encode(),
            leaf_hash=bytes(row[8]),
        )
        for row in rows
    ]


def check(connection: psycopg.Connection[tuple[Any, ...]], rows: list[Row]) -> Iterable[Finding]:
    """What is wrong with the log itself."""
    yield from _check_order(rows)
    yield from _check_seal(connection, rows)
    yield from _check_by_verifier(rows)


def leaf_hash_of(row: Row) -> bytes:
    """What should have been hashed of an event."""
    return sha256(b"\x00" + _header(row) + b"\n" + row.stored).digest()


def _check_order(rows: list[Row]) -> Iterable[Finding]:
    """Positions, times and keys."""
    before: datetime | None = None
    keys: set[str] = set()
    for expected, row in enumerate(rows, start=1):
        if row.position != expected:
            yield Finding("gap", f"position {row.position} follows {expected - 1}")
            return
        if before is not None and row.recorded_at < before:
            yield Finding("time", f"position {row.position} is earlier than the one before")
        before = row.recorded_at
        if row.key is not None and row.key in keys:
            yield Finding("doubled", f"{row.key} is in the log twice")
        keys.add(row.key or "")


def _check_seal(
    connection: psycopg.Connection[tuple[Any, ...]], rows: list[Row]
) -> Iterable[Finding]:
    """Leaf hashes, and the head: its position, time and tree."""
    tree: list[tuple[int, bytes]] = []
    for row in rows:
        if leaf_hash_of(row) != row.leaf_hash:
            yield Finding("leaf", f"position {row.position} is not what was hashed")
        size, node = 1, row.leaf_hash
        while tree and tree[-1][0] == size:
            node = sha256(b"\x01" + tree.pop()[1] + node).digest()
            size *= 2
        tree.append((size, node))
    heads = connection.execute("SELECT position, recorded_at, frontier FROM ledger.heads")
    for position, recorded_at, frontier in heads.fetchall():
        if position != len(rows):
            yield Finding("gap", f"the head stands at {position}, the log ends at {len(rows)}")
        if rows and recorded_at != rows[-1].recorded_at:
            yield Finding("time", "the head's time is not that of the last event")
        if bytes(frontier) != len(rows).to_bytes(8, "big") + b"".join(node for _, node in tree):
            yield Finding("tree", "the sealed tree is not the one over the events")


def _header(row: Row) -> bytes:
    """The first line of a leaf, as ``docs/formats.md`` has it."""
    micros = (row.recorded_at - _EPOCH) // timedelta(microseconds=1)
    columns = [row.position, micros, row.type, row.version, row.key, row.actor, row.tags]
    return json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode()


def _check_by_verifier(rows: list[Row]) -> Iterable[Finding]:
    """The same log, read by the verifier as a file of export lines."""
    lines = b"".join(b'{"leaf":' + _header(row) + b',"data":' + row.stored + b"}\n" for row in rows)
    if not lines:
        return
    report = Report(subject="log")
    check_export(report, io.BytesIO(lines), Trust(keys=None, held=()), "books")
    for doubt in report.findings:
        # No checkpoint was kept elsewhere in a run of seconds: the tree was compared above.
        if doubt.kind != "unsealed":
            yield Finding("verifier", f"{doubt.kind}: {doubt.what}")
