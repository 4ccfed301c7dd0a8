"""The credentials in use, remembered for a moment: no database read on each request.

A revoked key stops working within twice ``REMEMBERED_S``: what is known of a key may be that old
when a header that presents it is found valid, and then the header is remembered as long. The same
holds for roles that are defined anew.
"""

import asyncio
import time
from collections.abc import Sequence
from hmac import compare_digest

import structlog

from api import clock
from api.callers import Caller, Credential, caller_of
from api.problems import UNAUTHENTICATED, Problem
from api.remembering import REMEMBERED_S, RENEWED_S
from api.role_book import RoleBook
from api.schemes import Scheme

# So long a key that was valid is known: for nothing to be done, but to be refused, or to wait,
# at little cost.
KNOWN_S = 30.0
# Beyond this many, all are forgotten at once: wrong keys must not fill the memory.
REMEMBERED_MAX = 10_000
# A token with some claims; more is none of ours.
PRESENTED_BYTES_MAX = 8_192

_log = structlog.get_logger("ledger.keys")

_SCHEME = b"bearer "
_CHALLENGE = (("WWW-Authenticate", "Bearer"),)


class KeyRing:
    """Finds the caller behind a request's ``Authorization``; used by the event loop alone."""

    def __init__(self, schemes: Sequence[Scheme], roles: RoleBook) -> None:
        """Remember nothing yet."""
        self._schemes = schemes
        self._roles = roles
        # The whole header of a request whose credential was valid -> until when, and the caller.
        self._valid: dict[bytes, tuple[float, Caller]] = {}
        self._renewing: dict[bytes, asyncio.Task[None]] = {}
        self._admitting: dict[bytes, asyncio.Task[Caller]] = {}
        # Those that count over the connections of one client certificate only.
        self._bound: dict[bytes, tuple[float, Caller]] = {}
        # How often anything was forgotten: what was looked up before then may be of before.
        self._forgotten = 0

    async def caller(
        self, headers: Sequence[tuple[bytes, bytes]], certificate: bytes | None = None
    ) -> Caller:
        """The caller who sent these headers over a connection of that client certificate.

        Raises:
            Problem: no key, none that is valid now, or one that is bound to another certificate;
                which of these is not said.
        """
        sent = [value for name, value in headers if name == b"authorization"]
        if len(sent) != 1:
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        remembered = self.remembered(sent[0])
        if remembered is not None:
            return remembered
        caller = self._remembered_bound(sent[0])
        if caller is None:
            caller = await asyncio.shield(self.admitting(sent[0]))
        asked = caller.credential.certificate_sha256
        if asked is not None and (certificate is None or not compare_digest(asked, certificate)):
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        return caller

    def _remembered_bound(self, authorization: bytes) -> Caller | None:
        """The caller by a credential that is bound to a certificate: that is yet to be compared."""
        found = self._bound.get(authorization)
        is_known = found is not None and time.monotonic() < found[0]
        return found[1] if found is not None and is_known else None

    def remembered(self, authorization: bytes) -> Caller | None:
        """The caller behind an ``Authorization`` that was found valid a moment ago."""
        found = self._valid.get(authorization)
        if found is None:
            return None
        left_s = found[0] - time.monotonic()
        if left_s < REMEMBERED_S - RENEWED_S and authorization not in self._renewing:
            renewing = asyncio.get_running_loop().create_task(self._renew(authorization))
            self._renewing[authorization] = renewing
        return found[1] if left_s > 0 else None

    def known_lately(self, authorization: bytes) -> Caller | None:
        """The caller behind an ``Authorization`` that was valid some seconds ago, and may be still.

        Nothing may be told or done for that. It is enough to be told that the server is busy, or
        to wait until the key is looked up again.
        """
        found = self._valid.get(authorization)
        if found is None:
            return None
        return found[1] if time.monotonic() < found[0] + KNOWN_S else None

    def forget(self, ledger_id: int, credential_id: str) -> None:
        """Look a credential up anew before it is taken again: it was changed, or ended, here."""
        self._forgotten += 1
        for known in (self._valid, self._bound):
            names = [
                header
                for header, (_, caller) in known.items()
                if (caller.ledger_id, caller.key_id) == (ledger_id, credential_id)
            ]
            for header in names:
                del known[header]

    async def _renew(self, authorization: bytes) -> None:
        """Find a header valid again; where it is not, whoever sends it next is told so."""
        try:
            await self._admit(authorization)
        except Problem:
            self._valid.pop(authorization, None)
        except Exception as error:  # noqa: BLE001 - the request that needs the key will say it
            _log.warning("key not renewed", error_type=type(error).__name__)
        finally:
            del self._renewing[authorization]

    def admitting(self, authorization: bytes) -> "asyncio.Task[Caller]":
        """The one look-up for all who present the same at one moment.

        It ends with the caller, or with the ``Problem`` that it is not a valid key; who is bound to
        a certificate is yet to be compared with the connection's.
        """
        task = self._admitting.get(authorization)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._admit(authorization))
            self._admitting[authorization] = task
            task.add_done_callback(lambda _: self._admitting.pop(authorization, None))
        return task

    async def _admit(self, authorization: bytes) -> Caller:
        """The caller behind an ``Authorization``, which is remembered from now on.

        Raises:
            Problem: not a valid key.
        """
        now_s, forgotten = time.monotonic(), self._forgotten
        caller = await self._authenticate(authorization)
        # What is bound is never remembered as valid by itself: its certificate is always compared.
        is_bound = caller.credential.certificate_sha256 is not None
        known = self._bound if is_bound else self._valid
        if len(known) >= REMEMBERED_MAX:
            known.clear()
        if forgotten == self._forgotten:
            known[authorization] = (now_s + REMEMBERED_S, caller)
        return caller

    async def _authenticate(self, sent: bytes) -> Caller:
        """The caller behind the value of an ``Authorization`` header.

        Raises:
            Problem: not a valid credential.
        """
        if sent[: len(_SCHEME)].lower() != _SCHEME or len(sent) > PRESENTED_BYTES_MAX:
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        presented = sent[len(_SCHEME) :].strip().decode("latin-1")
        credential = await self._find(presented)
        if credential is None or _has_expired(credential):
            raise Problem(UNAUTHENTICATED, headers=_CHALLENGE)
        return caller_of(credential, await self._roles.authority(credential))

    async def _find(self, presented: str) -> Credential | None:
        """The credential, by the one scheme that takes a text of its form."""
        for scheme in self._schemes:
            if scheme.takes(presented):
                return await scheme.find(presented)
        return None


def _has_expired(credential: Credential) -> bool:
    """Whether the credential was good until now or before."""
    return credential.expires_at is not None and credential.expires_at <= clock.now()
