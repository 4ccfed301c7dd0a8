"""Signed notes (c2sp.org/signed-note): a text, and who signed it with which keys.

A key is known by its name and a short id, which is made of name, algorithm and public key: who
checks a note knows names and public keys, ignores signatures by others, and refuses a note that a
known key did not sign. Deliberately does not know: what a text says, where keys are kept, or the
time.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

import msgspec

KEY_ID_BYTES = 4
NAME_BYTES_MAX = 255
SIGNATURES_MAX = 100

ED25519_TYPE = b"\x01"
ML_DSA_44_TYPE = b"\x06"
"""ML-DSA-44 over a checkpoint, with its time (c2sp.org/tlog-cosignature)."""

STATEMENT_IDENTIFIER = b"ledger-note-ml-dsa-44/1"
STATEMENT_TYPE = b"\xff" + STATEMENT_IDENTIFIER
"""ML-DSA-44 over any other note: ours, since there is no public one."""

Algorithm = Literal["ed25519", "ml-dsa-44"]
PUBLIC_KEY_BYTES: dict[Algorithm, int] = {"ed25519": 32, "ml-dsa-44": 1312}
_TYPE_OF: dict[Algorithm, bytes] = {"ed25519": ED25519_TYPE, "ml-dsa-44": ML_DSA_44_TYPE}

# An em dash begins a signature, a name has neither blanks nor plus.
_DASH = "\N{EM DASH} "
_NAME = re.compile(r"[!-*,-~]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteError(ValueError):
    """A note is malformed, or not signed as it must be; the message says how."""


class Signature(msgspec.Struct, frozen=True):
    """One signature of a note: whose, and its bytes after the key's id."""

    name: str
    key_id: bytes
    signature: bytes


class Note(msgspec.Struct, frozen=True):
    """A text, which ends with a line feed, and its signatures in order."""

    text: str
    signatures: tuple[Signature, ...]


class PublicKey(msgspec.Struct, frozen=True):
    """A key that notes are checked with.

    Raises:
        ValueError: no key may have that name, or none of the algorithm has that many bytes.
    """

    name: str
    algorithm: Algorithm
    raw: bytes

    def __post_init__(self) -> None:
        """Refuse what is no key."""
        require_name(self.name)
        if len(self.raw) != PUBLIC_KEY_BYTES[self.algorithm]:
            raise ValueError(f"a public key of {self.algorithm} has another length")

    @property
    def key_id(self) -> bytes:
        """The key's short id in signatures of checkpoints (and by Ed25519, of any note)."""
        return key_id(self.name, _TYPE_OF[self.algorithm], self.raw)

    @property
    def vkey(self) -> str:
        """The key as other programs take it: name, id and bytes in one text."""
        material = base64.b64encode(_TYPE_OF[self.algorithm] + self.raw).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"


def require_name(name: str) -> None:
    """A key, and so a log, may have that name: up to 255 printable ASCII characters, no ``+``.

    Raises:
        ValueError: it may not.
    """
    if _NAME.fullmatch(name) is None or len(name) > NAME_BYTES_MAX:
        raise ValueError(
            f"a name must have 1 to {NAME_BYTES_MAX} ASCII letters, digits and marks,"
            " without blanks and '+'"
        )


def key_id(name: str, kind: bytes, public_key: bytes) -> bytes:
    """The short id of a key: what tells it from others of the same name."""
    return sha256(name.encode() + b"\n" + kind + public_key).digest()[:KEY_ID_BYTES]


def require_text(text: str) -> None:
    """A note may have that text.

    Raises:
        NoteError: it does not end with a line feed, or has a control character.
    """
    if not text.endswith("\n") or _CONTROL.search(text) is not None:
        raise NoteError("a note's text must end with a line feed and have no control characters")


def write(text: str, signatures: Sequence[Signature]) -> str:
    """The signed note."""
    lines = [
        f"{_DASH}{item.name} {base64.b64encode(item.key_id + item.signature).decode()}\n"
        for item in signatures
    ]
    return f"{text}\n{''.join(lines)}"


def parse(note: str) -> Note:
    """Text and signatures of a signed note; nothing is checked but its form.

    Raises:
        NoteError: it has not the form of a signed note.
    """
    before, empty, after = note.rpartition("\n\n")
    text = before + "\n"
    if not empty or not before or not after.endswith("\n"):
        raise NoteError("a note must have a text, an empty line, and lines of signatures")
    require_text(text)
    lines = after[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise NoteError(f"a note must have at most {SIGNATURES_MAX} signatures")
    return Note(text, tuple(_signature(line) for line in lines))


def _signature(line: str) -> Signature:
    """The signature that a line holds.

    Raises:
        NoteError: it holds none.
    """
    name, blank, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        raw = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not line.startswith(_DASH) or not blank or not name or len(raw) <= KEY_ID_BYTES:
        raise NoteError("a line of a signature must be a dash, a name, and a key's id with bytes")
    return Signature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])
