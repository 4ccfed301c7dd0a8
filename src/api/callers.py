"""Who sent a request, as every route sees it, whatever they proved it by."""

from datetime import datetime
from typing import Literal

import msgspec

from api.authority import Authority

CredentialKind = Literal["key", "token", "session"]


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What a request presented and was found genuine; what it allows is for the roles to say.

    ``credential_id`` names the key, token or session in logs. ``actor`` is recorded with every
    event and access. ``person`` acts by it, with ``permissions`` that count in approvals.
    ``scopes``: it allows no more than these permissions (``None``: all of its roles').
    ``second_factor_at``: when its person last proved to be there, by more than a password.
    ``expires_at``: not to be taken from then on. ``rate_per_s``: requests a second, where that is
    not what everybody may send. ``certificate_sha256``: only over a connection of that client
    certificate.
    """

    ledger_id: int
    credential_id: str
    kind: CredentialKind
    actor: str
    person: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    second_factor_at: datetime | None = None
    expires_at: datetime | None = None
    rate_per_s: float | None = None
    certificate_sha256: bytes | None = None


class Caller(msgspec.Struct, frozen=True):
    """A credential and what it allows now."""

    credential: Credential
    authority: Authority
    ledger_id: int
    key_id: str
    actor: str
    person: str
    permissions: frozenset[str]


def caller_of(credential: Credential, authority: Authority) -> Caller:
    """The caller by a credential; in approvals the names of its roles are permissions, too.

    Not those of roles that are retired, or that the ledger never had.
    """
    return Caller(
        credential,
        authority,
        credential.ledger_id,
        credential.credential_id,
        credential.actor,
        credential.person,
        frozenset((*credential.permissions, *authority.roles.keys() & set(credential.roles))),
    )
