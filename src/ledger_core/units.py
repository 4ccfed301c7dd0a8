"""Units beside ISO 4217: points, shares, crypto-assets, each with its own fixed scale."""

from typing import TYPE_CHECKING

import msgspec

from ledger_core import currencies
from ledger_core.errors import UnitExists, ValidationFailed
from ledger_core.fields import require_id, require_text
from ledger_core.money import SCALE_MAX, UNIT_CODE_CHARACTERS_MAX

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class UnitRegistered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A unit other than an ISO 4217 currency may be used; its scale never changes."""

    code: str
    scale: int
    name: str | None = None


class RegisterUnit(
    msgspec.Struct, frozen=True, kw_only=True, tag="register_unit", forbid_unknown_fields=True
):
    """Allow a unit with ``scale`` decimals: 0 to 24."""

    key: str = ""
    code: str
    scale: int
    name: str | None = None

    def needs(self, wants: "Wants") -> None:
        """Units are always loaded."""


def decide(books: "Books", command: RegisterUnit) -> tuple[UnitRegistered, ...]:
    """Register the unit; ``()`` where it is registered with that scale already.

    Raises:
        ValidationFailed: a malformed code or name, a scale out of range, or an ISO 4217 code.
        UnitExists: registered with another scale.
    """
    require_id(command.code, field="code")
    if len(command.code) > UNIT_CODE_CHARACTERS_MAX:
        raise ValidationFailed("code", f"at most {UNIT_CODE_CHARACTERS_MAX} characters")
    require_text(command.name, field="name")
    if not 0 <= command.scale <= SCALE_MAX:
        raise ValidationFailed("scale", f"0 to {SCALE_MAX}")
    if currencies.exponent(command.code) is not None:
        raise ValidationFailed("code", "not an ISO 4217 currency: those need no registration")
    scale = books.units.get(command.code)
    if scale == command.scale:
        return ()
    if scale is not None:
        raise UnitExists(scale=scale)
    return (UnitRegistered(command.code, command.scale, command.name),)


def command_of(event: UnitRegistered) -> RegisterUnit:
    """The command whose first answer this event was, without its key."""
    return RegisterUnit(code=event.code, scale=event.scale, name=event.name)
