"""The keys that sign checkpoints and statements: outside the database, several over time.

A key is 32 secret bytes, from which an Ed25519 and an ML-DSA-44 key are derived. It is a file
``LEDGER_DATA_DIR/keys/signing-0001`` (mode 0600, made on first use), or comes from
``LEDGER_SIGNING_KEY``. Changing it makes the next file and leaves of the old one nothing but its
public keys, with which what it signed is checked for ever.
"""

import base64
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api import clock
from api.notary_settings import SECRET_BYTES
from api.settings import Settings, SettingsError
from ledger_core import checkpoints
from ledger_core.checkpoints import Checkpoint, KeyPair
from ledger_core.notes import PublicKey

KEYS_FORMAT = "ledger-keys/1"

_FILE = re.compile(r"signing-([0-9]{4})(\.pub)?")
_SEED_BYTES = 32


class _Raw(msgspec.Struct, frozen=True):
    """The public keys of a pair, as their file holds them: raw bytes in base64."""

    ed25519: bytes
    ml_dsa_44: bytes


class SigningKeys:
    """The pair that signs now, and the public keys of all that ever did."""

    def __init__(self, former: Sequence[_Raw], current: KeyPair) -> None:
        """Sign with ``current``; ``former`` are those before it, oldest first."""
        self._former = former
        self._current = current

    def __repr__(self) -> str:
        """Say nothing of a secret."""
        return f"SigningKeys(former={len(self._former)})"

    def sign(self, name: str, text: str) -> str:
        """A statement, which is no checkpoint, as a note signed by both keys under that name.

        The name is the ledger's origin; when it was signed, the text itself must say.

        Raises:
            NoteError: the text is none that a statement may have.
        """
        return checkpoints.sign_statement(self._current, name, text)

    def sign_checkpoint(self, name: str, checkpoint: Checkpoint, at: datetime) -> str:
        """A checkpoint as a note signed by both keys under that name.

        For the notary alone, which has made sure that the log only grew.
        """
        return checkpoints.sign(self._current, name, checkpoint, int(at.timestamp()))

    def public_keys(self, origin: str) -> list[PublicKey]:
        """What notes of that origin are checked with, oldest first."""
        found: list[PublicKey] = []
        for raw in self._former:
            found.append(PublicKey(origin, "ed25519", raw.ed25519))
            found.append(PublicKey(origin, "ml-dsa-44", raw.ml_dsa_44))
        found.extend(self._current.public(origin))
        return found

    def public(self, origin: str) -> dict[str, object]:
        """The document ``keys.json``: what an outsider needs to check notes of that origin."""
        return {
            "format": KEYS_FORMAT,
            "origin": origin,
            "keys": [
                {
                    "name": key.name,
                    "algorithm": key.algorithm,
                    "key_id": key.key_id.hex(),
                    "public_key": base64.b64encode(key.raw).decode(),
                    "vkey": key.vkey,
                }
                for key in self.public_keys(origin)
            ],
        }


def load(settings: Settings) -> SigningKeys:
    """The keys, made where there are none yet.

    Raises:
        SettingsError: a file cannot be read or written, or does not hold a key.
    """
    given = settings.notary.secrets
    if given:
        pairs = [_pair(secret) for secret in given]
        return SigningKeys([_raw(pair) for pair in pairs[:-1]], pairs[-1])
    folder = settings.data_dir / "keys"
    try:
        files = _files(folder)
        if not files or files[-1].suffix:
            _create(folder, len(files) + 1)
            files = _files(folder)
        return SigningKeys([_read_public(file) for file in files[:-1]], _read(files[-1]))
    except OSError as error:
        msg = f"cannot read or create the signing keys in {folder}: {error.strerror}"
        raise SettingsError(msg) from None


def rotate(settings: Settings) -> SigningKeys:
    """Sign with a new key from now on; of the old one only the public keys are kept.

    Raises:
        SettingsError: the keys come from the environment, or the files cannot be changed.
    """
    if settings.notary.secrets:
        msg = "LEDGER_SIGNING_KEY holds the keys: append the new one there, after a comma"
        raise SettingsError(msg)
    load(settings)
    folder = settings.data_dir / "keys"
    try:
        old = _files(folder)[-1]
        public = old.with_name(f"{old.name}.pub")
        _write(public, msgspec.json.encode(_raw(_read(old))) + b"\n")
        _create(folder, _number(old) + 1)
        old.unlink()
    except OSError as error:
        msg = f"cannot change the signing keys in {folder}: {error.strerror}"
        raise SettingsError(msg) from None
    return load(settings)


def _files(folder: Path) -> list[Path]:
    """One file a key, oldest first: the public keys where the secret is no longer there."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("signing-*")):
        if _FILE.fullmatch(path.name) is None:
            continue
        # Between two steps of a change there may be both.
        kept = found.get(_number(path))
        found[_number(path)] = path if kept is None or kept.suffix else kept
    return [found[number] for number in sorted(found)]


def _number(path: Path) -> int:
    """Which key a file holds."""
    return int(path.name.removeprefix("signing-").removesuffix(".pub"))


def _create(folder: Path, number: int) -> None:
    """Write a new key; where another process is first, keep that one's."""
    secret = base64.b64encode(clock.random_bytes(SECRET_BYTES)) + b"\n"
    _write(folder / f"signing-{number:04}", secret)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is not there yet; nobody sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{clock.random_bytes(4).hex()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _read(path: Path) -> KeyPair:
    """The pair behind a file of secret bytes.

    Raises:
        SettingsError: it holds something else; the text is not repeated.
    """
    try:
        secret = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        msg = f"{path} must hold {SECRET_BYTES} bytes in base64"
        raise SettingsError(msg)
    return _pair(secret)


def _read_public(path: Path) -> _Raw:
    """The public keys of a pair that signs no more.

    Raises:
        SettingsError: the file holds something else.
    """
    if not path.suffix:
        return _raw(_read(path))
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        msg = f"{path} does not hold the public keys of a former signing key"
        raise SettingsError(msg) from None


def _raw(pair: KeyPair) -> _Raw:
    """The public keys of a pair."""
    return _Raw(
        pair.ed25519.public_key().public_bytes_raw(),
        pair.ml_dsa_44.public_key().public_bytes_raw(),
    )


def _pair(secret: bytes) -> KeyPair:
    """The two keys that are derived from one secret."""
    return KeyPair(
        Ed25519PrivateKey.from_private_bytes(_derived(secret, b"ed25519")),
        MLDSA44PrivateKey.from_seed_bytes(_derived(secret, b"ml-dsa-44")),
    )


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """A key's own seed (RFC 5869)."""
    info = b"ledger-core signing key v1 " + purpose
    return HKDF(algorithm=SHA256(), length=_SEED_BYTES, salt=None, info=info).derive(secret)
