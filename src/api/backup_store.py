"""The folder of backups: what stands where in it, which backups there are, which may go.

::

    FOLDER/SERIES/wal/000000010000000000000002   write-ahead log as it came, without a gap
    FOLDER/SERIES/base/NAME/                     a base backup, with PostgreSQL's manifest
    FOLDER/SERIES/base/NAME.json                 what we know of it (``Record``)

A *series* is one unbroken stream of write-ahead log and the base backups within it. The server
keeps for it, by a replication slot of its name, what was not fetched yet; so a series has no gap as
long as its slot is there, and where that is gone (a restored server has none) a new series begins.

Deliberately does not know: how a backup is made, checked or restored.
"""

import os
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

SEGMENT_BYTES = 16 * 1024 * 1024
FORMAT = "ledger-backup/1"
SLOT_PREFIX = "ledger_backup_"
_SEGMENTS_A_FILE_ID = 2**32 // SEGMENT_BYTES
_NAME = re.compile(r"[0-9]{8}t[0-9]{6}z(-[0-9]+)?")
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_PARTIAL = ".partial"


class BackupError(RuntimeError):
    """What was asked of backups cannot be done; the message says why and what to do."""


class Head(msgspec.Struct, frozen=True):
    """Where the log of a ledger stood once the base backup was whole."""

    ledger: str
    position: int
    recorded_at: datetime
    root: str


class Record(msgspec.Struct, frozen=True):
    """What is known of a base backup. LSNs are places in the write-ahead log, as 0/2000028.

    It needs the log from ``start_lsn`` on, is whole at ``end_lsn``, and when it was made the log
    had been received up to ``received_lsn``. ``wrapping_key`` is the id of the key by which the
    keys of persons were wrapped: without that one they cannot be read.
    """

    name: str
    series: str
    system_identifier: str
    timeline: int
    start_lsn: str
    end_lsn: str
    received_lsn: str
    began_at: datetime
    ended_at: datetime
    program: str
    revision: str
    wrapping_key: str | None
    heads: tuple[Head, ...]
    manifest_sha256: str
    size_bytes: int
    format: str = FORMAT


class Segment(msgspec.Struct, frozen=True, order=True):
    """A file of write-ahead log; ``is_partial`` while it is being received."""

    name: str
    is_partial: bool
    path: Path


class Store:
    """The folder of backups."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made yet."""
        self.folder = folder

    def series(self) -> list[str]:
        """The series, oldest first."""
        if not self.folder.is_dir():
            return []
        names = (found.name for found in self.folder.iterdir() if _NAME.fullmatch(found.name))
        return sorted(names, key=order_of)

    def wal(self, series: str) -> Path:
        """Where the write-ahead log of a series is."""
        return self.folder / series / "wal"

    def base(self, series: str, name: str) -> Path:
        """Where a base backup is."""
        return self.folder / series / "base" / name

    def records(self) -> list[Record]:
        """Every base backup that is whole, oldest first.

        Raises:
            BackupError: a record cannot be read.
        """
        return [record for series in self.series() for record in self._records(series)]

    def record(self, name: str) -> Record:
        """The base backup of that name.

        Raises:
            BackupError: there is none.
        """
        for record in self.records():
            if record.name == name:
                return record
        msg = f"There is no backup {name} in {self.folder}: see `ledger backup list`."
        raise BackupError(msg)

    def add(self, record: Record) -> None:
        """Keep the record of a base backup: from now on it counts."""
        path = self._record_path(record.series, record.name)
        fresh = path.with_suffix(".fresh")
        with fresh.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def segments(self, series: str) -> list[Segment]:
        """The files of write-ahead log of a series, in order; a whole one rather than a part."""
        found: dict[str, Segment] = {}
        for path in sorted(self.wal(series).glob("*")):
            name = path.name.removesuffix(_PARTIAL)
            if _SEGMENT.fullmatch(name) and name not in found:
                found[name] = Segment(name, path.name != name, path)
        return [found[name] for name in sorted(found)]

    def remove_before(self, oldest: datetime, *, keep: int) -> tuple[list[str], int]:
        """Remove base backups that ended before a moment, but none of the newest ``keep``.

        And the write-ahead log that no remaining one needs. What was removed: names of base
        backups, and the bytes of everything.
        """
        records = self.records()
        kept = records[-keep:]
        gone = [item for item in records if item not in kept and item.ended_at < oldest]
        freed = 0
        for record in gone:
            self._record_path(record.series, record.name).unlink()
            freed += _remove(self.base(record.series, record.name))
        needed = [item for item in records if item not in gone]
        for series in self.series():
            starts = [item for item in needed if item.series == series]
            if not starts and series != self.series()[-1]:
                freed += _remove(self.folder / series)
            elif starts:
                freed += self._trim(series, starts[0])
        return [record.name for record in gone], freed

    def _trim(self, series: str, first: Record) -> int:
        """Remove the log before the oldest base backup of a series; the bytes of it."""
        freed = 0
        for segment in self.segments(series):
            if segment.name < segment_of(first.start_lsn, first.timeline):
                freed += segment.path.stat().st_size
                segment.path.unlink()
        return freed

    def _records(self, series: str) -> Iterator[Record]:
        """The whole base backups of a series, oldest first."""
        records = (self.folder / series / "base").glob("*.json")
        for path in sorted(records, key=lambda found: order_of(found.stem)):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
            except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                msg = f"{path} is not the record of a backup: {error}."
                raise BackupError(msg) from None
            if record.format != FORMAT:
                msg = f"{path} is of another version ({record.format}) of this program."
                raise BackupError(msg)
            yield record

    def _record_path(self, series: str, name: str) -> Path:
        """Where the record of a base backup is."""
        return self.folder / series / "base" / f"{name}.json"


def order_of(name: str) -> tuple[str, int]:
    """What a name sorts by: its second, and which of that second it is."""
    second, _, number = name.partition("-")
    return second, int(number or 1)


def name_at(moment: datetime, taken: list[str]) -> str:
    """A name for what is made at a moment; by ``order_of`` it comes after all that are taken."""
    name = moment.strftime("%Y%m%dt%H%M%Sz")
    number = 1
    while name in taken:
        number += 1
        name = f"{name.partition('-')[0]}-{number}"
    return name


def parse_lsn(text: str) -> int:
    """A place in the write-ahead log, in bytes from its beginning."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(place: int) -> str:
    """A place in the write-ahead log as PostgreSQL writes it."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def segment_of(lsn: str, timeline: int) -> str:
    """The file of write-ahead log that holds a place."""
    return segment_named(parse_lsn(lsn) // SEGMENT_BYTES, timeline)


def segment_named(number: int, timeline: int) -> str:
    """The name of a file of write-ahead log, counted from the beginning."""
    high, low = divmod(number, _SEGMENTS_A_FILE_ID)
    return f"{timeline:08X}{high:08X}{low:08X}"


def number_of(name: str) -> int:
    """Which file of write-ahead log that is, counted from the beginning."""
    return int(name[8:16], 16) * _SEGMENTS_A_FILE_ID + int(name[16:24], 16)


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path) -> int:
    """Remove a folder; the bytes that were in it."""
    freed = size_of(folder)
    shutil.rmtree(folder)
    return freed
