"""API keys: made once and shown once, kept only as a keyed hash, bound to one ledger and a role.

A key reads ``lk_<ledger id>_<key id>_<secret>``. What is stored is the HMAC-SHA-256 of the secret
under a key derived from the server's secret, so the table alone opens nothing. Secrets are 256
random bits: a slow password hash would protect nothing and cost every request. What is compared are
the hashes: how much of a wrong secret is right shows in none of them.

A key that is rotated goes on to hold until its overlap ends: ``revoked_at`` may be in the future.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from api.authority import expanded
from ledger_core.log import Connection

SECRET_BYTES = 32
KEY_ID_BYTES = 8
NAME_CHARACTERS_MAX = 100
PERSON_CHARACTERS_MAX = 100
PERMISSIONS_MAX = 20
SCOPES_MAX = 100
RATE_PER_S_MIN = 0.01
RATE_PER_S_MAX = 100_000.0
CERTIFICATE_BYTES = 32
# A month is enough to carry a new key to wherever the old one is used.
OVERLAP_S_MAX = 2_678_400
# "lk_", a 10-digit ledger id, the key id and the secret in hexadecimal, with room to spare.
KEY_CHARACTERS_MAX = 128

Status = Literal["active", "ending", "expired", "revoked"]

_PREFIX = "lk"
_PERMISSION = re.compile(r"[a-z0-9_.\-]{1,40}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_SECRET = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LEDGER_ID = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_LABEL = b"ledger api keys v1"
# What a secret is compared with where there is no such key: the hash of nothing.
_NO_HASH = bytes(SECRET_BYTES)
_COLUMNS = (
    "ledger_id, key_id, secret_hash, role, name, created_at, expires_at, revoked_at, person,"
    " permissions, scopes, rate_per_s, certificate_sha256, created_by, replaces, last_used_at"
)


class ApiKey(msgspec.Struct, frozen=True):
    """What is known of a key; never the key itself.

    ``given_person`` is who acts by it, ``None`` the key itself; ``permissions`` count when that
    person approves what others asked for. ``scopes``: it allows no more than these permissions;
    ``None``: all of its role's. ``created_by`` is an actor, ``replaces`` the key it was made for.
    ``last_used_at`` may be a minute old.
    """

    ledger_id: int
    key_id: str
    secret_hash: bytes
    role: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    given_person: str | None = None
    permissions: Sequence[str] = ()
    scopes: Sequence[str] | None = None
    rate_per_s: float | None = None
    certificate_sha256: bytes | None = None
    created_by: str = ""
    replaces: str | None = None
    last_used_at: datetime | None = None

    @property
    def person(self) -> str:
        """Who acts by this key: several keys may be of one person."""
        return self.key_id if self.given_person is None else self.given_person

    def __repr__(self) -> str:
        """Say which key, without its hash."""
        return f"ApiKey(ledger_id={self.ledger_id}, key_id={self.key_id!r}, role={self.role!r})"

    @property
    def ends_at(self) -> datetime | None:
        """From when on the key opens nothing; ``None``: it has no end yet."""
        ends = [at for at in (self.expires_at, self.revoked_at) if at is not None]
        return min(ends, default=None)

    def is_valid(self, at: datetime) -> bool:
        """Whether the key opens anything at that moment."""
        return self.ends_at is None or at < self.ends_at

    def status(self, at: datetime) -> Status:
        """What has become of the key; ``ending``: it was rotated, and holds for a while."""
        if self.is_valid(at):
            return "active" if self.revoked_at is None else "ending"
        return "revoked" if self.revoked_at is not None and self.revoked_at <= at else "expired"


class PresentedKey(msgspec.Struct, frozen=True):
    """The parts of a key as a caller sent it, not yet believed."""

    ledger_id: int
    key_id: str
    secret: str


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is to be; see ``ApiKey``."""

    role: str
    name: str
    expires_at: datetime | None = None
    person: str | None = None
    permissions: Sequence[str] = ()
    scopes: Sequence[str] | None = None
    rate_per_s: float | None = None
    certificate_sha256: bytes | None = None
    created_by: str = ""
    replaces: str | None = None


class CreatedKey(msgspec.Struct, frozen=True):
    """A key that was made: the only time that its text is known."""

    key_id: str
    text: str

    def __repr__(self) -> str:
        """Say which key, without its secret."""
        return f"CreatedKey(key_id={self.key_id!r})"


