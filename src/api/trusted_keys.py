"""Public keys by which an archive's checkpoints are judged: from a file, or the archive's own."""

import base64
import binascii
from collections.abc import Sequence

import msgspec

from api.archives import ArchiveRefused
from ledger_core import checkpoints
from ledger_core.checkpoints import Checkpoint
from ledger_core.notes import Algorithm, NoteError, PublicKey


class _Key(msgspec.Struct, frozen=True):
    """One key of a document."""

    name: str
    algorithm: Algorithm
    public_key: str


class _Document(msgspec.Struct, frozen=True):
    """The document ``keys.json``."""

    format: str
    keys: tuple[_Key, ...]


def parse(document: bytes) -> list[PublicKey]:
    """The keys of a ``keys.json``.

    Raises:
        ArchiveRefused: it is none.
    """
    try:
        found = msgspec.json.decode(document, type=_Document)
        return [
            PublicKey(key.name, key.algorithm, base64.b64decode(key.public_key, validate=True))
            for key in found.keys
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, ValueError):
        raise ArchiveRefused("The keys cannot be read: a keys.json was expected.") from None


def checked(note: str, origin: str, keys: Sequence[PublicKey]) -> Checkpoint:
    """The checkpoint of a note that is signed by a key of each algorithm there is for the origin.

    Raises:
        ArchiveRefused: it is not.
    """
    known = [key for key in keys if key.name == origin]
    if not known:
        raise ArchiveRefused(f"There is no key for checkpoints of {origin}.")
    found: Checkpoint | None = None
    try:
        for algorithm in sorted({key.algorithm for key in known}):
            of_kind = [key for key in known if key.algorithm == algorithm]
            found = checkpoints.verify(note, of_kind)
    except NoteError as problem:
        raise ArchiveRefused(f"The checkpoint does not hold: {problem}.") from None
    if found is None or found.origin != origin:
        raise ArchiveRefused("The checkpoint is that of another log.")
    return found
