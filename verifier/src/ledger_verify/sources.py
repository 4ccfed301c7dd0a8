"""Where an export's files are read from: one uncompressed tar, or a folder.

The tar is read as strictly as everything else: regular files only, every header's checksum, zeros
wherever nothing stands. What comes after a damaged header is not guessed at.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ledger_verify.plain import Malformed

BLOCK = 512
READ_BYTES = 1 << 20
MEMBERS_MAX = 10_000_000
SMALL_BYTES_MAX = 64 << 20
"""The most bytes of a file that is read at once: all but events, hashes and balances."""

_NAME = re.compile(rb"[A-Za-z0-9._/-]{1,100}")
_OCTAL = re.compile(rb"[0-7]{1,12}[ \x00]*")
_SUM = slice(148, 156)


@dataclass(frozen=True, slots=True)
class Problem:
    """Damage to the container itself: what, and the file at which it was met."""

    what: str
    member: str | None


class Source(Protocol):
    """Files by name, in the order in which they stand."""

    problem: Problem | None

    def names(self) -> list[str]:
        """The names of the files, in order."""

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's bytes, in parts of bounded size."""


def read_small(source: Source, name: str) -> bytes:
    """A file that is small by its nature.

    Raises:
        Malformed: it is not.
    """
    parts: list[bytes] = []
    size = 0
    for block in source.blocks(name):
        parts.append(block)
        size += len(block)
        if size > SMALL_BYTES_MAX:
            raise Malformed(f"more than {SMALL_BYTES_MAX} bytes")
    return b"".join(parts)


class Folder:
    """The files in a folder and its folders; links are not followed."""

    def __init__(self, path: Path, ranks: "Ranking") -> None:
        """List the files, in the order of the format."""
        self.problem: Problem | None = None
        self._path = path
        found = (
            file.relative_to(path).as_posix()
            for file in path.rglob("*")
            if file.is_file() and not file.is_symlink()
        )
        self._names = sorted(found, key=lambda name: (ranks(name), name))

    def names(self) -> list[str]:
        """The names of the files, in order."""
        return list(self._names)

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's bytes, in parts of bounded size."""
        with (self._path / name).open("rb") as file:
            while block := file.read(READ_BYTES):
                yield block


class Ranking(Protocol):
    """Where a file stands in the order of its format."""

    def __call__(self, name: str, /) -> tuple[int, int, int]:
        """Smaller stands earlier."""


class Tar:
    """An uncompressed tar in a file in which one can seek."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the headers; the first damage to one ends the list and becomes ``problem``."""
        self.problem: Problem | None = None
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        self._end = file.seek(0, 2)
        last: str | None = None
        try:
            for name, start, size in self._headers():
                if name in self._places:
                    self.problem = Problem("two files of one name in the archive", name)
                    return
                last = name
                self._places[name] = (start, size)
        except Malformed as error:
            where = "at its beginning" if last is None else f"after {last}"
            self.problem = Problem(f"the archive is damaged {where}: {error}", last)

    def names(self) -> list[str]:
        """The names of the files, in order."""
        return list(self._places)

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's bytes, in parts of bounded size; fewer than it should have if it was cut."""
        start, left = self._places[name]
        while left > 0:
            self._file.seek(start)
            block = self._file.read(min(READ_BYTES, left))
            if not block:
                return
            yield block
            start += len(block)
            left -= len(block)

    def _headers(self) -> Iterator[tuple[str, int, int]]:
        """Name, place and size of each file.

        Raises:
            Malformed: what stands there is not a file of the kind we know.
        """
        at = 0
        while True:
            self._file.seek(at)
            header = self._file.read(BLOCK)
            if not header.strip(b"\x00") and len(header) == BLOCK:
                self._require_zeros(at + BLOCK)
                return
            if len(header) < BLOCK:
                raise Malformed("it ends without the two empty blocks at its end")
            name, size = _header(header)
            if len(self._places) >= MEMBERS_MAX:
                raise Malformed(f"more than {MEMBERS_MAX} files")
            at += BLOCK
            yield name, at, size
            padded = -(-size // BLOCK) * BLOCK
            if at + padded > self._end:
                raise Malformed("it is cut short within this file")
            self._file.seek(at + size)
            if self._file.read(padded - size).strip(b"\x00"):
                raise Malformed("bytes other than zero between two files")
            at += padded

    def _require_zeros(self, at: int) -> None:
        """Behind the first empty block there is at least another, and nothing but zeros."""
        if self._end < at + BLOCK:
            raise Malformed("it ends without the two empty blocks at its end")
        self._file.seek(at)
        while block := self._file.read(READ_BYTES):
            if block.strip(b"\x00"):
                raise Malformed("bytes behind the end of the archive")


@contextmanager
def spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    """A stream as a file in which one can seek; what comes through a pipe waits on disk."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        while block := stream.read(READ_BYTES):
            file.write(block)
        file.seek(0)
        yield file


def _header(header: bytes) -> tuple[str, int]:
    """Name and size of the file that the header announces.

    Raises:
        Malformed: it is damaged, or announces no regular file.
    """
    unsigned = sum(header) - sum(header[_SUM]) + 8 * ord(" ")
    if header[_SUM] != b"%06o\x00 " % unsigned:
        raise Malformed("a header whose checksum is wrong")
    if header[257:262] != b"ustar":
        raise Malformed("a header of another kind of archive")
    if header[156:157] not in {b"0", b"\x00"}:
        raise Malformed("something that is no regular file")
    name, prefix = header[:100].rstrip(b"\x00"), header[345:500].rstrip(b"\x00")
    if prefix or _NAME.fullmatch(name) is None:
        raise Malformed("a file whose name is none of the format's")
    text = name.decode("ascii").removeprefix("./")
    size = header[124:136]
    if size[0] & 0x80:
        return text, int.from_bytes(size, "big") & ((1 << 95) - 1)
    return text, _octal(size)


def _octal(data: bytes) -> int:
    """A number as tar writes it."""
    if _OCTAL.fullmatch(data) is None:
        raise Malformed("a header with a malformed number")
    return int(data.rstrip(b" \x00"), 8)
