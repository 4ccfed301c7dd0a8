"""An exported log into an empty ledger, whole or not at all: the same positions, times and root.

Every leaf is made anew from its columns and must be the archive's; the tree over them must have the
root that the archive's last checkpoint signs. One transaction: what is refused leaves nothing. The
names that entries take are derived again from the events; keys of persons are in no archive, so the
persons cannot be read here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryFile
from typing import IO

import msgspec
import psycopg
from psycopg import Copy

from api import log_lines, trusted_keys
from api.archive_reading import Archive, Damaged
from api.archives import MANIFEST, ArchiveRefused
from api.export_log import FORMAT, HEAD, MANIFEST_FORMAT, ExportHead, segments
from api.runtime import Runtime
from ledger_core import events, identities, log, merkle
from ledger_core.approvals import ApprovalRequested
from ledger_core.books import Event
from ledger_core.customers import CustomerRegistered
from ledger_core.errors import LedgerError
from ledger_core.events import UnknownEvent
from ledger_core.journal import JournalEntryPosted, require_balanced
from ledger_core.log import Connection
from ledger_core.notes import PublicKey
from ledger_core.vault import ELSEWHERE
from projections import runner

NAMES_AT_ONCE = 5_000
SEGMENT_EVENTS_MAX = 1_000_000
"""The hashes of a segment are in memory: 70 MB."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECKPOINT = "checkpoints/"
_COPY_EVENTS = (
    b"COPY ledger.events (ledger_id, position, recorded_at, type, version, tags, command_key,"
    b" actor, data, leaf_hash) FROM STDIN"
)


class _Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The first half of a leaf: every column of the event but its data."""

    position: int
    recorded_at_us: int
    type: str
    version: int
    command_key: str | None
    actor: str
    tags: list[str]


class ImportReport(msgspec.Struct, frozen=True):
    """What was imported. ``persons`` cannot be read here: their keys stayed where they were.

    ``keys``: whether the checkpoint was checked with keys that were given, or the archive's own.
    """

    ledger: str
    origin: str
    events: int
    root: str
    persons: int
    keys: str


_HEADERS = msgspec.json.Decoder(_Header)
_HEAD = msgspec.json.Decoder(ExportHead)


def import_log(  # noqa: PLR0913 - from where, to where, by which keys
    runtime: Runtime,
    ledger: str,
    file: IO[bytes],
    *,
    at: datetime,
    keys: bytes | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Import an archive into the ledger of that name, which has no event or does not exist yet.

    ``keys``: the ``keys.json`` that is trusted; without it, the archive's own.

    Raises:
        ArchiveRefused: the ledger is not empty; the archive is damaged, does not begin at position
            1, has an event that this program does not know, or its checkpoint does not hold.
        ValidationFailed: no ledger may have that name.
    """
    with Archive(file) as archive, runtime.connect("ledger_writer") as connection:
        head = _head(archive)
        try:
            with connection.transaction():
                ledger_id = log.create_ledger(connection, ledger, at)
                _require_empty(connection, ledger_id, ledger)
                importing = _Importing(connection, ledger_id, archive, head, progress)
                report = importing.carry_out(ledger, keys, at)
        except (psycopg.errors.IntegrityError, psycopg.DataError) as error:
            name = type(error).__name__
            raise Damaged(f"the database cannot take in what it says ({name})") from None
    with runtime.connect("ledger_projector") as connection:
        runner.ensure_registered(connection, ledger_id)
    return report


def _head(archive: Archive) -> ExportHead:
    """What the archive is.

    Raises:
        ArchiveRefused: none that can be imported.
    """
    try:
        head = _HEAD.decode(archive.document(HEAD))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Damaged(f"{HEAD} cannot be read") from None
    if head.format != FORMAT:
        raise ArchiveRefused(f"The archive's format is not {FORMAT}.")
    if head.first != 1 or head.frontier_before:
        msg = f"The archive begins at position {head.first}: only a log from its first event on can"
        raise ArchiveRefused(f"{msg} be imported.")
    if not 1 <= head.segment_events <= SEGMENT_EVENTS_MAX or head.last < 0:
        raise Damaged(f"{HEAD} cannot be right")
    return head


