"""What a caller may do: the sum of its roles, cut down to the scopes of its credential.

A role grants permissions, up to amounts; says how each personal field is shown; and for which
permissions a reason or a fresh second factor is asked. Several roles give what any of them gives;
a credential's scopes only ever take away. ``authority_of`` is a function of these alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import msgspec

from api.permissions import MOVING, PERMISSION_OF, PERMISSIONS, operations_of
from ledger_core import access_role, commands
from ledger_core.authority_amounts import AmountBounds
from ledger_core.customers import PERSONAL_FIELDS

Showing = access_role.Showing
"""How a personal field is shown: whole, as much as is needed to recognise it, or not at all."""

SHOWN_MOST = ("hidden", "masked", "clear")
"""Ways of showing a field, from the least to the most."""

Amounts = Mapping[str, int]
"""By currency, how many minor units (>= 0) one command may move or hold; in others nothing."""


class RoleTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What one role grants.

    ``permissions`` may end in ``.*`` (a whole area) or be ``*`` (all). ``amount_max``: by currency,
    how many minor units (>= 0) one command may move or hold; in a currency that is not named,
    nothing; ``None``: no bound. ``personal``: how fields are shown, ``personal_default`` those not
    named. ``reason_for`` and ``step_up_for`` name permissions.
    """

    name: str
    permissions: tuple[str, ...]
    amount_max: Mapping[str, int] | None = None
    personal: Mapping[str, Showing] = MappingProxyType({})
    personal_default: Showing = "masked"
    reason_for: tuple[str, ...] = ()
    step_up_for: tuple[str, ...] = ()


class Authority(msgspec.Struct, frozen=True):
    """What a caller may do, in all.

    ``personal`` has every personal field. ``reason_for`` and ``step_up_for`` are operations.
    ``amounts``: by permission, how much one command may move or hold, as a role's ``amount_max``;
    only permissions that are bounded are there, so mostly there is nothing. ``amount_bounds`` says
    the same by type of command, as the core is told; ``None``: nothing is bounded.
    ``reason_for_commands`` are those of ``reason_for`` that are commands: mostly none. ``roles``
    are all roles of the ledger as they stood then, to tell what setting one would change.
    """

    operations: frozenset[str]
    permissions: frozenset[str]
    amounts: Mapping[str, Amounts]
    personal: Mapping[str, Showing]
    reason_for: frozenset[str]
    step_up_for: frozenset[str]
    amount_bounds: AmountBounds | None = None
    reason_for_commands: frozenset[str] = frozenset()
    roles: Mapping[str, RoleTerms] = MappingProxyType({})

    def may(self, operation: str) -> bool:
        """Whether the operation may be called."""
        return operation in self.operations


_COMMANDS = frozenset(str(kind.__struct_config__.tag) for kind in commands.wire_types())
_UNBOUNDED: Mapping[str, Amounts] = MappingProxyType({})

NOTHING = Authority(
    frozenset(),
    frozenset(),
    _UNBOUNDED,
    MappingProxyType(dict.fromkeys(sorted(PERSONAL_FIELDS), "hidden")),
    frozenset(),
    frozenset(),
)
"""The authority of who has no role."""


def authority_of(roles: Sequence[RoleTerms], scopes: Sequence[str] | None) -> Authority:
    """The authority that the roles give together, within the scopes (``None``: all of it)."""
    if not roles:
        return NOTHING
    granted = frozenset().union(*(expanded(role.permissions) for role in roles))
    if scopes is not None:
        granted &= expanded(scopes)
    # Whatever one of the roles demands for a permission is not demanded of who has it by another.
    freely = [_demanding_nothing(role.permissions, role.reason_for) for role in roles]
    unstepped = [_demanding_nothing(role.permissions, role.step_up_for) for role in roles]
    amounts = _amounts(roles, granted)
    reason_for = operations_of(granted - frozenset().union(*freely))
    return Authority(
        operations_of(granted),
        granted,
        amounts,
        MappingProxyType({name: _showing(roles, name) for name in sorted(PERSONAL_FIELDS)}),
        reason_for,
        operations_of(granted - frozenset().union(*unstepped)),
        _bounds(amounts),
        reason_for & _COMMANDS,
    )