class KeyRefused(ValueError):  # noqa: N818 - a refusal, not a failure of the program
    """A key may not be like that: the field at fault, and the rule."""

    def __init__(self, field: str, rule: str) -> None:
        """Keep both."""
        super().__init__(rule)
        self.field = field
        self.rule = rule


def create(  # noqa: PLR0913 - where a key goes, and where its time and secrecy come from
    connection: Connection,
    ledger_id: int,
    new: NewKey,
    *,
    server_secret: bytes,
    at: datetime,
    random_bytes: Callable[[int], bytes],
) -> CreatedKey:
    """Make a key and return it, for the only time; ``connection`` acts as ``ledger_writer``.

    Raises:
        KeyRefused: as ``require_valid`` says.
    """
    require_valid(new)
    key_id = random_bytes(KEY_ID_BYTES).hex()
    secret = random_bytes(SECRET_BYTES).hex()
    connection.execute(
        f"INSERT INTO keystore.api_keys ({_COLUMNS})"  # noqa: S608 - our own names
        " VALUES (%s, %s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s, %s, %s, %s, NULL)",
        (
            ledger_id,
            key_id,
            _hash(server_secret, secret),
            new.role,
            new.name,
            at,
            new.expires_at,
            new.person,
            sorted(set(new.permissions)),
            None if new.scopes is None else sorted(set(new.scopes)),
            new.rate_per_s,
            new.certificate_sha256,
            new.created_by,
            new.replaces,
        ),
    )
    return CreatedKey(key_id, f"{_PREFIX}_{ledger_id}_{key_id}_{secret}")


def require_valid(new: NewKey) -> None:
    """A key's fields have their form; whether its role exists is for the ledger to say.

    Raises:
        KeyRefused: name or person are empty, too long or not printable; a permission or scope is
            malformed, names nothing, or is one too many; or the rate or the certificate's hash
            can be none.
    """
    is_named = 1 <= len(new.name) <= NAME_CHARACTERS_MAX and new.name.isprintable()
    if not is_named:
        rule = f"a key's name has 1 to {NAME_CHARACTERS_MAX} printable characters"
        raise KeyRefused("name", rule)
    if _PERMISSION.fullmatch(new.role) is None:
        raise KeyRefused("role", "a role's name has 1 to 40 characters a-z 0-9 _ . -")
    _require_person(new.person)
    _require_permissions(new.permissions)
    _require_scopes(new.scopes)
    if new.rate_per_s is not None and not RATE_PER_S_MIN <= new.rate_per_s <= RATE_PER_S_MAX:
        rule = f"a rate is {RATE_PER_S_MIN} to {RATE_PER_S_MAX:,.0f} requests a second"
        raise KeyRefused("rate_per_s", rule)
    certificate = new.certificate_sha256
    if certificate is not None and len(certificate) != CERTIFICATE_BYTES:
        raise KeyRefused("certificate_sha256", "a SHA-256 hash: 64 hexadecimal digits")


def require_future(new: NewKey, at: datetime) -> None:
    """A key does not expire before it is there.

    Raises:
        KeyRefused: it would.
    """
    if new.expires_at is not None and new.expires_at <= at:
        raise KeyRefused("expires_at", "a key expires in the future")


def parse(text: str) -> PresentedKey | None:
    """The parts of a key, or ``None`` where the text cannot be one."""
    parts = text.split("_")
    if len(text) > KEY_CHARACTERS_MAX or len(parts) != 4:  # noqa: PLR2004 - as in the docstring
        return None
    prefix, ledger, key_id, secret = parts
    has_form = (
        prefix == _PREFIX
        and _LEDGER_ID.fullmatch(ledger)
        and _KEY_ID.fullmatch(key_id)
        and _SECRET.fullmatch(secret)
    )
    return PresentedKey(int(ledger), key_id, secret) if has_form else None


def find(connection: Connection, ledger_id: int, key_id: str) -> ApiKey | None:
    """The key of that id as it stands now, or ``None``."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM keystore.api_keys"  # noqa: S608 - our own names
        " WHERE ledger_id = %s AND key_id = %s",
        (ledger_id, key_id),
    ).fetchone()
    return None if row is None else ApiKey(*row)


def list_keys(
    connection: Connection,
    ledger_id: int,
    *,
    after: tuple[datetime, str] | None = None,
    limit: int | None = None,
) -> list[ApiKey]:
    """The keys of the ledger, revoked ones included, oldest first.

    ``after``: those made after a key, by its time and id. ``limit`` ``None``: all of them.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM keystore.api_keys"  # noqa: S608 - our own names
        " WHERE ledger_id = %s AND (%s::timestamptz IS NULL OR (created_at, key_id) > (%s, %s))"
        " ORDER BY created_at, key_id LIMIT %s",
        (ledger_id, *((None, None, "") if after is None else (after[0], *after)), limit),
    )
    return [ApiKey(*row) for row in rows]


