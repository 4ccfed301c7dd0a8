"""Signed notes, checkpoints and the keys that sign them, as C2SP specifies them.

Written from the specifications signed-note, tlog-checkpoint and tlog-cosignature. Signatures by
keys that nobody trusts are ignored, as those ask; what a trusted key signed must be right.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ledger_verify.merkle import SIZE_MAX
from ledger_verify.plain import (
    Malformed,
    from_base64,
    hash_from_base64,
    is_object,
    list_of,
    parse_object,
    require_format,
    text_of,
)

NOTE_BYTES_MAX = 1_000_000
"""A note has a short text and a few signatures of at most 4 kB."""

SIGNATURES_MAX = 64
KEYS_MAX = 1_000

ED25519 = 0x01
ED25519_COSIGNATURE = 0x04
ML_DSA_44 = 0x06
_OTHER = 0xFF
_STATEMENT = b"ledger-note-ml-dsa-44/1"

_ID_BYTES = 4
_ED25519_BYTES = 32
_KEY_BYTES = {ED25519: 32, ED25519_COSIGNATURE: 32, ML_DSA_44: 1312}
_TIMESTAMP_BYTES = 8
_ALGORITHMS = {ED25519: "ed25519", ED25519_COSIGNATURE: "ed25519", ML_DSA_44: "ml-dsa-44"}
_TYPES = {"ed25519": ED25519, "ml-dsa-44": ML_DSA_44}

_SIGNATURE_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: ``kind`` is the signature type of C2SP that it makes."""

    name: str
    kind: int
    public: bytes

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return _ALGORITHMS[self.kind]

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return _key_id(self.name, bytes([self.kind]) + self.public)

    @property
    def statement_key_id(self) -> bytes:
        """As ``key_id``, where a note that is no checkpoint is signed with ML-DSA-44."""
        if self.kind != ML_DSA_44:
            return self.key_id
        return _key_id(self.name, bytes([_OTHER]) + _STATEMENT + self.public)


@dataclass(frozen=True, slots=True)
class Note:
    """A note: its text with the last line end, and its signatures: name, key id, bytes."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log said of itself: so many leaves, this root."""

    origin: str
    size: int
    root: bytes
    note: Note


