"""The roles that every ledger has from the start; a ``set_role`` of the same name replaces one."""

from collections.abc import Mapping
from types import MappingProxyType

from api.authority import RoleTerms, Showing

_EVERYBODYS = ("info.read", "proofs.read", "sessions.own")
_VIEWS = (
    *_EVERYBODYS,
    "accounts.read",
    "entries.read",
    "reports.read",
    "risk.read",
    "approvals.read",
)
_CONTACT: Mapping[str, Showing] = MappingProxyType(
    dict.fromkeys(("name", "birth_date", "email", "phone", "address"), "clear")
)

DEFAULT_ROLES: Mapping[str, RoleTerms] = MappingProxyType(
    {
        role.name: role
        for role in (
            RoleTerms(name="reader", permissions=(*_VIEWS, "customers.read", "customers.list")),
            RoleTerms(
                name="analyst",
                permissions=(*_VIEWS, "customers.read", "customers.list"),
                personal_default="hidden",
            ),
            # Sees the customer in front of them: no lists of people, no identity numbers.
            RoleTerms(
                name="teller",
                permissions=(
                    *_VIEWS,
                    "movements.post",
                    "entries.post",
                    "entries.reverse",
                    "holds.manage",
                    "accounts.manage",
                    "accounts.block",
                    "limits.set",
                    "groups.manage",
                    "orders.*",
                    "customers.manage",
                    "customers.read",
                    "customers.search",
                    "approvals.vote",
                    "batches.send",
                ),
                personal=_CONTACT,
            ),
            RoleTerms(
                name="auditor",
                permissions=(
                    *_VIEWS,
                    "customers.read",
                    "customers.list",
                    "customers.search",
                    "log.*",
                    "audits.read",
                    "accesses.read",
                    "alarms.read",
                    "keys.read",
                    "staff.read",
                    "roles.read",
                    "checkpoints.sign",
                ),
                personal_default="clear",
                reason_for=("customers.*",),
            ),
            # Keys, people, roles and what was accessed; no money and nobody's data.
            RoleTerms(
                name="security",
                permissions=(
                    *_EVERYBODYS,
                    "keys.*",
                    "staff.*",
                    "roles.*",
                    "accesses.read",
                    "alarms.*",
                    "audits.read",
                ),
                personal_default="hidden",
                step_up_for=("keys.manage", "staff.manage", "roles.set"),
            ),
            RoleTerms(
                name="admin",
                permissions=("*",),
                step_up_for=(
                    "keys.manage",
                    "staff.manage",
                    "roles.set",
                    "approvals.policy",
                    "customers.erase",
                    "customers.unmask",
                    "periods.manage",
                ),
                reason_for=("customers.unmask",),
            ),
        )
    }
)
