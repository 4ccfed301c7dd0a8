"""The roles of each ledger as they are defined now: its own, and the default ones.

A role that is set or retired counts within twice ``remembering.REMEMBERED_S``, once the views know
of it. What a ledger defines goes before the default role of the same name.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType

import msgspec

from api.authority import Authority, RoleTerms, authority_of
from api.callers import Credential
from api.default_roles import DEFAULT_ROLES
from api.reads import Reads
from api.remembering import Remembered
from ledger_core import snapshots
from ledger_core.access_role import KIND, AccessRole, RoleSet
from ledger_core.log import Connection

# Each has a few roles; a server that serves more ledgers looks some up again.
LEDGERS_MAX = 1_000

Roles = Mapping[str, RoleTerms]


class RoleBook:
    """Finds what the roles of a credential allow; used by the event loop alone."""

    def __init__(self, reads: Reads) -> None:
        """Know nothing of any ledger yet."""
        self._reads = reads
        self._roles = Remembered(self._ask, LEDGERS_MAX)

    async def authority(self, credential: Credential) -> Authority:
        """What the credential allows in its ledger now; an unknown role grants nothing."""
        roles = await self._naming(credential.ledger_id, credential.roles)
        authority = _authority(roles, credential.roles, credential.scopes)
        return msgspec.structs.replace(authority, roles=roles)

    async def authority_of_roles(self, ledger_id: int, names: Sequence[str]) -> Authority | None:
        """What roles allow together in a ledger now; ``None``: one of them is none of its roles."""
        roles = await self._naming(ledger_id, names)
        return _authority(roles, names, None) if roles.keys() >= set(names) else None

    async def roles(self, ledger_id: int) -> Roles:
        """The roles of a ledger that are not retired, as they were at most a moment ago."""
        return await self._roles.value(ledger_id)

    async def _naming(self, ledger_id: int, names: Sequence[str]) -> Roles:
        """The roles of a ledger, looked up anew where one of these is not among them.

        So a role can be given to somebody right after it was set.
        """
        roles = await self.roles(ledger_id)
        if roles.keys() >= set(names):
            return roles
        # A look-up that is under way may have begun before the role was set.
        self._roles.forget(ledger_id)
        return await self.roles(ledger_id)

    def _ask(self, ledger_id: int) -> Future[Roles]:
        """Begin to look a ledger's roles up."""
        return self._reads.begin(lambda connection: read(connection, ledger_id))


def read(connection: Connection, ledger_id: int) -> Roles:
    """The roles of a ledger that are not retired, as the views know them."""
    stored = snapshots.load_resident(connection, ledger_id, (KIND,))
    return in_force(state for _, state in stored)


def in_force(defined: Iterable[AccessRole]) -> Roles:
    """The default roles, and those that a ledger defined, without those that it retired."""
    roles = dict(DEFAULT_ROLES)
    for role in defined:
        if role.status == "active" and role.terms is not None:
            roles[role.name] = terms_of(role.terms)
        else:
            roles.pop(role.name, None)
    return MappingProxyType(roles)


def terms_of(event: RoleSet) -> RoleTerms:
    """What a role grants, from the event that set it."""
    amount_max = event.amount_max
    return RoleTerms(
        name=event.name,
        permissions=event.permissions,
        amount_max=None
        if amount_max is None
        else {currency: int(text) for currency, text in amount_max.items()},
        personal=event.personal,
        personal_default=event.personal_default,
        reason_for=event.reason_for,
        step_up_for=event.step_up_for,
    )


def _authority(roles: Roles, names: Sequence[str], scopes: Sequence[str] | None) -> Authority:
    """The authority that the roles of these names give, within the scopes."""
    return authority_of([roles[name] for name in names if name in roles], scopes)
