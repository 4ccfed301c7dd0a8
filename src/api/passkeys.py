"""Passkeys (WebAuthn): made for a person, and proof of the person's presence ever after.

A challenge is no row: it says what it is for and until when, and is authenticated by the server; so
nobody fills a table by asking for challenges. It is noted once it was used, and then is good no
more. A passkey counts with the user verified by its device (a PIN, a finger): having it and that is
two factors, so it lets its person in without a password.
"""

import hmac
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

import msgspec
import webauthn
from webauthn.helpers import (
    base64url_to_bytes,
    options_to_json_dict,
    parse_client_data_json,
)
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from api.staff_settings import StaffSettings
from ledger_core.log import Connection

PASSKEYS_MAX = 10
NAME_CHARACTERS_MAX = 100
CHALLENGE_TIME = timedelta(minutes=5)
CREDENTIAL_ID_BYTES_MAX = 1_023
"""WebAuthn, level 3, section 4: what a credential id has at most."""

Purpose = Literal["log_in", "add", "step_up"]

_PURPOSES: tuple[Purpose, ...] = ("log_in", "add", "step_up")
_HEAD = struct.Struct(">BQ16s")
_MAC_BYTES = 32
_CHALLENGE_LABEL = b"ledger passkey challenges v1"
_PERSON_LABEL = b"ledger passkey persons v1"
_TIMEOUT_MS = int(CHALLENGE_TIME.total_seconds() * 1_000)


class PasskeyRefused(Exception):  # noqa: N818 - a refusal, not a failure of the program
    """What an authenticator answered proves nothing; why is not said."""


class Passkey(msgspec.Struct, frozen=True):
    """A passkey as its person sees it."""

    passkey_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


class Known(msgspec.Struct, frozen=True):
    """A passkey as it is checked."""

    passkey_id: str
    person_id: str
    credential_id: bytes
    public_key: bytes
    sign_count: int


