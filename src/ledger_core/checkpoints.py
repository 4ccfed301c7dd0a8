"""Checkpoints (c2sp.org/tlog-checkpoint): the size and root of a log's tree, signed twice.

Ed25519 is what everybody can check today; ML-DSA-44 (FIPS 204, as c2sp.org/tlog-cosignature has
it) still holds when there are quantum computers, and says when it was signed. Other statements of
the ledger's are signed by the same keys, in a form that can never be taken for a checkpoint.

Deliberately does not know: where keys are kept, whether a root is the log's, or the clock.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ledger_core import merkle, notes
from ledger_core.notes import Note, NoteError, PublicKey, Signature

_COSIGNED = b"subtree/v1\n\0"
_TIME_BYTES = 8
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES = 3


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a tree: whose it is, how many leaves it has, and its root.

    Raises:
        ValueError: no log may have that origin, size or root.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what no log can be at."""
        notes.require_name(self.origin)
        if not 0 <= self.size <= merkle.SIZE_MAX or len(self.root) != merkle.HASH_SIZE:
            raise ValueError("a checkpoint has a size from 0 to 2**63 - 1 and a root of 32 bytes")


class KeyPair(msgspec.Struct, frozen=True):
    """The two private keys that sign together."""

    ed25519: Ed25519PrivateKey
    ml_dsa_44: MLDSA44PrivateKey

    def __repr__(self) -> str:
        """Say nothing of a secret."""
        return "KeyPair()"

    def public(self, name: str) -> tuple[PublicKey, PublicKey]:
        """What its signatures under that name are checked with."""
        return (
            PublicKey(name, "ed25519", self.ed25519.public_key().public_bytes_raw()),
            PublicKey(name, "ml-dsa-44", self.ml_dsa_44.public_key().public_bytes_raw()),
        )


def body(origin: str, size: int, root: bytes) -> str:
    """A checkpoint's text: three lines."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def parse(note: str) -> tuple[Checkpoint, Note]:
    """A checkpoint and its note; nothing is checked but its form.

    Raises:
        NoteError: it is no signed checkpoint.
    """
    parsed = notes.parse(note)
    return checkpoint_of(parsed.text), parsed


def checkpoint_of(text: str) -> Checkpoint:
    """The checkpoint that a text says.

    Raises:
        NoteError: it says none, or has lines beyond its three.
    """
    lines = text.split("\n")
    if len(lines) != _LINES + 1 or _SIZE.fullmatch(lines[1]) is None:
        raise NoteError("a checkpoint must have three lines: origin, size and root")
    try:
        root = base64.b64decode(lines[2].encode("ascii"), validate=True)
        found = Checkpoint(lines[0], int(lines[1]), root)
    except (binascii.Error, ValueError):
        raise NoteError("a checkpoint must have an origin, a size and a root of 32 bytes") from None
    if body(found.origin, found.size, found.root) != text:
        raise NoteError("a checkpoint's root must be in canonical base64")
    return found


def sign(keys: KeyPair, name: str, checkpoint: Checkpoint, time_s: int) -> str:
    """The checkpoint as a note that both keys signed under that name.

    ``time_s`` is in seconds since 1970.
    """
    text = body(checkpoint.origin, checkpoint.size, checkpoint.root)
    ed25519, ml_dsa_44 = keys.public(name)
    cosigned = keys.ml_dsa_44.sign(_cosigned(name, time_s, checkpoint))
    signatures = (
        Signature(name, ed25519.key_id, keys.ed25519.sign(text.encode())),
        Signature(name, ml_dsa_44.key_id, _time(time_s) + cosigned),
    )
    return notes.write(text, signatures)


def sign_statement(keys: KeyPair, name: str, text: str) -> str:
    """Any other text as a note that both keys signed under that name.

    Raises:
        NoteError: no note may have that text, or it could be taken for a checkpoint.
    """
    notes.require_text(text)
    if _SIZE.fullmatch(text.split("\n")[1]) is not None:
        raise NoteError("a statement's second line must not be a number: it is no checkpoint")
    ed25519, ml_dsa_44 = keys.public(name)
    signatures = (
        Signature(name, ed25519.key_id, keys.ed25519.sign(text.encode())),
        Signature(name, _statement_key_id(ml_dsa_44), keys.ml_dsa_44.sign(_stated(text))),
    )
    return notes.write(text, signatures)


def verify(note: str, keys: Iterable[PublicKey]) -> Checkpoint:
    """The checkpoint, of which every signature by a known key holds, and there is one.

    Raises:
        NoteError: malformed; signed by no known key; or a signature by a known key does not hold.
    """
    found, parsed = parse(note)

    def check(key: PublicKey, signature: bytes) -> bool:
        """Whether the key signed the checkpoint."""
        if key.algorithm == "ed25519":
            return _is_ed25519(key, signature, parsed.text.encode())
        time_s = int.from_bytes(signature[:_TIME_BYTES], "big")
        message = _cosigned(key.name, time_s, found)
        return _is_ml_dsa_44(key, signature[_TIME_BYTES:], message)

    _require_signed(parsed, [(key, key.key_id) for key in keys], check)
    return found


def verify_statement(note: str, keys: Iterable[PublicKey]) -> str:
    """The text of a statement, signed as ``verify`` asks of a checkpoint.

    Raises:
        NoteError: as ``verify``.
    """
    parsed = notes.parse(note)

    def check(key: PublicKey, signature: bytes) -> bool:
        """Whether the key signed the statement."""
        if key.algorithm == "ed25519":
            return _is_ed25519(key, signature, parsed.text.encode())
        return _is_ml_dsa_44(key, signature, _stated(parsed.text))

    known = [
        (key, key.key_id if key.algorithm == "ed25519" else _statement_key_id(key)) for key in keys
    ]
    _require_signed(parsed, known, check)
    return parsed.text


def _require_signed(
    note: Note,
    keys: Sequence[tuple[PublicKey, bytes]],
    check: Callable[[PublicKey, bytes], bool],
) -> None:
    """Every signature by a known key holds, and there is one.

    Raises:
        NoteError: not so.
    """
    known = {(key.name, key_id): key for key, key_id in keys}
    is_signed = False
    for item in note.signatures:
        key = known.get((item.name, item.key_id))
        if key is None:
            continue
        if not check(key, item.signature):
            raise NoteError(f"a signature by a known key ({key.algorithm}) does not hold")
        is_signed = True
    if not is_signed:
        raise NoteError("the note is signed by no known key")


def _cosigned(name: str, time_s: int, checkpoint: Checkpoint) -> bytes:
    """What ML-DSA-44 signs of a checkpoint: the structure of c2sp.org/tlog-cosignature."""
    return b"".join(
        (
            _COSIGNED,
            bytes([len(name)]),
            name.encode(),
            _time(time_s),
            bytes([len(checkpoint.origin)]),
            checkpoint.origin.encode(),
            bytes(8),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _stated(text: str) -> bytes:
    """What ML-DSA-44 signs of a statement."""
    return notes.STATEMENT_IDENTIFIER + b"\n\0" + text.encode()


def _statement_key_id(key: PublicKey) -> bytes:
    """The id of an ML-DSA-44 key in the signatures of statements."""
    return notes.key_id(key.name, notes.STATEMENT_TYPE, key.raw)


def _time(time_s: int) -> bytes:
    """A time as it stands in a signature."""
    return time_s.to_bytes(_TIME_BYTES, "big")


def _is_ed25519(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature holds."""
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_ml_dsa_44(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether an ML-DSA-44 signature holds."""
    try:
        MLDSA44PublicKey.from_public_bytes(key.raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