def _require_empty(connection: Connection, ledger_id: int, ledger: str) -> None:
    """Lock the ledger's head; the ledger has no event.

    Raises:
        ArchiveRefused: it has.
    """
    row = connection.execute(
        "SELECT position FROM ledger.heads WHERE ledger_id = %s FOR UPDATE", (ledger_id,)
    ).fetchone()
    # A second statement: what others appended before the lock is seen.
    found = connection.execute(
        "SELECT 1 FROM ledger.events WHERE ledger_id = %s LIMIT 1", (ledger_id,)
    ).fetchone()
    if row is None or row[0] != 0 or found is not None:
        msg = f"Ledger {ledger} is not empty: a log can only be imported into an empty ledger."
        raise ArchiveRefused(msg)


class _Importing:
    """One import under way, in its transaction."""

    def __init__(
        self,
        connection: Connection,
        ledger_id: int,
        archive: Archive,
        head: ExportHead,
        progress: Callable[[int], None],
    ) -> None:
        """Begin before the first event."""
        self._connection = connection
        self._ledger_id = ledger_id
        self._archive = archive
        self._head = head
        self._progress = progress
        self._frontier = merkle.EMPTY
        self._position = 0
        self._recorded_at_us = 0
        self._recorded_at = _EPOCH

    def carry_out(self, ledger: str, keys: bytes | None, at: datetime) -> ImportReport:
        """Take in everything, and check it.

        Raises:
            ArchiveRefused: it does not hold.
        """
        head, archive = self._head, self._archive
        own_keys = archive.document("keys.json")
        archive.skip("schema/events.json")
        with ExitStack() as stack:
            names = stack.enter_context(TemporaryFile())
            subjects = stack.enter_context(TemporaryFile())
            self._take_events(names, subjects)
            note = self._checkpoint()
            manifest = archive.finish()
            root = merkle.root(self._frontier)
            trusted = trusted_keys.parse(own_keys if keys is None else keys)
            self._require_signed(note, trusted)
            if (manifest.format, manifest.size, manifest.root) != (
                MANIFEST_FORMAT,
                head.last,
                root.hex(),
            ):
                raise Damaged(f"{MANIFEST} says another tree than the events make")
            self._take_names(names)
            persons = self._take_subjects(subjects, at)
        self._connection.execute(
            "UPDATE ledger.heads SET position = %s, recorded_at = %s, frontier = %s"
            " WHERE ledger_id = %s",
            (self._position, self._recorded_at, merkle.to_bytes(self._frontier), self._ledger_id),
        )
        source = "archive" if keys is None else "given"
        return ImportReport(ledger, head.origin, self._position, root.hex(), persons, source)

    def _take_events(self, names: IO[bytes], subjects: IO[bytes]) -> None:
        """Take in the segments; the names that entries take and persons go to files meanwhile."""
        head, archive = self._head, self._archive
        for first, last in segments(1, head.last, head.segment_events):
            place = f"{first:012}-{last:012}"
            hashes: list[bytes] = []
            with self._connection.cursor() as cursor, cursor.copy(_COPY_EVENTS) as copy:
                for line in archive.lines(f"events/{place}.jsonl"):
                    event = self._take(copy, line, hashes)
                    for item in identities.names_of(event, self._position):
                        _note(names, [item.kind, item.name, item.position])
                    if isinstance(event, CustomerRegistered | ApprovalRequested) and event.subject:
                        _note(subjects, event.subject)
            if self._position != last:
                raise Damaged(f"positions {self._position + 1} to {last} are missing")
            self._frontier = merkle.extend(self._frontier, hashes)
            if archive.name == f"hashes/{place}.bin" and b"".join(
                archive.pieces(f"hashes/{place}.bin")
            ) != b"".join(hashes):
                raise Damaged(f"hashes/{place}.bin has other hashes than the events")
            self._progress(last)

    def _take(self, copy: Copy, line: bytes, hashes: list[bytes]) -> Event:
        """Take in the event of a line.

        Raises:
            ArchiveRefused: it is no event, not the next one, or one this program does not know.
        """
        position = self._position + 1
        try:
            header, data = log_lines.halves(line)
            columns = _HEADERS.decode(header)
            if columns.position != position:
                raise Damaged(f"position {columns.position} stands where {position} was expected")
            event = events.decode(columns.type, columns.version, data)
            if isinstance(event, JournalEntryPosted):
                require_balanced(event.postings)
            if columns.recorded_at_us != self._recorded_at_us:
                self._recorded_at = self._time_of(columns)
            text = data.decode()
        except UnknownEvent as problem:
            raise ArchiveRefused(f"Position {position}: {problem}.") from None
        except (msgspec.MsgspecError, LedgerError, ValueError, OverflowError):
            raise Damaged(f"position {position} is no event") from None
        leaf = log.leaf_of(
            position,
            columns.recorded_at_us,
            columns.type,
            columns.version,
            columns.command_key,
            columns.actor,
            columns.tags,
            data,
        )
        if leaf != header + b"\n" + data:
            raise Damaged(f"position {position} is not written as a leaf is")
        leaf_hash = merkle.leaf_hash(leaf)
        hashes.append(leaf_hash)
        copy.write_row(
            (
                self._ledger_id,
                position,
                self._recorded_at,
                columns.type,
                columns.version,
                columns.tags,
                columns.command_key,
                columns.actor,
                text,
                leaf_hash,
            )
        )
        self._position = position
        return event

    def _time_of(self, columns: _Header) -> datetime:
        """When the event was recorded.

        Raises:
            Damaged: before the event before it.
            OverflowError: at no time that there is.
        """
        if columns.recorded_at_us < self._recorded_at_us and columns.position > 1:
            raise Damaged(f"position {columns.position} was recorded before the one before it")
        self._recorded_at_us = columns.recorded_at_us
        return _EPOCH + timedelta(microseconds=columns.recorded_at_us)

    def _checkpoint(self) -> str:
        """The last checkpoint.

        Raises:
            Damaged: there is none.
        """
        if self._archive.name == "balances.jsonl":
            self._archive.skip("balances.jsonl")
        note = ""
        while (name := self._archive.name or "").startswith(_CHECKPOINT):
            note = self._archive.document(name).decode(errors="replace")
        if not note:
            raise Damaged("it has no checkpoint")
        return note

    def _require_signed(self, note: str, trusted: Sequence[PublicKey]) -> None:
        """The last checkpoint is that of the tree that was read.

        Raises:
            ArchiveRefused: it is not.
        """
        found = trusted_keys.checked(note, self._head.origin, trusted)
        if (found.size, found.root) != (self._position, merkle.root(self._frontier)):
            raise Damaged("its last checkpoint signs another tree than the events make")

    def _take_names(self, names: IO[bytes]) -> None:
        """Take the names of entries, each of which can be taken once."""
        with (
            self._connection.cursor() as cursor,
            cursor.copy(
                b"COPY ledger.identities (ledger_id, kind, name, position) FROM STDIN"
            ) as copy,
        ):
            for item in _noted(names):
                copy.write_row((self._ledger_id, *msgspec.json.decode(item)))

    def _take_subjects(self, subjects: IO[bytes], at: datetime) -> int:
        """Know every person as one whose key is elsewhere; how many they are."""
        count, waiting = 0, list[str]()
        for item in _noted(subjects):
            waiting.append(msgspec.json.decode(item, type=str))
            if len(waiting) == NAMES_AT_ONCE:
                count += self._know(waiting, at)
                waiting.clear()
        return count + self._know(waiting, at)

    def _know(self, subjects: list[str], at: datetime) -> int:
        """Enter subjects without a key; how many are new."""
        return self._connection.execute(
            "INSERT INTO keystore.subject_keys (ledger_id, subject, wrapped_key, wrapping_key_id,"
            " created_at, destroyed_at) SELECT %s, subject, NULL, %s, %s, %s"
            " FROM unnest(%s::text[]) AS subject ON CONFLICT DO NOTHING",
            (self._ledger_id, ELSEWHERE, at, at, subjects),
        ).rowcount


def _note(file: IO[bytes], value: object) -> None:
    """Keep a value for later, out of memory."""
    file.write(msgspec.json.encode(value) + b"\n")


def _noted(file: IO[bytes]) -> Iterator[bytes]:
    """What was kept."""
    file.seek(0)
    yield from file