def revoke(connection: Connection, ledger_id: int, key_id: str, at: datetime) -> bool:
    """End a key for good at that moment; whether there was one that would have held longer."""
    cursor = connection.execute(
        "UPDATE keystore.api_keys SET revoked_at = %s"
        " WHERE ledger_id = %s AND key_id = %s AND (revoked_at IS NULL OR revoked_at > %s)",
        (at, ledger_id, key_id, at),
    )
    return cursor.rowcount == 1


def end_by(connection: Connection, ledger_id: int, key_id: str, at: datetime) -> bool:
    """Have a key end at that moment because another replaces it; once, and while it still holds."""
    cursor = connection.execute(
        "UPDATE keystore.api_keys SET revoked_at = %s"
        " WHERE ledger_id = %s AND key_id = %s AND revoked_at IS NULL",
        (at, ledger_id, key_id),
    )
    return cursor.rowcount == 1


def successor(key: ApiKey, *, expires_at: datetime | None, created_by: str, at: datetime) -> NewKey:
    """The key that replaces another: the same in all but its secret and its time.

    ``expires_at`` ``None``: it is good for as long as the other was when it was made.
    """
    if expires_at is None and key.expires_at is not None:
        expires_at = at + (key.expires_at - key.created_at)
    return NewKey(
        role=key.role,
        name=key.name,
        expires_at=expires_at,
        person=key.person,  # Its own id, if it acts for itself: rotating makes no second person.
        permissions=key.permissions,
        scopes=key.scopes,
        rate_per_s=key.rate_per_s,
        certificate_sha256=key.certificate_sha256,
        created_by=created_by,
        replaces=key.key_id,
    )


def overlap_end(at: datetime, overlap_s: int) -> datetime:
    """Until when a key that is rotated goes on to hold.

    Raises:
        KeyRefused: no such time.
    """
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise KeyRefused("overlap_s", f"seconds from 0 to {OVERLAP_S_MAX}")
    return at + timedelta(seconds=overlap_s)


def note_uses(connection: Connection, uses: Sequence[tuple[int, str, datetime]]) -> None:
    """Write when keys were last used; a later use that is there already stays."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE keystore.api_keys SET last_used_at = greatest(last_used_at, %s)"
            " WHERE ledger_id = %s AND key_id = %s",
            [(at, ledger_id, key_id) for ledger_id, key_id, at in uses],
        )


def matches(key: ApiKey | None, presented: PresentedKey, server_secret: bytes) -> bool:
    """Whether the secret is the key's, compared in constant time, known key or not."""
    expected = _NO_HASH if key is None else key.secret_hash
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
        KeyRefused: any other form.
    """
    if person is None:
        return
    is_plain = person.isprintable() and person == person.strip()
    if not 1 <= len(person) <= PERSON_CHARACTERS_MAX or not is_plain:
        rule = f"a person has 1 to {PERSON_CHARACTERS_MAX} printable characters"
        raise KeyRefused("person", rule)


def _require_permissions(permissions: Sequence[str]) -> None:
    """Permissions are few, and named in small letters, digits, underscore, dot and hyphen.

    Raises:
        KeyRefused: any other form.
    """
    if len(permissions) > PERMISSIONS_MAX or not all(map(_PERMISSION.fullmatch, permissions)):
        rule = f"at most {PERMISSIONS_MAX} permissions, each of 1 to 40 characters a-z 0-9 _ . -"
        raise KeyRefused("permissions", rule)


def _require_scopes(scopes: Sequence[str] | None) -> None:
    """Scopes are few, and each names permissions that there are.

    Raises:
        KeyRefused: none, too many, or one that names nothing.
    """
    if scopes is None:
        return
    if not 1 <= len(scopes) <= SCOPES_MAX or not all(expanded((scope,)) for scope in scopes):
        rule = f"1 to {SCOPES_MAX} permissions, as in accounts.read or accounts.*"
        raise KeyRefused("scopes", rule)


def _hash(server_secret: bytes, secret: str) -> bytes:
    """The keyed hash of a secret, under a key of its own derived from the server's."""
    derived = hmac.digest(server_secret, _LABEL, "sha256")
    return hmac.digest(derived, secret.encode(), "sha256")
