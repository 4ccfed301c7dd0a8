"""Sessions of staff: a token for a while, of which only a keyed hash is kept.

A token reads ``ls_<ledger id>_<session id>_<secret>``. A session ends when its person logs out,
when nobody used it for a while, or some time after it began, whichever comes first.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from api.callers import Credential
from api.staff_settings import StaffSettings
from ledger_core.log import Connection

PREFIX = "ls_"
SESSION_ID_BYTES = 8
SECRET_BYTES = 32
SEEN_EVERY = timedelta(seconds=15)
"""So often it is written down that a session is in use; it may end so much too early."""
KEPT = timedelta(days=90)
"""How long sessions that ended are kept, so that it can be seen that there were any."""
OWN = ("sessions.own",)
"""All that a session allows whose person has a password to change, or a second factor to set up."""

_LABEL = b"ledger sessions v1"
_FORM = re.compile(r"ls_([1-9][0-9]{0,8})_([0-9a-f]{16})_([0-9a-f]{64})", re.ASCII)


class Session(msgspec.Struct, frozen=True):
    """A session with what is known of its person; never the token.

    ``second_factor_at``: when the person last proved more than a password. ``is_new_here``: the
    person still has the password that the program made up.
    """

    ledger_id: int
    session_id: str
    secret_hash: bytes
    person_id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    second_factor_at: datetime | None
    ended_at: datetime | None
    roles: Sequence[str]
    permissions: Sequence[str]
    is_new_here: bool
    is_disabled: bool

    def __repr__(self) -> str:
        """Say which session, without its hash."""
        return f"Session(ledger_id={self.ledger_id}, session_id={self.session_id!r})"

    def is_open(self, at: datetime, idle_s: int) -> bool:
        """Whether the session opens anything at that moment."""
        is_idle = at - self.last_seen_at > timedelta(seconds=idle_s)
        return not (
            self.ended_at is not None or self.is_disabled or is_idle or at >= self.expires_at
        )

    @property
    def is_whole(self) -> bool:
        """Whether the session allows what its person's roles do."""
        return self.second_factor_at is not None and not self.is_new_here

    def credential(self) -> Credential:
        """What the session is to every route."""
        return Credential(
            ledger_id=self.ledger_id,
            credential_id=self.session_id,
            kind="session",
            actor=f"person:{self.person_id}",
            person=self.person_id,
            roles=tuple(self.roles),
            permissions=tuple(self.permissions) if self.is_whole else (),
            scopes=None if self.is_whole else OWN,
            second_factor_at=self.second_factor_at,
            expires_at=self.expires_at,
        )


class PresentedToken(msgspec.Struct, frozen=True):
    """The parts of a token as a caller sent it, not yet believed."""

    ledger_id: int
    session_id: str
    secret: str


_COLUMNS = b"""
SELECT sessions.ledger_id, session_id, secret_hash, sessions.person_id, sessions.created_at,
    last_seen_at, expires_at, second_factor_at, ended_at, roles, permissions,
    password_expires_at IS NOT NULL, disabled_at IS NOT NULL
FROM keystore.sessions JOIN keystore.staff
    ON staff.ledger_id = sessions.ledger_id AND staff.person_id = sessions.person_id
WHERE sessions.ledger_id = %s
"""


def begin(  # noqa: PLR0913 - the columns of a session, and where its secrecy comes from
    connection: Connection,
    ledger_id: int,
    person_id: str,
    *,
    second_factor_at: datetime | None,
    at: datetime,
    settings: StaffSettings,
    server_secret: bytes,
    random_bytes: Callable[[int], bytes],
) -> tuple[str, str, datetime]:
    """Begin a session: its id, its token, for the only time, and when it ends at the latest."""
    session_id = random_bytes(SESSION_ID_BYTES).hex()
    secret = random_bytes(SECRET_BYTES).hex()
    expires_at = at + timedelta(seconds=settings.session_s)
    connection.execute(
        "INSERT INTO keystore.sessions (ledger_id, session_id, secret_hash, person_id, created_at,"
        " last_seen_at, expires_at, second_factor_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            ledger_id,
            session_id,
            hash_of(server_secret, secret),
            person_id,
            at,
            at,
            expires_at,
            second_factor_at,
        ),
    )
    connection.execute(
        "DELETE FROM keystore.sessions WHERE ledger_id = %s AND expires_at < %s",
        (ledger_id, at - KEPT),
    )
    return session_id, f"{PREFIX}{ledger_id}_{session_id}_{secret}", expires_at


def parse(text: str) -> PresentedToken | None:
    """The parts of a token, or ``None`` where the text cannot be one."""
    found = _FORM.fullmatch(text)
    return None if found is None else PresentedToken(int(found[1]), found[2], found[3])


def find(connection: Connection, ledger_id: int, session_id: str) -> Session | None:
    """The session of that id as it stands now, or ``None``."""
    row = connection.execute(_COLUMNS + b"AND session_id = %s", (ledger_id, session_id)).fetchone()
    return None if row is None else Session(*row)


def listed(connection: Connection, ledger_id: int, person_id: str, at: datetime) -> list[Session]:
    """A person's sessions that have not ended by themselves, the latest first."""
    rows = connection.execute(
        _COLUMNS + b"AND sessions.person_id = %s AND ended_at IS NULL AND expires_at > %s"
        b" ORDER BY sessions.created_at DESC, session_id",
        (ledger_id, person_id, at),
    )
    return [Session(*row) for row in rows]


def matches(session: Session | None, presented: PresentedToken, server_secret: bytes) -> bool:
    """Whether the secret is the session's, compared in constant time, known session or not."""
    expected = bytes(SECRET_BYTES) if session is None else session.secret_hash
    is_equal = hmac.compare_digest(expected, hash_of(server_secret, presented.secret))
    return is_equal and session is not None


def see(connection: Connection, session: Session, at: datetime) -> None:
    """Note that a session is in use."""
    connection.execute(
        "UPDATE keystore.sessions SET last_seen_at = %s"
        " WHERE ledger_id = %s AND session_id = %s AND last_seen_at < %s",
        (at, session.ledger_id, session.session_id, at),
    )


def prove(connection: Connection, ledger_id: int, session_id: str, at: datetime) -> None:
    """Note that the person proved more than a password."""
    connection.execute(
        "UPDATE keystore.sessions SET second_factor_at = %s"
        " WHERE ledger_id = %s AND session_id = %s AND ended_at IS NULL",
        (at, ledger_id, session_id),
    )


def end(connection: Connection, ledger_id: int, session_id: str, at: datetime) -> None:
    """End a session."""
    connection.execute(
        "UPDATE keystore.sessions SET ended_at = %s"
        " WHERE ledger_id = %s AND session_id = %s AND ended_at IS NULL",
        (at, ledger_id, session_id),
    )


def end_all(
    connection: Connection, ledger_id: int, person_id: str, at: datetime, *, but: str = ""
) -> list[str]:
    """End every session of a person but one; the ids of those that had not ended before."""
    rows = connection.execute(
        "UPDATE keystore.sessions SET ended_at = %s WHERE ledger_id = %s AND person_id = %s"
        " AND ended_at IS NULL AND expires_at > %s AND session_id <> %s RETURNING session_id",
        (at, ledger_id, person_id, at, but),
    )
    return [row[0] for row in rows]


def hash_of(server_secret: bytes, secret: str) -> bytes:
    """The keyed hash of a secret, under a key of its own derived from the server's."""
    derived = hmac.digest(server_secret, _LABEL, "sha256")
    return hmac.digest(derived, secret.encode(), "sha256")
