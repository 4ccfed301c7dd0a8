"""API keys: made once and shown once, kept only as a keyed hash, bound to one ledger and a role.

A key reads ``lk_<ledger id>_<key id>_<secret>``. What is stored is the HMAC-SHA-256 of the secret
under a key derived from the server's secret, so the table alone opens nothing. Secrets are 256
random bits: a slow password hash would protect nothing and cost every request.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from api.role_names import Role
from ledger_core.log import Connection

SECRET_BYTES = 32
KEY_ID_BYTES = 8
NAME_CHARACTERS_MAX = 100
PERSON_CHARACTERS_MAX = 100
PERMISSIONS_MAX = 20
# "lk_", a 10-digit ledger id, the key id and the secret in hexadecimal, with room to spare.
KEY_CHARACTERS_MAX = 128

_PREFIX = "lk"
_PERMISSION = re.compile(r"[a-z0-9_.\-]{1,40}")
_LABEL = b"ledger api keys v1"


class ApiKey(msgspec.Struct, frozen=True):
    """What is known of a key; never the key itself.

    ``given_person`` is who acts by it, ``None`` the key itself; ``permissions`` count when that
    person approves what others asked for.
    """

    ledger_id: int
    key_id: str
    secret_hash: bytes
    role: Role
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    given_person: str | None = None
    permissions: Sequence[str] = ()

    @property
    def person(self) -> str:
        """Who acts by this key: several keys may be of one person."""
        return self.key_id if self.given_person is None else self.given_person

    def __repr__(self) -> str:
        """Say which key, without its hash."""
        return f"ApiKey(ledger_id={self.ledger_id}, key_id={self.key_id!r}, role={self.role!r})"

    def is_valid(self, at: datetime) -> bool:
        """Whether the key opens anything at that moment."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


class PresentedKey(msgspec.Struct, frozen=True):
    """The parts of a key as a caller sent it, not yet believed."""

    ledger_id: int
    key_id: str
    secret: str


def create(  # noqa: PLR0913 - the columns of a key, and where its secrecy comes from
    connection: Connection,
    ledger_id: int,
    *,
    role: Role,
    name: str,
    server_secret: bytes,
    at: datetime,
    random_bytes: Callable[[int], bytes],
    expires_at: datetime | None = None,
    person: str | None = None,
    permissions: Sequence[str] = (),
) -> str:
    """Make a key and return it, for the only time; ``connection`` acts as ``ledger_writer``.

    Raises:
        ValueError: the name or person is empty, too long, or not printable, or a permission is
            malformed or one too many.
    """
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise ValueError(f"a key's name has 1 to {NAME_CHARACTERS_MAX} printable characters")
    _require_person(person)
    _require_permissions(permissions)
    key_id = random_bytes(KEY_ID_BYTES).hex()
    secret = random_bytes(SECRET_BYTES).hex()
    connection.execute(
        "INSERT INTO keystore.api_keys"
        " (ledger_id, key_id, secret_hash, role, name, created_at, expires_at, person, permissions)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            ledger_id,
            key_id,
            _hash(server_secret, secret),
            role,
            name,
            at,
            expires_at,
            person,
            sorted(set(permissions)),
        ),
    )
    return f"{_PREFIX}_{ledger_id}_{key_id}_{secret}"


def parse(text: str) -> PresentedKey | None:
    """The parts of a key, or ``None`` where the text cannot be one."""
    parts = text.split("_")
    if len(text) > KEY_CHARACTERS_MAX or len(parts) != 4 or not text.isascii():  # noqa: PLR2004
        return None
    prefix, ledger, key_id, secret = parts
    if prefix != _PREFIX or not ledger.isdigit() or len(ledger) > 9 or not key_id.isalnum():  # noqa: PLR2004
        return None
    return PresentedKey(int(ledger), key_id, secret)


def find(connection: Connection, ledger_id: int, key_id: str) -> ApiKey | None:
    """The key of that id as it stands now, or ``None``."""
    row = connection.execute(
        "SELECT ledger_id, key_id, secret_hash, role, name, created_at, expires_at, revoked_at,"
        " person, permissions FROM keystore.api_keys WHERE ledger_id = %s AND key_id = %s",
        (ledger_id, key_id),
    ).fetchone()
    return None if row is None else ApiKey(*row)


def list_keys(connection: Connection, ledger_id: int) -> list[ApiKey]:
    """Every key of the ledger, revoked ones included, oldest first."""
    rows = connection.execute(
        "SELECT ledger_id, key_id, secret_hash, role, name, created_at, expires_at, revoked_at,"
        " person, permissions FROM keystore.api_keys WHERE ledger_id = %s"
        " ORDER BY created_at, key_id",
        (ledger_id,),
    )
    return [ApiKey(*row) for row in rows]


def revoke(connection: Connection, ledger_id: int, key_id: str, at: datetime) -> bool:
    """Revoke a key for good; whether there was one to revoke."""
    cursor = connection.execute(
        "UPDATE keystore.api_keys SET revoked_at = %s"
        " WHERE ledger_id = %s AND key_id = %s AND revoked_at IS NULL",
        (at, ledger_id, key_id),
    )
    return cursor.rowcount == 1


def matches(key: ApiKey | None, presented: PresentedKey, server_secret: bytes) -> bool:
    """Whether the secret is the key's, compared in constant time, known key or not."""
    expected = bytes(SECRET_BYTES) if key is None else key.secret_hash
    is_equal = hmac.compare_digest(expected, _hash(server_secret, presented.secret))
    return is_equal and key is not None


def authenticate(
    connection: Connection, text: str, server_secret: bytes, at: datetime
) -> ApiKey | None:
    """The key behind the text a caller sent, if it is one and valid at that moment."""
    presented = parse(text)
    if presented is None:
        return None
    key = find(connection, presented.ledger_id, presented.key_id)
    if not matches(key, presented, server_secret) or key is None or not key.is_valid(at):
        return None
    return key


def _require_person(person: str | None) -> None:
    """Who acts by a key has a short name in plain characters.

    Raises:
        ValueError: any other form.
    """
    if person is None:
        return
    is_plain = person.isprintable() and person == person.strip()
    if not 1 <= len(person) <= PERSON_CHARACTERS_MAX or not is_plain:
        raise ValueError(f"a person has 1 to {PERSON_CHARACTERS_MAX} printable characters")


def _require_permissions(permissions: Sequence[str]) -> None:
    """Permissions are few, and named in small letters, digits, underscore, dot and hyphen.

    Raises:
        ValueError: any other form.
    """
    if len(permissions) > PERMISSIONS_MAX or not all(map(_PERMISSION.fullmatch, permissions)):
        raise ValueError(
            f"at most {PERMISSIONS_MAX} permissions, each of 1 to 40 characters a-z 0-9 _ . -"
        )


def _hash(server_secret: bytes, secret: str) -> bytes:
    """The keyed hash of a secret, under a key of its own derived from the server's."""
    derived = hmac.digest(server_secret, _LABEL, "sha256")
    return hmac.digest(derived, secret.encode(), "sha256")
