"""Archives as they leave the ledger: uncompressed tar, member by member, in constant memory.

The last member, the manifest, names every other with its length and SHA-256. A file that was left
incomplete is continued: whole members stay, the rest is cut off, and the result is byte for byte
what one run would have written. Knows nothing of what the members say.
"""

import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import msgspec

MANIFEST = "manifest.json"
BLOCK = 512
# What is read back at a time.
READ_BYTES = 1 << 20
_END = bytes(2 * BLOCK)
# Longer contents do not fit in the eleven octal digits of the standard.
_USTAR_BYTES = 8**11


class ArchiveRefused(Exception):  # noqa: N818 - a fact about a file, told as it is
    """An archive cannot be written or read; the message says which and why."""


class Member(msgspec.Struct, frozen=True):
    """A member that was written: its name, its length in bytes, and its SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


class Found(msgspec.Struct, frozen=True):
    """A whole member of a file: its name, where its content begins, and its length in bytes."""

    name: str
    offset: int
    bytes: int


Contents = Iterable[tuple[str, Callable[[], Iterable[bytes]]]]
"""Names of members in order, and what makes the content of each; it is made only where needed."""
ToManifest = Callable[[Sequence[Member]], bytes]
"""Makes the manifest of the members that stand before it."""


def stream(contents: Contents, manifest: ToManifest, modified_s: int) -> Iterator[bytes]:
    """The archive's bytes, for a place that cannot be gone back in; each member is spooled first.

    ``modified_s`` is the time of every member, in seconds since 1970.
    """
    members: list[Member] = []
    for name, make in contents:
        with TemporaryFile() as spool:
            member = _pour(name, make(), spool)
            spool.seek(0)
            yield _header(name, member.bytes, modified_s)
            while piece := spool.read(READ_BYTES):
                yield piece
        yield _padding(member.bytes)
        members.append(member)
    text = manifest(members)
    yield _header(MANIFEST, len(text), modified_s) + text + _padding(len(text)) + _END


def write(path: Path, contents: Contents, manifest: ToManifest, modified_s: int) -> None:
    """Write the archive, or go on with what was left of it; see ``whole_members``.

    Raises:
        ArchiveRefused: the file cannot be written.
    """
    try:
        found = {item.name: item for item in whole_members(path)}
        with path.open("r+b" if path.exists() else "x+b") as file:
            _write(file, found, contents, manifest, modified_s)
    except OSError as error:
        raise ArchiveRefused(f"{path.name} cannot be written: {error.strerror}") from None


def whole_members(path: Path) -> list[Found]:
    """The members that stand whole at the front of a file; none where there is no file.

    A member's header is written after its content, so a header that is there stands for a member
    that is whole.

    Raises:
        ArchiveRefused: the file is something else than an archive under way.
    """
    found: list[Found] = []
    if not path.exists():
        return found
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        while offset + BLOCK <= size:
            file.seek(offset)
            block = file.read(BLOCK)
            if not any(block):
                break
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            except (tarfile.HeaderError, UnicodeDecodeError):
                if found:
                    break
                raise ArchiveRefused(f"{path.name} is there, and is no archive") from None
            start, end = offset + BLOCK, offset + BLOCK + info.size + len(_padding(info.size))
            if end > size:
                break
            found.append(Found(info.name, start, info.size))
            offset = end
    return found


def read_member(path: Path, found: Found) -> bytes:
    """The content of a small member."""
    with path.open("rb") as file:
        file.seek(found.offset)
        return file.read(found.bytes)


def _write(
    file: IO[bytes],
    found: dict[str, Found],
    contents: Contents,
    manifest: ToManifest,
    modified_s: int,
) -> None:
    """Write, from the front, what is not there yet."""
    members: list[Member] = []
    offset, going_on = 0, True
    for name, make in contents:
        there = found.get(name)
        going_on = going_on and there is not None and there.offset == offset + BLOCK
        if going_on and there is not None:
            member = _hashed(file, there)
        else:
            file.truncate(offset)
            # Nothing but zeros stands for a member until it is whole, on the disk too.
            file.seek(offset + BLOCK)
            member = _pour(name, make(), file)
            file.write(_padding(member.bytes))
            _settle(file)
            file.seek(offset)
            file.write(_header(name, member.bytes, modified_s))
        offset += BLOCK + member.bytes + len(_padding(member.bytes))
        members.append(member)
    file.truncate(offset)
    file.seek(offset)
    text = manifest(members)
    file.write(_header(MANIFEST, len(text), modified_s) + text + _padding(len(text)) + _END)
    _settle(file)


def _settle(file: IO[bytes]) -> None:
    """Have what was written on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _pour(name: str, pieces: Iterable[bytes], into: IO[bytes]) -> Member:
    """Write a member's content; its length and hash."""
    digest, length = sha256(), 0
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        into.write(piece)
    return Member(name, length, digest.hexdigest())


def _hashed(file: IO[bytes], found: Found) -> Member:
    """The member that is there, its hash made anew."""
    digest, left = sha256(), found.bytes
    file.seek(found.offset)
    while left and (piece := file.read(min(left, READ_BYTES))):
        digest.update(piece)
        left -= len(piece)
    return Member(found.name, found.bytes, digest.hexdigest())


def _header(name: str, length: int, modified_s: int) -> bytes:
    """A member's header: nothing of the machine or person that writes it."""
    info = tarfile.TarInfo(name)
    info.size = length
    info.mtime = modified_s
    return info.tobuf(tarfile.USTAR_FORMAT if length < _USTAR_BYTES else tarfile.GNU_FORMAT)


def _padding(length: int) -> bytes:
    """What fills the last block of a content."""
    return bytes(-length % BLOCK)
