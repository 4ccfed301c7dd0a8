"""Members of staff: who they are to a ledger, which roles they have, and whether they may come in.

A person is an opaque id; nothing else is known of anybody. What they prove themselves by is looked
after by ``second_factors`` and ``passkeys``, where they are logged in by ``sessions``.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from ledger_core.log import Connection

INITIAL_PASSWORD_TIME = timedelta(days=3)
"""How long a password that the program made up opens anything."""
ROLES_MAX = 20
PERMISSIONS_MAX = 20
PERSON_RULE = "1 to 100 letters, digits and . _ : @ | -"
PERMISSION_RULE = f"at most {PERMISSIONS_MAX}, each of 1 to 40 characters a-z 0-9 _ . -"
ROLES_RULE = f"1 to {ROLES_MAX} roles of this ledger, each once"

_PERSON = re.compile(r"[A-Za-z0-9._:@|\-]{1,100}")
_PERMISSION = re.compile(r"[a-z0-9_.\-]{1,40}")

_SHOWN = b"""
SELECT person_id, roles, permissions, created_at, created_by, disabled_at, password_expires_at
FROM keystore.staff WHERE ledger_id = %s
"""
_WHOLE = b"""
SELECT ledger_id, person_id, roles, permissions, password_hash, password_expires_at, subject, totp,
    totp_proposed, totp_step, disabled_at,
    (SELECT count(*) FROM keystore.staff_passkeys AS keys
        WHERE keys.ledger_id = staff.ledger_id AND keys.person_id = staff.person_id)
FROM keystore.staff WHERE ledger_id = %s AND person_id = %s
"""


class StaffError(ValueError):
    """A person, a role or a permission does not have its form; ``field`` says which."""

    def __init__(self, field: str, rule: str) -> None:
        """Keep the field and the rule that it breaks."""
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Person(msgspec.Struct, frozen=True):
    """A member of staff with everything that is known; never to be shown.

    ``password_expires_at``: the password is one that the program made up, to be changed by then.
    ``subject`` is under whose key ``totp`` and ``totp_proposed`` are sealed; ``totp_step`` is the
    time of the last code that was taken, in steps since 1970.
    """

    ledger_id: int
    person_id: str
    roles: Sequence[str]
    permissions: Sequence[str]
    password_hash: str
    password_expires_at: datetime | None
    subject: str | None
    totp: str | None
    totp_proposed: str | None
    totp_step: int | None
    disabled_at: datetime | None
    passkeys: int

    def __repr__(self) -> str:
        """Say who it is, and no secret."""
        return f"Person(ledger_id={self.ledger_id}, person_id={self.person_id!r})"

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone is not enough."""
        return self.totp is not None or self.passkeys > 0

    def password_opens(self, at: datetime) -> bool:
        """Whether the right password lets the person in at that moment."""
        is_old = self.password_expires_at is not None and self.password_expires_at <= at
        return self.disabled_at is None and not is_old


class ShownPerson(msgspec.Struct, frozen=True):
    """A member of staff as others see them."""

    person_id: str
    roles: Sequence[str]
    permissions: Sequence[str]
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    password_expires_at: datetime | None


def is_person_id(text: str) -> bool:
    """Whether this can be the id of a person."""
    return _PERSON.fullmatch(text) is not None


def require_forms(person_id: str, roles: Sequence[str], permissions: Sequence[str]) -> None:
    """A person, roles and permissions have their form.

    Raises:
        StaffError: one of them has not.
    """
    if not is_person_id(person_id):
        raise StaffError("person_id", PERSON_RULE)
    if not 1 <= len(roles) <= ROLES_MAX or len(set(roles)) < len(roles):
        raise StaffError("roles", ROLES_RULE)
    if len(permissions) > PERMISSIONS_MAX or not all(map(_PERMISSION.fullmatch, permissions)):
        raise StaffError("permissions", PERMISSION_RULE)