class Passkeys:
    """The passkeys of one ledger, on a connection that acts as ``ledger_writer``."""

    def __init__(
        self,
        connection: Connection,
        ledger_id: int,
        settings: StaffSettings,
        server_secret: bytes,
    ) -> None:
        """Derive the keys of challenges and of users' names."""
        self._connection = connection
        self._ledger_id = ledger_id
        self._settings = settings
        self._challenge_key = hmac.digest(server_secret, _CHALLENGE_LABEL, "sha256")
        self._person_key = hmac.digest(server_secret, _PERSON_LABEL, "sha256")

    def options_to_add(
        self, person_id: str, session_id: str, at: datetime, random_bytes: Callable[[int], bytes]
    ) -> dict[str, Any]:
        """What ``navigator.credentials.create`` is told."""
        options = webauthn.generate_registration_options(
            rp_id=self._settings.passkey_host,
            rp_name="Ledger",
            user_id=self._user_handle(person_id),
            user_name=person_id,
            challenge=self._challenge("add", session_id, at, random_bytes),
            timeout=_TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=self._descriptors(person_id),
        )
        return options_to_json_dict(options)

    def options_to_prove(
        self,
        purpose: Literal["log_in", "step_up"],
        person_id: str | None,
        session_id: str,
        at: datetime,
        random_bytes: Callable[[int], bytes],
    ) -> dict[str, Any]:
        """What ``navigator.credentials.get`` is told; ``None``: any passkey of this host."""
        options = webauthn.generate_authentication_options(
            rp_id=self._settings.passkey_host,
            challenge=self._challenge(purpose, session_id, at, random_bytes),
            timeout=_TIMEOUT_MS,
            allow_credentials=None if person_id is None else self._descriptors(person_id),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def add(
        self, person_id: str, session_id: str, name: str, credential: dict[str, Any], at: datetime
    ) -> Passkey:
        """Keep a new passkey.

        Raises:
            PasskeyRefused: it does not answer a challenge of this session, is there already, or
                its person has as many as one may have.
        """
        challenge = self._answered(credential, "add", session_id, at)
        try:
            made = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._settings.passkey_host,
                expected_origin=list(self._settings.passkey_origins),
                require_user_verification=True,
            )
        except Exception as error:
            raise PasskeyRefused from error
        self._use_up(challenge)
        count = len(self.of_person(person_id))
        if count >= PASSKEYS_MAX or len(made.credential_id) > CREDENTIAL_ID_BYTES_MAX:
            raise PasskeyRefused
        passkey_id = _passkey_id(made.credential_id)
        cursor = self._connection.execute(
            "INSERT INTO keystore.staff_passkeys (ledger_id, passkey_id, person_id, credential_id,"
            " public_key, sign_count, name, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (
                self._ledger_id,
                passkey_id,
                person_id,
                made.credential_id,
                made.credential_public_key,
                made.sign_count,
                name,
                at,
            ),
        )
        if cursor.rowcount != 1:
            raise PasskeyRefused
        return Passkey(passkey_id, name, at, None)

    def prove(
        self,
        purpose: Literal["log_in", "step_up"],
        session_id: str,
        credential: dict[str, Any],
        at: datetime,
    ) -> str:
        """The person whose passkey answered the challenge, with the user verified.

        Raises:
            PasskeyRefused: it answers no challenge of ours that is good now, or is nobody's.
        """
        challenge = self._answered(credential, purpose, session_id, at)
        known = self._known(credential)
        try:
            proved = webauthn.verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._settings.passkey_host,
                expected_origin=list(self._settings.passkey_origins),
                credential_public_key=known.public_key,
                credential_current_sign_count=known.sign_count,
                require_user_verification=True,
            )
            handle = credential["response"].get("userHandle")
            is_theirs = handle is None or hmac.compare_digest(
                base64url_to_bytes(handle), self._user_handle(known.person_id)
            )
        except Exception as error:
            raise PasskeyRefused from error
        if not is_theirs:
            raise PasskeyRefused
        self._use_up(challenge)
        cursor = self._connection.execute(
            "UPDATE keystore.staff_passkeys SET sign_count = %s, last_used_at = %s"
            " WHERE ledger_id = %s AND passkey_id = %s AND sign_count = %s",
            (proved.new_sign_count, at, self._ledger_id, known.passkey_id, known.sign_count),
        )
        if cursor.rowcount != 1:  # Two answers of one count: one of them is a copy's.
            raise PasskeyRefused
        return known.person_id

    def of_person(self, person_id: str) -> list[Passkey]:
        """A person's passkeys, oldest first."""
        rows = self._connection.execute(
            "SELECT passkey_id, name, created_at, last_used_at FROM keystore.staff_passkeys"
            " WHERE ledger_id = %s AND person_id = %s ORDER BY created_at, passkey_id",
            (self._ledger_id, person_id),
        )
        return [Passkey(*row) for row in rows]

    def remove(self, person_id: str, passkey_id: str) -> bool:
        """Take a passkey no more; whether the person had it."""
        cursor = self._connection.execute(
            "DELETE FROM keystore.staff_passkeys"
            " WHERE ledger_id = %s AND person_id = %s AND passkey_id = %s",
            (self._ledger_id, person_id, passkey_id),
        )
        return cursor.rowcount == 1

    def remove_all(self, person_id: str) -> None:
        """Take none of a person's passkeys any more."""
        self._connection.execute(
            "DELETE FROM keystore.staff_passkeys WHERE ledger_id = %s AND person_id = %s",
            (self._ledger_id, person_id),
        )

    def person_of(self, credential: dict[str, Any]) -> str | None:
        """Whose passkey somebody says to answer with; nothing of it is believed."""
        try:
            return self._known(credential).person_id
        except PasskeyRefused:
            return None

    def _known(self, credential: dict[str, Any]) -> Known:
        """The passkey that is named.

        Raises:
            PasskeyRefused: there is none of that name.
        """
        try:
            passkey_id = _passkey_id(base64url_to_bytes(credential["rawId"]))
        except Exception as error:
            raise PasskeyRefused from error
        row = self._connection.execute(
            "SELECT passkey_id, person_id, credential_id, public_key, sign_count"
            " FROM keystore.staff_passkeys WHERE ledger_id = %s AND passkey_id = %s",
            (self._ledger_id, passkey_id),
        ).fetchone()
        if row is None:
            raise PasskeyRefused
        return Known(*row)

    def _descriptors(self, person_id: str) -> list[PublicKeyCredentialDescriptor]:
        """A person's passkeys, as browsers are told of them."""
        rows = self._connection.execute(
            "SELECT credential_id FROM keystore.staff_passkeys"
            " WHERE ledger_id = %s AND person_id = %s ORDER BY created_at, passkey_id",
            (self._ledger_id, person_id),
        )
        return [PublicKeyCredentialDescriptor(id=row[0]) for row in rows]

    def _user_handle(self, person_id: str) -> bytes:
        """What an authenticator knows a person by: no name."""
        return hmac.digest(self._person_key, f"{self._ledger_id} {person_id}".encode(), "sha256")

    def _challenge(
        self,
        purpose: Purpose,
        session_id: str,
        at: datetime,
        random_bytes: Callable[[int], bytes],
    ) -> bytes:
        """A challenge for one purpose of one session (empty: of none yet), good for a while."""
        until = int((at + CHALLENGE_TIME).timestamp())
        head = _HEAD.pack(_PURPOSES.index(purpose), until, random_bytes(16))
        return head + self._mac(head, session_id)

    def _answered(
        self, credential: dict[str, Any], purpose: Purpose, session_id: str, at: datetime
    ) -> bytes:
        """The challenge that was answered, which is ours and good still.

        Raises:
            PasskeyRefused: it is not, or nothing was answered.
        """
        try:
            sent = base64url_to_bytes(credential["response"]["clientDataJSON"])
            challenge = parse_client_data_json(sent).challenge
            head, mac = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
            number, until, _ = _HEAD.unpack(head)
        except Exception as error:
            raise PasskeyRefused from error
        is_ours = hmac.compare_digest(mac, self._mac(head, session_id))
        if not is_ours or _PURPOSES[number] != purpose or until <= at.timestamp():
            raise PasskeyRefused
        return challenge

    def _use_up(self, challenge: bytes) -> None:
        """Take a challenge no more.

        Raises:
            PasskeyRefused: it was used already.
        """
        _, until, nonce = _HEAD.unpack(challenge[:-_MAC_BYTES])
        cursor = self._connection.execute(
            "INSERT INTO keystore.used_challenges (ledger_id, nonce, expires_at)"
            " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (self._ledger_id, nonce, datetime.fromtimestamp(until, UTC)),
        )
        if cursor.rowcount != 1:
            raise PasskeyRefused

    def forget_old_challenges(self, at: datetime) -> None:
        """Forget which challenges were used that are good no more anyway."""
        self._connection.execute(
            "DELETE FROM keystore.used_challenges WHERE ledger_id = %s AND expires_at < %s",
            (self._ledger_id, at),
        )

    def _mac(self, head: bytes, session_id: str) -> bytes:
        """What nobody else can put behind the head of a challenge."""
        text = head + f"{self._ledger_id} {session_id}".encode()
        return hmac.digest(self._challenge_key, text, "sha256")


def _passkey_id(credential_id: bytes) -> str:
    """A short name for a passkey: the beginning of the hash of its own, which may be long."""
    return sha256(credential_id).hexdigest()[:32]
