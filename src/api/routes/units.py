"""Routes of units beside ISO 4217."""

from api.command_routes import CommandRoute
from ledger_core.units import RegisterUnit, UnitRegistered

COMMANDS = (
    CommandRoute(
        path="/v1/units",
        command=RegisterUnit,
        event=UnitRegistered,
        summary="Allow a unit with a scale of its own",
        example={"code": "MILES", "scale": 0, "name": "Bonus miles"},
    ),
)
