"""The staff of a test's bank: people who log in over HTTP, with an app or a passkey."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import pyotp
from httpx2 import Response
from tests.cheap_passwords import cheap_passwords
from tests.http.bank import Bank, Json
from tests.security.authenticator import Authenticator

from api import clock, sessions, staff
from api.passwords import Passwords
from api.staff_desk import Drawer
from ledger_core import access_log
from ledger_core.access_log import StoredAccess

FIRST_PASSWORD = "0123-4567-89ab-cdef-ghjk-mnpq"
PASSWORD = "four wild geese at noon"
OTHER_PASSWORD = "a kettle of green herons"
CURRENT = "/v1/sessions/current"


class Member:
    """A person of a bank, with what the person carries."""

    def __init__(self, bank: Bank, person_id: str, password: str) -> None:
        """Know nothing but the password."""
        self.bank = bank
        self.person_id = person_id
        self.password = password
        self.secret = ""
        self.recovery_codes: list[str] = []
        self.token = ""
        self.authenticator = Authenticator()

    def try_log_in(self, password: str | None = None, code: str = "") -> Response:
        """The answer to an attempt to log in."""
        body = {
            "person": self.person_id,
            "password": self.password if password is None else password,
            "code": code,
            "ledger": self.bank.ledger,
        }
        return self.bank.client.post("/v1/sessions", json=body)

    def log_in(self, code: str = "") -> Json:
        """Log in, with a code of the app where there is one and none is given."""
        answer = self.try_log_in(code=code or (self.code() if self.secret else ""))
        assert answer.status_code == 201, answer.text
        found: Json = answer.json()
        self.token = found["token"]
        return found

    def code(self) -> str:
        """A code of the app, as if none had been given in the last minutes."""
        with self.bank.runtime.connect("ledger_writer") as connection:
            connection.execute(
                "UPDATE keystore.staff SET totp_step = NULL"
                " WHERE ledger_id = %s AND person_id = %s",
                (self.bank.ledger_id, self.person_id),
            )
        return str(pyotp.TOTP(self.secret).at(clock.now()))

    def post(self, path: str, body: Json | None = None, **headers: str) -> Response:
        """Post in the session."""
        given = self.headers(**headers)
        if body is None:
            return self.bank.client.post(path, headers=given)
        return self.bank.client.post(path, json=body, headers=given)

    def get(self, path: str) -> Response:
        """Read in the session."""
        return self.bank.client.get(path, headers=self.headers())

    def headers(self, **others: str) -> dict[str, str]:
        """The headers of a request in the session."""
        return {"Authorization": f"Bearer {self.token}", **others}

    def do(self, path: str, body: Json | None = None) -> Json:
        """Post in the session about oneself, which succeeds."""
        answer = self.post(f"{CURRENT}/{path}", body)
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    def choose_password(self, password: str = PASSWORD) -> None:
        """Change the first password."""
        self.do("password", {"password": self.password, "new_password": password})
        self.password = password

    def set_up_app(self) -> None:
        """Have an app make codes."""
        self.secret = self.do("totp")["secret"]
        answer = self.do("totp/confirm", {"code": str(pyotp.TOTP(self.secret).at(clock.now()))})
        self.recovery_codes = answer["recovery_codes"] or self.recovery_codes

    def set_up_passkey(self, name: str = "blue key") -> Json:
        """Add a passkey."""
        options = self.do("passkey-challenge")["publicKey"]
        body = {"name": name, "credential": self.authenticator.make(options)}
        found = self.do("passkeys", body)
        self.recovery_codes = found["recovery_codes"] or self.recovery_codes
        return found

    def age(self, **by: float) -> None:
        """Let all sessions of the person be older than they are."""
        with self.bank.runtime.connect("ledger_writer") as connection:
            connection.execute(
                "UPDATE keystore.sessions SET second_factor_at = second_factor_at - %(by)s,"
                " last_seen_at = last_seen_at - %(by)s"
                " WHERE ledger_id = %(ledger_id)s AND person_id = %(person_id)s",
                {
                    "by": timedelta(**by),
                    "ledger_id": self.bank.ledger_id,
                    "person_id": self.person_id,
                },
            )
        key_ring(self.bank)._valid.clear()  # noqa: SLF001 - as a second or two would do


def key_ring(bank: Bank) -> Any:  # noqa: ANN401 - of the application behind the client
    """What the server remembers of credentials."""
    return bank.client.app.state.context.key_ring  # type: ignore[attr-defined]


def taken_in(bank: Bank, person_id: str, *roles: str, permissions: tuple[str, ...] = ()) -> Member:
    """A person with a first password, as the command line makes one."""
    with at_desk(bank) as drawer:
        assert staff.create(
            drawer.connection,
            bank.ledger_id,
            person_id,
            roles=roles,
            permissions=permissions,
            password_hash=_hashed(bank.runtime.settings.server_secret, FIRST_PASSWORD),
            by="cli:test",
            at=drawer.at,
        )
    return Member(bank, person_id, FIRST_PASSWORD)


def at_work(bank: Bank, person_id: str, *roles: str, permissions: tuple[str, ...] = ()) -> Member:
    """A person with a password and an app, logged in with both.

    It has come about without the routes, which would compare passwords for most of a second.
    """
    member = taken_in(bank, person_id, *roles, permissions=permissions)
    member.password = PASSWORD
    kept = _hashed(bank.runtime.settings.server_secret, PASSWORD)
    with at_desk(bank) as drawer, drawer.connection.transaction():
        person = staff.find_locked(drawer.connection, bank.ledger_id, person_id)
        assert person is not None
        staff.set_password(drawer.connection, person, kept)
        member.secret = drawer.factors.propose(person, "Ledger", drawer.at).secret
        person = staff.find_locked(drawer.connection, bank.ledger_id, person_id)
        assert person is not None
        code = str(pyotp.TOTP(member.secret).at(drawer.at))
        assert drawer.factors.confirm(person, code, drawer.at)
        member.recovery_codes = list(drawer.factors.renew_recovery_codes(person))
        _, member.token, _ = sessions.begin(
            drawer.connection,
            bank.ledger_id,
            person_id,
            second_factor_at=drawer.at,
            at=drawer.at,
            settings=drawer.settings,
            server_secret=drawer.server_secret,
            random_bytes=clock.random_bytes,
        )
    return member


@contextmanager
def at_desk(bank: Bank) -> Iterator[Drawer]:
    """What work on the bank's staff needs."""
    with cheap_passwords():
        passwords = Passwords(bank.runtime.settings.server_secret, clock.random_bytes)
    with bank.runtime.connect("ledger_writer") as connection:
        yield Drawer(bank.runtime, passwords, connection, bank.ledger_id, clock.now())


@cache
def _hashed(server_secret: bytes, password: str) -> str:
    """What is kept of a password; made once."""
    with cheap_passwords():
        return Passwords(server_secret, clock.random_bytes).hashed(password)


def accesses(bank: Bank, operation: str) -> list[StoredAccess]:
    """What the access log has of an operation, oldest first."""
    with bank.runtime.connect("ledger_reader") as connection:
        found = access_log.read_after(connection, bank.ledger_id, 0)
    return [item for item in found if item.operation == operation]
