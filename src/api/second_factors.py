"""Second factors that are typed: one-time codes by time (RFC 6238), and recovery codes.

The secret behind the codes is sealed under a subject's key, as everything personal is, so it is
wrapped anew when the wrapping key changes. A code is taken once; so is a recovery code, of which
only a keyed hash is kept.
"""

import base64
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec
import pyotp
from pyotp.exceptions import OTPVerificationError

from api import readable_codes
from api.staff import Person
from ledger_core.log import Connection
from ledger_core.vault import KeyDestroyedError, Vault

RECOVERY_CODES = 10
RECOVERY_BYTES = 10
"""Of a recovery code: 80 bits, 16 characters."""
SECRET_BYTES = 20
"""As many as the hash has (RFC 4226, section 4)."""
STEPS_AROUND = 1
"""Clocks may differ by one step of 30 seconds."""

Proof = Literal["totp", "recovery_code"]

_FIELD = "totp"
_LABEL = b"ledger recovery codes v1"
_CODE = re.compile(r"[0-9]{6}")


class Proposed(msgspec.Struct, frozen=True):
    """A secret that an app is to have: in base 32, and as the address that a QR code holds."""

    secret: str
    uri: str


class SecondFactors:
    """The typed second factors of persons, on a connection that acts as ``ledger_writer``."""

    def __init__(
        self,
        connection: Connection,
        vault: Vault,
        server_secret: bytes,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Use the vault that seals secrets."""
        self._connection = connection
        self._vault = vault
        self._key = hmac.digest(server_secret, _LABEL, "sha256")
        self._random_bytes = random_bytes

    def propose(self, person: Person, issuer: str, at: datetime) -> Proposed:
        """Make a new secret, which counts once a code of it was given."""
        secret = base64.b32encode(self._random_bytes(SECRET_BYTES)).decode()
        subject = person.subject
        if subject is None:
            subject = self._vault.create_subject(self._connection, person.ledger_id, at)
        sealed = self._vault.seal(self._connection, person.ledger_id, subject, {_FIELD: secret})
        self._connection.execute(
            "UPDATE keystore.staff SET subject = %s, totp_proposed = %s"
            " WHERE ledger_id = %s AND person_id = %s",
            (subject, sealed[_FIELD], person.ledger_id, person.person_id),
        )
        totp = pyotp.TOTP(secret)
        return Proposed(secret, totp.provisioning_uri(name=person.person_id, issuer_name=issuer))

    def confirm(self, person: Person, code: str, at: datetime) -> bool:
        """Have the proposed secret count from now on, if the code is of it."""
        step = self._step(person, person.totp_proposed, code, at)
        if step is None:
            return False
        cursor = self._connection.execute(
            "UPDATE keystore.staff SET totp = totp_proposed, totp_proposed = NULL, totp_step = %s"
            " WHERE ledger_id = %s AND person_id = %s AND totp_proposed = %s",
            (step, person.ledger_id, person.person_id, person.totp_proposed),
        )
        return cursor.rowcount == 1

    def take(self, person: Person, code: str, at: datetime) -> Proof | None:
        """Which factor the code is of, used up by this; ``None``: it is of none."""
        step = self._step(person, person.totp, code, at)
        if step is not None:
            cursor = self._connection.execute(
                "UPDATE keystore.staff SET totp_step = %s WHERE ledger_id = %s AND person_id = %s"
                " AND totp = %s AND (totp_step IS NULL OR totp_step < %s)",
                (step, person.ledger_id, person.person_id, person.totp, step),
            )
            return "totp" if cursor.rowcount == 1 else None
        cursor = self._connection.execute(
            "DELETE FROM keystore.staff_recovery_codes"
            " WHERE ledger_id = %s AND person_id = %s AND code_hash = %s",
            (person.ledger_id, person.person_id, self._hash(readable_codes.read(code))),
        )
        return "recovery_code" if cursor.rowcount == 1 else None

    def renew_recovery_codes(self, person: Person) -> tuple[str, ...]:
        """New recovery codes, to be shown this once; the former ones count no more."""
        self._forget_recovery_codes(person)
        codes = tuple(
            readable_codes.written(self._random_bytes(RECOVERY_BYTES))
            for _ in range(RECOVERY_CODES)
        )
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO keystore.staff_recovery_codes (ledger_id, person_id, code_hash)"
                " VALUES (%s, %s, %s)",
                [
                    (person.ledger_id, person.person_id, self._hash(readable_codes.read(code)))
                    for code in codes
                ],
            )
        return codes

    def recovery_codes_left(self, person: Person) -> int:
        """How many recovery codes were not used."""
        row = self._connection.execute(
            "SELECT count(*) FROM keystore.staff_recovery_codes"
            " WHERE ledger_id = %s AND person_id = %s",
            (person.ledger_id, person.person_id),
        ).fetchone()
        return 0 if row is None else int(row[0])

    def remove_totp(self, person: Person, at: datetime) -> None:
        """Take no codes by time any more, and destroy the key that their secret is sealed under."""
        self._connection.execute(
            "UPDATE keystore.staff SET subject = NULL, totp = NULL, totp_proposed = NULL,"
            " totp_step = NULL WHERE ledger_id = %s AND person_id = %s",
            (person.ledger_id, person.person_id),
        )
        if person.subject is not None:
            self._vault.destroy_subject(self._connection, person.ledger_id, person.subject, at)

    def remove_all(self, person: Person, at: datetime) -> None:
        """Remove the secret and the recovery codes."""
        self.remove_totp(person, at)
        self._forget_recovery_codes(person)

    def _forget_recovery_codes(self, person: Person) -> None:
        """Take none of a person's recovery codes any more."""
        self._connection.execute(
            "DELETE FROM keystore.staff_recovery_codes WHERE ledger_id = %s AND person_id = %s",
            (person.ledger_id, person.person_id),
        )

    def _step(self, person: Person, sealed: str | None, code: str, at: datetime) -> int | None:
        """The step of time whose code this is; ``None``: of none near this moment."""
        if sealed is None or person.subject is None or _CODE.fullmatch(code) is None:
            return None
        opened = self._vault.unseal(
            self._connection, person.ledger_id, person.subject, {_FIELD: sealed}
        )
        if opened is None:
            raise KeyDestroyedError(f"the key of {person.subject} was destroyed")
        try:
            return pyotp.TOTP(opened[_FIELD]).verify_and_get_timecode(
                code, for_time=at, valid_window=STEPS_AROUND
            )
        except OTPVerificationError:
            return None

    def _hash(self, code: str) -> bytes:
        """The keyed hash of a recovery code."""
        return hmac.digest(self._key, code.encode(errors="replace"), "sha256")
