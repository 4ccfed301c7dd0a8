"""What an access role is: the permissions, amounts and fields that it grants, as data.

Here are the events and the state; who sets roles is in ``access_roles``, and what a permission
opens is the API's business: to the core it is a name. The policy of a ledger is therefore part of
its log, and as of any position it can be told who could do what.
"""

from datetime import datetime
from typing import Literal

import msgspec

KIND = "role"

DEFAULT_NAMES: tuple[str, ...] = ("reader", "analyst", "teller", "auditor", "security", "admin")
"""Roles that every ledger has from the start; what they grant is in ``api.default_roles``."""

Showing = Literal["clear", "masked", "hidden"]
"""How a personal field is shown: whole, as much as is needed to recognise it, or not at all."""

RoleStatus = Literal["active", "retired"]


class RoleSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """A role grants this from now on, and nothing of what it granted before.

    ``permissions`` are names (``accounts.read``), areas (``accounts.*``) or ``*``. ``amount_max``:
    by currency, how many minor units one command may move or hold, as digits; null: no bound.
    ``personal``: how fields of a profile are shown, ``personal_default`` those not named there.
    ``reason_for`` and ``step_up_for``: permissions for which a reason or a fresh second factor is
    asked.
    """

    name: str
    permissions: tuple[str, ...]
    amount_max: dict[str, str] | None = None
    personal: dict[str, Showing] = {}
    personal_default: Showing = "masked"
    reason_for: tuple[str, ...] = ()
    step_up_for: tuple[str, ...] = ()
    description: str | None = None


class RoleRetired(msgspec.Struct, frozen=True, omit_defaults=True):
    """A role grants nothing any more, until it is set anew; also one that was there by default."""

    name: str
    reason: str | None = None


RoleEvent = RoleSet | RoleRetired


class AccessRole(msgspec.Struct, frozen=True):
    """A role as it was set or retired last.

    ``terms`` is ``None`` where a role was retired that the ledger never set itself.
    """

    name: str
    status: RoleStatus
    terms: RoleSet | None
    position: int
    last_position: int


def ids(event: RoleEvent, _position: int) -> tuple[str, ...]:
    """The one role that the event is about."""
    return (event.name,)


def evolve(
    role: AccessRole | None, event: RoleEvent, position: int, _recorded_at: datetime
) -> AccessRole:
    """The role after an event."""
    begun = position if role is None else role.position
    match event:
        case RoleSet():
            return AccessRole(event.name, "active", event, begun, position)
        case RoleRetired():
            terms = None if role is None else role.terms
            return AccessRole(event.name, "retired", terms, begun, position)