@lru_cache(maxsize=1_000)
def _expanded(patterns: tuple[str, ...]) -> frozenset[str]:
    """The permissions that the patterns name."""
    if "*" in patterns:
        return PERMISSIONS
    areas = tuple(pattern[:-1] for pattern in patterns if pattern.endswith(".*"))
    named = frozenset(patterns) & PERMISSIONS
    return named | frozenset(name for name in PERMISSIONS if areas and name.startswith(areas))


def expanded(patterns: Iterable[str]) -> frozenset[str]:
    """The permissions that ``area.act``, ``area.*`` and ``*`` name; others name none."""
    return _expanded(tuple(patterns))


def merged(one: Authority, other: Authority) -> Authority:
    """What both allow together; what they demand for it is left out."""
    granted = one.permissions | other.permissions
    amounts: dict[str, Amounts] = {}
    for permission in granted & MOVING:
        bounds = [
            item.amounts.get(permission) for item in (one, other) if permission in item.permissions
        ]
        if all(bound is not None for bound in bounds):
            amounts[permission] = _most(bound for bound in bounds if bound is not None)
    return Authority(
        operations_of(granted),
        granted,
        MappingProxyType(amounts),
        MappingProxyType(
            {
                name: max(shown, other.personal[name], key=SHOWN_MOST.index)
                for name, shown in one.personal.items()
            }
        ),
        frozenset(),
        frozenset(),
        _bounds(amounts),
        roles=one.roles,
    )


def is_within_amounts(held: Authority, given: Authority) -> bool:
    """Whether an authority bounds every command at least as tightly as another one does."""
    return all(
        (given_max := given.amounts.get(permission)) is not None
        and all(
            amount_minor <= held_max.get(currency, 0)
            for currency, amount_minor in given_max.items()
        )
        for permission, held_max in held.amounts.items()
        if permission in given.permissions
    )


def _demanding_nothing(permissions: Sequence[str], demanding: Sequence[str]) -> frozenset[str]:
    """The permissions for which nothing more is demanded."""
    return expanded(permissions) - expanded(demanding)


def _amounts(roles: Sequence[RoleTerms], granted: frozenset[str]) -> Mapping[str, Amounts]:
    """Of each permission that no role grants without bound, the largest amounts that one grants."""
    if all(role.amount_max is None for role in roles):
        return _UNBOUNDED
    amounts: dict[str, Amounts] = {}
    for permission in granted & MOVING:
        granting = [role for role in roles if permission in expanded(role.permissions)]
        bounds = [role.amount_max for role in granting]
        if all(bound is not None for bound in bounds):
            amounts[permission] = _most(bound for bound in bounds if bound is not None)
    return MappingProxyType(amounts)


def _most(bounds: Iterable[Amounts]) -> Amounts:
    """By currency the largest of some amounts."""
    most: dict[str, int] = {}
    for bound in bounds:
        for currency, amount_minor in bound.items():
            most[currency] = max(amount_minor, most.get(currency, 0))
    return MappingProxyType(most)


def _bounds(amounts: Mapping[str, Amounts]) -> AmountBounds | None:
    """Amounts by type of command instead of by permission; ``None``: there are none."""
    if not amounts:
        return None
    return MappingProxyType(
        {
            operation: amounts[permission]
            for operation, permission in PERMISSION_OF.items()
            if permission in amounts
        }
    )


def _showing(roles: Sequence[RoleTerms], field: str) -> Showing:
    """The most that any of the roles shows of a field."""
    return max(
        (role.personal.get(field, role.personal_default) for role in roles), key=SHOWN_MOST.index
    )
