"""Risk rules as data: which patterns are flagged, with which thresholds, changed by events.

Typologies of movements follow the FATF's money-laundering indicators; those of accesses, what the
access log can tell of somebody who looks where they should not. What is here is the vocabulary and
the thresholds; the detection itself are projections (``projections.risk_flags`` of movements,
``projections.alarms`` of accesses).
"""

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from ledger_core.errors import ValidationFailed

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

AlarmName = Literal[
    "off_hours_access",
    "denied_reads",
    "bulk_reading",
    "ledger_reading",
    "failed_log_ins",
    "log_in_guessing",
]
RuleName = Literal[
    "large_movement",
    "structuring",
    "rapid_in_and_out",
    "dormant_account_woken",
    "velocity",
    "off_hours_access",
    "denied_reads",
    "bulk_reading",
    "ledger_reading",
    "failed_log_ins",
    "log_in_guessing",
]

# Whole units of the currency where a threshold is an amount: 10000 means 10,000.00 EUR, 10,000 JPY.
DEFAULTS: MappingProxyType[str, MappingProxyType[str, int]] = MappingProxyType(
    {
        "large_movement": MappingProxyType({"amount": 10_000}),
        "structuring": MappingProxyType(
            {"amount": 10_000, "margin_percent": 10, "count": 3, "days": 7}
        ),
        "rapid_in_and_out": MappingProxyType({"amount": 1_000, "share_percent": 80, "days": 2}),
        "dormant_account_woken": MappingProxyType({"amount": 100, "days": 180}),
        "velocity": MappingProxyType({"count": 20, "days": 1}),
        "off_hours_access": MappingProxyType(
            {"count": 1, "minutes": 60, "opens_hour": 5, "closes_hour": 21, "weekend_is_off": 1}
        ),
        "denied_reads": MappingProxyType({"count": 20, "minutes": 10}),
        "bulk_reading": MappingProxyType({"customers": 500, "minutes": 60}),
        "ledger_reading": MappingProxyType({"count": 1, "minutes": 60}),
        "failed_log_ins": MappingProxyType({"count": 5, "minutes": 15}),
        "log_in_guessing": MappingProxyType({"count": 100, "minutes": 15}),
    }
)
# Of the rules on accesses, both ends inclusive: hours are of the day in UTC, minutes a day at most.
_RANGES: MappingProxyType[str, tuple[int, int]] = MappingProxyType(
    {
        "count": (1, 100_000),
        "customers": (1, 100_000),
        "minutes": (1, 1_440),
        "opens_hour": (0, 23),
        "closes_hour": (1, 24),
        "weekend_is_off": (0, 1),
    }
)
ALARMS: tuple[AlarmName, ...] = get_args(AlarmName)
"""The rules on accesses; all others are on movements."""
PARAMETER_MAX = 10**15
WINDOW_MOVEMENTS = 100
"""How many of an account's newest movements the rules look back on: no rule can count further."""


class RiskRuleSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """The thresholds of a rule changed, from this event on; a rule can be switched off."""

    rule: RuleName
    parameters: dict[str, int]
    enabled: bool = True


class SetRiskRule(
    msgspec.Struct, frozen=True, kw_only=True, tag="set_risk_rule", forbid_unknown_fields=True
):
    """Set thresholds of a rule; those not named keep their default."""

    key: str = ""
    rule: RuleName
    parameters: dict[str, int]
    enabled: bool = True

    def needs(self, wants: "Wants") -> None:
        """Nothing has to be loaded."""


def decide(_books: "Books", command: SetRiskRule) -> tuple[RiskRuleSet, ...]:
    """Set the rule.

    Raises:
        ValidationFailed: an unknown parameter, or a value out of range.
    """
    known = DEFAULTS[command.rule]
    if not command.parameters.keys() <= known.keys():
        raise ValidationFailed("parameters", f"known parameters: {', '.join(known)}")
    if command.rule in ALARMS:
        _require_in_range(command)
        return (RiskRuleSet(command.rule, command.parameters, command.enabled),)
    if not all(1 <= value <= PARAMETER_MAX for value in command.parameters.values()):
        raise ValidationFailed("parameters", f"whole numbers from 1 to {PARAMETER_MAX}")
    for name, value in command.parameters.items():
        if name.endswith("_percent") and value > 100:  # noqa: PLR2004 - a percentage
            raise ValidationFailed(f"parameters.{name}", "1 to 100")
        if name == "count" and value > WINDOW_MOVEMENTS:
            raise ValidationFailed(f"parameters.{name}", f"1 to {WINDOW_MOVEMENTS}")
    return (RiskRuleSet(command.rule, command.parameters, command.enabled),)


def _require_in_range(command: SetRiskRule) -> None:
    """Each parameter of a rule on accesses is within its range.

    Raises:
        ValidationFailed: one is not.
    """
    for name, value in command.parameters.items():
        least, most = _RANGES[name]
        if not least <= value <= most:
            raise ValidationFailed(f"parameters.{name}", f"{least} to {most}")


def command_of(event: RiskRuleSet) -> SetRiskRule:
    """The command whose first answer this event was, without its key."""
    return SetRiskRule(rule=event.rule, parameters=event.parameters, enabled=event.enabled)
