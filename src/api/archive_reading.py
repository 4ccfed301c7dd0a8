"""Archives read front to back, strictly: members in order, each held against the manifest.

Nothing of an archive may be believed before its last byte was read: ``finish`` says whether all of
it is as the manifest says. Works on a file or a pipe, in constant memory.
"""

import tarfile
from collections.abc import Iterator
from hashlib import sha256
from types import TracebackType
from typing import IO, Self

import msgspec

from api.archives import MANIFEST, READ_BYTES, ArchiveRefused, Member

# An event has at most 1,000 postings; what is longer is no event.
LINE_BYTES_MAX = 64 * 1024 * 1024
DOCUMENT_BYTES_MAX = 16 * 1024 * 1024


class Manifest(msgspec.Struct, frozen=True):
    """The last member: the root of the tree of ``size`` events, and every member before it."""

    format: str
    root: str
    size: int
    members: tuple[Member, ...]


class Damaged(ArchiveRefused):
    """The archive is not as it was written; the message says where."""

    def __init__(self, where: str) -> None:
        """Say where."""
        super().__init__(f"The archive is damaged: {where}.")


class Archive:
    """An archive being read."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read the first header.

        Raises:
            Damaged: the file is no archive.
        """
        try:
            self._tar = tarfile.open(fileobj=file, mode="r|")  # noqa: SIM115 - closed by __exit__
        except (tarfile.TarError, EOFError, OSError):
            raise Damaged("it is no tar file") from None
        self._read: list[Member] = []
        self._at: tarfile.TarInfo | None = None
        self.name: str | None = None
        self._advance()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the reader; the file is its owner's."""
        self._tar.close()

    def pieces(self, name: str) -> Iterator[bytes]:
        """The content of the next member, which must be that one.

        Raises:
            Damaged: it is another, or ends early.
        """
        info = self._at
        if info is None or info.name != name:
            raise Damaged(f"{name} was expected where {self.name or 'its end'} stands")
        digest, length = sha256(), 0
        try:
            content = self._tar.extractfile(info)
            while content is not None and (piece := content.read(READ_BYTES)):
                digest.update(piece)
                length += len(piece)
                yield piece
        except (tarfile.TarError, EOFError, OSError):
            raise Damaged(f"{name} ends early") from None
        if length != info.size:
            raise Damaged(f"{name} ends early")
        self._read.append(Member(name, length, digest.hexdigest()))
        self._advance()

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of the next member, without their line feeds.

        Raises:
            Damaged: as ``pieces``; a line is too long, or the last has no end.
        """
        rest = b""
        for piece in self.pieces(name):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > LINE_BYTES_MAX:
                raise Damaged(f"{name} has a line that is too long")
        if rest:
            raise Damaged(f"{name} ends within a line")

    def document(self, name: str) -> bytes:
        """The content of a small member.

        Raises:
            Damaged: as ``pieces``; it is too large.
        """
        found = bytearray()
        for piece in self.pieces(name):
            found += piece
            if len(found) > DOCUMENT_BYTES_MAX:
                raise Damaged(f"{name} is too large")
        return bytes(found)

    def skip(self, name: str) -> None:
        """Read over the next member, for its hash."""
        for _ in self.pieces(name):
            pass

    def finish(self) -> Manifest:
        """The manifest, with which all that was read agrees; nothing stands behind it.

        Raises:
            Damaged: a member differs, is missing or is too many.
        """
        read = tuple(self._read)
        try:
            manifest = msgspec.json.decode(self.document(MANIFEST), type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Damaged(f"{MANIFEST} cannot be read") from None
        for found, said in zip(read, manifest.members, strict=False):
            if found != said:
                raise Damaged(f"{found.name} is not as the manifest says")
        if len(read) != len(manifest.members):
            raise Damaged("the manifest names other members than there are")
        if self._at is not None:
            raise Damaged(f"there is something behind {MANIFEST}")
        return manifest

    def _advance(self) -> None:
        """Go to the next member.

        Raises:
            Damaged: its header cannot be read, or it is no plain file.
        """
        try:
            self._at = self._tar.next()
        except (tarfile.TarError, EOFError, OSError):
            raise Damaged(f"what follows {self.name or 'the beginning'} cannot be read") from None
        if self._at is not None and not self._at.isreg():
            raise Damaged("it has something else than plain files")
        self.name = None if self._at is None else self._at.name
