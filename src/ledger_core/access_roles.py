"""Setting and retiring access roles: the policy of who may do what, one event a change.

Knows the form of permissions, not which ones there are: an unknown one grants nothing.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ledger_core.access_role import (
    DEFAULT_NAMES,
    KIND,
    AccessRole,
    RoleRetired,
    RoleSet,
    Showing,
    evolve,
)
from ledger_core.customers import PERSONAL_FIELDS
from ledger_core.errors import RoleNotFound, ValidationFailed
from ledger_core.fields import require_text
from ledger_core.money import scale_of, whole_from_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

ROLES_MAX = 200
"""Roles of a ledger: all are in memory, and looked at for every credential."""
PERMISSIONS_MAX = 200
"""Permissions that one role may name: more than there are."""
CURRENCIES_MAX = 100
"""Currencies that one role may bound: more than a bank deals in."""

# The names of roles count as permissions in approvals, whose form this is.
_NAME = re.compile(r"[a-z][a-z0-9_.\-]{0,39}")
_NAME_RULE = "1 to 40 characters out of a-z, 0-9, _ . -, the first a letter"
_PERMISSION = re.compile(r"\*|[a-z][a-z0-9_]{0,39}\.(\*|[a-z][a-z0-9_]{0,39})")
_PERMISSION_RULE = f"at most {PERMISSIONS_MAX} of the forms area.act, area.* or *, each once"


class SetRole(
    msgspec.Struct, frozen=True, kw_only=True, tag="set_role", forbid_unknown_fields=True
):
    """Define a role, or define it anew: what is left out here it does not grant.

    ``amount_max`` bounds, by currency and in minor units, what one command may move or hold; in a
    currency that is not named nothing, and left out there is no bound. ``personal`` says how
    fields of a profile are shown.
    """

    key: str = ""
    name: str
    permissions: tuple[str, ...]
    amount_max: dict[str, str] | None = None
    personal: dict[str, Showing] = {}
    personal_default: Showing = "masked"
    reason_for: tuple[str, ...] = ()
    step_up_for: tuple[str, ...] = ()
    description: str | None = None

    def needs(self, wants: "Wants") -> None:
        """Roles are always in memory."""


class RetireRole(
    msgspec.Struct, frozen=True, kw_only=True, tag="retire_role", forbid_unknown_fields=True
):
    """Let a role grant nothing any more, until it is set anew."""

    key: str = ""
    name: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """Roles are always in memory."""


def decide_setting(books: "Books", command: SetRole) -> tuple[RoleSet, ...]:
    """Set the role; ``()`` where it is so already.

    Raises:
        ValidationFailed: a malformed field, or too many roles.
        UnknownCurrency: no such currency.
    """
    require_name(command.name)
    for field in ("permissions", "reason_for", "step_up_for"):
        _require_permissions(getattr(command, field), field=field)
    _require_amounts(books, command.amount_max)
    if not command.personal.keys() <= PERSONAL_FIELDS:
        raise ValidationFailed("personal", f"fields: {', '.join(sorted(PERSONAL_FIELDS))}")
    require_text(command.description, field="description")
    before: AccessRole | None = books.kept(KIND, command.name)
    if before is None and len(books.kept_of(KIND)) >= ROLES_MAX:
        raise ValidationFailed("name", f"at most {ROLES_MAX} roles")
    event = as_set(command)
    if before is None:
        return (event,)
    is_so = evolve(before, event, before.last_position, books.recorded_at) == before
    return () if is_so else (event,)


def decide_retirement(books: "Books", command: RetireRole) -> tuple[RoleRetired, ...]:
    """Retire the role; ``()`` where it is retired already.

    Raises:
        ValidationFailed: a malformed field.
        RoleNotFound: neither set before nor there by default.
    """
    require_name(command.name)
    require_text(command.reason, field="reason")
    role: AccessRole | None = books.kept(KIND, command.name)
    if role is None and command.name not in DEFAULT_NAMES:
        raise RoleNotFound(field="name")
    if role is not None and role.status == "retired":
        return ()
    return (RoleRetired(command.name, command.reason),)


def as_set(command: SetRole) -> RoleSet:
    """The event that the command amounts to, if nothing is wrong with it."""
    return RoleSet(
        command.name,
        command.permissions,
        command.amount_max,
        command.personal,
        command.personal_default,
        command.reason_for,
        command.step_up_for,
        command.description,
    )


def setting_of(event: RoleSet) -> SetRole:
    """The command whose first answer this event was, without its key."""
    return SetRole(
        name=event.name,
        permissions=event.permissions,
        amount_max=event.amount_max,
        personal=event.personal,
        personal_default=event.personal_default,
        reason_for=event.reason_for,
        step_up_for=event.step_up_for,
        description=event.description,
    )


def retirement_of(event: RoleRetired) -> RetireRole:
    """The command whose first answer this event was, without its key."""
    return RetireRole(name=event.name, reason=event.reason)


def require_name(name: str) -> None:
    """A role's name: small letters, digits, underscore, dot, hyphen; the first a letter.

    Raises:
        ValidationFailed: any other form.
    """
    if _NAME.fullmatch(name) is None:
        raise ValidationFailed("name", _NAME_RULE)


def _require_permissions(permissions: Sequence[str], *, field: str) -> None:
    """Permissions, areas or ``*``; not too many, and none twice.

    Raises:
        ValidationFailed: any other form.
    """
    is_formed = all(_PERMISSION.fullmatch(name) is not None for name in permissions)
    if not is_formed or not len(set(permissions)) == len(permissions) <= PERMISSIONS_MAX:
        raise ValidationFailed(field, _PERMISSION_RULE)


def _require_amounts(books: "Books", amount_max: dict[str, str] | None) -> None:
    """Amounts in known currencies, zero allowed.

    Raises:
        ValidationFailed: too many, or a malformed amount.
        UnknownCurrency: no such currency.
    """
    if amount_max is None:
        return
    if len(amount_max) > CURRENCIES_MAX:
        raise ValidationFailed("amount_max", f"at most {CURRENCIES_MAX} currencies")
    for currency, text in amount_max.items():
        scale_of(currency, books.units)
        whole_from_text(text, field="amount_max")