def create(  # noqa: PLR0913 - the columns of a person
    connection: Connection,
    ledger_id: int,
    person_id: str,
    *,
    roles: Sequence[str],
    permissions: Sequence[str],
    password_hash: str,
    by: str,
    at: datetime,
) -> bool:
    """Take somebody in, with a password that is to be changed; ``False``: there is such a person.

    Raises:
        StaffError: see ``require_forms``.
    """
    require_forms(person_id, roles, permissions)
    cursor = connection.execute(
        "INSERT INTO keystore.staff (ledger_id, person_id, roles, permissions, password_hash,"
        " password_expires_at, created_at, created_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (
            ledger_id,
            person_id,
            sorted(roles),
            sorted(set(permissions)),
            password_hash,
            at + INITIAL_PASSWORD_TIME,
            at,
            by,
        ),
    )
    return cursor.rowcount == 1


def find(connection: Connection, ledger_id: int, person_id: str) -> Person | None:
    """The person of that id, if there is one; ``connection`` acts as ``ledger_writer``."""
    if not is_person_id(person_id):
        return None
    row = connection.execute(_WHOLE, (ledger_id, person_id)).fetchone()
    return None if row is None else Person(*row)


def find_locked(connection: Connection, ledger_id: int, person_id: str) -> Person | None:
    """As ``find``; nobody else changes anything about the person in this transaction."""
    if not is_person_id(person_id):
        return None
    connection.execute(
        "SELECT FROM keystore.staff WHERE ledger_id = %s AND person_id = %s FOR UPDATE",
        (ledger_id, person_id),
    )
    return find(connection, ledger_id, person_id)


def shown(connection: Connection, ledger_id: int, person_id: str) -> ShownPerson | None:
    """The person of that id as others see them, if there is one."""
    if not is_person_id(person_id):
        return None
    row = connection.execute(_SHOWN + b"AND person_id = %s", (ledger_id, person_id)).fetchone()
    return None if row is None else ShownPerson(*row)


def listed(
    connection: Connection, ledger_id: int, *, after: str = "", limit: int
) -> list[ShownPerson]:
    """People by id, from the first one after ``after``; at most ``limit``."""
    rows = connection.execute(
        _SHOWN + b'AND person_id COLLATE "C" > %s ORDER BY person_id COLLATE "C" LIMIT %s',
        (ledger_id, after, limit),
    )
    return [ShownPerson(*row) for row in rows]


def set_roles(
    connection: Connection,
    ledger_id: int,
    person_id: str,
    *,
    roles: Sequence[str],
    permissions: Sequence[str],
) -> bool:
    """Give a person these roles and permissions, and no others; whether there is such a person.

    Raises:
        StaffError: see ``require_forms``.
    """
    require_forms(person_id, roles, permissions)
    cursor = connection.execute(
        "UPDATE keystore.staff SET roles = %s, permissions = %s"
        " WHERE ledger_id = %s AND person_id = %s",
        (sorted(roles), sorted(set(permissions)), ledger_id, person_id),
    )
    return cursor.rowcount == 1


def set_password(connection: Connection, person: Person, password_hash: str) -> None:
    """Keep another password of the person's own choice."""
    connection.execute(
        "UPDATE keystore.staff SET password_hash = %s, password_expires_at = NULL"
        " WHERE ledger_id = %s AND person_id = %s",
        (password_hash, person.ledger_id, person.person_id),
    )


def keep_anew(connection: Connection, person: Person, password_hash: str) -> None:
    """Keep the same password at another cost, unless it was changed meanwhile."""
    connection.execute(
        "UPDATE keystore.staff SET password_hash = %s"
        " WHERE ledger_id = %s AND person_id = %s AND password_hash = %s",
        (password_hash, person.ledger_id, person.person_id, person.password_hash),
    )


def reset_password(
    connection: Connection, person: Person, password_hash: str, at: datetime
) -> None:
    """Keep a password that the program made up, and that the person is to change."""
    connection.execute(
        "UPDATE keystore.staff SET password_hash = %s, password_expires_at = %s"
        " WHERE ledger_id = %s AND person_id = %s",
        (password_hash, at + INITIAL_PASSWORD_TIME, person.ledger_id, person.person_id),
    )


def set_disabled(
    connection: Connection, ledger_id: int, person_id: str, at: datetime | None
) -> bool:
    """Let a person in no longer, or (``None``) again; whether there is such a person."""
    cursor = connection.execute(
        "UPDATE keystore.staff SET disabled_at = CASE WHEN %s::timestamptz IS NULL THEN NULL"
        " ELSE coalesce(disabled_at, %s) END WHERE ledger_id = %s AND person_id = %s",
        (at, at, ledger_id, person_id),
    )
    return cursor.rowcount == 1
