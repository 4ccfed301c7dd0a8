"""Making keys on somebody's behalf: no key allows more, or lasts longer, than who makes it may.

A key acts for who made it, so that nobody approves by a second key what they asked for by a first;
only who may appoint people anyway may make keys for others. A key that makes keys hands on what it
is bound to: its end, its scopes, its pace, and that it needs a client certificate.
"""

from datetime import UTC, datetime

import msgspec

from api.api_keys import ApiKey, KeyRefused, NewKey, require_future, require_valid
from api.authority import Authority, expanded
from api.callers import Caller, Credential
from api.delegation import require_within
from api.problems import FieldError, Kind, Problem, malformed
from api.role_book import RoleBook

APPOINTING = "staff.manage"

FOR_ANOTHER = Kind(
    403, "key_for_another_person", "Only who may manage staff makes keys for another person."
)


def bound_by(caller: Caller, new: NewKey) -> NewKey:
    """The key with what it takes over from who makes it, where it says nothing else.

    Raises:
        Problem: it is for another person, or would outlast, outrun or be freer than the caller.
    """
    maker = caller.credential
    if new.person is None:
        new = msgspec.structs.replace(new, person=caller.person)
    elif new.person != caller.person and APPOINTING not in caller.authority.permissions:
        raise Problem(FOR_ANOTHER)
    if maker.kind != "key":  # A person may leave a key that outlasts a session; a key may not.
        return _scoped(maker, new)
    if maker.expires_at is not None:
        expires_at = new.expires_at or maker.expires_at
        _require(expires_at <= maker.expires_at, "expires_at", "not after the key that makes it")
        new = msgspec.structs.replace(new, expires_at=expires_at)
    if maker.rate_per_s is not None:
        rate_per_s = new.rate_per_s or maker.rate_per_s
        _require(rate_per_s <= maker.rate_per_s, "rate_per_s", "not above that of its maker")
        new = msgspec.structs.replace(new, rate_per_s=rate_per_s)
    if maker.certificate_sha256 is not None:
        rule = "required: the key that makes it has one"
        _require(new.certificate_sha256 is not None, "certificate_sha256", rule)
    return _scoped(maker, new)


def _scoped(maker: Credential, new: NewKey) -> NewKey:
    """The key within its maker's scopes, which stay its bound whatever its role becomes.

    Raises:
        Problem: its own scopes go beyond.
    """
    if maker.scopes is None:
        return new
    scopes = tuple(new.scopes or maker.scopes)
    rule = "not beyond the scopes of its maker"
    _require(expanded(scopes) <= expanded(maker.scopes), "scopes", rule)
    return msgspec.structs.replace(new, scopes=scopes)


async def admit(caller: Caller, roles: RoleBook, new: NewKey, at: datetime) -> NewKey:
    """The key as it may be made for that caller.

    Raises:
        Problem: a field is malformed, its role is none of the ledger's, or it would allow more
            than the caller may.
    """
    try:
        require_valid(new)
        require_future(new, at)
    except KeyRefused as refusal:
        raise malformed(FieldError(refusal.rule, refusal.field, f"/{refusal.field}")) from None
    new = bound_by(caller, new)
    await _require_within(caller, roles, new)
    return new


async def require_may_have(caller: Caller, roles: RoleBook, key: ApiKey) -> None:
    """The caller may have a key like this one: whoever rotates a key comes to know one.

    Raises:
        Problem: it allows more than the caller may, or is of another person.
    """
    if key.person != caller.person and APPOINTING not in caller.authority.permissions:
        raise Problem(FOR_ANOTHER)
    new = NewKey(role=key.role, name="", permissions=key.permissions, scopes=key.scopes)
    await _require_within(caller, roles, new)


async def _require_within(caller: Caller, roles: RoleBook, new: NewKey) -> None:
    """The caller has all that the key would allow, approvals included.

    The name of a role counts in approvals too: only who may appoint people hands that on without
    having it.

    Raises:
        Problem: they have not.
    """
    given = await authority_of(roles, caller.ledger_id, new)
    approving = set(new.permissions)
    if given.may("approve_request") and APPOINTING not in caller.authority.permissions:
        approving.add(new.role)
    require_within(caller, given, approving)


async def authority_of(roles: RoleBook, ledger_id: int, new: NewKey) -> Authority:
    """What a key would allow now.

    Raises:
        Problem: its role is none of the ledger's.
    """
    if await roles.authority_of_roles(ledger_id, (new.role,)) is None:
        raise malformed(FieldError("a role of this ledger", "role", "/role"))
    credential = Credential(
        ledger_id=ledger_id,
        credential_id="",
        kind="key",
        actor="",
        person="",
        roles=(new.role,),
        scopes=None if new.scopes is None else tuple(new.scopes),
    )
    return await roles.authority(credential)


def _require(is_met: object, field: str, rule: str) -> None:
    """A field keeps a rule.

    Raises:
        Problem: it does not.
    """
    if not is_met:
        raise malformed(FieldError(rule, field, f"/{field}"))


def instant(at: datetime | None, field: str) -> datetime | None:
    """A moment in UTC, as a body names it.

    Raises:
        Problem: it has no offset.
    """
    if at is None:
        return None
    _require(at.tzinfo is not None, field, "a time with its offset: 2026-01-31T12:00:00Z")
    return at.astimezone(UTC)
