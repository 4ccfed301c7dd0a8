"""Routes of roles: set and retire them, and read who may do what, now or as of any moment."""

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from api.authority import RoleTerms, expanded
from api.command_routes import CommandRoute
from api.default_roles import DEFAULT_ROLES
from api.parameters import AsOfQuery
from api.permissions import MOVING, PERMISSION_OF, PERMISSIONS, operations_of
from api.role_book import terms_of
from api.views import Answer, PathId, Reader, ReaderOf, Reflecting, ViewRoute, moment
from ledger_core.access_role import KIND, AccessRole, RoleRetired, RoleSet, Showing
from ledger_core.access_roles import ROLES_MAX, RetireRole, SetRole
from ledger_core.customers import PERSONAL_FIELDS
from ledger_core.errors import RoleNotFound
from projections.kept_queries import kept_items


class RoleAnswer(Answer):
    """A role: what was put into it, and what that opens now."""

    name: str
    status: Literal["active", "retired"]
    source: Literal["default", "ledger"] = Field(
        description="Whether it was there from the start, or was set in this ledger."
    )
    description: str | None
    permissions: list[str] = Field(description="As they were put: names, areas, or `*`.")
    grants: list[str] = Field(description="The permissions that these are; retired: none.")
    unknown: list[str] = Field(description="What was put that names no permission.")
    operations: list[str] = Field(description="What whoever has the role may call.")
    amount_max: dict[str, str] | None = Field(
        description="By currency, the minor units that one command may move or hold; null: no bound"
    )
    personal: dict[str, Showing] = Field(description="How each personal field is shown.")
    reason_for: list[str]
    step_up_for: list[str]
    since_position: int = Field(description="The event that set or retired it last; 0: none.")


class RolesAnswer(Reflecting):
    """Every role of the ledger, by name: the default ones, and its own."""

    roles: list[RoleAnswer]


class OneRoleAnswer(Reflecting):
    """A role, as it stood then."""

    role: RoleAnswer


class PermissionAnswer(Answer):
    """A permission and the operations that it opens."""

    permission: str
    operations: list[str]
    bounded: bool = Field(description="Whether a role's `amount_max` bounds its commands.")


class PermissionsAnswer(Answer):
    """Every permission there is."""

    permissions: list[PermissionAnswer]


class RolesQuery(AsOfQuery):
    """As of when."""


async def list_roles(reader: ReaderOf, query: Annotated[RolesQuery, Query()]) -> RolesAnswer:
    """The roles of the ledger, as they stood then."""
    await reader.wait(query)
    return await _roles(reader, query)


async def get_role(
    reader: ReaderOf, kept_id: PathId, query: Annotated[RolesQuery, Query()]
) -> OneRoleAnswer:
    """One role by its name, as it stood then."""
    await reader.wait(query)
    found = await _roles(reader, query)
    named = next((role for role in found.roles if role.name == kept_id), None)
    if named is None:
        raise RoleNotFound(field="id")
    return OneRoleAnswer(role=named, position=found.position, recorded_at=found.recorded_at)


async def list_permissions(_reader: ReaderOf) -> PermissionsAnswer:
    """The permissions that a role can grant, with the operations that each opens."""
    return PermissionsAnswer(
        permissions=[
            PermissionAnswer(
                permission=name,
                operations=sorted(
                    operation
                    for operation, permission in PERMISSION_OF.items()
                    if permission == name
                ),
                bounded=name in MOVING,
            )
            for name in sorted(PERMISSIONS)
        ]
    )


async def _roles(reader: Reader, query: RolesQuery) -> RolesAnswer:
    """All roles, as they stood then."""
    found = await reader.run(
        lambda connection: kept_items(
            connection,
            reader.ledger_id,
            KIND,
            as_of=moment(query.as_of, query.as_of_position),
            limit=ROLES_MAX,
        )
    )
    return RolesAnswer(
        roles=described(state for _, state in found.items),
        position=found.position,
        recorded_at=found.recorded_at,
    )


def described(defined: Iterable[AccessRole]) -> list[RoleAnswer]:
    """The default roles and those that a ledger set or retired, by name."""
    roles = {name: _default(terms) for name, terms in DEFAULT_ROLES.items()}
    roles |= {role.name: _own(role) for role in defined}
    return [roles[name] for name in sorted(roles)]


def _default(terms: RoleTerms) -> RoleAnswer:
    """A role that nobody set."""
    return _answer(terms, status="active", source="default", description=None, since_position=0)


def _own(role: AccessRole) -> RoleAnswer:
    """A role that the ledger set or retired."""
    is_default = role.terms is None
    return _answer(
        DEFAULT_ROLES[role.name] if role.terms is None else terms_of(role.terms),
        status=role.status,
        source="default" if is_default else "ledger",
        description=None if role.terms is None else role.terms.description,
        since_position=role.last_position,
    )


def _answer(
    terms: RoleTerms,
    *,
    status: Literal["active", "retired"],
    source: Literal["default", "ledger"],
    description: str | None,
    since_position: int,
) -> RoleAnswer:
    """A role as a document."""
    granted = expanded(terms.permissions) if status == "active" else frozenset[str]()
    amount_max = terms.amount_max
    return RoleAnswer(
        name=terms.name,
        status=status,
        source=source,
        description=description,
        permissions=list(terms.permissions),
        grants=sorted(granted),
        unknown=[name for name in terms.permissions if not expanded((name,))],
        operations=sorted(operations_of(granted)),
        amount_max=None
        if amount_max is None
        else {currency: str(amount_minor) for currency, amount_minor in amount_max.items()},
        personal={
            name: terms.personal.get(name, terms.personal_default)
            for name in sorted(PERSONAL_FIELDS)
        },
        reason_for=list(terms.reason_for),
        step_up_for=list(terms.step_up_for),
        since_position=since_position,
    )


COMMANDS = (
    CommandRoute(
        path="/v1/roles",
        command=SetRole,
        event=RoleSet,
        summary="Define a role, or define it anew: what it grants, up to which amounts",
        example={
            "name": "cashier",
            "permissions": ["movements.post", "accounts.read", "customers.read", "info.read"],
            "amount_max": {"EUR": "100000"},
            "personal": {"name": "clear"},
        },
    ),
    CommandRoute(
        path="/v1/roles/{name}/retire",
        command=RetireRole,
        event=RoleRetired,
        path_field="name",
        summary="Let a role grant nothing any more",
        example={"reason": "The branch was closed"},
    ),
)
VIEWS = (
    ViewRoute(
        path="/v1/roles",
        operation="list_roles",
        endpoint=list_roles,
        summary="Roles: what each grants, up to which amounts, and how it shows people",
    ),
    ViewRoute(
        path="/v1/roles/{kept_id}",
        operation="get_role",
        endpoint=get_role,
        summary="One of them: a role",
    ),
    ViewRoute(
        path="/v1/permissions",
        operation="list_permissions",
        endpoint=list_permissions,
        summary="Permissions, and the operations that each opens",
    ),
)