def parse_note(data: bytes) -> Note:
    """The note behind its bytes.

    Raises:
        Malformed: not a signed note.
    """
    if len(data) > NOTE_BYTES_MAX:
        raise Malformed(f"a note of more than {NOTE_BYTES_MAX} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    if _CONTROL.search(whole):
        raise Malformed("a control character in a note")
    body, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Malformed("a note without a blank line and whole signature lines after it")
    signatures: list[tuple[str, bytes, bytes]] = []
    for line in lines[:-1].split("\n"):
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise Malformed("a signature line of another form")
        signature = from_base64(match[2])
        if len(signature) <= _ID_BYTES:
            raise Malformed("a signature that is too short")
        signatures.append((match[1], signature[:_ID_BYTES], signature[_ID_BYTES:]))
    if len(signatures) > SIGNATURES_MAX:
        raise Malformed(f"a note with more than {SIGNATURES_MAX} signatures")
    return Note(body + "\n", tuple(signatures))


def parse_checkpoint(data: bytes) -> Checkpoint:
    """The checkpoint behind a note's bytes.

    Raises:
        Malformed: not a checkpoint, or one with more lines than all its signatures cover.
    """
    note = parse_note(data)
    lines = note.text[:-1].split("\n")
    if len(lines) != 3:  # noqa: PLR2004 - origin, size, root
        raise Malformed("a checkpoint that is not origin, size and root")
    origin, size, root = lines
    if not origin:
        raise Malformed("a checkpoint without an origin")
    if _SIZE.fullmatch(size) is None or int(size) > SIZE_MAX:
        raise Malformed("a checkpoint whose size is no whole number")
    return Checkpoint(origin, int(size), hash_from_base64(root), note)


def checkpoint_signers(checkpoint: Checkpoint, keys: Sequence[Key]) -> list[tuple[Key, int | None]]:
    """The keys whose signatures stand under a checkpoint, with the time that each signed, if any.

    Raises:
        Malformed: a signature of one of the keys is wrong.
    """
    known = {(key.name, key.key_id): key for key in keys}
    return [
        (key, _check_checkpoint(checkpoint, key, signature))
        for name, key_id, signature in checkpoint.note.signatures
        if (key := known.get((name, key_id))) is not None
    ]


def note_signers(note: Note, keys: Sequence[Key]) -> list[Key]:
    """The keys whose signatures stand under a note that is no checkpoint.

    Raises:
        Malformed: a signature of one of the keys is wrong.
    """
    known = {
        (key.name, key.statement_key_id): key for key in keys if key.kind != ED25519_COSIGNATURE
    }
    found: list[Key] = []
    for name, key_id, signature in note.signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        text = note.text.encode()
        if key.kind == ED25519:
            _require_signed(key, signature, text)
        else:
            _require_signed(key, signature, _STATEMENT + b"\n\x00" + text)
        found.append(key)
    return found


def missing_algorithms(origin: str, keys: Iterable[Key], signers: Iterable[Key]) -> list[str]:
    """The algorithms of the log's own keys of which no signature is there.

    A note from which the signature of one algorithm was taken away is no longer what was signed.
    """
    own = {key.algorithm for key in keys if signs_for(key, origin)}
    if not own:
        return ["any"]
    return sorted(own - {key.algorithm for key in signers if signs_for(key, origin)})


def signs_for(key: Key, origin: str) -> bool:
    """Whether the key is one of the log itself: of its name, or of the name that it stands under.

    The access log of ``name`` is ``name/access``.
    """
    return key.kind != ED25519_COSIGNATURE and (
        origin == key.name or origin.startswith(key.name + "/")
    )


def parse_keys(data: bytes) -> list[Key]:
    """The keys of a file: a ``ledger-keys/1`` document, or verifier keys, one a line.

    Raises:
        Malformed: neither, or a key that is not what it says, or none at all.
    """
    if len(data) > KEYS_MAX * 4_000:
        raise Malformed("a file of keys that is too long")
    if data.lstrip()[:1] == b"{":
        keys = _document_keys(data)
    else:
        try:
            lines = data.decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise Malformed(f"not UTF-8 at byte {error.start}") from None
        keys = [
            parse_vkey(line.strip())
            for line in lines
            if line.strip() and not line.startswith(("#", "//"))
        ]
    if not keys:
        raise Malformed("no key in it")
    return list(dict.fromkeys(keys))


def parse_vkey(text: str) -> Key:
    """The key behind a verifier key of C2SP signed-note.

    Raises:
        Malformed: not one, or of a kind that is not known here.
    """
    match = _VKEY.fullmatch(text)
    if match is None:
        raise Malformed("not a verifier key")
    material = from_base64(match[3])
    return _key(match[1], material[0], material[1:], match[2])


def _document_keys(data: bytes) -> list[Key]:
    """The keys of a ``ledger-keys/1`` document; both forms in which it has a key must agree."""
    document = parse_object(data)
    require_format(document, "ledger-keys/1")
    keys: list[Key] = []
    for item in list_of(document, "keys"):
        if not is_object(item):
            raise Malformed("a key that is no object")
        kind = _TYPES.get(text_of(item, "algorithm"))
        if kind is None:
            raise Malformed("a key of an unknown algorithm")
        public = from_base64(text_of(item, "public_key"))
        key = _key(text_of(item, "name"), kind, public, text_of(item, "key_id"))
        if item.get("vkey") is not None and parse_vkey(text_of(item, "vkey")) != key:
            raise Malformed("a key whose two forms differ")
        keys.append(key)
    return keys


def _key(name: str, kind: int, public: bytes, key_id: str) -> Key:
    """A key, if it is what it says."""
    if _KEY_BYTES.get(kind) != len(public):
        raise Malformed("a key of an unknown kind, or of a wrong length")
    key = Key(name, kind, public)
    if key.key_id.hex() != key_id:
        raise Malformed("a key whose id is not its own")
    _public(key)
    return key


def _key_id(name: str, material: bytes) -> bytes:
    """The first four bytes of the hash over name, type and key."""
    return sha256(name.encode() + b"\n" + material).digest()[:_ID_BYTES]


def _check_checkpoint(checkpoint: Checkpoint, key: Key, signature: bytes) -> int | None:
    """Check one signature under a checkpoint; the time that it names, in seconds since 1970."""
    text = checkpoint.note.text.encode()
    if key.kind == ED25519:
        _require_signed(key, signature, text)
        return None
    stamp, rest = signature[:_TIMESTAMP_BYTES], signature[_TIMESTAMP_BYTES:]
    moment = int.from_bytes(stamp, "big")
    if key.kind == ED25519_COSIGNATURE:
        message = b"cosignature/v1\ntime %d\n" % moment + text
    else:
        message = b"".join(
            (
                b"subtree/v1\n\x00",
                _short(key.name),
                stamp,
                _short(checkpoint.origin),
                (0).to_bytes(8, "big"),
                checkpoint.size.to_bytes(8, "big"),
                checkpoint.root,
            )
        )
    _require_signed(key, rest, message)
    return moment


def _short(text: str) -> bytes:
    """A text as a vector of at most 255 bytes, with its length before it."""
    data = text.encode()
    if not 1 <= len(data) < 1 << 8:
        raise Malformed("a name of more than 255 bytes under ML-DSA-44")
    return bytes([len(data)]) + data


@lru_cache(maxsize=64)
def _public(key: Key) -> Ed25519PublicKey | MLDSA44PublicKey:
    """The key as the library takes it."""
    kind: Literal["ed", "ml"] = "ed" if len(key.public) == _ED25519_BYTES else "ml"
    try:
        if kind == "ed":
            return Ed25519PublicKey.from_public_bytes(key.public)
        return MLDSA44PublicKey.from_public_bytes(key.public)
    except ValueError:
        raise Malformed("bytes that are no public key") from None


def _require_signed(key: Key, signature: bytes, message: bytes) -> None:
    """The key signed the message.

    Raises:
        Malformed: it did not.
    """
    try:
        _public(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Malformed(f"the {key.algorithm} signature is not of that text") from None
