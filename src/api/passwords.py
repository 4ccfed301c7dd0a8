"""Passwords of staff: which ones are taken, and how they are kept and compared.

What is kept is argon2id (RFC 9106) over a keyed hash of the password, so that the table alone does
not let anybody guess. Longer is better: nothing is asked but length, and that it is not one that
everybody tries first (NIST SP 800-63B, 3.1.1.2).
"""

import base64
import hmac
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from api import readable_codes

CHARACTERS_MIN = 12
CHARACTERS_MAX = 128
DIFFERENT_MIN = 5
INITIAL_BYTES = 15
"""Of a password that the program makes up: 120 bits, 24 characters."""

# RFC 9106, section 4, the second recommended choice: some 100 ms, and 64 MiB, a guess.
TIME_COST = 3
MEMORY_KIB = 65_536
LANES = 4
SALT_BYTES = 16
HASH_BYTES = 32

_LABEL = b"ledger passwords v1"
_LETTER = re.compile(r"[^\W\d_]+")
_OUTER = re.compile(r"^[\W\d_]+|[\W\d_]+$")
# What passwords are most often made of, letters only; digits and signs around them help nobody.
_COMMON = frozenset(
    {
        "abcdefghijklmnopqrstuvwxyz",
        "administrator",
        "bankledger",
        "changeit",
        "changeme",
        "correcthorsebatterystaple",
        "einloggen",
        "geheim",
        "hunter",
        "iloveyou",
        "kennwort",
        "ledger",
        "letmein",
        "letmeinplease",
        "login",
        "mypassword",
        "passphrase",
        "password",
        "passw",
        "passwort",
        "pleaseletmein",
        "qwerty",
        "qwertyuiop",
        "qwertzuiop",
        "secret",
        "supersecret",
        "test",
        "testtest",
        "welcome",
        "willkommen",
    }
)
_SPELT = str.maketrans("@430157$!", "aaeoistsi")


class Passwords:
    """Hashes passwords and compares them, each at the same cost; may be used by any thread."""

    def __init__(self, server_secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """Derive the key of the hashes, and make up a hash that no password has."""
        self._key = hmac.digest(server_secret, _LABEL, "sha256")
        self._random_bytes = random_bytes
        self._hasher = PasswordHasher(
            time_cost=TIME_COST,
            memory_cost=MEMORY_KIB,
            parallelism=LANES,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=Type.ID,
        )
        self._nobodys = "$".join(
            (
                "",
                "argon2id",
                "v=19",
                f"m={MEMORY_KIB},t={TIME_COST},p={LANES}",
                _unpadded(random_bytes(SALT_BYTES)),
                _unpadded(random_bytes(HASH_BYTES)),
            )
        )

    def hashed(self, password: str) -> str:
        """What is kept of a password."""
        return self._hasher.hash(self._keyed(password), salt=self._random_bytes(SALT_BYTES))

    def is_right(self, kept: str | None, password: str) -> bool:
        """Whether it is the password that this was kept of; for ``None`` it takes as long."""
        try:
            self._hasher.verify(self._nobodys if kept is None else kept, self._keyed(password))
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether a password was kept at another cost than is asked today."""
        return self._hasher.check_needs_rehash(kept)

    def initial(self) -> str:
        """A password for a person's first log-in, which the person then changes."""
        return readable_codes.written(self._random_bytes(INITIAL_BYTES))

    def _keyed(self, password: str) -> str:
        """The keyed hash of a password, however its characters were composed."""
        text = unicodedata.normalize("NFKC", password).encode(errors="replace")
        return hmac.digest(self._key, text, "sha256").hex()


def weakness_of(password: str, person_id: str) -> str | None:
    """The rule that a new password breaks, if it breaks one."""
    if not CHARACTERS_MIN <= len(password) <= CHARACTERS_MAX:
        return f"{CHARACTERS_MIN} to {CHARACTERS_MAX} characters"
    lowered = unicodedata.normalize("NFKC", password).lower()
    if len(set(lowered)) < DIFFERENT_MIN:
        return f"at least {DIFFERENT_MIN} different characters"
    if _is_row(lowered) or _is_repeated(lowered):
        return "no row of characters, and none repeated"
    if len(person_id) >= DIFFERENT_MIN and person_id.lower() in lowered:
        return "not your own id"
    if _is_common(lowered):
        return "not one of the passwords that are tried first"
    return None


def _is_row(text: str) -> bool:
    """Whether each character follows the one before: 123456789012, abcdefghijkl."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return steps <= {1, -9} or steps <= {-1, 9}


def _is_repeated(text: str) -> bool:
    """Whether a text is a shorter one again and again."""
    return text in (text + text)[1:-1]


def _is_common(text: str) -> bool:
    """Whether a text is one of the common words, with digits and signs in it or about it."""
    inner = _OUTER.sub("", text)
    spelt = (text, inner, text.translate(_SPELT), inner.translate(_SPELT))
    return any("".join(_LETTER.findall(spelling)) in _COMMON for spelling in spelt)


def _unpadded(raw: bytes) -> str:
    """Base64 as hashes of argon2 are written."""
    return base64.b64encode(raw).rstrip(b"=").decode()
