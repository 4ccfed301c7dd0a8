"""Tokens of the bank's identity provider as a scheme: JSON Web Tokens, pinned on every side.

A token is believed if its signature is by a key of the issuer, of an algorithm that the key is for
and the settings name; if it is of this issuer, for this audience, of now and not of long; and if
nothing in it is said twice. What it says of keys or of where to find them is refused unread (RFC
8725). Its claims name the person and the roles; what those allow is for the ledger to say.
"""

import asyncio
import hashlib
from datetime import UTC, datetime

import structlog

from api import clock
from api.callers import Credential
from api.jwks import JwksError, KeyCache
from api.oidc_settings import OidcSettings
from api.problems import RETRY_AFTER_S, Kind, Problem
from api.reads import Reads
from api.tokens import Claims, TokenRefused, claims_of, header_of, verified
from ledger_core import log
from ledger_core.log import Connection

ISSUER_UNAVAILABLE = Kind(
    503, "token_keys_unavailable", "Tokens cannot be checked now: the issuer's keys are not known."
)
# How long the id of a ledger of that name is remembered; names are never given to another ledger.
LEDGERS_MAX = 1_000

_log = structlog.get_logger("ledger.tokens")


class TokenScheme:
    """Finds who a token is of; used by the event loop alone."""

    def __init__(self, reads: Reads, settings: OidcSettings) -> None:
        """Take tokens as the settings say."""
        self._reads = reads
        self._settings = settings
        self._keys = KeyCache(settings)
        self._ledgers: dict[str, int] = {}

    def takes(self, presented: str) -> bool:
        """Whether a text has the three parts of a signed token."""
        return presented.count(".") == 2  # noqa: PLR2004 - header, claims, signature

    async def find(self, presented: str) -> Credential | None:
        """The credential of a genuine token that is valid now.

        Raises:
            Problem: the issuer's keys are not known, so that nobody can say.
        """
        try:
            header = header_of(presented, self._settings.algorithms)
            key = await self._keys.find(header.key_id, asyncio.get_running_loop().time())
            payload = verified(presented, header, key)
            claims = claims_of(payload, self._settings, clock.now())
        except TokenRefused as refusal:
            # Why is for those who run the server; who calls is told nothing.
            _log.info("token refused", reason=str(refusal))
            return None
        except JwksError:
            retry = (("Retry-After", str(RETRY_AFTER_S)),)
            raise Problem(ISSUER_UNAVAILABLE, headers=retry) from None
        ledger_id = await self._ledger_id(claims.ledger)
        return None if ledger_id is None else _credential(claims, ledger_id, presented)

    async def _ledger_id(self, name: str) -> int | None:
        """The id of the ledger of that name, if there is one."""
        known = self._ledgers.get(name)
        if known is not None:
            return known

        def look(connection: Connection) -> int | None:
            return log.find_ledger(connection, name)

        found = await self._reads.ask(look)
        if found is not None:
            if len(self._ledgers) >= LEDGERS_MAX:
                self._ledgers.clear()
            self._ledgers[name] = found
        return found


def _credential(claims: Claims, ledger_id: int, presented: str) -> Credential:
    """What a token's claims amount to; its id in logs is a hash, which opens nothing."""
    return Credential(
        ledger_id=ledger_id,
        credential_id=hashlib.sha256(presented.encode()).hexdigest()[:16],
        kind="token",
        actor=f"person:{claims.person}",
        person=claims.person,
        roles=claims.roles,
        scopes=claims.scopes,
        second_factor_at=_instant(claims.second_factor_s),
        expires_at=_instant(claims.expires_s),
        certificate_sha256=claims.certificate_sha256,
    )


def _instant(seconds: float | None) -> datetime | None:
    """The moment that a claim names."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
