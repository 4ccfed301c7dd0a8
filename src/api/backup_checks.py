"""Whether a backup can be restored: every file of it, and every record of the log after it.

A base backup has a manifest with a SHA-256 a file; the write-ahead log has a checksum a record, and
names that show what lacks. Both find what a disk or a person damaged by accident. Who alters a
backup on purpose can make all of that anew: against them there are the SHA-256 of the manifest,
kept elsewhere, and signed checkpoints, against which the restored log is verified.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import msgspec

from api import postgres_programs
from api.backup_store import (
    SEGMENT_BYTES,
    Record,
    Segment,
    Store,
    lsn_text,
    number_of,
    parse_lsn,
    segment_named,
    segment_of,
)

_LAST = re.compile(r"error in WAL record at ([0-9A-F]+/[0-9A-F]+): (.*)")
_AT = re.compile(r"at ([0-9A-F]+/[0-9A-F]+)")
_LENGTH = re.compile(r"len \(rec/tot\):\s*\d+/\s*(\d+)")
_AFTER = re.compile(r"after ([0-9A-F]+/[0-9A-F]+)")
_NO_FILE = re.compile(r'could not find file "([0-9A-F]{24})"')

_PAGE_BYTES = 8192
_HEADER_BYTES = 24
_FILE_HEADER_BYTES = 40
_ALIGNED_TO = 8


class Extent(msgspec.Struct, frozen=True):
    """How far the write-ahead log after a base backup is whole, and what is wrong beyond."""

    end_lsn: str
    damage: str | None


class Verdict(msgspec.Struct, frozen=True):
    """What was found of one backup; ``damage`` says in sentences why it is not whole."""

    name: str
    ok: bool
    end_lsn: str
    damage: tuple[str, ...]


def check(store: Store, record: Record) -> Verdict:
    """Check a base backup and all the log that was received after it."""
    damage = [*base_damage(store, record)]
    extent = log_extent(store, record)
    if extent.damage is not None:
        damage.append(extent.damage)
    return Verdict(record.name, not damage, extent.end_lsn, tuple(damage))


def base_damage(store: Store, record: Record) -> list[str]:
    """What is wrong with the files of a base backup, as sentences."""
    place = store.base(record.series, record.name)
    if not place.is_dir():
        return [f"the base backup {record.name} is not there any more"]
    done = postgres_programs.client("pg_verifybackup", "--quiet", str(place))
    if done.returncode == 0:
        return []
    said = [
        line.partition("error: ")[2] or line
        for line in done.stderr.decode(errors="replace").splitlines()
        if line.strip()
    ]
    return [f"the base backup {record.name}: {line}" for line in said] or ["it does not verify"]


def log_extent(store: Store, record: Record) -> Extent:
    """How far the log can be replayed from a base backup on."""
    segments = _needed(store, record)
    problem = _gap(segments, record)
    whole = segments if problem is None else segments[: problem[0]]
    if not whole:
        return Extent(record.end_lsn, None if problem is None else problem[1])
    end, is_torn = _replayable(whole, record)
    if is_torn:
        name = segment_of(end, record.timeline)
        return Extent(end, f"the write-ahead log is damaged at {end}, in {name}")
    if problem is not None:
        return Extent(end, problem[1])
    if parse_lsn(end) < parse_lsn(record.received_lsn):
        told = f"the write-ahead log ends at {end}, though it was received up to"
        return Extent(end, f"{told} {record.received_lsn}")
    return Extent(end, None)


def _needed(store: Store, record: Record) -> list[Segment]:
    """The files of the log from the end of a base backup on."""
    first = segment_of(record.end_lsn, record.timeline)
    return [item for item in store.segments(record.series) if item.name >= first]


def _gap(segments: list[Segment], record: Record) -> tuple[int, str] | None:
    """The first file that lacks or has not its size: how many are before it, and the sentence."""
    last = number_of(segment_of(record.received_lsn, record.timeline))
    if parse_lsn(record.received_lsn) % SEGMENT_BYTES == 0:
        last -= 1  # It is the beginning of a file that nothing was written to yet.
    number = number_of(segment_of(record.end_lsn, record.timeline))
    for index, segment in enumerate(segments):
        name = segment_named(number, record.timeline)
        if segment.name != name:
            return index, f"the write-ahead log {name} is missing"
        size = segment.path.stat().st_size
        if size != SEGMENT_BYTES:
            told = f"the write-ahead log {name} has {size} bytes instead of {SEGMENT_BYTES}"
            return index, told
        if segment.is_partial and index < len(segments) - 1:
            return index, f"the write-ahead log {name} was not received to its end"
        number += 1
    if number <= last:
        name = segment_named(number, record.timeline)
        return len(segments), f"the write-ahead log {name} is missing"
    return None


def _replayable(segments: list[Segment], record: Record) -> tuple[str, bool]:
    """Where the records end that can be read, and whether there should have been more.

    The last file may end anywhere, for it is being received; the others are full.
    """
    last = segments[-1]
    with tempfile.TemporaryDirectory() as folder:
        for segment in segments:
            (Path(folder) / segment.name).symlink_to(segment.path.absolute())
        read = [f"--path={folder}", f"--timeline={record.timeline}"]
        done = _dumped("--quiet", *read, f"--start={record.end_lsn}")
        said = done.stderr.decode(errors="replace")
        if _NO_FILE.search(said):
            return lsn_text((number_of(last.name) + 1) * SEGMENT_BYTES), False
        found = _LAST.search(said)
        if found is None:
            places = _AFTER.findall(said)
            end = places[-1] if places else record.end_lsn
        else:
            # After the last record that was read, or at the one that cannot be.
            beyond = _AT.findall(found[2])
            end = beyond[-1] if beyond else _end_of(found[1], read)
    is_in_last = segment_of(end, record.timeline) == last.name
    return end, not (is_in_last and last.is_partial)


def _end_of(lsn: str, read: list[str]) -> str:
    """Where the record ends that begins at a place, headers of pages within it included."""
    done = _dumped(*read, f"--start={lsn}", "--limit=1")
    length = _LENGTH.search(done.stdout.decode(errors="replace"))
    begin = parse_lsn(lsn)
    end = begin + (0 if length is None else int(length[1]))
    page = begin // _PAGE_BYTES + 1
    while page * _PAGE_BYTES < end:
        end += _FILE_HEADER_BYTES if page * _PAGE_BYTES % SEGMENT_BYTES == 0 else _HEADER_BYTES
        page += 1
    return lsn_text(-(-end // _ALIGNED_TO) * _ALIGNED_TO)


def _dumped(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What ``pg_waldump`` makes of it."""
    return postgres_programs.client("pg_waldump", *arguments)
